//! `/v1/secrets`.

use std::sync::Arc;

use aos::secrets::{self, NewSecret, Secret, Secrets};
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    answer::{self, Refused},
    caller::{Audited, Caller},
    incoming::{InPath, Json},
    state::App,
};

/// Keep a secret
///
/// Plans refer to it as `{{secrets.name}}` in headers of `http_call`. Its value is shown to nobody; one that is there is
/// replaced.
#[utoipa::path(
    put, path = "/v1/secrets/{name}", operation_id = "putSecret", tag = "secrets",
    params(("name" = String, Path, description = "What plans call it: a letter or _, then letters, digits, _ and -")),
    request_body = NewSecret,
    responses(
        (status = 200, body = Secret, description = "All about it but the value"),
        (status = 409, body = aos::problem::Problem, content_type = "application/problem+json", description = "`too_many_secrets`"),
    ),
)]
#[worker::send]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    audited: Audited,
    InPath(name): InPath<String>,
    Json(body): Json<NewSecret>,
) -> Result<Response, Refused> {
    let sealer = app.settings.sealer.as_ref();
    answer::json(
        StatusCode::OK,
        &secrets::put(&app.database, sealer, audited.by(), &name, body).await?,
    )
}

/// List secrets
#[utoipa::path(
    get, path = "/v1/secrets", operation_id = "listSecrets", tag = "secrets",
    responses((status = 200, body = Secrets, description = "Which there are; their values are shown to nobody")),
)]
#[worker::send]
pub(crate) async fn list(State(app): State<Arc<App>>, Caller(principal): Caller) -> Result<Response, Refused> {
    answer::json(StatusCode::OK, &secrets::list(&app.database, &principal).await?)
}

/// Read about a secret
#[utoipa::path(
    get, path = "/v1/secrets/{name}", operation_id = "readSecret", tag = "secrets",
    params(("name" = String, Path, description = "What plans call it")),
    responses((status = 200, body = Secret, description = "All about it but the value")),
)]
#[worker::send]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    InPath(name): InPath<String>,
) -> Result<Response, Refused> {
    answer::json(StatusCode::OK, &secrets::get(&app.database, &principal, &name).await?)
}

/// Delete a secret
///
/// Steps that name it fail from now on.
#[utoipa::path(
    delete, path = "/v1/secrets/{name}", operation_id = "deleteSecret", tag = "secrets",
    params(("name" = String, Path, description = "What plans call it")),
    responses((status = 204, description = "It is gone")),
)]
#[worker::send]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    audited: Audited,
    InPath(name): InPath<String>,
) -> Result<Response, Refused> {
    secrets::delete(&app.database, audited.by(), &name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
