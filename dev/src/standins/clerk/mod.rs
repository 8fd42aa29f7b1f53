//! A stand-in of a Clerk instance: issuer, JWKS and backend API under one prefix, and a mint for tokens good and wrong.
//! Its keys and its secret are made at run time. Must never verify a token: that is for those under test.

mod backend;
mod claims;
mod directory;
mod keys;
mod wrong;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::counters::Counters;
use crate::secrets;
use backend::Allowance;
use directory::{Directory, Sighting};
use keys::Keyring;

pub use claims::{ClaimVersion, Org, TokenSpec};
pub use keys::Rotation;
pub use wrong::Wrong;

/// Who may use the instance's tokens (`azp`). Tokens are minted for the first.
pub const AUTHORIZED_PARTIES: &[&str] = &["http://localhost:3000", "http://localhost:5173"];
/// The category of session tokens in Clerk's header `cat`.
const SESSION_CATEGORY: &str = "cl_B7d4PD111AAA";

/// One instance. A clone is a handle on the same one.
#[derive(Clone)]
pub struct Clerk(Arc<Instance>);

struct Instance {
    /// `http://127.0.0.1:…/clerk`
    issuer: String,
    /// `/clerk`
    prefix: &'static str,
    secret_key: String,
    publishable_key: String,
    counters: Counters,
    keys: Mutex<Keyring>,
    directory: Mutex<Directory>,
    allowance: Mutex<Allowance>,
}

impl fmt::Debug for Clerk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clerk")
            .field("issuer", &self.0.issuer)
            .finish_non_exhaustive()
    }
}

