//! `voyage_embed` against the stand-in of Voyage.

use std::time::Duration;

use aos::platform::ObjectStore;
use aos::skills::{Outcome, OutcomeStatus};
use aos_dev::faults::Action;
use aos_dev::standins::script::Step;
use serde_json::{Value, json};

use crate::world::{Meaning, World, assert_means};

const TOO_MANY: &str = r#"{"detail":"Request to model 'voyage-3' failed. The max allowed tokens per submitted batch is 320000. Your batch has 400000 tokens after truncation. Please lower the number of tokens in the batch."}"#;

fn one() -> Value {
    json!({"input": "A pear is a fruit."})
}

/// What the stand-in gives for texts when it is asked by itself, in decimals.
async fn vectors(world: &World, model: &str, texts: &[String]) -> Vec<Vec<f64>> {
    let voyage = world.standins.voyage();
    let mut all = Vec::new();
    for text in texts {
        let request = reqwest::Client::new()
            .post(format!("{}/v1/embeddings", voyage.base_url()))
            .bearer_auth(voyage.key())
            .json(&json!({"input": [text], "model": model, "input_type": "document"}));
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        all.push(serde_json::from_value(answer["data"][0]["embedding"].clone()).unwrap());
    }
    voyage.forget_received();
    all
}

fn embeddings(output: &Value) -> Vec<Vec<f64>> {
    serde_json::from_value(output["embeddings"].clone()).unwrap()
}

fn assert_alike(got: &[Vec<f64>], expected: &[Vec<f64>]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(got.len(), expected.len());
        let apart = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f64::max) < 1e-6);
    }
}

fn succeeded(outcome: Outcome) -> Value {
    assert_eq!(outcome.status, OutcomeStatus::Succeeded, "{:?}", outcome.error);
    outcome.output.unwrap()
}

#[tokio::test]
async fn texts_get_their_vectors_in_their_order() {
    let world = World::start().await;
    let texts = ["A pear.", "A wrench.", "Ünïcode ✓"].map(str::to_owned);
    for (model, dimensions, price) in [
        ("voyage-3", 1024, 60),
        ("voyage-3-lite", 512, 20),
        ("voyage-code-3", 1024, 180),
    ] {
        let expected = vectors(&world, model, &texts).await;
        let params = json!({"input": texts, "model": model, "input_type": "document"});
        let outcome = world.call("voyage_embed", 1, &params).await;
        let call = &outcome.calls[0];
        assert_eq!((outcome.calls.len(), call.requests, call.own_key), (1, 1, true));
        assert_eq!(
            (call.integration.as_ref(), call.model.as_deref()),
            ("voyage", Some(model))
        );
        // 2, 3 and 4 tokens of four bytes; the price is in micro-dollars per thousand, and a part of one counts whole.
        assert_eq!(call.input_tokens, Some(9));
        assert_eq!(outcome.cost_microusd, Some((9_i64 * price).div_euclid(1_000) + 1));
        assert!(call.price_version.is_some() && outcome.effects.is_empty());
        let output = succeeded(outcome);
        assert_eq!(
            (&output["model"], &output["dimensions"], &output["total_tokens"]),
            (&json!(model), &json!(dimensions), &json!(9))
        );
        assert_alike(&embeddings(&output), &expected);
    }
    let output = succeeded(world.call("voyage_embed", 2, &one()).await);
    assert_eq!((&output["model"], embeddings(&output).len()), (&json!("voyage-3"), 1));
    world.end().await;
}

#[tokio::test]
async fn a_large_input_is_sent_in_parts_and_put_together_in_its_order() {
    let world = World::start().await;
    // By the estimate 20,000 tokens each, and six of them to a request.
    let texts: Vec<String> = (0..10)
        .map(|number| format!("{number}{}", "x".repeat(39_999)))
        .collect();
    let expected = vectors(&world, "voyage-code-3", &texts).await;
    let params = json!({"input": texts, "model": "voyage-code-3", "input_type": "document"});
    let outcome = world.call("voyage_embed", 1, &params).await;
    assert_eq!((outcome.calls.len(), outcome.usage.requests), (2, 2));
    assert_eq!(outcome.usage.input_tokens, Some(100_000));
    // 60,000 and 40,000 tokens.
    assert_eq!(outcome.cost_microusd, Some(10_800 + 7_200));
    assert_eq!(world.standins.voyage().received().count, 2);
    let output = succeeded(outcome);
    assert_eq!(output["total_tokens"], 100_000);
    assert_alike(&embeddings(&output), &expected);
    world.end().await;
}

