//! `/v1/rbac/matrix` and `/v1/audit`: who may do what, and who did.

use std::sync::Arc;

use aos::{
    audit::{self, AuditEntry},
    auth::{self, Matrix},
    paging::Page,
};
use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::Response,
};

use crate::{
    answer::{self, Refused},
    caller::Caller,
    openapi::AuditParams,
    state::App,
};

/// Show the table of roles
#[utoipa::path(
    get, path = "/v1/rbac/matrix", operation_id = "readRbacMatrix", tag = "identity",
    responses((status = 200, body = Matrix, description = "What each role may do; all else is refused")),
)]
pub(crate) async fn matrix() -> Result<Response, Refused> {
    answer::json(StatusCode::OK, &auth::matrix())
}

/// Read the audit log
///
/// Newest first: what was done with privilege, and what was refused.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "listAudit", tag = "identity",
    params(AuditParams),
    responses((status = 200, body = Page<AuditEntry>, description = "One page")),
)]
#[worker::send]
pub(crate) async fn audit(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    answer::json(
        StatusCode::OK,
        &audit::list(&app.database, &principal, query.as_deref()).await?,
    )
}
