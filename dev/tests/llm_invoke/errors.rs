//! Each documented error of the providers, asked for alone: what it comes to.

use std::time::Duration;

use aos::skills::Category;
use aos_dev::standins::script::Step;

use crate::bench::{Bench, failure, say_to};

struct Expected {
    step: Step,
    status: u16,
    category: Category,
    code: &'static str,
    retryable: bool,
    retry_after_ms: Option<u64>,
}

fn expected(step: Step, status: u16, category: Category, code: &'static str, retryable: bool) -> Expected {
    Expected {
        step,
        status,
        category,
        code,
        retryable,
        retry_after_ms: None,
    }
}

impl Expected {
    fn after(self, ms: u64) -> Self {
        Self {
            retry_after_ms: Some(ms),
            ..self
        }
    }
}

async fn holds(provider: &str, table: Vec<Expected>) {
    let mut bench = Bench::start().await;
    bench.timeout = Duration::from_secs(15);
    for Expected {
        step,
        status,
        category,
        code,
        retryable,
        retry_after_ms,
    } in table
    {
        let what = format!("{provider} {step:?}");
        match provider {
            "anthropic" => bench.anthropic([step]),
            _ => bench.openai([step]),
        }
        let outcome = bench.call(&say_to(provider, "hi")).await;
        assert_eq!(failure(&outcome), (category, code, retryable), "{what}");
        let error = outcome.error.as_ref().unwrap();
        assert_eq!(
            (error.provider.as_deref(), error.provider_status, error.retry_after_ms),
            (Some(provider), Some(status), retry_after_ms),
            "{what}"
        );
        let [call] = outcome.calls.try_into().unwrap();
        assert_eq!(
            (call.code.as_deref(), call.provider_status, call.cost_microusd),
            (Some(code), Some(status), Some(0)),
            "{what}"
        );
        assert_eq!(call.requests, 1);
    }
    bench.end().await;
}

#[tokio::test]
async fn every_documented_error_of_anthropic_keeps_its_meaning() {
    let too_long = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#;
    let no_credit = r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#;
    let conflict = r#"{"type":"error","error":{"type":"conflict_error","message":"conflict"}}"#;
    let error = Step::error;
    let table = vec![
        expected(
            error("invalid_request_error"),
            400,
            Category::Validation,
            "request_rejected",
            false,
        ),
        expected(
            Step::status(400, too_long),
            400,
            Category::Validation,
            "context_window_exceeded",
            false,
        ),
        expected(
            Step::status(400, no_credit),
            400,
            Category::RateLimit,
            "quota_exhausted",
            false,
        ),
        expected(
            error("authentication_error"),
            401,
            Category::Configuration,
            "integration_unauthorized",
            false,
        ),
        expected(
            error("billing_error"),
            402,
            Category::RateLimit,
            "quota_exhausted",
            false,
        ),
        expected(
            error("permission_error"),
            403,
            Category::Permission,
            "permission_denied",
            false,
        ),
        expected(
            error("not_found_error"),
            404,
            Category::NotFound,
            "target_not_found",
            false,
        ),
        expected(
            Step::status(409, conflict),
            409,
            Category::Conflict,
            "target_conflict",
            false,
        ),
        expected(
            error("request_too_large"),
            413,
            Category::Validation,
            "request_too_large",
            false,
        ),
        expected(
            error("rate_limit_error"),
            429,
            Category::RateLimit,
            "rate_limited",
            true,
        )
        .after(1_000),
        expected(
            error("rate_limit_error").retry_after("7"),
            429,
            Category::RateLimit,
            "rate_limited",
            true,
        )
        .after(7_000),
        expected(
            error("api_error"),
            500,
            Category::Provider,
            "provider_unavailable",
            true,
        ),
        expected(error("timeout_error"), 504, Category::Timeout, "timeout", true),
        expected(
            error("overloaded_error"),
            529,
            Category::Provider,
            "provider_unavailable",
            true,
        ),
        expected(
            error("overloaded_error").retry_after("3"),
            529,
            Category::Provider,
            "provider_unavailable",
            true,
        )
        .after(3_000),
        expected(
            Step::status(502, "<html>"),
            502,
            Category::Provider,
            "provider_unavailable",
            true,
        ),
        expected(
            Step::status(503, ""),
            503,
            Category::Provider,
            "provider_unavailable",
            true,
        ),
    ];
    holds("anthropic", table).await;
}

#[tokio::test]
async fn every_documented_error_of_openai_keeps_its_meaning() {
    let error = Step::error;
    let table = vec![
        expected(
            error("invalid_request_error"),
            400,
            Category::Validation,
            "request_rejected",
            false,
        ),
        expected(
            error("context_length_exceeded"),
            400,
            Category::Validation,
            "context_window_exceeded",
            false,
        ),
        expected(
            error("invalid_api_key"),
            401,
            Category::Configuration,
            "integration_unauthorized",
            false,
        ),
        expected(
            error("unsupported_country_region_territory"),
            403,
            Category::Permission,
            "permission_denied",
            false,
        ),
        expected(
            error("model_not_found"),
            404,
            Category::NotFound,
            "target_not_found",
            false,
        ),
        expected(error("conflict"), 409, Category::Conflict, "target_conflict", false),
        expected(
            error("unprocessable_entity"),
            422,
            Category::Validation,
            "request_rejected",
            false,
        ),
        expected(
            error("rate_limit_exceeded"),
            429,
            Category::RateLimit,
            "rate_limited",
            true,
        )
        .after(1_000),
        expected(
            error("insufficient_quota"),
            429,
            Category::RateLimit,
            "quota_exhausted",
            false,
        ),
        expected(
            error("server_error"),
            500,
            Category::Provider,
            "provider_unavailable",
            true,
        ),
        expected(
            error("service_unavailable"),
            503,
            Category::Provider,
            "provider_unavailable",
            true,
        ),
        expected(
            error("service_unavailable").retry_after("3"),
            503,
            Category::Provider,
            "provider_unavailable",
            true,
        )
        .after(3_000),
        expected(
            Step::status(413, ""),
            413,
            Category::Validation,
            "request_too_large",
            false,
        ),
        expected(
            Step::status(502, "<html>"),
            502,
            Category::Provider,
            "provider_unavailable",
            true,
        ),
    ];
    holds("openai", table).await;
}
