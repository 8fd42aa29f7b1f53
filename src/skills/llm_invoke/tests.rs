//! The params, and what the tries come to. What the providers make of calls is tested against stand-ins.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde_json::json;

use super::{params::Choice, *};
use crate::{
    integrations::{
        model::Role,
        provider::{ErrorKind, Provider, ProviderError},
    },
    skills::testing::{Scene, assert_listed},
    tenants::{OwnSetting, Owner},
};

fn say(content: impl Into<Value>) -> Value {
    json!([{"role": "user", "content": content.into()}])
}

fn with(name: &str, value: Value) -> Value {
    let mut params = json!({"messages": say("hi")});
    params[name] = value;
    params
}

fn codes(params: &Value) -> Vec<(String, String)> {
    let errors = LlmInvoke::default().check(params).unwrap_err();
    errors
        .into_iter()
        .map(|error| (error.pointer, error.code.into_owned()))
        .collect()
}

#[test]
fn good_params_pass_also_with_references() {
    let skill = LlmInvoke::default();
    for params in [
        json!({"messages": say("hi")}),
        json!({"messages": "{{steps.a.output}}"}),
        json!({"messages": ["{{steps.a.output}}", {"role": "{{input.role}}", "content": "a {{input.b}}"}]}),
        with("provider", json!("{{input.provider}}")),
        with("provider", json!("openai")),
        with("model", json!("claude-sonnet-4-20250514")),
        with("max_tokens", json!(32_000)),
        with("temperature", json!(2)),
        with("temperature", json!("{{input.t}}")),
        with("stop", json!(["a", "b", "c", "{{input.d}}"])),
        with("response_schema", json!({"type": "object"})),
        with("response_schema", json!("{{input.schema}}")),
        with("allow_truncated", json!(true)),
        with("system", json!("be {{input.how}}")),
    ] {
        assert_eq!(skill.check(&params), Ok(()), "{params}");
    }
}

#[test]
fn bad_params_are_refused_at_their_place() {
    let messages = |messages: Value| json!({"messages": messages});
    for (params, pointer, code) in [
        (json!({}), "/messages", "required"),
        (messages(json!("hi")), "/messages", "wrong_type"),
        (messages(json!([])), "/messages", "invalid_value"),
        (messages(json!(["hi"])), "/messages/0", "wrong_type"),
        (messages(json!([{"content": "hi"}])), "/messages/0/role", "required"),
        (messages(json!([{"role": "user"}])), "/messages/0/content", "required"),
        (messages(say(json!([]))), "/messages/0/content", "wrong_type"),
        (messages(say(" \n")), "/messages/0/content", "invalid_value"),
        (
            messages(json!([{"role": "system", "content": "hi"}])),
            "/messages/0/role",
            "invalid_value",
        ),
        (
            messages(json!([{"role": "assistant", "content": "hi"}])),
            "/messages/0/role",
            "invalid_value",
        ),
        (
            messages(json!([{"role": "user", "content": "hi", "name": "x"}])),
            "/messages/0/name",
            "unknown_field",
        ),
        (
            messages(json!(vec![json!({"role": "user", "content": "hi"}); 201])),
            "/messages",
            "too_many",
        ),
        (messages(say("x".repeat(1024 * 1024 + 1))), "/messages", "too_long"),
        (with("provider", json!("voyage")), "/provider", "invalid_value"),
        (with("model", json!("")), "/model", "invalid_value"),
        (with("model", json!("a b")), "/model", "invalid_value"),
        (with("max_tokens", json!(0)), "/max_tokens", "out_of_range"),
        (with("max_tokens", json!(32_001)), "/max_tokens", "out_of_range"),
        (with("temperature", json!(2.1)), "/temperature", "out_of_range"),
        (with("temperature", json!("warm")), "/temperature", "wrong_type"),
        (with("stop", json!("x")), "/stop", "wrong_type"),
        (with("stop", json!(["a", "b", "c", "d", "e"])), "/stop", "too_many"),
        (with("stop", json!(["\n"])), "/stop/0", "invalid_value"),
        (with("stop", json!(["x".repeat(201)])), "/stop/0", "too_long"),
        (with("response_schema", json!([])), "/response_schema", "wrong_type"),
        (
            with("response_schema", json!({"type": "array"})),
            "/response_schema/type",
            "invalid_value",
        ),
        (
            with(
                "response_schema",
                json!({"type": "object", "description": "x".repeat(65_536)}),
            ),
            "/response_schema",
            "too_long",
        ),
        (with("allow_truncated", json!("yes")), "/allow_truncated", "wrong_type"),
    ] {
        assert_eq!(codes(&params), [(pointer.to_owned(), code.to_owned())], "{pointer}");
    }
}

