//! `slack_send` against the stand-in of Slack.

use std::time::Duration;

use aos::skills::OutcomeStatus;
use aos_dev::faults::Action;
use aos_dev::standins::script::Step;
use serde_json::{Value, json};

use crate::world::{Meaning, World, assert_means, step_id};

const UNKNOWN: Meaning = ("unknown_effect", "unknown_effect", false, None);

fn message() -> Value {
    json!({"text": "Hello"})
}

#[tokio::test]
async fn a_message_is_posted_as_the_params_say() {
    let world = World::start().await;
    let blocks = json!([
        {"type": "header", "text": {"type": "plain_text", "text": "Ünïcode ✓"}},
        {"type": "section", "text": {"type": "mrkdwn", "text": "All is *well*."}},
        {"type": "divider"}
    ]);
    let params = json!({"text": "Hello", "blocks": blocks, "thread": "1764331200.000100"});
    let outcome = world.call("slack_send", 1, &params).await;
    assert_eq!(outcome.status, OutcomeStatus::Succeeded, "{:?}", outcome.error);
    assert_eq!(outcome.output, Some(json!({"posted": true})));

    let posted = world.standins.slack().posted();
    assert_eq!(posted.count, 1);
    assert_eq!(
        posted.messages[0].payload,
        json!({"text": "Hello", "blocks": blocks, "thread_ts": "1764331200.000100"})
    );
    let effect = &outcome.effects[0];
    assert_eq!(
        (effect.kind.as_ref(), effect.target.as_str()),
        ("slack_message", "the tenant's incoming webhook")
    );
    assert_eq!(effect.idempotency_key, step_id(1).to_string());
    let call = &outcome.calls[0];
    assert_eq!(
        (call.integration.as_ref(), call.own_key, call.requests),
        ("slack", true, 1)
    );
    assert_eq!((outcome.cost_microusd, outcome.usage.requests), (Some(0), 1));

    let only_blocks = json!({"blocks": blocks});
    let outcome = world.call("slack_send", 2, &only_blocks).await;
    assert_eq!(outcome.status, OutcomeStatus::Succeeded);
    assert_eq!(world.standins.slack().posted().messages[1].payload, only_blocks);
    world.end().await;
}

#[tokio::test]
async fn every_documented_error_has_its_meaning() {
    let world = World::start().await;
    let rejected: Meaning = ("validation", "request_rejected", false, None);
    let unauthorized: Meaning = ("configuration", "integration_unauthorized", false, None);
    let not_found: Meaning = ("not_found", "target_not_found", false, None);
    let forbidden: Meaning = ("permission", "permission_denied", false, None);
    let mut step = 0;
    for (name, status, meaning) in [
        ("action_prohibited", 403, forbidden),
        ("channel_is_archived", 410, not_found),
        ("channel_not_found", 404, not_found),
        ("invalid_blocks", 400, rejected),
        ("invalid_payload", 400, rejected),
        ("invalid_token", 403, unauthorized),
        ("no_service", 404, unauthorized),
        ("no_team", 404, unauthorized),
        ("no_text", 400, rejected),
        ("rate_limited", 429, ("rate_limit", "rate_limited", true, Some(1_000))),
        ("rollup_error", 500, ("provider", "provider_failed", false, None)),
        ("too_many_attachments", 400, rejected),
        ("user_not_found", 400, not_found),
    ] {
        step += 1;
        world.standins.slack().script([Step::error(name)]).unwrap();
        let outcome = world.call("slack_send", step, &message()).await;
        let error = outcome.error.unwrap();
        assert_means(&error, meaning, name);
        assert_eq!(error.provider_status, Some(status), "{name}");
        assert_eq!(
            (error.provider.as_deref(), error.message.as_str()),
            (Some("slack"), name)
        );
        assert!(outcome.effects.is_empty(), "{name}");
        let call = &outcome.calls[0];
        assert_eq!(
            (call.code.as_deref(), call.provider_status),
            (Some(meaning.1), Some(status))
        );
    }
    for (status, body, meaning) in [
        (404, "no_active_hooks", unauthorized),
        (403, "posting_to_general_channel_denied", forbidden),
        (403, "<p>no</p>", forbidden),
        (413, "", ("validation", "request_too_large", false, None)),
        (418, "a_new_word", rejected),
    ] {
        step += 1;
        world.standins.slack().script([Step::status(status, body)]).unwrap();
        let outcome = world.call("slack_send", step, &message()).await;
        assert_means(&outcome.error.unwrap(), meaning, &format!("{status} {body}"));
    }
    let limited = Step::error("rate_limited").retry_after("30");
    world.standins.slack().script([limited]).unwrap();
    let outcome = world.call("slack_send", 100, &message()).await;
    assert_eq!(outcome.error.unwrap().retry_after_ms, Some(30_000));
    assert_eq!(world.standins.slack().posted().count, 0);
    world.end().await;
}

#[tokio::test]
async fn a_message_whose_answer_was_lost_is_posted_once_and_a_question_for_a_person() {
    let world = World::start().await;
    let patience = Duration::from_millis(400);
    for (step, action) in (1..).zip([
        Action::DropAfter,
        Action::HalfBody,
        Action::DelayAfter { ms: 1_000 },
        Action::DropBefore,
    ]) {
        world.standins.slack().forget_posted();
        world.next(action.clone());
        let outcome = world.call_within(patience, "slack_send", step, &message()).await;
        assert_means(&outcome.error.unwrap(), UNKNOWN, &format!("{action:?}"));
        let posted = u64::from(action != Action::DropBefore);
        assert_eq!(world.standins.slack().posted().count, posted, "{action:?}");
        assert_eq!(outcome.effects.len(), 1, "it may be there");
        assert_eq!(outcome.calls[0].code.as_deref(), Some("unknown_effect"));
    }
    world.end().await;
}

#[tokio::test]
async fn what_a_proxy_answers_leaves_the_effect_unknown() {
    let world = World::start().await;
    let quoting = world.standins.slack().webhook_url();
    for (step, (status, body)) in (1..).zip([
        (500, "server_error"),
        (502, "<p>bad gateway</p>"),
        (503, "upstream connect error or disconnect/reset before headers"),
        (504, ""),
        (520, ""),
        (200, ""),
        (200, "not_ok"),
        (200, "<p>please log in</p>"),
        (302, ""),
        (502, quoting.as_str()),
    ]) {
        world.standins.slack().script([Step::status(status, body)]).unwrap();
        let outcome = world.call("slack_send", step, &message()).await;
        assert_means(&outcome.error.unwrap(), UNKNOWN, &format!("{status} {body}"));
        assert_eq!(outcome.effects.len(), 1);
    }
    world.standins.slack().script([Step::garbage()]).unwrap();
    let outcome = world.call("slack_send", 99, &message()).await;
    assert_means(&outcome.error.unwrap(), UNKNOWN, "garbage");
    world.end().await;
}

#[tokio::test]
async fn what_was_never_sent_may_be_tried_again() {
    let mut world = World::start().await;
    world.close_the_providers();
    let outcome = world.call("slack_send", 1, &message()).await;
    assert_means(
        &outcome.error.unwrap(),
        ("network", "network", true, None),
        "nobody listens",
    );
    assert!(outcome.effects.is_empty());
    world.end().await;
}
