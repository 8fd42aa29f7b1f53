//! Answers: JSON, problems (RFC 9457), and the headers that every answer carries.

use aos::{idempotency::Answer, problem::Problem};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
/// How a stranger may make himself known.
const CHALLENGES: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"aos\", ApiKey realm=\"aos\", header=\"X-API-Key\"");

/// A refused request, on its way out: [`finish`] writes it, once its request's id is known.
#[derive(Debug, Clone)]
pub(crate) struct Refused(pub(crate) Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = status(self.0.status).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// `value` as JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Result<Response, Refused> {
    let body = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer cannot become JSON");
        Problem::internal()
    })?;
    Ok((status, [(header::CONTENT_TYPE, JSON)], body).into_response())
}

/// A text that is JSON already.
pub(crate) fn json_text(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, JSON)], text).into_response()
}

/// The answer to a request that created something, now or the first time it was sent.
pub(crate) fn created(answer: &Answer) -> Result<Response, Refused> {
    let mut response = json(status(answer.status), &answer.body)?;
    if let Ok(location) = HeaderValue::from_str(&answer.location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if answer.replayed {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Writes a problem where the answer is one, and gives every answer its headers.
pub(crate) fn finish(mut response: Response, request_id: &str, production: bool) -> Response {
    if let Some(Refused(mut problem)) = response.extensions_mut().remove::<Refused>() {
        problem.request_id = Some(request_id.to_owned());
        write(&problem, &mut response);
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    if production {
        let two_years = HeaderValue::from_static("max-age=63072000; includeSubDomains");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, two_years);
    }
    response
}

fn write(problem: &Problem, response: &mut Response) {
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
    if problem.status == 401 {
        headers.insert(header::WWW_AUTHENTICATE, CHALLENGES);
    }
    if let Some(seconds) = problem.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    // A problem is texts and numbers: it always becomes JSON.
    *response.body_mut() = Body::from(serde_json::to_vec(problem).unwrap_or_default());
}

/// Our own statuses are valid; one that were not would be a mistake of ours.
fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    async fn body(response: Response) -> Value {
        serde_json::from_slice(&axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_problem_is_written_with_the_requests_id_and_its_headers() {
        let response = finish(Refused(Problem::unavailable("away")).into_response(), "req_1", true);
        assert_eq!(response.status(), 503);
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        for (name, value) in [
            ("content-type", "application/problem+json"),
            ("retry-after", "5"),
            ("x-request-id", "req_1"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("strict-transport-security", "max-age=63072000; includeSubDomains"),
        ] {
            assert_eq!(header(name).as_deref(), Some(value), "{name}");
        }
        let body = body(response).await;
        assert_eq!(
            (&body["status"], &body["code"], &body["request_id"]),
            (&json!(503), &json!("unavailable"), &json!("req_1"))
        );
    }

    #[tokio::test]
    async fn a_stranger_is_told_how_to_make_himself_known() {
        let problem = Problem::new(401, "unauthenticated", "No valid credential", "none");
        let response = finish(Refused(problem).into_response(), "req_1", false);
        assert!(response.headers().contains_key("www-authenticate"));
        assert!(!response.headers().contains_key("strict-transport-security"));
    }

    #[tokio::test]
    async fn what_was_created_says_where_it_is_and_whether_it_was_there_before() {
        let answer = Answer {
            status: 202,
            location: "/v1/runs/run_1".into(),
            body: json!({"id": "run_1"}),
            replayed: true,
        };
        let response = created(&answer).unwrap();
        assert_eq!(response.status(), 202);
        assert_eq!(response.headers()["location"], "/v1/runs/run_1");
        assert_eq!(response.headers()["idempotency-replayed"], "true");
        assert_eq!(body(response).await, json!({"id": "run_1"}));
        let first = created(&Answer {
            replayed: false,
            ..answer
        })
        .unwrap();
        assert!(!first.headers().contains_key("idempotency-replayed"));
    }
}
