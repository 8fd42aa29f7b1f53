//! What a tenant may use, by its tier or by what the operator set for it alone.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::TenantId;

/// How much a tenant may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// 60 requests a minute; what every tenant begins with.
    #[default]
    Free,
    /// 300 requests a minute.
    Dev,
    /// 1,200 requests a minute.
    Pro,
    /// 6,000 requests a minute.
    Enterprise,
}

impl Tier {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Free, Self::Dev, Self::Pro, Self::Enterprise];

    /// The word, as the API and the database write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Dev => "dev",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }

    /// Requests a minute.
    pub const fn requests_per_minute(self) -> u32 {
        match self {
            Self::Free => 60,
            Self::Dev => 300,
            Self::Pro => 1_200,
            Self::Enterprise => 6_000,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such tier")]
pub struct UnknownTier;

impl FromStr for Tier {
    type Err = UnknownTier;

    fn from_str(word: &str) -> Result<Self, UnknownTier> {
        Self::ALL
            .into_iter()
            .find(|tier| tier.as_str() == word)
            .ok_or(UnknownTier)
    }
}

/// What every request of a tenant is told about it, by the transaction that it makes anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The tenant.
    pub id: TenantId,
    /// Its tier.
    pub tier: Tier,
    /// Requests a minute in place of the tier's.
    pub requests_per_minute: Option<u32>,
}

impl Limits {
    /// Requests a minute.
    pub fn per_minute(&self) -> u32 {
        self.requests_per_minute.unwrap_or(self.tier.requests_per_minute())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_one_word_everywhere() {
        for tier in Tier::ALL {
            assert_eq!(tier.as_str().parse(), Ok(tier));
            assert_eq!(serde_json::to_value(tier).unwrap(), tier.as_str());
        }
        assert_eq!("Free".parse::<Tier>(), Err(UnknownTier));
    }

    #[test]
    fn a_limit_of_its_own_stands_in_place_of_the_tiers() {
        let id: TenantId = "ten_018f0000000070008000000000000001".parse().unwrap();
        let of = |tier, requests_per_minute| {
            Limits {
                id,
                tier,
                requests_per_minute,
            }
            .per_minute()
        };
        assert_eq!(Tier::ALL.map(|tier| of(tier, None)), [60, 300, 1_200, 6_000]);
        assert_eq!((of(Tier::Enterprise, Some(1)), of(Tier::Free, Some(90))), (1, 90));
    }
}
