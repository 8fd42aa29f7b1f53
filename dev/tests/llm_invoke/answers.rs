//! What is sent and what a whole answer comes to.

use aos::skills::Category;
use aos::tenants::OwnSetting;
use aos_dev::standins::script::Step;
use serde_json::{Value, json};

use crate::bench::{Bench, failure, say, say_to, with};

#[tokio::test]
async fn an_answer_says_who_gave_it_and_what_it_cost() {
    let bench = Bench::start().await;
    let outcome = bench.call(&say("[tokens 100] hello")).await;
    // 5 tokens of input at $2, 100 of output at $10 per million.
    let cost = 1_010;
    assert_eq!(
        outcome.output.unwrap(),
        json!({
            "text": "echo: hello", "provider": "anthropic", "model": "claude-sonnet-5-5", "stop_reason": "end",
            "truncated": false,
            "attempts": [{
                "provider": "anthropic", "model": "claude-sonnet-5-5", "ok": true, "code": null,
                "input_tokens": 5, "output_tokens": 100, "cost_microusd": cost,
            }],
        })
    );
    assert_eq!(outcome.cost_microusd, Some(cost));
    assert_eq!(
        (
            outcome.usage.input_tokens,
            outcome.usage.output_tokens,
            outcome.usage.requests
        ),
        (Some(5), Some(100), 1)
    );
    let [call] = outcome.calls.try_into().unwrap();
    assert_eq!(
        (
            &*call.integration,
            call.model.as_deref(),
            call.own_key,
            call.provider_status
        ),
        ("anthropic", Some("claude-sonnet-5-5"), false, Some(200))
    );
    assert!(call.price_version.is_some() && call.bytes_in > 0 && call.bytes_out > 0 && call.code.is_none());
    assert!(call.provider_request_id.unwrap().starts_with("req_"));
    assert!(outcome.provider_request_id.is_some());

    let received = bench.standins.anthropic().received();
    let request = received.requests.back().unwrap();
    assert_eq!(request.headers["anthropic-version"], "2023-06-01");
    assert_eq!(
        request.body,
        json!({
            "model": "claude-sonnet-5-5", "max_tokens": 1024, "stream": true,
            "messages": [{"role": "user", "content": "[tokens 100] hello"}],
        })
    );
    bench.end().await;
}

#[tokio::test]
async fn cached_tokens_are_cheaper_and_counted_among_the_input() {
    let bench = Bench::start().await;
    for (provider, input, cost) in [
        // 10 at $2, 1,000 cached at $0.20, 10 written at $10: 20 + 200 + 100.
        ("anthropic", 1_010, 320),
        // 10 at $2.50, 1,000 cached at $1.25, 10 written at $10: 25 + 1,250 + 100.
        ("openai", 1_010, 1_375),
    ] {
        let outcome = bench
            .call(&say_to(provider, "[tokens 10] [cached 1000] hello, world"))
            .await;
        let call = &outcome.calls[0];
        assert_eq!(
            (call.input_tokens, call.cached_input_tokens, call.output_tokens),
            (Some(input), Some(1_000), Some(10)),
            "{provider}"
        );
        assert_eq!(call.cost_microusd, Some(cost), "{provider}");
    }
    bench.end().await;
}

#[tokio::test]
async fn params_reach_either_provider_in_its_own_words() {
    let bench = Bench::start().await;
    let more = json!({"system": "be short", "max_tokens": 50, "stop": ["END"], "temperature": 0.5});
    let more = with(more, json!({"model": "claude-haiku-4-5"}));
    bench.answer(&with(say("hi"), more.clone())).await;
    let sent = bench.sent("anthropic");
    assert_eq!(
        (
            &sent["system"],
            &sent["max_tokens"],
            &sent["stop_sequences"],
            &sent["temperature"]
        ),
        (&json!("be short"), &json!(50), &json!(["END"]), &json!(0.5))
    );
    let output = bench
        .answer(&with(say("hi"), with(more, json!({"model": "gpt-4o"}))))
        .await;
    assert_eq!(output["provider"], "openai");
    let sent = bench.sent("openai");
    assert_eq!(
        (&sent["max_completion_tokens"], &sent["stop"], &sent["temperature"]),
        (&json!(50), &json!(["END"]), &json!(0.5))
    );
    assert_eq!(sent["messages"][0], json!({"role": "system", "content": "be short"}));
    bench.end().await;
}

#[tokio::test]
async fn a_temperature_is_left_out_for_a_default_model_that_refuses_any_and_that_is_said() {
    let bench = Bench::start().await;
    let output = bench.answer(&with(say("hi"), json!({"temperature": 0.2}))).await;
    assert_eq!(output["ignored"], json!(["temperature"]));
    assert!(bench.sent("anthropic").get("temperature").is_none());
    let named = json!({"temperature": 0.2, "model": "claude-sonnet-5-5"});
    let outcome = bench.call(&with(say("hi"), named)).await;
    assert_eq!(failure(&outcome), (Category::Validation, "request_rejected", false));
    bench.end().await;
}

#[tokio::test]
async fn the_model_is_the_calls_or_the_tenants_or_the_installations_or_the_shipped_one() {
    let mut bench = Bench::start().await;
    bench.installation(|installation| {
        let model = "claude-haiku-4-5".to_owned().into();
        installation.values.insert(OwnSetting::AnthropicModel, model);
    });
    assert_eq!(bench.answer(&say("hi")).await["model"], "claude-haiku-4-5-20251001");
    bench.own(OwnSetting::AnthropicModel, "claude-opus-4-6");
    assert_eq!(bench.answer(&say("hi")).await["model"], "claude-opus-4-6");
    let named = with(say("hi"), json!({"model": "claude-sonnet-4-6"}));
    assert_eq!(bench.answer(&named).await["model"], "claude-sonnet-4-6");
    assert_eq!(
        bench.answer(&say_to("openai", "hi")).await["model"],
        "gpt-4o-2024-08-06"
    );
    bench.end().await;
}

