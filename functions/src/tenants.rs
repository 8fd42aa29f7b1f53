//! `/v1/tenants`: the operator's view of them.

use std::sync::Arc;

use aos::{
    ids::TenantId,
    paging::Page,
    tenants::{self, Erasure, Tenant, TenantPatch},
};
use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::Response,
};

use crate::{
    answer::{self, Refused},
    caller::{Audited, Caller},
    incoming::{InPath, Json, id},
    openapi::PageParams,
    state::App,
};

/// List tenants
#[utoipa::path(
    get, path = "/v1/tenants", operation_id = "listTenants", tag = "tenants",
    params(PageParams),
    responses((status = 200, body = Page<Tenant>, description = "One page")),
)]
#[worker::send]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    answer::json(
        StatusCode::OK,
        &tenants::list(&app.database, &principal, query.as_deref()).await?,
    )
}

/// Read a tenant
#[utoipa::path(
    get, path = "/v1/tenants/{id}", operation_id = "readTenant", tag = "tenants",
    params(("id" = TenantId, Path, description = "The tenant")),
    responses((status = 200, body = Tenant, description = "The tenant")),
)]
#[worker::send]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    InPath(tenant): InPath<String>,
) -> Result<Response, Refused> {
    answer::json(
        StatusCode::OK,
        &tenants::get(&app.database, &principal, id(&tenant, "tenant")?).await?,
    )
}

/// Set a tenant's tier and limits
#[utoipa::path(
    patch, path = "/v1/tenants/{id}", operation_id = "patchTenant", tag = "tenants",
    params(("id" = TenantId, Path, description = "The tenant")), request_body = TenantPatch,
    responses((status = 200, body = Tenant, description = "The tenant, changed")),
)]
#[worker::send]
pub(crate) async fn patch(
    State(app): State<Arc<App>>,
    audited: Audited,
    InPath(tenant): InPath<String>,
    Json(body): Json<TenantPatch>,
) -> Result<Response, Refused> {
    let (upstash, tenant) = (&app.settings.upstash, id(&tenant, "tenant")?);
    answer::json(
        StatusCode::OK,
        &tenants::patch(&app.database, upstash, audited.by(), tenant, body).await?,
    )
}

/// Erase a tenant
///
/// Its runs are cancelled, its rows and cached entries are erased; an entry of the audit log stays. The request may be
/// sent again, also to see whether it is done.
#[utoipa::path(
    delete, path = "/v1/tenants/{id}", operation_id = "eraseTenant", tag = "tenants",
    params(("id" = TenantId, Path, description = "The tenant")),
    responses(
        (status = 200, body = Erasure, description = "Nothing of it is left"),
        (status = 202, body = Erasure, description = "The erasure goes on"),
    ),
)]
#[worker::send]
pub(crate) async fn erase(
    State(app): State<Arc<App>>,
    audited: Audited,
    InPath(tenant): InPath<String>,
) -> Result<Response, Refused> {
    let (upstash, tenant) = (&app.settings.upstash, id(&tenant, "tenant")?);
    let erasure = tenants::erase(&app.database, upstash, app.archive(), audited.by(), tenant).await?;
    let status = if erasure.erased {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    answer::json(status, &erasure)
}
