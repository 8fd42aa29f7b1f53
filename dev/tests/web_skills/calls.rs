//! `http_call` against a target that answers well and badly.

use std::time::Duration;

use aos_dev::faults::{Action, Rule};
use serde_json::{Value, json};

use crate::world::{Bucket, World, code};

async fn world() -> World {
    let mut world = World::start().await;
    world.allow_loopback();
    world
}

fn method(method: &str, url: &str) -> Value {
    json!({"method": method, "url": url, "timeout_ms": 5000})
}

#[tokio::test]
async fn every_status_is_what_the_contract_says_to_what_may_be_repeated_and_what_may_not() {
    let world = world().await;
    for (status, repeatable, once) in [
        (200, "", ""),
        (204, "", ""),
        (302, "", ""),
        (400, "request_rejected", "request_rejected"),
        (401, "permission_denied", "permission_denied"),
        (402, "request_rejected", "request_rejected"),
        (403, "permission_denied", "permission_denied"),
        (404, "target_not_found", "target_not_found"),
        (405, "request_rejected", "request_rejected"),
        (407, "permission_denied", "permission_denied"),
        (408, "provider_unavailable", "provider_unavailable"),
        (409, "target_conflict", "target_conflict"),
        (410, "target_not_found", "target_not_found"),
        (412, "target_conflict", "target_conflict"),
        (422, "request_rejected", "request_rejected"),
        (423, "target_conflict", "target_conflict"),
        (425, "provider_unavailable", "provider_unavailable"),
        (429, "rate_limited", "rate_limited"),
        (451, "permission_denied", "permission_denied"),
        (500, "provider_unavailable", "provider_failed"),
        (502, "provider_unavailable", "unknown_effect"),
        (503, "provider_unavailable", "provider_unavailable"),
        (504, "provider_unavailable", "unknown_effect"),
        (522, "provider_unavailable", "unknown_effect"),
        (529, "provider_unavailable", "provider_unavailable"),
    ] {
        let url = world.at("127.0.0.1", &format!("/status/{status}?retry_after=3"));
        for (verb, expected) in [
            ("GET", repeatable),
            ("PUT", repeatable),
            ("DELETE", repeatable),
            ("POST", once),
        ] {
            let outcome = world.call("http_call", method(verb, &url)).await;
            assert_eq!(code(&outcome), expected, "{verb} {status}");
            if let Some(error) = outcome.error {
                assert_eq!(error.retry_after_ms, error.retryable.then_some(3000), "{verb} {status}");
                assert_eq!(error.provider_status, Some(status), "{verb} {status}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_tried_again_only_where_a_repeat_is_harmless() {
    let world = world().await;
    for (action, arrives) in [
        (Action::DropBefore, 0),
        (Action::DropAfter, 1),
        (Action::HalfBody, 1),
        (Action::DelayAfter { ms: 3_000 }, 1),
    ] {
        let is_slow = matches!(action, Action::DelayAfter { .. });
        for (verb, expected) in [
            ("PUT", if is_slow { "timeout" } else { "network" }),
            ("POST", "unknown_effect"),
        ] {
            world.standins.effects().clear();
            world
                .standins
                .faults()
                .add(Rule::new(action.clone()).matching("/effects/a").times(1));
            let params = json!({"method": verb, "url": world.at("127.0.0.1", "/effects/a"), "timeout_ms": 400});
            let outcome = world.call("http_call", params.clone()).await;
            assert_eq!(code(&outcome), expected, "{verb} {action:?}");
            assert_eq!(world.standins.effects().tally("a").count, arrives, "{verb} {action:?}");
            assert_eq!(outcome.effects.len(), usize::from(verb == "POST"), "{verb} {action:?}");
            if verb == "PUT" {
                assert_eq!(code(&world.call("http_call", params).await), "");
                let tally = world.standins.effects().tally("a");
                assert_eq!(
                    (tally.count, tally.duplicate_keys),
                    (arrives + 1, arrives),
                    "one key for all attempts"
                );
            }
            world.standins.faults().clear();
        }
    }
}

#[tokio::test]
async fn bad_bodies_are_told_apart() {
    let world = world().await;
    let get = async |path: &str| {
        world
            .call(
                "http_call",
                json!({"url": world.at("127.0.0.1", path), "timeout_ms": 400}),
            )
            .await
    };
    assert_eq!(code(&get("/half").await), "network");
    assert_eq!(code(&get("/drop").await), "network");
    assert_eq!(code(&get("/slow?ms=3000").await), "timeout");
    assert_eq!(code(&get("/redirect-loop").await), "too_many_redirects");
    let garbage = get("/garbage").await.output.unwrap();
    assert_eq!(
        garbage["body_encoding"], "base64",
        "called JSON, and neither JSON nor text"
    );
    let chunked = get("/chunked").await.output.unwrap();
    assert_eq!(chunked["body"], json!({"chunks": [1, 2, 3]}));
}

#[tokio::test]
async fn the_archive_decides_how_long_an_answer_may_be() {
    let mut world = world().await;
    const MIB: usize = 1024 * 1024;
    for (has_archive, length, expected) in [
        (false, MIB, ""),
        (false, MIB + 1, "output_too_large"),
        (true, MIB + 1, ""),
        (true, 2 * MIB, ""),
        (true, 2 * MIB + 1, "output_too_large"),
    ] {
        world.services.archive = has_archive.then(|| Bucket::archive(world.services.clock.clone()));
        let url = world.at("127.0.0.1", &format!("/bytes?n={length}"));
        let outcome = world.call("http_call", json!({"url": url})).await;
        assert_eq!(code(&outcome), expected, "{has_archive} {length}");
        if expected.is_empty() {
            assert_eq!(outcome.output.unwrap()["body"].as_str().unwrap().len(), length);
            assert_eq!(outcome.usage.bytes_in, u64::try_from(length).unwrap());
        }
    }
}

#[tokio::test]
async fn a_secret_reaches_its_target_and_nobody_else() {
    let mut world = world().await;
    world.public("a.dev");
    for name in ["Authorization", "User-Agent"] {
        let pointer = format!("/headers/{name}");
        world.secrets.insert(pointer, "Bearer s3cret".to_owned().into());
    }
    let headers =
        json!({"Authorization": "Bearer {{secrets.x}}", "User-Agent": "Bearer {{secrets.x}}", "X-Plain": "p"});
    let call = async |url: String| {
        let params = json!({"url": url, "headers": headers});
        world.call("http_call", params).await.output.unwrap()["body"]["headers"].clone()
    };
    let seen = call(world.at("127.0.0.1", "/echo")).await;
    assert_eq!(
        (&seen["authorization"], &seen["user-agent"]),
        (&json!("Bearer s3cret"), &json!("Bearer s3cret"))
    );
    let same = world.at("127.0.0.1", "/redirect?to=/echo");
    assert_eq!(call(same).await["authorization"], "Bearer s3cret");
    let elsewhere = format!("/redirect?to={}", world.at("a.dev", "/echo"));
    let seen = call(world.at("127.0.0.1", &elsewhere)).await;
    assert!(!seen.to_string().contains("s3cret"), "{seen}");
    assert_eq!(seen["x-plain"], Value::Null);
}

#[tokio::test]
async fn nothing_outlives_the_time_of_a_call() {
    let mut world = world().await;
    world.timeout = Duration::from_millis(300);
    let begun = std::time::Instant::now();
    let outcome = world
        .call("http_call", json!({"url": world.at("127.0.0.1", "/slow?ms=5000")}))
        .await;
    assert_eq!(code(&outcome), "timeout");
    assert!(begun.elapsed() < Duration::from_secs(2));
}
