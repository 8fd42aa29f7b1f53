//! `/v1/session`, `/v1/sessions` and `/v1/public-config`.

use std::sync::Arc;

use aos::{
    auth::{Credential, PermissionSet, Role},
    problem::Problem,
    sessions::{self, Session},
};
use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    answer::{self, Refused},
    caller::{Audited, Caller},
    incoming::InPath,
    state::App,
};

/// Who the caller is.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "tenant": "org_2abc", "subject": "user_2abc", "credential": "session", "session_id": "sess_2abc",
    "roles": ["admin"], "permissions": ["identity:read", "runs:read"]
}))]
pub(crate) struct Identity {
    /// Whose data is seen.
    tenant: String,
    /// Who it is inside the tenant.
    subject: String,
    /// How it was proved: `session`, `service_token`, `api_key`, `machine`, `operator`.
    credential: &'static str,
    /// The session, if it is one.
    session_id: Option<String>,
    /// What it is.
    roles: Vec<Role>,
    /// What it may do.
    permissions: PermissionSet,
}

/// Say who the caller is
#[utoipa::path(
    get, path = "/v1/session", operation_id = "readSession", tag = "identity",
    responses((status = 200, body = Identity, description = "The caller, as its credential proves")),
)]
pub(crate) async fn current(Caller(principal): Caller) -> Result<Response, Refused> {
    let identity = Identity {
        tenant: principal.tenant.to_string(),
        credential: principal.credential.kind(),
        session_id: match principal.credential {
            Credential::Session { id, .. } => Some(id),
            _ => None,
        },
        subject: principal.subject,
        roles: principal.roles,
        permissions: principal.permissions,
    };
    answer::json(StatusCode::OK, &identity)
}

/// What a browser needs in order to sign somebody in.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"issuer": "https://clerk.example.com", "publishable_key": "pk_live_…"}))]
pub(crate) struct PublicConfig<'a> {
    /// Who signs people in; `null` where nobody does.
    issuer: Option<&'a str>,
    /// What Clerk's library is started with.
    publishable_key: Option<&'a str>,
}

/// Say what a browser needs to sign in
#[utoipa::path(
    get, path = "/v1/public-config", operation_id = "readPublicConfig", tag = "identity", security(()),
    responses((status = 200, body = PublicConfig, description = "Nothing secret")),
)]
pub(crate) async fn public_config(State(app): State<Arc<App>>) -> Result<Response, Refused> {
    let clerk = app.settings.clerk.as_ref();
    let config = PublicConfig {
        issuer: clerk.map(|clerk| clerk.issuer.as_str()),
        publishable_key: clerk.map(|clerk| clerk.publishable_key.as_str()),
    };
    answer::json(StatusCode::OK, &config)
}

/// Sessions.
#[derive(Serialize, ToSchema)]
pub(crate) struct Sessions {
    /// The newest first, at most a hundred.
    items: Vec<Session>,
}

/// List one's own sessions
#[utoipa::path(
    get, path = "/v1/sessions", operation_id = "listSessions", tag = "identity",
    responses(
        (status = 200, body = Sessions, description = "The caller's active sessions"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`no_session`"),
    ),
)]
#[worker::send]
pub(crate) async fn list(State(app): State<Arc<App>>, Caller(principal): Caller) -> Result<Response, Refused> {
    let clerk = app.settings.clerk.as_ref().map(|clerk| &clerk.client);
    let items = sessions::list(clerk, &principal).await?;
    answer::json(StatusCode::OK, &Sessions { items })
}

/// End one of one's own sessions
///
/// Its tokens are refused from now on. The request may be sent again.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/revoke", operation_id = "revokeSession", tag = "identity",
    params(("id" = String, Path, description = "The session")),
    responses(
        (status = 204, description = "It has ended"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`no_session`"),
    ),
)]
#[worker::send]
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    audited: Audited,
    InPath(session): InPath<String>,
) -> Result<StatusCode, Refused> {
    let clerk = app.settings.clerk.as_ref().map(|clerk| &clerk.client);
    sessions::revoke(clerk, &app.settings.upstash, &app.database, audited.by(), &session).await?;
    Ok(StatusCode::NO_CONTENT)
}