impl Clerk {
    /// An instance to be served under `prefix` of the server at `url`; `kid` names its first key.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(super) fn new(url: &str, prefix: &'static str, kid: String, counters: Counters) -> Result<Self> {
        let host = url.split_once("://").map_or(url, |(_, host)| host);
        Ok(Self(Arc::new(Instance {
            issuer: format!("{url}{prefix}"),
            prefix,
            secret_key: format!("sk_test_{}", secrets::generate()?),
            publishable_key: format!("pk_test_{}", STANDARD_NO_PAD.encode(format!("{host}{prefix}$"))),
            counters,
            keys: Mutex::new(Keyring::new(kid)),
            directory: Mutex::default(),
            allowance: Mutex::default(),
        })))
    }

    /// A new name for a key: Clerk calls it after the instance.
    pub(super) fn new_kid() -> String {
        format!("ins_{}", uuid::Uuid::now_v7().simple())
    }

    /// `iss` of its tokens (`CLERK_ISSUER_URL`); also what the vendor's clients take as `apiUrl`.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Where the public keys are (`CLERK_JWKS_URL`).
    pub fn jwks_url(&self) -> String {
        format!("{}/.well-known/jwks.json", self.0.issuer)
    }

    /// What opens the backend API (`CLERK_SECRET_KEY`).
    pub fn secret_key(&self) -> &str {
        &self.0.secret_key
    }

    /// What a browser would be given (`CLERK_PUBLISHABLE_KEY`).
    pub fn publishable_key(&self) -> &str {
        &self.0.publishable_key
    }

    /// The name of the key that signs now.
    pub fn kid(&self) -> String {
        self.keys().kid().to_owned()
    }

    /// The settings of a Worker that trusts this instance, by name. Holds a secret.
    /// `CLERK_BASE_URL` stands for `https://api.clerk.com`: the backend API is at its `/v1`.
    pub fn settings(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("CLERK_ISSUER_URL", self.issuer().to_owned()),
            ("CLERK_JWKS_URL", self.jwks_url()),
            ("CLERK_SECRET_KEY", self.secret_key().to_owned()),
            ("CLERK_PUBLISHABLE_KEY", self.publishable_key().to_owned()),
            ("CLERK_AUTHORIZED_PARTIES", AUTHORIZED_PARTIES.join(",")),
            ("CLERK_BASE_URL", self.issuer().to_owned()),
        ])
    }

    /// A token to order. Its session and its user exist from then on. The first call makes the key: some tenths of a second.
    ///
    /// # Errors
    /// The spec's permissions cannot be written down, or the system gives no randomness.
    pub fn mint(&self, spec: TokenSpec) -> Result<String> {
        let now_ms = now_ms();
        let now = now_ms / 1000;
        let session = spec
            .session
            .clone()
            .unwrap_or_else(|| format!("sess_{}", uuid::Uuid::now_v7().simple()));
        let party = AUTHORIZED_PARTIES.first().copied().unwrap_or_default();
        let mut claims = spec.claims(&self.0.issuer, party, &session, now)?;
        let mut keys = self.keys();
        let mut header = Map::from_iter([
            ("alg".to_owned(), json!("RS256")),
            ("cat".to_owned(), json!(SESSION_CATEGORY)),
            ("kid".to_owned(), json!(keys.kid())),
            ("typ".to_owned(), json!("JWT")),
        ]);
        header.extend(spec.header);
        if let Some(wrong) = spec.wrong {
            wrong.bend(&mut header, &mut claims, now);
        }
        let token = wrong::write(spec.wrong, header, &claims, &mut keys)?;
        drop(keys);
        if spec.wrong != Some(Wrong::MachineToken) {
            self.directory().note(Sighting {
                session: &session,
                user: &spec.user,
                org: spec.org.as_ref().map(|org| org.id.as_str()),
                pending: spec.pending || spec.wrong == Some(Wrong::Pending),
                at_ms: now_ms,
            });
        }
        Ok(token)
    }

    /// Replaces the signing key, and returns the `kid` of the new one.
    ///
    /// # Errors
    /// When the system gives no randomness; the old key then stays.
    pub fn rotate(&self, rotation: Rotation) -> Result<String> {
        let mut keys = self.keys();
        keys.rotate(rotation, Self::new_kid())?;
        Ok(keys.kid().to_owned())
    }

    /// How often the JWKS was asked for at its public address since the counters were last reset, also in vain.
    pub fn jwks_fetches(&self) -> usize {
        let label = format!("GET {}/.well-known/jwks.json", self.0.prefix);
        self.0.counters.snapshot().labelled(&label)
    }

    /// How many requests the backend API takes in each 10 s; the first one more is answered 429. Clerk's own limit at first.
    pub fn limit_backend(&self, requests: u32) {
        self.lock(&self.0.allowance).set(requests);
    }

    pub(super) fn routes(&self) -> Router {
        let own = Router::new()
            .route("/.well-known/jwks.json", get(jwks))
            .route("/mint", post(mint))
            .route("/_control/rotate", post(rotate))
            .route("/_control/limit", post(limit))
            .nest("/v1", backend::routes(self))
            .with_state(self.clone());
        Router::new().nest(self.0.prefix, own)
    }

    fn keys(&self) -> MutexGuard<'_, Keyring> {
        self.lock(&self.0.keys)
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        self.lock(&self.0.directory)
    }

    fn lock<'a, T>(&self, part: &'a Mutex<T>) -> MutexGuard<'a, T> {
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In milliseconds of the Unix epoch.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Work that may make an RSA key, kept away from the threads that serve.
async fn heavy<T: Send + 'static>(clerk: Clerk, work: impl FnOnce(&Clerk) -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(move || work(&clerk)).await?
}

fn refused(status: StatusCode, error: &anyhow::Error) -> Response {
    (status, Json(json!({ "error": format!("{error:#}") }))).into_response()
}

async fn jwks(State(clerk): State<Clerk>) -> Response {
    match heavy(clerk, |clerk| clerk.keys().jwks()).await {
        Ok(jwks) => Json(jwks).into_response(),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

async fn mint(State(clerk): State<Clerk>, Json(spec): Json<TokenSpec>) -> Response {
    match heavy(clerk, |clerk| clerk.mint(spec)).await {
        Ok(token) => Json(json!({ "token": token })).into_response(),
        Err(error) => refused(StatusCode::BAD_REQUEST, &error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RotateOrder {
    #[serde(default)]
    rotation: Rotation,
}

async fn rotate(State(clerk): State<Clerk>, Json(order): Json<RotateOrder>) -> Response {
    match heavy(clerk, move |clerk| clerk.rotate(order.rotation)).await {
        Ok(kid) => Json(json!({ "kid": kid })).into_response(),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitOrder {
    requests: u32,
}

async fn limit(State(clerk): State<Clerk>, Json(order): Json<LimitOrder>) -> Json<Value> {
    clerk.limit_backend(order.requests);
    Json(json!({ "requests": order.requests }))
}
