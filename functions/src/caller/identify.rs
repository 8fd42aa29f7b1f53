//! From the credential that was shown to the principal it stands for.

use aos::{
    api_keys::{self, FoundKey, KeyHash},
    auth::{Credential, Principal, TenantName},
    ids::ApiKeyId,
    integrations::upstash::Key,
    problem::{FieldError, Problem},
};
use axum::http::{HeaderMap, Method, header};
use jiff::Timestamp;

use super::{TENANT, credential::Shown, unauthenticated};
use crate::state::App;

/// The tenant that the operator or a machine acts for without a word.
const OPERATORS_OWN: &str = "operator";

/// A verified caller, and what remains to be looked up about it.
pub(super) struct Identified {
    pub(super) principal: Principal,
    /// The entry in Redis that is there if the session or the key was revoked.
    pub(super) revocation: Option<Key>,
    /// The API key that was shown.
    pub(super) api_key: Option<ShownKey>,
    /// The issuer's keys should be fetched again after the answer.
    pub(super) keys_are_due: bool,
}

/// A tenant's own key.
pub(super) struct ShownKey {
    pub(super) hash: KeyHash,
    pub(super) id: ApiKeyId,
    pub(super) per_minute: Option<u32>,
    /// It was not looked up for this request: somebody may have revoked it since.
    pub(super) remembered: bool,
}

/// Why nobody is known, for the caller and, finer, for the audit.
pub(super) struct Stranger {
    pub(super) problem: Problem,
    pub(super) credential: &'static str,
    pub(super) code: String,
    /// To whom the credential belongs, where that is known: the refusal concerns their tenant.
    pub(super) owner: Option<Principal>,
}

/// Verifies the credential of a request.
pub(super) async fn identify(
    app: &App,
    method: &Method,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Identified, Stranger> {
    let shown = Shown::of(headers).map_err(|problem| Stranger {
        code: problem.code.clone().into_owned(),
        problem,
        credential: "none",
        owner: None,
    })?;
    let owned = |problem: Problem, owner| Stranger {
        code: problem.code.clone().into_owned(),
        problem,
        credential: shown.kind(),
        owner,
    };
    let stranger = |problem| owned(problem, None);
    let identified = match shown {
        Shown::ApiKey(key) if app.settings.operator_key.is(key) => {
            known(Principal::operator(tenant(headers).map_err(stranger)?))
        }
        Shown::ApiKey(key) => {
            let (found, key) = api_key(app, key, now).await.map_err(stranger)?;
            let principal = found.principal(now).map_err(|problem| {
                let owner = Principal::api_key(found.tenant.clone(), found.id, found.scopes);
                owned(problem, Some(owner))
            })?;
            Identified {
                revocation: Some(Key::revoked_api_key(found.id)),
                api_key: Some(key),
                ..known(principal)
            }
        }
        Shown::Machine(token) => match &app.settings.machine_token {
            Some(secret) if secret.is(token) => known(Principal::machine(tenant(headers).map_err(stranger)?)),
            _ => return Err(stranger(unauthenticated("the token is not valid"))),
        },
        Shown::Bearer(token) | Shown::Cookie(token) => {
            let verified = app.tokens.verify(token).await.map_err(|refusal| Stranger {
                problem: refusal.problem(),
                credential: shown.kind(),
                code: refusal.reason().to_owned(),
                owner: None,
            })?;
            if matches!(shown, Shown::Cookie(_)) {
                check_origin(app, method, headers).map_err(stranger)?;
            }
            Identified {
                revocation: match &verified.principal.credential {
                    Credential::Session { id, .. } => Some(Key::revoked_session(id)),
                    _ => None,
                },
                principal: verified.principal,
                api_key: None,
                keys_are_due: verified.keys_are_due,
            }
        }
    };
    let names_tenant = matches!(
        identified.principal.credential,
        Credential::Operator | Credential::Machine
    );
    if headers.contains_key(TENANT) && !names_tenant {
        let detail = "only the operator and machines name a tenant; yours comes from your credential";
        let problem = Problem::new(403, "tenant_not_selectable", "Not allowed", detail);
        return Err(owned(problem, Some(identified.principal)));
    }
    Ok(identified)
}

fn known(principal: Principal) -> Identified {
    Identified {
        principal,
        revocation: None,
        api_key: None,
        keys_are_due: false,
    }
}

/// A tenant's own key. An isolate remembers it for a minute, as long as Redis can tell of its revocation.
async fn api_key(app: &App, key: &[u8], now: Timestamp) -> Result<(FoundKey, ShownKey), Problem> {
    let invalid = || unauthenticated("the key is not valid");
    let hash = api_keys::hash_of(key).ok_or_else(invalid)?;
    let remembered = if app.limiter.is_degraded() {
        None
    } else {
        app.api_keys.get(&hash, now)
    };
    let (found, remembered) = match remembered {
        Some(found) => (found, true),
        None => (look_up(app, &hash, now).await?.ok_or_else(invalid)?, false),
    };
    let shown = ShownKey {
        id: found.id,
        per_minute: found.requests_per_minute,
        hash,
        remembered,
    };
    Ok((found, shown))
}

/// Asks the database for a key, and remembers it.
pub(super) async fn look_up(app: &App, hash: &KeyHash, now: Timestamp) -> Result<Option<FoundKey>, Problem> {
    let found = api_keys::find(&app.database, hash).await?;
    if let Some(found) = &found {
        app.api_keys.remember(hash.clone(), found.clone(), now);
    }
    Ok(found)
}

/// A browser sends the cookie along with whatever page asks it to: a change must come from a page of ours.
fn check_origin(app: &App, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if method.is_safe() {
        return Ok(());
    }
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let parties = app
        .settings
        .clerk
        .as_ref()
        .map(|clerk| clerk.authorized_parties.as_slice());
    if origin
        .zip(parties)
        .is_some_and(|(origin, parties)| parties.iter().any(|party| party == origin))
    {
        return Ok(());
    }
    let detail = "with the session cookie, changes are accepted from the installation's own pages only";
    Err(Problem::new(403, "origin_not_allowed", "Not allowed", detail))
}

fn tenant(headers: &HeaderMap) -> Result<TenantName, Problem> {
    let name = match headers.get(TENANT) {
        Some(value) => value.to_str().unwrap_or_default(),
        None => OPERATORS_OWN,
    };
    name.parse::<TenantName>().map_err(|error| {
        Problem::invalid(vec![FieldError::new(
            "X-AOS-Tenant:",
            "invalid_format",
            error.to_string(),
        )])
    })
}
