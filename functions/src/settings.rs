//! `/v1/settings`: what a tenant brought along.

use std::sync::Arc;

use aos::tenants::{self, SettingsChange, TenantSettings};
use axum::{extract::State, http::StatusCode, response::Response};

use crate::{
    answer::{self, Refused},
    caller::{Audited, Caller},
    incoming::Json,
    state::App,
};

/// Show the tenant's settings
///
/// Whose value of each holds: the tenant's own, or the installation's where the tenant's tier may use it.
#[utoipa::path(
    get, path = "/v1/settings", operation_id = "readSettings", tag = "secrets",
    responses((status = 200, body = TenantSettings, description = "All settings; keys are shown to nobody")),
)]
#[worker::send]
pub(crate) async fn read(State(app): State<Arc<App>>, Caller(principal): Caller) -> Result<Response, Refused> {
    let settings = &app.settings;
    let (sealer, installation) = (settings.sealer.as_ref(), &settings.installation);
    answer::json(
        StatusCode::OK,
        &tenants::settings(&app.database, sealer, installation, &principal).await?,
    )
}

/// Change the tenant's settings
///
/// A text sets one, `null` takes the tenant's own away; what is absent stays. All or nothing.
#[utoipa::path(
    put, path = "/v1/settings", operation_id = "putSettings", tag = "secrets",
    request_body = SettingsChange,
    responses((status = 200, body = TenantSettings, description = "The settings as they are now")),
)]
#[worker::send]
pub(crate) async fn put(
    State(app): State<Arc<App>>,
    audited: Audited,
    Json(body): Json<SettingsChange>,
) -> Result<Response, Refused> {
    let settings = &app.settings;
    let (sealer, installation) = (settings.sealer.as_ref(), &settings.installation);
    answer::json(
        StatusCode::OK,
        &tenants::put_settings(&app.database, sealer, installation, audited.by(), body).await?,
    )
}
