//! Who is asked when the first one cannot answer, and who is not.

use std::time::{Duration, Instant};

use aos::skills::Category;
use aos::tenants::{OwnSetting, Tier};
use aos_dev::faults::Action;
use aos_dev::standins::script::{Step, Then};
use serde_json::{Value, json};

use crate::bench::{Bench, failure, say, say_to, with};

fn tries(output: &Value) -> Vec<(&str, bool, Option<&str>)> {
    let attempts = output["attempts"].as_array().unwrap();
    attempts
        .iter()
        .map(|attempt| {
            (
                attempt["provider"].as_str().unwrap(),
                attempt["ok"].as_bool().unwrap(),
                attempt["code"].as_str(),
            )
        })
        .collect()
}

#[tokio::test]
async fn whatever_is_not_the_requests_fault_is_asked_of_the_other_one() {
    let bench = Bench::start().await;
    for (step, code) in [
        (Step::error("overloaded_error"), "provider_unavailable"),
        (Step::error("api_error"), "provider_unavailable"),
        (Step::error("timeout_error"), "timeout"),
        (Step::error("rate_limit_error"), "rate_limited"),
        (Step::error("billing_error"), "quota_exhausted"),
        (Step::error("authentication_error"), "integration_unauthorized"),
        (Step::status(503, ""), "provider_unavailable"),
        (Step::fault(Action::DropBefore), "network"),
        (Step::garbage(), "invalid_answer"),
    ] {
        bench.anthropic([step.clone()]);
        let outcome = bench.call(&say("hi")).await;
        let output = outcome.output.unwrap_or_else(|| panic!("{step:?} {:?}", outcome.error));
        assert_eq!(
            tries(&output),
            [("anthropic", false, Some(code)), ("openai", true, None)],
            "{step:?}"
        );
        assert_eq!(
            (&output["provider"], &output["text"]),
            (&json!("openai"), &json!("echo: hi"))
        );
        assert_eq!(outcome.calls.len(), 2);
    }
    bench.end().await;
}

