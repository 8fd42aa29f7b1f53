//! `/v1/calendar`: the files that `calendar_write` leaves, for whoever has the link.

use std::sync::Arc;

use aos::{
    ids::{StepId, TenantId},
    integrations::calendar,
    problem::Problem,
};
use axum::{
    extract::{RawQuery, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use crate::{
    answer::Refused,
    incoming::{InPath, id},
    state::App,
};

const ICALENDAR: HeaderValue = HeaderValue::from_static("text/calendar; charset=utf-8");
const ATTACHMENT: HeaderValue = HeaderValue::from_static("attachment; filename=\"event.ics\"");

/// Read a calendar file
///
/// The link is the credential: its parts come as `calendar_write` gave them.
#[utoipa::path(
    get, path = "/v1/calendar/{id}", operation_id = "readCalendarFile", tag = "skills", security(()),
    params(
        ("id" = StepId, Path, description = "The step that wrote it"),
        ("tenant" = TenantId, Query, description = "Whose step it is"),
        ("expires" = i64, Query, description = "When the link ends, in seconds of the Unix epoch"),
        ("key" = String, Query, description = "Which key signed the link"),
        ("sig" = String, Query, description = "The signature, in base64url"),
    ),
    responses(
        (status = 200, body = String, content_type = "text/calendar", description = "The event as iCalendar (RFC 5545)"),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "`link_invalid`; `link_expired`"),
    ),
)]
#[worker::send]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    InPath(step): InPath<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let step: StepId = id(&step, "calendar file")?;
    let file = calendar::read(app.calendars.as_ref(), step, query.as_deref()).await?;
    Ok((
        [
            (header::CONTENT_TYPE, ICALENDAR),
            (header::CONTENT_DISPOSITION, ATTACHMENT),
        ],
        file,
    )
        .into_response())
}
