//! The active organisation of a session token, in both versions of Clerk's claims. Must never mix them: a claim of one
//! version says nothing in a token of the other.

use serde::Deserialize;

use crate::auth::{refusal::Refusal, token::is_clerk_id};

/// The claims about the organisation; which of them count is said by `v`.
#[derive(Deserialize)]
pub(super) struct OrganisationClaims {
    v: Option<u64>,
    // Version 1, which has no `v`.
    org_id: Option<String>,
    org_role: Option<String>,
    org_permissions: Option<Vec<String>>,
    // Version 2.
    o: Option<Compact>,
    fea: Option<String>,
}

/// Version 2's organisation.
#[derive(Deserialize)]
struct Compact {
    id: String,
    /// The role, without `org:`.
    rol: Option<String>,
    /// The names of permissions, separated by commas.
    per: Option<String>,
    /// For each feature of the organisation a decimal number: bit *i* grants it the *i*-th name of `per`.
    fpm: Option<String>,
}

/// An organisation, and what the user is in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Organisation {
    /// `org_…`
    pub(super) id: String,
    /// Without `org:`; empty where the token names none.
    pub(super) role: String,
    /// Custom permissions: `org:<feature>:<permission>`.
    pub(super) permissions: Vec<String>,
}

impl OrganisationClaims {
    /// The organisation, if one is active.
    pub(super) fn active(self) -> Result<Option<Organisation>, Refusal> {
        let organisation = match self.v {
            None | Some(1) => self.org_id.map(|id| {
                let role = self.org_role.unwrap_or_default();
                Organisation {
                    id,
                    role: role.strip_prefix("org:").unwrap_or(&role).to_owned(),
                    permissions: self.org_permissions.unwrap_or_default(),
                }
            }),
            Some(2) => {
                let features = self.fea.unwrap_or_default();
                self.o.map(|compact| Organisation {
                    permissions: compact.permissions(&features),
                    id: compact.id,
                    role: compact.rol.unwrap_or_default(),
                })
            }
            Some(_) => return Err(Refusal::WrongClaim("v")),
        };
        match organisation {
            Some(organisation) if !is_clerk_id(&organisation.id, "org_") => Err(Refusal::WrongClaim("org_id")),
            organisation => Ok(organisation),
        }
    }
}

impl Compact {
    /// What `fpm` grants. A number that is none, or beyond 128 bits, grants nothing to its feature.
    fn permissions(&self, features: &str) -> Vec<String> {
        let (Some(names), Some(map)) = (&self.per, &self.fpm) else {
            return Vec::new();
        };
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        organisation_features(features)
            .zip(map.split(','))
            .flat_map(|(feature, number)| {
                let bits = decimal(number.trim());
                let granted = names.iter().enumerate().filter(move |(index, _)| bit(bits, *index));
                granted.map(move |(_, name)| format!("org:{feature}:{name}"))
            })
            .collect()
    }
}

/// The features that the organisation has, alone (`o:`) or together with the user (`ou:`, `uo:`), in their order.
fn organisation_features(features: &str) -> impl Iterator<Item = &str> {
    features
        .split(',')
        .filter_map(|feature| match feature.trim().split_once(':') {
            Some(("o" | "ou" | "uo", name)) => Some(name),
            _ => None,
        })
}

fn decimal(number: &str) -> u128 {
    // Not `parse` alone: it would take a sign.
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| digits).unwrap_or_default()
}

fn bit(bits: u128, index: usize) -> bool {
    u32::try_from(index).is_ok_and(|index| bits.checked_shr(index).unwrap_or_default() & 1 == 1)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn active(claims: Value) -> Result<Option<Organisation>, Refusal> {
        serde_json::from_value::<OrganisationClaims>(claims).unwrap().active()
    }

    fn permissions(features: &str, names: &str, map: &str) -> Vec<String> {
        let claims = json!({"v": 2, "fea": features, "o": {"id": "org_1", "rol": "member", "per": names, "fpm": map}});
        active(claims).unwrap().unwrap().permissions
    }

    #[test]
    fn version_1_names_its_role_with_a_prefix() {
        let organisation = active(json!({
            "org_id": "org_1", "org_slug": "one", "org_role": "org:admin", "org_permissions": ["org:a:read"],
        }));
        let expected = Organisation {
            id: "org_1".to_owned(),
            role: "admin".to_owned(),
            permissions: vec!["org:a:read".to_owned()],
        };
        assert_eq!(organisation, Ok(Some(expected)));
    }

    #[test]
    fn version_2_grants_by_bits() {
        // The example of Clerk's documentation.
        assert_eq!(
            permissions("o:dashboard,o:teams", "manage,read", "3,2"),
            ["org:dashboard:manage", "org:dashboard:read", "org:teams:read"]
        );
        // Only the organisation's own features have a number.
        assert_eq!(permissions("u:x,o:a,uo:b,ou:c", "p", "0,1,1"), ["org:b:p", "org:c:p"]);
        assert_eq!(permissions(" o:a , o:b ", " p , q ", " 2 , 1 "), ["org:a:q", "org:b:p"]);
    }

    #[test]
    fn what_cannot_be_read_grants_nothing() {
        let beyond = format!("{},1", "9".repeat(60));
        for (features, names, map) in [
            ("", "p", "1"),
            ("o:a", "p", "0"),
            ("o:a", "p", "x"),
            ("o:a", "p", "+1"),
            ("o:a", "p", "-1"),
            ("o:a", "p", "1.0"),
            ("o:a", "p", "2"),
            ("o:a", "p", ""),
            ("a", "p", "1"),
            ("o:a", "p", beyond.as_str()),
        ] {
            assert_eq!(
                permissions(features, names, map),
                Vec::<String>::new(),
                "{features} {names} {map}"
            );
        }
        let many = (0..200).map(|index| format!("p{index}")).collect::<Vec<_>>().join(",");
        assert_eq!(permissions("o:a", &many, &u128::MAX.to_string()).len(), 128);
    }

    #[test]
    fn the_versions_do_not_mix() {
        let mixed = json!({"org_id": "org_1", "org_role": "org:admin", "o": {"id": "org_2", "rol": "member"}});
        assert_eq!(active(mixed.clone()).unwrap().unwrap().id, "org_1");
        let mut second = mixed;
        second["v"] = json!(2);
        assert_eq!(active(second).unwrap().unwrap().id, "org_2");
        assert_eq!(
            active(json!({"v": 2, "org_id": "org_1", "org_role": "org:admin"})),
            Ok(None)
        );
        assert_eq!(active(json!({"o": {"id": "org_1", "rol": "admin"}})), Ok(None));
        assert_eq!(active(json!({"v": 3})), Err(Refusal::WrongClaim("v")));
    }

    #[test]
    fn an_organisation_has_an_id_of_an_organisation() {
        for bad in [
            "",
            "org_",
            "user_1",
            "operator",
            "org_1/..",
            "org_ä",
            &format!("org_{}", "1".repeat(200)),
        ] {
            assert_eq!(
                active(json!({"org_id": bad})),
                Err(Refusal::WrongClaim("org_id")),
                "{bad}"
            );
            assert_eq!(
                active(json!({"v": 2, "o": {"id": bad}})),
                Err(Refusal::WrongClaim("org_id")),
                "{bad}"
            );
        }
    }
}
