//! `/v1/api-keys`.

use std::sync::Arc;

use aos::{
    api_keys::{self, ApiKey, CreatedApiKey, NewApiKey, Rotation},
    ids::ApiKeyId,
    paging::Page,
    problem::Problem,
};
use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::Response,
};

use crate::{
    answer::{self, Refused},
    caller::{Audited, Caller},
    incoming::{Idempotency, InPath, Json, id},
    openapi::{IdempotencyHeader, PageParams},
    state::App,
};

/// Create an API key
///
/// The key is shown once, in this answer. It may do what its scopes say, which is never more than its creator may.
#[utoipa::path(
    post, path = "/v1/api-keys", operation_id = "createApiKey", tag = "api-keys",
    params(IdempotencyHeader), request_body = NewApiKey,
    responses(
        (status = 201, body = CreatedApiKey, description = "The key; `key` is `null` if this is an earlier request's answer", headers(
            ("Location" = String, description = "The key's path"),
            ("Idempotency-Replayed" = String, description = "`true` if this is an earlier request's answer"),
        )),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`too_many_api_keys`; `idempotency_conflict`"),
    ),
)]
#[worker::send]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    audited: Audited,
    Idempotency(key): Idempotency,
    Json(body): Json<NewApiKey>,
) -> Result<Response, Refused> {
    answer::created(&api_keys::create(&app.database, audited.by(), key.as_ref(), body).await?)
}

/// List API keys
///
/// Newest first; the keys themselves are shown to nobody.
#[utoipa::path(
    get, path = "/v1/api-keys", operation_id = "listApiKeys", tag = "api-keys",
    params(PageParams),
    responses((status = 200, body = Page<ApiKey>, description = "One page")),
)]
#[worker::send]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    answer::json(
        StatusCode::OK,
        &api_keys::list(&app.database, &principal, query.as_deref()).await?,
    )
}

/// Read an API key
#[utoipa::path(
    get, path = "/v1/api-keys/{id}", operation_id = "readApiKey", tag = "api-keys",
    params(("id" = ApiKeyId, Path, description = "The key")),
    responses((status = 200, body = ApiKey, description = "All about it but the key itself")),
)]
#[worker::send]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    InPath(key): InPath<String>,
) -> Result<Response, Refused> {
    answer::json(
        StatusCode::OK,
        &api_keys::get(&app.database, &principal, id(&key, "API key")?).await?,
    )
}

/// Revoke an API key
///
/// It opens nothing from now on. The request may be sent again.
#[utoipa::path(
    delete, path = "/v1/api-keys/{id}", operation_id = "revokeApiKey", tag = "api-keys",
    params(("id" = ApiKeyId, Path, description = "The key")),
    responses((status = 200, body = ApiKey, description = "The key, revoked")),
)]
#[worker::send]
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    audited: Audited,
    InPath(key): InPath<String>,
) -> Result<Response, Refused> {
    let revoked = api_keys::revoke(&app.database, &app.settings.upstash, audited.by(), id(&key, "API key")?).await?;
    answer::json(StatusCode::OK, &revoked)
}

/// Replace an API key
///
/// Its successor may do the same and is shown once, in this answer; the old key goes on for the overlap.
#[utoipa::path(
    post, path = "/v1/api-keys/{id}/rotate", operation_id = "rotateApiKey", tag = "api-keys",
    params(("id" = ApiKeyId, Path, description = "The key"), IdempotencyHeader), request_body = Rotation,
    responses(
        (status = 201, body = CreatedApiKey, description = "The successor; `key` is `null` if this is an earlier request's answer", headers(
            ("Location" = String, description = "The successor's path"),
            ("Idempotency-Replayed" = String, description = "`true` if this is an earlier request's answer"),
        )),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`api_key_ended`; `too_many_api_keys`; `idempotency_conflict`"),
    ),
)]
#[worker::send]
pub(crate) async fn rotate(
    State(app): State<Arc<App>>,
    audited: Audited,
    InPath(key): InPath<String>,
    Idempotency(idempotency): Idempotency,
    Json(body): Json<Rotation>,
) -> Result<Response, Refused> {
    let (by, key) = (audited.by(), id(&key, "API key")?);
    let upstash = &app.settings.upstash;
    answer::created(&api_keys::rotate(&app.database, upstash, by, key, idempotency.as_ref(), body).await?)
}
