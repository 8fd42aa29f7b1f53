//! The calls of Clerk's backend API that AOS makes, and those of the vendor's verifier: sessions, users, JWKS.
//! The shapes are those of Clerk's OpenAPI file (version 2026-05-12), the errors those of its list of errors.
//! Must never answer without the secret key.

use std::time::{Duration, Instant};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::directory::Status;
use super::{Clerk, heavy, now_ms, refused};

/// Clerk's limit for production instances.
const REQUESTS: u32 = 1_000;
const WINDOW: Duration = Duration::from_secs(10);
/// Sessions in a list when nothing else is asked for, and at most.
const PAGE: usize = 10;
const LONGEST_PAGE: usize = 500;

/// How many requests are left in the present window.
#[derive(Debug)]
pub(super) struct Allowance {
    limit: u32,
    used: u32,
    since: Instant,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            limit: REQUESTS,
            used: 0,
            since: Instant::now(),
        }
    }
}

impl Allowance {
    /// A new limit, with a window that begins now.
    pub(super) fn set(&mut self, limit: u32) {
        *self = Self {
            limit,
            ..Self::default()
        };
    }

    /// Takes one request, or says in how many seconds to come again.
    fn take(&mut self) -> Result<(), u64> {
        let passed = self.since.elapsed();
        if passed >= WINDOW {
            self.set(self.limit);
        } else if self.used >= self.limit {
            return Err(WINDOW.saturating_sub(passed).as_secs() + 1);
        }
        self.used = self.used.saturating_add(1);
        Ok(())
    }
}

pub(super) fn routes(clerk: &Clerk) -> Router<Clerk> {
    let limited = Router::new()
        .route("/sessions", get(list_sessions))
        .route("/sessions/{id}", get(read_session))
        .route("/sessions/{id}/revoke", post(revoke_session))
        .route("/users/{id}", get(read_user))
        // A route, since a fallback is not reached in a router that is nested twice.
        .route("/{*path}", any(nothing_here))
        .layer(from_fn_with_state(clerk.clone(), within_limit));
    // Clerk does not limit its JWKS.
    let all = Router::new().route("/jwks", get(jwks)).merge(limited);
    all.layer(from_fn_with_state(clerk.clone(), with_secret_key))
}

/// An error as Clerk writes it.
fn fault(status: StatusCode, code: &str, message: &str, long_message: &str) -> Response {
    let errors = json!([{ "message": message, "long_message": long_message, "code": code }]);
    let trace = uuid::Uuid::now_v7().simple().to_string();
    (status, Json(json!({ "errors": errors, "clerk_trace_id": trace }))).into_response()
}

fn no_session(id: &str) -> Response {
    let long = format!("No session was found with id {id}");
    fault(StatusCode::NOT_FOUND, "resource_not_found", "Session not found", &long)
}

async fn nothing_here() -> Response {
    fault(
        StatusCode::NOT_FOUND,
        "resource_not_found",
        "not found",
        "Resource not found",
    )
}

async fn with_secret_key(State(clerk): State<Clerk>, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    match given.and_then(|value| value.strip_prefix("Bearer ")) {
        None => fault(
            StatusCode::UNAUTHORIZED,
            "authorization_header_format_invalid",
            "Invalid Authorization header format",
            "Invalid Authorization header format. Must be 'Bearer <YOUR_API_KEY>'",
        ),
        Some(key) if key != clerk.secret_key() => {
            let message = "The provided Clerk Secret Key is invalid. Make sure that your Clerk Secret Key is correct.";
            fault(StatusCode::UNAUTHORIZED, "clerk_key_invalid", message, message)
        }
        Some(_) => next.run(request).await,
    }
}

async fn within_limit(State(clerk): State<Clerk>, request: Request, next: Next) -> Response {
    let taken = clerk.lock(&clerk.0.allowance).take();
    match taken {
        Ok(()) => next.run(request).await,
        Err(seconds) => {
            let message = "Too many requests. Please try again in a bit.";
            let answer = fault(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message, message);
            ([(header::RETRY_AFTER, seconds.to_string())], answer).into_response()
        }
    }
}

async fn jwks(State(clerk): State<Clerk>) -> Response {
    match heavy(clerk, |clerk| clerk.keys().jwks()).await {
        Ok(jwks) => Json(jwks).into_response(),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}

#[derive(Debug, Deserialize)]
struct SessionQuery {
    user_id: Option<String>,
    client_id: Option<String>,
    status: Option<Status>,
    #[serde(default)]
    paginated: bool,
    limit: Option<usize>,
    #[serde(default)]
    offset: usize,
}

async fn list_sessions(State(clerk): State<Clerk>, query: Result<Query<SessionQuery>, QueryRejection>) -> Response {
    let invalid = |long: &str| {
        fault(
            StatusCode::UNPROCESSABLE_ENTITY,
            "form_param_value_invalid",
            "is invalid",
            long,
        )
    };
    let query = match query {
        Ok(Query(query)) => query,
        Err(rejection) => return invalid(&rejection.body_text()),
    };
    if query.user_id.is_none() && query.client_id.is_none() {
        let long = "Either client_id or user_id must be included.";
        return fault(
            StatusCode::UNPROCESSABLE_ENTITY,
            "form_param_missing",
            "is missing",
            long,
        );
    }
    let page = query.limit.unwrap_or(PAGE);
    if !(1..=LONGEST_PAGE).contains(&page) {
        return invalid("limit must be between 1 and 500.");
    }
    let directory = clerk.directory();
    let found: Vec<_> = directory
        .sessions()
        .filter(|session| query.user_id.as_ref().is_none_or(|user| *user == session.user))
        .filter(|session| {
            query
                .client_id
                .as_ref()
                .is_none_or(|client| *client == session.client())
        })
        .filter(|session| query.status.is_none_or(|status| status == session.status))
        .collect();
    let data: Vec<Value> = found
        .iter()
        .skip(query.offset)
        .take(page)
        .map(|session| session.json())
        .collect();
    if query.paginated {
        Json(json!({ "data": data, "total_count": found.len() })).into_response()
    } else {
        Json(data).into_response()
    }
}

async fn read_session(State(clerk): State<Clerk>, Path(id): Path<String>) -> Response {
    match clerk.directory().session(&id) {
        Some(session) => Json(session.json()).into_response(),
        None => no_session(&id),
    }
}

async fn revoke_session(State(clerk): State<Clerk>, Path(id): Path<String>) -> Response {
    let mut directory = clerk.directory();
    if directory.session(&id).is_none() {
        return no_session(&id);
    }
    match directory.revoke(&id, now_ms()) {
        Some(session) => Json(session.json()).into_response(),
        None => {
            let long = format!("Unable to revoke session {id}");
            let message = "Invalid action for user session";
            fault(StatusCode::BAD_REQUEST, "invalid_action_for_session", message, &long)
        }
    }
}

async fn read_user(State(clerk): State<Clerk>, Path(id): Path<String>) -> Response {
    match clerk.directory().user(&id) {
        Some(user) => Json(user).into_response(),
        None => {
            let long = format!("No user was found with id {id}");
            fault(StatusCode::NOT_FOUND, "resource_not_found", "not found", &long)
        }
    }
}