#[tokio::test]
async fn both_tries_are_priced() {
    let bench = Bench::start().await;
    bench.anthropic([Step::stream(1, Then::Error("overloaded_error".to_owned()))]);
    let outcome = bench.call(&say("[tokens 100] hello")).await;
    let output = outcome.output.unwrap();
    // Anthropic had counted 5 tokens at $2 and one at $10; OpenAI counts 5 at $2.50 and 100 at $10 per million.
    let costs: Vec<_> = output["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["cost_microusd"])
        .collect();
    assert_eq!(costs, [&json!(20), &json!(1_013)]);
    assert_eq!(outcome.cost_microusd, Some(1_033));
    assert_eq!(
        (outcome.usage.input_tokens, outcome.usage.output_tokens),
        (Some(10), Some(101))
    );
    let [first, second] = outcome.calls.try_into().unwrap();
    assert_eq!((&*first.integration, &*second.integration), ("anthropic", "openai"));
    assert_eq!((first.cost_microusd, second.cost_microusd), (Some(20), Some(1_013)));
    bench.end().await;
}

#[tokio::test]
async fn a_request_that_is_wrong_in_itself_goes_no_further() {
    let bench = Bench::start().await;
    let too_long = r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#;
    for (step, code) in [
        (Step::error("invalid_request_error"), "request_rejected"),
        (Step::error("permission_error"), "permission_denied"),
        (Step::error("not_found_error"), "target_not_found"),
        (Step::error("request_too_large"), "request_too_large"),
        (Step::status(422, ""), "request_rejected"),
        (Step::status(400, too_long), "context_window_exceeded"),
    ] {
        bench.anthropic([step.clone()]);
        assert_eq!(failure(&bench.call(&say("hi")).await).1, code, "{step:?}");
    }
    assert_eq!(bench.asked(), (6, 0));
    bench.end().await;
}

#[tokio::test]
async fn a_provider_that_was_chosen_is_asked_alone() {
    let bench = Bench::start().await;
    bench.anthropic([Step::error("overloaded_error")]);
    let outcome = bench.call(&say_to("anthropic", "hi")).await;
    assert_eq!(failure(&outcome), (Category::Provider, "provider_unavailable", true));
    assert_eq!(bench.asked(), (1, 0));
    bench.end().await;
}

#[tokio::test]
async fn the_one_whose_model_is_named_comes_first_and_the_other_uses_its_own() {
    let bench = Bench::start().await;
    bench.openai([Step::error("server_error")]);
    let output = bench.answer(&with(say("hi"), json!({"model": "gpt-4.1"}))).await;
    assert_eq!(
        tries(&output),
        [
            ("openai", false, Some("provider_unavailable")),
            ("anthropic", true, None)
        ]
    );
    assert_eq!(output["attempts"][0]["model"], "gpt-4.1");
    assert_eq!(output["model"], "claude-sonnet-5-5");
    bench.end().await;
}

#[tokio::test]
async fn a_key_that_is_missing_sends_the_call_to_the_other_one() {
    let mut bench = Bench::start().await;
    bench.installation(|installation| drop(installation.values.remove(&OwnSetting::AnthropicApiKey)));
    let outcome = bench.call(&say("hi")).await;
    assert_eq!(outcome.calls.len(), 1);
    assert_eq!(
        tries(&outcome.output.unwrap()),
        [
            ("anthropic", false, Some("integration_not_configured")),
            ("openai", true, None)
        ]
    );
    let outcome = bench.call(&say_to("anthropic", "hi")).await;
    assert_eq!(
        failure(&outcome),
        (Category::Configuration, "integration_not_configured", false)
    );
    assert_eq!(bench.asked(), (0, 1));
    bench.end().await;
}

#[tokio::test]
async fn a_tier_that_may_not_use_the_installations_keys_is_told_so() {
    let mut bench = Bench::start().await;
    bench.owner.tier = Tier::Free;
    let outcome = bench.call(&say("hi")).await;
    assert_eq!(
        failure(&outcome),
        (Category::Configuration, "integration_not_configured", false)
    );
    assert!(
        outcome
            .error
            .unwrap()
            .message
            .contains("its tier may not use the installation's")
    );
    let key = bench.standins.openai().api_key().to_owned();
    bench.own(OwnSetting::OpenaiApiKey, &key);
    let outcome = bench.call(&say("hi")).await;
    assert!(outcome.calls[0].own_key);
    assert_eq!(outcome.output.unwrap()["provider"], "openai");
    bench.end().await;
}

#[tokio::test]
async fn an_own_key_that_is_refused_is_never_replaced_by_the_installations() {
    let mut bench = Bench::start().await;
    bench.own(OwnSetting::AnthropicApiKey, "sk-ant-wrong");
    let outcome = bench.call(&say("hi")).await;
    assert_eq!(
        failure(&outcome),
        (Category::Configuration, "integration_unauthorized", false)
    );
    assert_eq!(bench.asked(), (1, 0));
    assert!(!outcome.error.unwrap().message.contains("sk-ant-wrong"));
    // Another key of its own is the tenant's to use.
    let key = bench.standins.openai().api_key().to_owned();
    bench.own(OwnSetting::OpenaiApiKey, &key);
    let outcome = bench.call(&say("hi")).await;
    assert!(outcome.calls.iter().all(|call| call.own_key));
    assert_eq!(outcome.output.unwrap()["provider"], "openai");
    bench.end().await;
}

#[tokio::test]
async fn a_refusal_that_quotes_the_key_is_not_passed_on() {
    let bench = Bench::start().await;
    let said = "Incorrect API key provided: sk-proj-abc*******xyz.";
    let of_openai = json!({"error": {"message": said, "type": "invalid_request_error", "code": "invalid_api_key"}});
    let of_anthropic = json!({"type": "error", "error": {"type": "authentication_error", "message": said}});
    bench.openai([Step::status(401, of_openai.to_string())]);
    bench.anthropic([Step::status(401, of_anthropic.to_string())]);
    let error = bench.call(&say("hi")).await.error.unwrap();
    assert_eq!(error.code, "integration_unauthorized");
    assert_eq!(
        error.message,
        "anthropic: anthropic refuses the key; openai: openai refuses the key"
    );
    bench.end().await;
}

#[tokio::test]
async fn one_that_does_not_begin_within_half_the_time_is_left() {
    let mut bench = Bench::start().await;
    bench.timeout = Duration::from_secs(4);
    bench.anthropic([Step::fault(Action::Delay { ms: 20_000 })]);
    let began = Instant::now();
    let outcome = bench.call(&say("hi")).await;
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_millis(3_500),
        "{took:?}"
    );
    // Nobody knows what the first one made of it.
    assert_eq!(outcome.cost_microusd, None);
    let output = outcome.output.unwrap();
    assert_eq!(
        tries(&output),
        [("anthropic", false, Some("timeout")), ("openai", true, None)]
    );
    assert_eq!(output["attempts"][0]["cost_microusd"], Value::Null);
    assert!(output["attempts"][1]["cost_microusd"].as_i64().unwrap() > 0);
    bench.end().await;
}

#[tokio::test]
async fn one_that_has_begun_in_time_may_use_all_of_it() {
    let mut bench = Bench::start().await;
    bench.timeout = Duration::from_secs(4);
    let output = bench
        .answer(&say(
            "[slow 300] a text that comes in some pieces, and takes more than half the time",
        ))
        .await;
    assert_eq!(output["provider"], "anthropic");
    bench.end().await;
}

#[tokio::test]
async fn where_both_fail_the_outcome_names_both() {
    let bench = Bench::start().await;
    bench.anthropic([Step::error("overloaded_error").retry_after("5")]);
    bench.openai([Step::error("insufficient_quota")]);
    let outcome = bench.call(&say("hi")).await;
    assert_eq!(failure(&outcome), (Category::Provider, "provider_unavailable", true));
    let error = outcome.error.unwrap();
    assert_eq!(
        (error.provider.as_deref(), error.retry_after_ms),
        (Some("anthropic"), Some(5_000))
    );
    assert!(
        error.message.contains("anthropic: ") && error.message.contains("openai: "),
        "{}",
        error.message
    );
    assert_eq!((outcome.calls.len(), outcome.cost_microusd), (2, Some(0)));
    bench.end().await;
}
