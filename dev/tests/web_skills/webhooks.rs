//! `webhook_send` against receivers that verify, and against such that fail.

use std::time::Duration;

use aos::skills::{Category, Outcome};
use aos::tenants::OwnSetting;
use aos_dev::faults::Action;
use aos_dev::standins::resolver::Records;
use aos_dev::standins::script::Step;
use serde_json::json;

use crate::world::{STEP, World, code};

async fn world() -> World {
    let mut world = World::start().await;
    world.public("hooks.dev");
    let secret = world.standins.webhooks().secret("shop").unwrap();
    world.owner.values.insert(OwnSetting::WebhookSecret, secret.into());
    world
}

async fn send(world: &World) -> Outcome {
    let url = world.at("hooks.dev", "/webhooks/shop");
    let params = json!({"url": url, "payload": {"type": "order.shipped", "data": {"name": "Grün"}}});
    world.call("webhook_send", params).await
}

#[tokio::test]
async fn a_receiver_believes_the_message_and_takes_it_once_however_often_it_comes() {
    let world = world().await;
    let outcome = send(&world).await;
    assert_eq!(outcome.output, Some(json!({"status": 200, "webhook_id": STEP})));
    assert_eq!((outcome.usage.requests, outcome.effects.len()), (3, 1));
    assert_eq!(code(&send(&world).await), "");
    let tally = world.standins.webhooks().tally("shop");
    assert_eq!((tally.delivered, tally.duplicates, tally.invalid), (1, 1, 0));
    let message = &tally.messages[0];
    assert_eq!(message.id, STEP);
    assert_eq!(message.body, r#"{"data":{"name":"Grün"},"type":"order.shipped"}"#);
    assert_eq!(message.content_type.as_deref(), Some("application/json"));
}

#[tokio::test]
async fn a_message_that_is_signed_with_another_secret_is_refused() {
    let mut world = world().await;
    let other = world.standins.webhooks().secret("somebody").unwrap();
    world.owner.values.insert(OwnSetting::WebhookSecret, other.into());
    let outcome = send(&world).await;
    assert_eq!((code(&outcome), outcome.effects.len()), ("permission_denied", 0));
    world.owner.values.clear();
    assert_eq!(code(&send(&world).await), "integration_not_configured");
    let tally = world.standins.webhooks().tally("shop");
    assert_eq!((tally.delivered, tally.invalid), (0, 1), "nothing goes out unsigned");
}

#[tokio::test]
async fn every_answer_of_a_receiver_is_what_the_contract_says() {
    let world = world().await;
    let webhooks = world.standins.webhooks();
    for (step, expected, category, retry_after_ms) in [
        (
            Step::error("bad_request"),
            "request_rejected",
            Category::Validation,
            None,
        ),
        (Step::status(401, "no"), "permission_denied", Category::Permission, None),
        (Step::status(404, "no"), "target_not_found", Category::NotFound, None),
        (Step::error("gone"), "target_not_found", Category::NotFound, None),
        (Step::status(409, "no"), "target_conflict", Category::Conflict, None),
        (
            Step::error("rate_limited").retry_after("7"),
            "rate_limited",
            Category::RateLimit,
            Some(7_000),
        ),
        (Step::error("rate_limited"), "rate_limited", Category::RateLimit, None),
        (Step::error("redirect"), "target_redirected", Category::Provider, None),
        (Step::status(301, ""), "target_redirected", Category::Provider, None),
        (
            Step::error("server_error"),
            "provider_unavailable",
            Category::Provider,
            None,
        ),
        (Step::status(502, ""), "provider_unavailable", Category::Provider, None),
        (
            Step::error("unavailable").retry_after("2"),
            "provider_unavailable",
            Category::Provider,
            Some(2_000),
        ),
        (Step::fault(Action::DropBefore), "network", Category::Network, None),
        (Step::fault(Action::HalfBody), "network", Category::Network, None),
    ] {
        let told = format!("{:?}", step.answer);
        webhooks.script([step]).unwrap();
        let outcome = send(&world).await;
        let error = outcome.error.unwrap();
        assert_eq!((error.code.as_ref(), error.category), (expected, category), "{told}");
        assert_eq!(error.retry_after_ms, retry_after_ms, "{told}");
        assert!(outcome.effects.is_empty(), "{told}");
    }
    assert_eq!(
        world.standins.effects().tally("redirected").count,
        0,
        "redirects are not followed"
    );
    // A 2xx is a success, whatever its body says.
    webhooks.script([Step::garbage()]).unwrap();
    assert_eq!(code(&send(&world).await), "");
}

#[tokio::test]
async fn a_message_whose_answer_was_lost_is_sent_again_and_counts_once() {
    let mut world = world().await;
    let webhooks = world.standins.webhooks().clone();
    webhooks.script([Step::fault(Action::DropAfter)]).unwrap();
    assert_eq!(code(&send(&world).await), "network");
    assert_eq!(code(&send(&world).await), "");
    let tally = webhooks.tally("shop");
    assert_eq!((tally.delivered, tally.duplicates), (1, 1));

    world.timeout = Duration::from_millis(300);
    webhooks
        .script([Step::fault(Action::DelayAfter { ms: 3_000 })])
        .unwrap();
    assert_eq!(code(&send(&world).await), "timeout");
}

#[tokio::test]
async fn a_receiver_inside_gets_nothing() {
    let world = world().await;
    let dns = world.standins.resolver();
    dns.set("hooks.dev", Records::addresses(["10.0.0.1".parse().unwrap()]));
    assert_eq!(code(&send(&world).await), "forbidden_address");
    dns.set("hooks.dev", Records::default());
    assert_eq!(code(&send(&world).await), "name_not_resolved");
    world.resolver_fails(4, Action::DropBefore);
    assert_eq!(code(&send(&world).await), "dns_failed");
    assert_eq!(world.standins.webhooks().received().count, 0);
}
