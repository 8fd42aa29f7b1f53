//! What a session token says: whom it is for, and how Clerk writes that down in its two versions of the claims.
//! Must never sign: what is built here is plain JSON.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::wrong::Wrong;

/// How long Clerk's own session tokens live, in seconds.
const LIFETIME_S: i64 = 60;
/// `nbf` lies before `iat`, as in Clerk's tokens, in seconds.
const NBF_OFFSET_S: i64 = -10;

/// The version of the claims. Clerk writes the second since its API version 2025-04-10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimVersion {
    /// `org_id`, `org_slug`, `org_role`, `org_permissions`.
    V1,
    /// `v: 2`, `sts`, `fea`, `o: {id, slg, rol, per, fpm}`.
    #[default]
    V2,
}

/// The organisation that is active in the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Org {
    /// `org_…`.
    pub id: String,
    #[serde(default)]
    pub slug: Option<String>,
    /// Without its `org:` (`admin`).
    pub role: String,
    /// As `feature:permission` (`runs:read`); an `org:` before it is allowed.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// Features beside those of the permissions, in their order before them.
    #[serde(default)]
    pub features: Vec<String>,
}

impl Org {
    /// An organisation without permissions, whose slug is its id without the prefix.
    pub fn new(id: impl Into<String>, role: impl Into<String>) -> Self {
        let id = id.into();
        Self {
            slug: Some(id.strip_prefix("org_").unwrap_or(&id).to_lowercase()),
            id,
            role: role.into(),
            permissions: Vec::new(),
            features: Vec::new(),
        }
    }

    #[must_use]
    pub fn permissions(mut self, names: &[&str]) -> Self {
        self.permissions = names.iter().map(|&name| name.to_owned()).collect();
        self
    }
}

/// What token to mint. As JSON only `user` is needed; unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSpec {
    /// `user_…`.
    pub user: String,
    /// `sess_…`; without it a new session is begun.
    #[serde(default)]
    pub session: Option<String>,
    #[serde(default)]
    pub org: Option<Org>,
    /// The user's own features: `u:…` in `fea`, which `fpm` passes over. Those that the organisation has too become `uo:…`.
    #[serde(default)]
    pub user_features: Vec<String>,
    #[serde(default)]
    pub version: ClaimVersion,
    /// Without it the first of the instance's authorised parties.
    #[serde(default)]
    pub azp: Option<String>,
    /// From `iat` to `exp`, in seconds.
    #[serde(default = "lifetime_s")]
    pub lifetime_s: i64,
    /// From now to `iat`, in seconds; `nbf` and `exp` go with it.
    #[serde(default)]
    pub iat_offset_s: i64,
    /// From `iat` to `nbf`, in seconds.
    #[serde(default = "nbf_offset_s")]
    pub nbf_offset_s: i64,
    /// The session still has a task before it: `sts` is `pending` (version 2 only, as with Clerk).
    #[serde(default)]
    pub pending: bool,
    /// Claims beside and over the others.
    #[serde(default)]
    pub claims: Map<String, Value>,
    /// Entries of the header beside and over the others.
    #[serde(default)]
    pub header: Map<String, Value>,
    /// What is to be wrong with it.
    #[serde(default)]
    pub wrong: Option<Wrong>,
}

fn lifetime_s() -> i64 {
    LIFETIME_S
}

fn nbf_offset_s() -> i64 {
    NBF_OFFSET_S
}