#[tokio::test]
async fn a_model_without_a_price_has_an_unknown_cost() {
    let bench = Bench::start().await;
    let outcome = bench.call(&with(say("hi"), json!({"model": "claude-opus-5"}))).await;
    assert_eq!(outcome.cost_microusd, None);
    assert_eq!(outcome.output.unwrap()["attempts"][0]["cost_microusd"], Value::Null);
    assert!(outcome.usage.output_tokens.is_some());
    bench.end().await;
}

#[tokio::test]
async fn a_retired_model_gets_its_providers_answer() {
    let bench = Bench::start().await;
    let outcome = bench
        .call(&with(say("hi"), json!({"model": "claude-sonnet-4-20250514"})))
        .await;
    assert_eq!(failure(&outcome), (Category::NotFound, "target_not_found", false));
    assert_eq!(bench.asked(), (1, 0));
    bench.end().await;
}

#[tokio::test]
async fn a_refusal_is_a_failure_that_is_billed() {
    let bench = Bench::start().await;
    for provider in ["anthropic", "openai"] {
        let outcome = bench.call(&say_to(provider, "[refuse] [tokens 10] hi")).await;
        assert_eq!(
            failure(&outcome),
            (Category::Content, "llm_refused", false),
            "{provider}"
        );
        let error = outcome.error.as_ref().unwrap();
        assert!(error.message.contains("I can't help with that."), "{}", error.message);
        assert!(outcome.cost_microusd.unwrap() > 0);
    }
    // The other one is not asked to say what this one would not.
    bench.call(&say("[refuse] hi")).await;
    assert_eq!(bench.asked(), (2, 1));
    bench.end().await;
}

#[tokio::test]
async fn an_answer_that_was_cut_off_is_a_failure_unless_it_is_allowed() {
    let bench = Bench::start().await;
    for provider in ["anthropic", "openai"] {
        let params = with(say_to(provider, "hello, world"), json!({"max_tokens": 2}));
        let outcome = bench.call(&params).await;
        assert_eq!(
            failure(&outcome),
            (Category::Content, "llm_truncated", false),
            "{provider}"
        );
        assert!(outcome.cost_microusd.unwrap() > 0);
        let output = bench.answer(&with(params, json!({"allow_truncated": true}))).await;
        assert_eq!(
            (&output["text"], &output["truncated"], &output["stop_reason"]),
            (&json!("echo: he"), &json!(true), &json!("max_tokens"))
        );
    }
    bench.end().await;
}

#[tokio::test]
async fn an_answer_ends_before_a_stop_sequence() {
    let bench = Bench::start().await;
    for (provider, reason) in [("anthropic", "stop_sequence"), ("openai", "end")] {
        let output = bench
            .answer(&with(say_to(provider, "one END two"), json!({"stop": ["END"]})))
            .await;
        assert_eq!(
            (&output["text"], &output["stop_reason"]),
            (&json!("echo: one "), &json!(reason))
        );
    }
    bench.end().await;
}

#[tokio::test]
async fn a_schema_is_answered_with_json_however_it_is_asked_for() {
    let bench = Bench::start().await;
    let strict = json!({
        "type": "object", "additionalProperties": false, "required": ["name"],
        "properties": {"name": {"type": "string"}},
    });
    let loose = json!({
        "type": "object", "properties": {"name": {"type": "string", "maxLength": 20}, "more": {"type": "object"}},
    });
    for (provider, schema, asked_by) in [
        ("anthropic", &strict, "/output_config/format/schema"),
        ("anthropic", &loose, "/tools/0/input_schema"),
        ("openai", &strict, "/response_format/json_schema/schema"),
        ("openai", &loose, "/response_format/json_schema/schema"),
    ] {
        let params = with(say_to(provider, "Ada"), json!({"response_schema": schema}));
        let output = bench.answer(&params).await;
        assert_eq!(output["json"]["name"], "Ada", "{provider} {schema}");
        assert_eq!(
            serde_json::from_str::<Value>(output["text"].as_str().unwrap()).unwrap(),
            output["json"]
        );
        assert_eq!(bench.sent(provider).pointer(asked_by), Some(schema), "{provider}");
    }
    assert_eq!(bench.sent("openai")["response_format"]["json_schema"]["strict"], false);
    bench.end().await;
}

#[tokio::test]
async fn what_is_no_json_object_is_no_answer_to_a_schema() {
    let bench = Bench::start().await;
    let held = json!({"type": "object", "additionalProperties": false, "required": [], "properties": {}});
    for provider in ["anthropic", "openai"] {
        for schema in [&held, &json!({"type": "object"})] {
            let params = with(say_to(provider, "[not-json] hi"), json!({"response_schema": schema}));
            let outcome = bench.call(&params).await;
            assert_eq!(
                failure(&outcome),
                (Category::Content, "invalid_structured_output", false),
                "{provider} {schema}"
            );
            assert!(outcome.cost_microusd.unwrap() > 0);
        }
    }
    let params = with(say("hi"), json!({"response_schema": held}));
    bench.anthropic([Step::say("[1, 2]")]);
    assert_eq!(failure(&bench.call(&params).await).1, "invalid_structured_output");
    bench.anthropic([Step::say(r#"{"a": 1, "b": "a long text"}"#)]);
    let cut = bench
        .answer(&with(params, json!({"max_tokens": 2, "allow_truncated": true})))
        .await;
    assert_eq!((&cut["json"], &cut["truncated"]), (&Value::Null, &json!(true)));
    bench.end().await;
}