#[tokio::test]
async fn a_part_that_the_provider_finds_too_large_is_halved() {
    let world = World::start().await;
    let texts: Vec<String> = (0..5).map(|number| format!("text {number}")).collect();
    let expected = vectors(&world, "voyage-3", &texts).await;
    let params = json!({"input": texts, "input_type": "document"});
    // The whole, and its first half.
    world
        .standins
        .voyage()
        .script([Step::status(400, TOO_MANY).times(2)])
        .unwrap();
    let outcome = world.call("voyage_embed", 1, &params).await;
    let codes: Vec<_> = outcome.calls.iter().map(|call| call.code.as_deref()).collect();
    assert_eq!(
        codes,
        [Some("request_too_large"), Some("request_too_large"), None, None, None]
    );
    assert!(outcome.cost_microusd.is_some_and(|cost| cost > 0));
    assert_alike(&embeddings(&succeeded(outcome)), &expected);
    world.end().await;
}

#[tokio::test]
async fn a_provider_that_finds_everything_too_large_is_given_up_on() {
    let world = World::start().await;
    let too_large: Meaning = ("validation", "request_too_large", false, None);
    world
        .standins
        .voyage()
        .script([Step::status(400, TOO_MANY).times(10_000)])
        .unwrap();
    let outcome = world.call("voyage_embed", 1, &one()).await;
    assert_means(&outcome.error.unwrap(), too_large, "one text");
    assert_eq!(outcome.calls.len(), 1);
    let many = json!({"input": vec!["x"; 1_000]});
    let outcome = world.call("voyage_embed", 2, &many).await;
    assert_means(&outcome.error.unwrap(), too_large, "a thousand texts");
    assert!(outcome.calls.len() <= 64, "{}", outcome.calls.len());
    assert_eq!(outcome.cost_microusd, Some(0));
    world.end().await;
}

#[tokio::test]
async fn a_part_that_fails_leaves_the_cost_of_those_before_it() {
    let world = World::start().await;
    let texts: Vec<String> = (0..10)
        .map(|number| format!("{number}{}", "x".repeat(39_999)))
        .collect();
    let params = json!({"input": texts, "model": "voyage-code-3"});
    // The second part is told by its first text.
    let failing = Step::error("rate_limit_exceeded").matching("\"6xxx").retry_after("9");
    world.standins.voyage().script([failing]).unwrap();
    let outcome = world.call("voyage_embed", 1, &params).await;
    let limited: Meaning = ("rate_limit", "rate_limited", true, Some(9_000));
    assert_means(&outcome.error.unwrap(), limited, "the second part");
    assert_eq!((outcome.output, outcome.calls.len()), (None, 2));
    assert_eq!(
        (outcome.cost_microusd, outcome.usage.input_tokens),
        (Some(10_800), Some(60_000))
    );
    assert_eq!(outcome.calls[1].code.as_deref(), Some("rate_limited"));

    // Whether a lost answer is billed is not known, and neither is the sum.
    world
        .standins
        .voyage()
        .script([Step::fault(Action::DropAfter).matching("\"6xxx")])
        .unwrap();
    let outcome = world.call("voyage_embed", 2, &params).await;
    assert_eq!(outcome.error.unwrap().code, "network");
    let costs: Vec<_> = outcome.calls.iter().map(|call| call.cost_microusd).collect();
    assert_eq!((costs, outcome.cost_microusd), (vec![Some(10_800), None], None));
    world.end().await;
}

#[tokio::test]
async fn all_parts_share_the_time_of_the_step() {
    let world = World::start().await;
    let texts: Vec<String> = (0..10)
        .map(|number| format!("{number}{}", "x".repeat(39_999)))
        .collect();
    let params = json!({"input": texts, "model": "voyage-code-3"});
    world
        .standins
        .voyage()
        .script([Step::fault(Action::Delay { ms: 600 }).times(2)])
        .unwrap();
    let outcome = world
        .call_within(Duration::from_secs(1), "voyage_embed", 1, &params)
        .await;
    assert_means(
        &outcome.error.unwrap(),
        ("timeout", "timeout", true, None),
        "the second part",
    );
    assert_eq!(outcome.calls[0].cost_microusd, Some(10_800));
    world.end().await;
}

