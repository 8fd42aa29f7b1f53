//! The name under which a verified identity's tenant is known. Must never be read from anything unverified.

use std::{fmt, str::FromStr};

/// Characters of a tenant's name.
pub const MAX_TENANT_CHARS: usize = 128;

/// What a verified identity calls its tenant: an organisation, a user, or a name that the operator gave.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TenantName(String);

/// A text that is no name of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tenant's name has 1 to 128 letters, digits, `_`, `.`, `:` and `-`")]
pub struct TenantNameError;

impl TenantName {
    /// The name, as the database knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantName {
    type Err = TenantNameError;

    fn from_str(text: &str) -> Result<Self, TenantNameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        if text.is_empty() || text.len() > MAX_TENANT_CHARS || !text.bytes().all(allowed) {
            return Err(TenantNameError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_name_is_short_and_plain() {
        for good in ["a", "org_2abc", "acme.com:eu-1", &"x".repeat(128)] {
            assert_eq!(good.parse::<TenantName>().unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "ä", "a\0", "a/b", "a\n", &"x".repeat(129)] {
            assert!(bad.parse::<TenantName>().is_err(), "{bad:?}");
        }
    }
}
