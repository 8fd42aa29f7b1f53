//! Ids: UUIDv7 inside, a type prefix outside (`run_018f…`), one Rust type each so that they cannot be mixed up.
//!
//! The database stores the bare UUID; the prefix exists only at the API.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::platform::Clock;

/// A new UUIDv7 whose time is the clock's; its random part comes from the platform's secure source.
///
/// Should that source fail the random part is zero: still unique by time on one machine, and a duplicate is refused
/// by the database's primary key, never overwritten.
pub fn new_v7(clock: &dyn Clock) -> Uuid {
    let mut random = [0_u8; 10];
    if getrandom::fill(&mut random).is_err() {
        tracing::error!("the platform gave no random bytes for an id");
    }
    let millis = u64::try_from(clock.now().as_millisecond()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// Why a text is not an id of the wanted type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an id of the form {prefix}_<32 hexadecimal digits>")]
pub struct ParseIdError {
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// What stands before the underscore at the API.
            pub const PREFIX: &'static str = $prefix;

            /// A new id, ordered by the clock's time.
            pub fn new(clock: &dyn Clock) -> Self {
                Self(new_v7(clock))
            }

            /// The bare UUID, as the database stores it.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", Self::PREFIX, self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let refused = ParseIdError { prefix: Self::PREFIX };
                let hex = text.strip_prefix(Self::PREFIX).and_then(|rest| rest.strip_prefix('_')).ok_or(refused)?;
                if hex.len() != 32 {
                    return Err(refused);
                }
                Uuid::try_parse(hex).map(Self).map_err(|_| refused)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            /// Accepts the API's form and, for rows from the database, the bare UUID.
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                match text.parse() {
                    Ok(id) => Ok(id),
                    Err(refused) if text.len() == 36 => Uuid::try_parse(&text).map(Self).map_err(|_| de::Error::custom(refused)),
                    Err(refused) => Err(de::Error::custom(refused)),
                }
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some(concat!("^", $prefix, "_[0-9a-f]{32}$")))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

id!(
    /// The owner of data.
    TenantId, "ten");
id!(
    /// A named worker of a tenant.
    AgentId, "agt");
id!(
    /// One goal, or one given plan, being carried out.
    RunId, "run");
id!(
    /// One call of one skill inside a run.
    StepId, "stp");
id!(
    /// One claiming request of the engine; a claim sent again under the same id returns the same rows.
    ClaimId, "clm");
id!(
    /// A message committed with the change that caused it.
    OutboxId, "evt");
id!(
    /// A tenant's own key to the API; not the key itself.
    ApiKeyId, "key");
id!(
    /// An entry of the audit log.
    AuditId, "aud");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written_and_refuses_other_types() {
        let run: RunId = "run_018f0000000070008000000000000001".parse().unwrap();
        assert_eq!(run.to_string(), "run_018f0000000070008000000000000001");
        assert!("agt_018f0000000070008000000000000001".parse::<RunId>().is_err());
        assert!("run_018f".parse::<RunId>().is_err());
        assert!("run_018f0000-0000-7000-8000-000000000001".parse::<RunId>().is_err());
    }

    #[test]
    fn a_row_from_the_database_holds_the_bare_uuid() {
        let run: RunId = serde_json::from_str("\"018f0000-0000-7000-8000-000000000001\"").unwrap();
        assert_eq!(run.to_string(), "run_018f0000000070008000000000000001");
    }
}