#[tokio::test]
async fn every_documented_error_has_its_meaning() {
    let world = World::start().await;
    let rejected: Meaning = ("validation", "request_rejected", false, None);
    let broken: Meaning = ("provider", "provider_unavailable", true, None);
    for (name, status, meaning) in [
        ("invalid_request", 400, rejected),
        (
            "unauthorized",
            401,
            ("configuration", "integration_unauthorized", false, None),
        ),
        ("forbidden", 403, ("permission", "permission_denied", false, None)),
        ("malformed_request", 422, rejected),
        ("rate_limit_exceeded", 429, ("rate_limit", "rate_limited", true, None)),
        ("server_error", 500, broken),
        ("bad_gateway", 502, broken),
        ("service_unavailable", 503, broken),
    ] {
        world.standins.voyage().script([Step::error(name)]).unwrap();
        let outcome = world.call("voyage_embed", 1, &one()).await;
        let error = outcome.error.unwrap();
        assert_means(&error, meaning, name);
        assert_eq!(error.provider_status, Some(status), "{name}");
        assert_eq!(error.provider.as_deref(), Some("voyage"));
        let call = &outcome.calls[0];
        assert_eq!(
            (call.code.as_deref(), call.provider_status),
            (Some(meaning.1), Some(status))
        );
        let is_known = status != 502;
        assert_eq!(outcome.cost_microusd.is_some(), is_known, "{name}");
    }
    let invalid: Meaning = ("provider", "invalid_answer", true, None);
    for (status, body, meaning) in [
        (
            422,
            r#"{"detail":[{"loc":["body","input"],"msg":"m","type":"t"}]}"#,
            rejected,
        ),
        (402, "", ("rate_limit", "quota_exhausted", false, None)),
        (404, "", ("not_found", "target_not_found", false, None)),
        (413, "", ("validation", "request_too_large", false, None)),
        (504, "<p>timeout</p>", broken),
        (200, "{}", invalid),
        (
            200,
            r#"{"object":"list","data":[],"usage":{"total_tokens":1}}"#,
            invalid,
        ),
    ] {
        world.standins.voyage().script([Step::status(status, body)]).unwrap();
        let outcome = world.call("voyage_embed", 1, &one()).await;
        assert_means(&outcome.error.unwrap(), meaning, &format!("{status} {body}"));
    }
    world.end().await;
}

#[tokio::test]
async fn a_sick_connection_is_an_outcome_that_may_be_tried_again() {
    let mut world = World::start().await;
    let patience = Duration::from_millis(400);
    let lost: Meaning = ("network", "network", true, None);
    for (action, meaning) in [
        (Action::DropBefore, lost),
        (Action::DropAfter, lost),
        (Action::HalfBody, lost),
        (Action::DelayAfter { ms: 1_000 }, ("timeout", "timeout", true, None)),
    ] {
        world.next(action.clone());
        let outcome = world.call_within(patience, "voyage_embed", 1, &one()).await;
        assert_means(&outcome.error.unwrap(), meaning, &format!("{action:?}"));
        assert_eq!(outcome.cost_microusd, None, "{action:?}");
    }
    world.standins.voyage().script([Step::garbage()]).unwrap();
    let outcome = world.call("voyage_embed", 1, &one()).await;
    assert_eq!(outcome.error.unwrap().code, "invalid_answer");

    world.close_the_providers();
    let outcome = world.call("voyage_embed", 1, &one()).await;
    assert_means(&outcome.error.unwrap(), lost, "nobody listens");
    assert_eq!(outcome.cost_microusd, Some(0), "what was not sent is not billed");
    world.end().await;
}

#[tokio::test]
async fn a_thousand_texts_go_to_the_archive() {
    let world = World::start().await;
    let texts: Vec<String> = (0..1_000).map(|number| format!("text {number}")).collect();
    let some = [&texts[0], &texts[999]].map(Clone::clone);
    let expected = vectors(&world, "voyage-3", &some).await;
    let params = json!({"input": texts, "input_type": "document"});
    let outcome = world.call("voyage_embed", 1, &params).await;
    assert_eq!((outcome.status, outcome.output), (OutcomeStatus::Succeeded, None));
    assert!(outcome.cost_microusd.is_some_and(|cost| cost > 0));
    let reference = outcome.output_ref.unwrap();
    let stored = world.bucket.get(&reference.key, usize::MAX).await.unwrap().unwrap();
    assert!(reference.bytes > 4 * 1024 * 1024 && reference.bytes == stored.len() as u64);
    assert!(!reference.is_readable(), "it would be in memory several times");
    let output: Value = serde_json::from_slice(&stored).unwrap();
    let got = embeddings(&output);
    assert_eq!((got.len(), &output["dimensions"]), (1_000, &json!(1024)));
    assert_alike(&[got[0].clone(), got[999].clone()], &expected);

    *world.bucket.is_away.lock().unwrap() = true;
    let outcome = world.call("voyage_embed", 2, &params).await;
    assert_means(
        &outcome.error.unwrap(),
        ("network", "archive_unreachable", true, None),
        "away",
    );
    assert!(
        outcome.cost_microusd.is_some_and(|cost| cost > 0),
        "it was billed all the same"
    );
    world.end().await;
}