#[test]
fn the_name_of_a_model_says_who_is_asked_first() {
    let choice = |extra: Value| {
        let mut params = json!({"messages": say("hi")});
        params
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let choice = read(&params, Stage::Resolved).unwrap().unwrap().choice;
        assert_eq!(
            LlmInvoke::default().host(&params).as_deref(),
            Some(choice.first().as_str())
        );
        choice
    };
    for (extra, expected) in [
        (json!({}), Choice::First(Provider::Anthropic)),
        (json!({"model": "gpt-4o"}), Choice::First(Provider::OpenAi)),
        (json!({"model": "o3"}), Choice::First(Provider::OpenAi)),
        (json!({"model": "another"}), Choice::First(Provider::Anthropic)),
        (json!({"provider": "openai"}), Choice::Only(Provider::OpenAi)),
        (
            json!({"provider": "anthropic", "model": "gpt-4o"}),
            Choice::Only(Provider::Anthropic),
        ),
        (
            json!({"provider": "auto", "model": "claude-9"}),
            Choice::First(Provider::Anthropic),
        ),
    ] {
        assert_eq!(choice(extra.clone()), expected, "{extra}");
    }
}

#[test]
fn what_is_not_said_has_its_default() {
    let params = with("system", json!(""));
    let read = read(&params, Stage::Resolved).unwrap().unwrap();
    assert_eq!(
        (read.max_tokens, read.temperature, read.system, read.allow_truncated),
        (1024, None, None, false)
    );
    assert_eq!((read.messages[0].role, read.messages[0].content), (Role::User, "hi"));
}

#[test]
fn without_a_key_it_says_whose_is_missing_and_asks_nobody() {
    let skill = LlmInvoke::default();
    for (owner, says) in [
        (Owner::default(), "neither the tenant nor the installation"),
        (
            Owner {
                unreadable: [OwnSetting::AnthropicApiKey].into(),
                ..Owner::default()
            },
            "cannot be opened",
        ),
    ] {
        let scene = Scene {
            owner,
            ..Scene::default()
        };
        let outcome = scene.run(&skill, &json!({"messages": say("hi")}));
        let error = outcome.error.as_ref().unwrap();
        assert_eq!(error.code, "integration_not_configured");
        assert!(error.message.contains(says), "{}", error.message);
        assert!(error.message.contains("openai_api_key"), "{}", error.message);
        assert_eq!((outcome.cost_microusd, outcome.calls.len()), (Some(0), 0));
        assert_listed(&skill, &outcome);
    }
}

#[test]
fn a_key_that_no_header_can_carry_is_refused_before_anything_is_sent() {
    let skill = LlmInvoke::default();
    let scene = Scene {
        owner: Owner {
            values: BTreeMap::from([(OwnSetting::AnthropicApiKey, SecretString::from("a\nb"))]),
            ..Owner::default()
        },
        ..Scene::default()
    };
    let outcome = scene.run(&skill, &json!({"messages": say("hi")}));
    let error = outcome.error.as_ref().unwrap();
    assert_eq!(error.code, "integration_unauthorized");
    assert!(!error.message.contains("a\nb"));
    assert_eq!(outcome.cost_microusd, Some(0));
    assert_listed(&skill, &outcome);
}

#[test]
fn of_several_reasons_the_one_counts_that_may_go_away() {
    let failed = |provider, kind| Stop {
        provider,
        why: Why::Stopped(Stopped::Failed(ProviderError::new(provider, kind, "it failed"))),
    };
    let first = |kind| failed(Provider::Anthropic, kind);
    let second = |kind| failed(Provider::OpenAi, kind);
    let no_key = |provider| Stop {
        provider,
        why: Why::NoKey("no key".to_owned()),
    };
    let busy = |provider| Stop {
        provider,
        why: Why::Stopped(Stopped::Busy),
    };
    let open = Stop {
        provider: Provider::Anthropic,
        why: Why::Stopped(Stopped::Open(Provider::Anthropic, Duration::from_secs(5))),
    };
    for (stops, code) in [
        (
            vec![first(ErrorKind::Overloaded), second(ErrorKind::Quota)],
            "provider_unavailable",
        ),
        (
            vec![first(ErrorKind::Quota), second(ErrorKind::RateLimited)],
            "rate_limited",
        ),
        (
            vec![first(ErrorKind::Unauthorized), second(ErrorKind::Rejected)],
            "request_rejected",
        ),
        (
            vec![no_key(Provider::Anthropic), second(ErrorKind::Unauthorized)],
            "integration_unauthorized",
        ),
        (
            vec![first(ErrorKind::Overloaded), no_key(Provider::OpenAi)],
            "provider_unavailable",
        ),
        (
            vec![first(ErrorKind::Overloaded), busy(Provider::OpenAi)],
            "provider_unavailable",
        ),
        (vec![open, busy(Provider::OpenAi)], "circuit_open"),
        (vec![], "timeout"),
    ] {
        let outcome = nobody(&stops);
        assert_eq!(outcome.error.as_ref().unwrap().code, code, "{stops:?}");
        assert_eq!(outcome.deferred, None);
        assert_listed(&LlmInvoke::default(), &outcome);
    }
    for stops in [
        vec![busy(Provider::Anthropic), busy(Provider::OpenAi)],
        vec![no_key(Provider::Anthropic), busy(Provider::OpenAi)],
    ] {
        assert!(nobody(&stops).deferred.is_some(), "{stops:?}");
    }
}