impl TokenSpec {
    /// A good token of the second version, for 60 s, in a new session, without an organisation.
    pub fn of(user: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            session: None,
            org: None,
            user_features: Vec::new(),
            version: ClaimVersion::V2,
            azp: None,
            lifetime_s: LIFETIME_S,
            iat_offset_s: 0,
            nbf_offset_s: NBF_OFFSET_S,
            pending: false,
            claims: Map::new(),
            header: Map::new(),
            wrong: None,
        }
    }

    #[must_use]
    pub fn in_session(mut self, id: impl Into<String>) -> Self {
        self.session = Some(id.into());
        self
    }

    #[must_use]
    pub fn in_org(mut self, org: Org) -> Self {
        self.org = Some(org);
        self
    }

    #[must_use]
    pub fn v1(mut self) -> Self {
        self.version = ClaimVersion::V1;
        self
    }

    #[must_use]
    pub fn lasting(mut self, seconds: i64) -> Self {
        self.lifetime_s = seconds;
        self
    }

    #[must_use]
    pub fn wrong(mut self, wrong: Wrong) -> Self {
        self.wrong = Some(wrong);
        self
    }

    /// The claims of a good token. `now` is in seconds of the Unix epoch.
    ///
    /// # Errors
    /// A permission is not `feature:permission`, or there are more than 128 names of permissions.
    pub(super) fn claims(&self, issuer: &str, azp: &str, session: &str, now: i64) -> Result<Map<String, Value>> {
        let iat = now.saturating_add(self.iat_offset_s);
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("iss", json!(issuer));
        put("sub", json!(self.user));
        put("sid", json!(session));
        put("azp", json!(self.azp.as_deref().unwrap_or(azp)));
        put("iat", json!(iat));
        put("nbf", json!(iat.saturating_add(self.nbf_offset_s)));
        put("exp", json!(iat.saturating_add(self.lifetime_s)));
        put("fva", json!([0, -1]));
        let org = self.org.as_ref().map(Granted::read).transpose()?;
        match self.version {
            ClaimVersion::V1 => {
                if let Some(Granted { org, permissions, .. }) = &org {
                    let full: Vec<_> = permissions
                        .iter()
                        .map(|(of, name)| format!("org:{of}:{name}"))
                        .collect();
                    put("org_id", json!(org.id));
                    put("org_role", json!(format!("org:{}", org.role)));
                    put("org_permissions", json!(full));
                    if let Some(slug) = &org.slug {
                        put("org_slug", json!(slug));
                    }
                }
            }
            ClaimVersion::V2 => {
                put("v", json!(2));
                put("jti", json!(uuid::Uuid::now_v7().simple().to_string()));
                put("sts", json!(if self.pending { "pending" } else { "active" }));
                put(
                    "pla",
                    json!(if org.is_some() {
                        "u:free_user,o:free_org"
                    } else {
                        "u:free_user"
                    }),
                );
                let features = self.features(org.as_ref());
                if !features.is_empty() {
                    put("fea", json!(features.join(",")));
                }
                if let Some(org) = &org {
                    put("o", org.claim()?);
                }
            }
        }
        claims.extend(self.claims.clone());
        Ok(claims)
    }

    /// The parts of `fea`: the user's features first, so that who counts them in for `fpm` is found out.
    fn features(&self, org: Option<&Granted<'_>>) -> Vec<String> {
        let of_org: &[&str] = org.map_or(&[], |org| &org.features);
        let of_user = self.user_features.iter().map(String::as_str);
        let only_user = of_user
            .clone()
            .filter(|name| !of_org.contains(name))
            .map(|name| format!("u:{name}"));
        let shared: BTreeSet<&str> = of_user.collect();
        let of_org = of_org.iter().map(|name| {
            let scope = if shared.contains(name) { "uo" } else { "o" };
            format!("{scope}:{name}")
        });
        only_user.chain(of_org).collect()
    }
}

/// An organisation with its permissions taken apart.
struct Granted<'a> {
    org: &'a Org,
    /// The feature and the name of each.
    permissions: Vec<(&'a str, &'a str)>,
    /// Each once, in the order in which `fpm` counts them.
    features: Vec<&'a str>,
}

impl<'a> Granted<'a> {
    fn read(org: &'a Org) -> Result<Self> {
        let mut permissions = Vec::new();
        for full in &org.permissions {
            let plain = full.strip_prefix("org:").unwrap_or(full);
            let parts = plain
                .split_once(':')
                .filter(|(feature, name)| !feature.is_empty() && !name.is_empty());
            ensure!(parts.is_some(), "a permission is `feature:permission`, not {full:?}");
            permissions.extend(parts);
        }
        let named = org
            .features
            .iter()
            .map(String::as_str)
            .chain(permissions.iter().map(|(feature, _)| *feature));
        let features = distinct(named);
        Ok(Self {
            org,
            permissions,
            features,
        })
    }

