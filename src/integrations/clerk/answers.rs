//! What the backend API answers, as far as we read it. Must never refuse what Clerk adds to it.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};

/// A user's session in one browser.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Session {
    /// `sess_…`
    pub id: String,
    /// `user_…`
    pub user_id: String,
    /// How it stands.
    pub status: SessionStatus,
    /// The organisation that was active in it last.
    pub last_active_organization_id: Option<String>,
    /// When it began.
    #[serde(deserialize_with = "milliseconds")]
    pub created_at: Timestamp,
    /// When it was last in use.
    #[serde(deserialize_with = "milliseconds")]
    pub last_active_at: Timestamp,
    /// When it ends by itself.
    #[serde(deserialize_with = "milliseconds")]
    pub expire_at: Timestamp,
    /// Where it was last in use, as far as Clerk knows.
    pub latest_activity: Option<Activity>,
}

/// Where a session was last in use. What Clerk does not know is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Activity {
    /// `Macintosh`
    pub device_type: Option<String>,
    /// `Chrome`
    pub browser_name: Option<String>,
    /// The address of the browser.
    pub ip_address: Option<String>,
    /// By the address.
    pub city: Option<String>,
    /// By the address.
    pub country: Option<String>,
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// In use.
    Active,
    /// Its user has still to finish signing in.
    Pending,
    /// Its user has left it alone for too long.
    Abandoned,
    /// Its user has signed out.
    Ended,
    /// Its time was up.
    Expired,
    /// Its user has signed out of this one of several.
    Removed,
    /// Another one took its place.
    Replaced,
    /// It was taken away.
    Revoked,
    /// One that we do not know yet.
    #[serde(other)]
    Other,
}

impl SessionStatus {
    /// Clerk's word, where it has one.
    pub(super) const fn as_str(self) -> Option<&'static str> {
        Some(match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Abandoned => "abandoned",
            Self::Ended => "ended",
            Self::Expired => "expired",
            Self::Removed => "removed",
            Self::Replaced => "replaced",
            Self::Revoked => "revoked",
            Self::Other => return None,
        })
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct User {
    /// `user_…`
    pub id: String,
    /// The given name.
    pub first_name: Option<String>,
    /// The family name.
    pub last_name: Option<String>,
    primary_email_address_id: Option<String>,
    #[serde(default)]
    email_addresses: Vec<EmailAddress>,
    /// Whether the user may not sign in.
    #[serde(default)]
    pub banned: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct EmailAddress {
    id: String,
    email_address: String,
}

impl User {
    /// The primary mail address.
    pub fn email(&self) -> Option<&str> {
        let primary = self.primary_email_address_id.as_ref()?;
        let address = self.email_addresses.iter().find(|address| address.id == *primary)?;
        Some(&address.email_address)
    }
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    Timestamp::from_millisecond(i64::deserialize(deserializer)?).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_is_new_is_no_error() {
        let status = |word: &str| serde_json::from_value::<SessionStatus>(word.into()).unwrap();
        assert_eq!(status("revoked"), SessionStatus::Revoked);
        assert_eq!(status("paused"), SessionStatus::Other);
        for known in [SessionStatus::Active, SessionStatus::Pending, SessionStatus::Replaced] {
            assert_eq!(status(known.as_str().unwrap()), known);
        }
    }
}
