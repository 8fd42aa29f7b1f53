//! The description of the API, made from the code. The Worker serves the committed file: what makes it is native only,
//! and never part of the wasm.

use utoipa::IntoParams;

/// The query of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query that `aos::paging` reads")]
pub(crate) struct PageParams {
    /// Items of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The query of the audit log.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query that `aos::audit` reads")]
pub(crate) struct AuditParams {
    /// Entries of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only this action.
    action: Option<String>,
    /// `done` or `refused`.
    outcome: Option<String>,
    /// Only this actor.
    actor: Option<String>,
    /// The operator's: refusals of strangers, who belong to no tenant.
    strangers: Option<bool>,
}

/// The header of a request that may be sent again.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes the header that `aos::idempotency` reads")]
pub(crate) struct IdempotencyHeader {
    /// The same key with the same body gives the first answer again; 1 to 255 visible ASCII characters.
    #[param(rename = "Idempotency-Key", value_type = String, required = false, min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}

#[cfg(not(target_arch = "wasm32"))]
pub use self::document::openapi_json;

#[cfg(not(target_arch = "wasm32"))]
mod document;