    /// `o`: bit *i* of a feature's number in `fpm` is the *i*-th name in `per`.
    fn claim(&self) -> Result<Value> {
        let names = distinct(self.permissions.iter().map(|(_, name)| *name));
        ensure!(
            names.len() <= 128,
            "at most 128 names of permissions fit into one token"
        );
        let mut claim = json!({ "id": self.org.id, "rol": self.org.role });
        if let Some(slug) = &self.org.slug {
            claim["slg"] = json!(slug);
        }
        if !names.is_empty() {
            let bits = |feature: &str| {
                let granted = names
                    .iter()
                    .enumerate()
                    .filter(|(_, name)| self.permissions.contains(&(feature, name)));
                granted.map(|(bit, _)| 1_u128 << bit).sum::<u128>().to_string()
            };
            let map: Vec<_> = self.features.iter().map(|feature| bits(feature)).collect();
            claim["per"] = json!(names.join(","));
            claim["fpm"] = json!(map.join(","));
        }
        Ok(claim)
    }
}

/// Each name once, where it came first.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| seen.insert(*name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(spec: &TokenSpec) -> Map<String, Value> {
        spec.claims("https://issuer", "https://app", "sess_1", 1_000).unwrap()
    }

    #[test]
    fn fpm_has_one_number_for_each_feature_of_the_organisation() {
        let org = Org {
            features: vec!["reports".to_owned()],
            ..Org::new("org_1", "admin").permissions(&["teams:manage", "org:teams:read", "dashboard:read"])
        };
        let spec = TokenSpec {
            user_features: vec!["themes".to_owned(), "dashboard".to_owned()],
            ..TokenSpec::of("user_1").in_org(org)
        };
        let claims = claims(&spec);
        assert_eq!(claims["fea"], "u:themes,o:reports,o:teams,uo:dashboard");
        assert_eq!(
            claims["o"],
            json!({ "id": "org_1", "slg": "1", "rol": "admin", "per": "manage,read", "fpm": "0,3,2" })
        );
        assert_eq!((&claims["v"], &claims["sts"]), (&json!(2), &json!("active")));
        assert!(!claims.contains_key("org_id"));
    }

    #[test]
    fn the_first_version_spells_permissions_out() {
        let org = Org::new("org_1", "member").permissions(&["teams:read"]);
        let claims = claims(&TokenSpec::of("user_1").in_org(org).v1());
        assert_eq!(claims["org_role"], "org:member");
        assert_eq!(claims["org_permissions"], json!(["org:teams:read"]));
        for absent in ["v", "sts", "o", "fea", "jti"] {
            assert!(!claims.contains_key(absent), "{absent}");
        }
    }

    #[test]
    fn times_go_by_the_offsets() {
        let spec = TokenSpec {
            iat_offset_s: -100,
            ..TokenSpec::of("user_1").lasting(30)
        };
        let claims = claims(&spec);
        assert_eq!(
            (&claims["iat"], &claims["nbf"], &claims["exp"]),
            (&json!(900), &json!(890), &json!(930))
        );
    }

    #[test]
    fn a_permission_without_a_feature_is_refused() {
        let org = Org::new("org_1", "admin").permissions(&["org:read"]);
        let spec = TokenSpec::of("user_1").in_org(org);
        assert!(spec.claims("i", "a", "s", 0).is_err());
    }

    #[test]
    fn a_spec_in_json_needs_only_the_user() {
        let spec: TokenSpec = serde_json::from_str(r#"{"user":"user_1"}"#).unwrap();
        assert_eq!(spec, TokenSpec::of("user_1"));
        assert!(serde_json::from_str::<TokenSpec>(r#"{"user":"user_1","orgs":[]}"#).is_err());
    }
}
