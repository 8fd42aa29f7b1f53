//! What runs the installation asks: is it alive, is it ready, what is it.

use std::sync::Arc;

use aos::readiness::{self, Readiness};
use axum::{extract::State, http::StatusCode, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    answer::{self, Refused},
    state::App,
};

/// The committed description of the API; a test holds it equal to what the code says.
const OPENAPI: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

/// Whether the Worker runs
///
/// Asks nobody else, and answers under any settings.
#[utoipa::path(
    get, path = "/healthz", operation_id = "health", tag = "operations", security(()),
    responses((status = 200, body = Object, description = "It runs", example = json!({"status": "ok"}))),
)]
pub(crate) async fn healthz() -> Response {
    answer::json_text(r#"{"status":"ok"}"#)
}

/// Whether requests can be served
///
/// Asks the database and Redis, for at most three seconds.
#[utoipa::path(
    get, path = "/readyz", operation_id = "readiness", tag = "operations", security(()),
    responses(
        (status = 200, body = Readiness, description = "All of them can be worked with"),
        (status = 503, content(
            (Readiness = "application/json"), (aos::problem::Problem = "application/problem+json"),
        ), description = "Some cannot; or a problem: `misconfigured`"),
    ),
)]
#[worker::send]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Result<Response, Refused> {
    let settings = &app.settings;
    let readiness = readiness::check(&settings.database, &settings.upstash, &app.limiter, app.clock.as_ref()).await;
    answer::json(
        if readiness.ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        &readiness,
    )
}

/// What is running.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "version": "0.1.0", "commit": "5f1c9a7d2e3b4c5d6e7f8091a2b3c4d5e6f70819", "compatibility_date": "2026-10-01"
}))]
pub(crate) struct Version {
    /// The version of AOS.
    version: &'static str,
    /// The commit it was built from, where that was known.
    commit: Option<&'static str>,
    /// The behaviour of the platform that it was built for.
    compatibility_date: &'static str,
}

const VERSION: Version = Version {
    version: env!("CARGO_PKG_VERSION"),
    commit: option_env!("AOS_COMMIT"),
    // As in wrangler.toml, which the Worker cannot see; a test holds them equal.
    compatibility_date: "2026-10-01",
};

/// What is running
#[utoipa::path(
    get, path = "/version", operation_id = "version", tag = "operations", security(()),
    responses((status = 200, body = Version, description = "The version")),
)]
pub(crate) async fn version() -> Result<Response, Refused> {
    answer::json(StatusCode::OK, &VERSION)
}

/// This description
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "operations", security(()),
    responses((status = 200, body = Object, description = "OpenAPI 3.1")),
)]
pub(crate) async fn openapi() -> Response {
    answer::json_text(OPENAPI)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compatibility_date_is_that_of_the_deployment() {
        let wrangler = include_str!("../../wrangler.toml");
        assert!(wrangler.contains(&format!("compatibility_date = \"{}\"", VERSION.compatibility_date)));
    }
}
