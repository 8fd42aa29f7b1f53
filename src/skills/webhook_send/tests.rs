//! The skill against a scripted network.

use std::time::Duration;

use super::*;
use crate::{
    platform::FetchError,
    skills::testing::{self, IDEMPOTENCY_KEY, Scene},
};

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";

fn skill() -> WebhookSend {
    WebhookSend::new(Arc::default())
}

fn scene() -> Scene {
    let mut scene = Scene::default();
    scene.owner.values.insert(OwnSetting::WebhookSecret, SECRET.into());
    scene
}

fn run(scene: &Scene, params: Value) -> Outcome {
    let skill = skill();
    let outcome = scene.run(&skill, &params);
    testing::assert_listed(&skill, &outcome);
    outcome
}

fn send(scene: &Scene) -> Outcome {
    run(
        scene,
        json!({"url": "https://hooks.example.com/a?b=c", "payload": {"b": 1, "a": "ü"}}),
    )
}

fn code(outcome: &Outcome) -> &str {
    outcome.error.as_ref().map_or("", |error| error.code.as_ref())
}

#[test]
fn a_message_goes_out_signed_under_the_steps_key() {
    let scene = scene().answers(204, &[("x-request-id", "r-1")], "");
    let params = json!({
        "url": "https://hooks.example.com/a?b=c", "payload": {"b": 1, "a": "ü"},
        "headers": {"X-Kind": "order", "Content-Type": "application/cloudevents+json"}
    });
    let outcome = run(&scene, params);
    assert_eq!(
        outcome.output,
        Some(json!({"status": 204, "webhook_id": IDEMPOTENCY_KEY}))
    );
    assert_eq!(outcome.provider_request_id.as_deref(), Some("r-1"));
    assert_eq!(outcome.effects[0].target, "hooks.example.com/a");
    assert_eq!(outcome.effects[0].idempotency_key, IDEMPOTENCY_KEY);
    let request = &scene.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.url.as_str()),
        ("POST", "https://hooks.example.com/a?b=c")
    );
    let body = request.body.as_deref().unwrap();
    assert_eq!(body, r#"{"a":"ü","b":1}"#.as_bytes());
    assert_eq!((outcome.usage.requests, outcome.usage.bytes_out), (1, 16));
    assert_eq!(request.headers["webhook-id"], IDEMPOTENCY_KEY);
    assert_eq!(
        request.headers["webhook-timestamp"], "0",
        "the scene's clock stands at the epoch"
    );
    assert_eq!(request.headers["x-kind"], "order");
    assert_eq!(request.headers["content-type"], "application/cloudevents+json");
    let key = SigningKey::parse(SECRET).unwrap();
    assert_eq!(key.verify(&request.headers, body, jiff::Timestamp::UNIX_EPOCH), Ok(()));
}

#[test]
fn nothing_goes_out_unsigned() {
    let outcome = send(&Scene::default());
    assert_eq!(code(&outcome), "integration_not_configured");
    let mut unreadable = Scene::default();
    unreadable.owner.unreadable.insert(OwnSetting::WebhookSecret);
    let error = send(&unreadable).error.unwrap();
    assert!(error.code == "integration_not_configured" && error.message.contains("opened"));
    let mut wrong = Scene::default();
    wrong.owner.values.insert(OwnSetting::WebhookSecret, "s3cret".into());
    let error = send(&wrong).error.unwrap();
    assert!(error.code == "integration_not_configured" && !error.message.contains("s3cret"));
}

#[test]
fn every_status_is_the_outcome_of_what_may_be_repeated() {
    for (status, expected) in [
        (200, ""),
        (202, ""),
        (301, "target_redirected"),
        (304, "target_redirected"),
        (307, "target_redirected"),
        (400, "request_rejected"),
        (401, "permission_denied"),
        (404, "target_not_found"),
        (408, "provider_unavailable"),
        (409, "target_conflict"),
        (410, "target_not_found"),
        (413, "request_rejected"),
        (422, "request_rejected"),
        (429, "rate_limited"),
        (500, "provider_unavailable"),
        (502, "provider_unavailable"),
        (503, "provider_unavailable"),
        (504, "provider_unavailable"),
        (522, "provider_unavailable"),
    ] {
        let scene = scene().answers(
            status,
            &[("location", "https://other.example.net/"), ("retry-after", "7")],
            "no",
        );
        let outcome = send(&scene);
        assert_eq!(code(&outcome), expected, "{status}");
        assert_eq!(scene.requests().len(), 1, "{status}");
        assert_eq!(outcome.effects.len(), usize::from(expected.is_empty()), "{status}");
        if let Some(error) = outcome.error {
            assert_eq!(error.retry_after_ms, error.retryable.then_some(7_000), "{status}");
            assert_eq!(
                (error.provider.as_deref(), error.provider_status),
                (Some("hooks.example.com"), Some(status))
            );
        }
    }
}

#[test]
fn without_an_answer_it_is_tried_again() {
    let fails = |error| code(&send(&scene().fails(error))).to_owned();
    assert_eq!(fails(FetchError::Connection("reset".to_owned())), "network");
    assert_eq!(fails(FetchError::Timeout(Duration::from_secs(1))), "timeout");
    assert_eq!(fails(FetchError::Refused("bad port".to_owned())), "request_refused");
}

#[test]
fn bad_params_are_refused_at_their_place() {
    let good = json!({"url": "https://hooks.example.com/", "payload": null});
    assert_eq!(skill().check(&good), Ok(()));
    for (field, value, pointer, expected) in [
        ("url", json!("http://10.0.0.1/"), "/url", "forbidden_address"),
        ("url", json!("nonsense"), "/url", "invalid_value"),
        ("payload", json!("x".repeat(256 * 1024)), "/payload", "too_long"),
        ("payload", testing::nested(65), "/payload", "too_deep"),
        (
            "headers",
            json!({"Webhook-Id": "x"}),
            "/headers/Webhook-Id",
            "invalid_value",
        ),
        (
            "headers",
            json!({"webhook-signature": "x"}),
            "/headers/webhook-signature",
            "invalid_value",
        ),
        (
            "headers",
            json!({"webhook-other": "x"}),
            "/headers/webhook-other",
            "invalid_value",
        ),
        ("headers", json!({"Host": "x"}), "/headers/Host", "invalid_value"),
        (
            "headers",
            json!({"x": "a\r\nwebhook-id: b"}),
            "/headers/x",
            "invalid_value",
        ),
        ("method", json!("PUT"), "/method", "unknown_field"),
    ] {
        let mut params = good.clone();
        params[field] = value.clone();
        let errors = skill().check(&params).expect_err(field);
        let found: Vec<_> = errors
            .iter()
            .map(|error| (error.pointer.as_str(), error.code.as_ref()))
            .collect();
        assert_eq!(found, [(pointer, expected)], "{field} {value}");
    }
    assert!(!skill().may_hold_secret("/headers/Authorization"));
    for (params, expected) in [
        (
            json!({"url": "http://169.254.169.254/", "payload": 1}),
            "forbidden_address",
        ),
        (json!({"url": "{{input.url}}", "payload": 1}), "invalid_params"),
    ] {
        assert_eq!(code(&run(&scene(), params)), expected);
    }
}
