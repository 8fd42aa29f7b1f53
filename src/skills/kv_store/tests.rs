//! The params and the replies. What Redis makes of the commands is tested against a real one.

use serde_json::json;

use super::*;
use crate::skills::testing::{self, Scene};

fn codes(params: &Value) -> Vec<(String, String)> {
    let errors = KvStore.check(params).unwrap_err();
    errors
        .into_iter()
        .map(|error| (error.pointer, error.code.into_owned()))
        .collect()
}

#[test]
fn each_operation_takes_its_own_fields() {
    let skill = KvStore;
    for params in [
        json!({"op": "get", "key": "k"}),
        json!({"op": "set", "key": "k", "value": null}),
        json!({"op": "set", "key": "k", "value": {"a": 1}, "ttl_s": 1}),
        json!({"op": "delete", "key": "ü/:*"}),
        json!({"op": "exists", "key": "x".repeat(512)}),
        json!({"op": "ttl", "key": "k"}),
        json!({"op": "incr", "key": "k"}),
        json!({"op": "decr", "key": "k", "by": 5, "ttl_s": 31_536_000}),
        json!({"op": "expire", "key": "k", "ttl_s": 60}),
        json!({"op": "cas", "key": "k", "value": 2, "expected": 1}),
        json!({"op": "cas", "key": "k", "value": 2}),
        json!({"op": "{{input.op}}", "key": "{{input.key}}", "value": "{{steps.a.output}}", "by": "{{input.by}}"}),
        json!({"op": "set", "key": "user:{{input.id}}", "value": "{{steps.a.output}}"}),
    ] {
        assert_eq!(skill.check(&params), Ok(()), "{params}");
    }
}

#[test]
fn bad_params_are_refused_at_their_place() {
    let pair = |pointer: &str, code: &str| vec![(pointer.to_owned(), code.to_owned())];
    for (params, expected) in [
        (json!({"key": "k"}), pair("/op", "required")),
        (json!({"op": "get"}), pair("/key", "required")),
        (json!({"op": "flushall", "key": "k"}), pair("/op", "invalid_value")),
        (json!({"op": 1, "key": "k"}), pair("/op", "wrong_type")),
        (json!({"op": "get", "key": ""}), pair("/key", "invalid_value")),
        (json!({"op": "get", "key": "a\nb"}), pair("/key", "invalid_value")),
        (json!({"op": "get", "key": "x".repeat(513)}), pair("/key", "too_long")),
        (json!({"op": "get", "key": 5}), pair("/key", "wrong_type")),
        (json!({"op": "set", "key": "k"}), pair("/value", "required")),
        (
            json!({"op": "cas", "key": "k", "expected": 1}),
            pair("/value", "required"),
        ),
        (
            json!({"op": "set", "key": "k", "value": "x".repeat(64 * 1024)}),
            pair("/value", "too_long"),
        ),
        (
            json!({"op": "set", "key": "k", "value": testing::nested(65)}),
            pair("/value", "too_deep"),
        ),
        (
            json!({"op": "set", "key": "k", "value": 1, "ttl_s": 0}),
            pair("/ttl_s", "out_of_range"),
        ),
        (
            json!({"op": "set", "key": "k", "value": 1, "ttl_s": 31_536_001}),
            pair("/ttl_s", "out_of_range"),
        ),
        (
            json!({"op": "set", "key": "k", "value": 1, "ttl_s": "1"}),
            pair("/ttl_s", "wrong_type"),
        ),
        (json!({"op": "expire", "key": "k"}), pair("/ttl_s", "required")),
        (json!({"op": "incr", "key": "k", "by": 0}), pair("/by", "out_of_range")),
        (json!({"op": "incr", "key": "k", "by": -1}), pair("/by", "out_of_range")),
        (
            json!({"op": "incr", "key": "k", "by": 1.5}),
            pair("/by", "out_of_range"),
        ),
        (
            json!({"op": "get", "key": "k", "value": 1}),
            pair("/value", "conflicting_fields"),
        ),
        (
            json!({"op": "set", "key": "k", "value": 1, "by": 1}),
            pair("/by", "conflicting_fields"),
        ),
        (
            json!({"op": "set", "key": "k", "value": 1, "expected": 1}),
            pair("/expected", "conflicting_fields"),
        ),
        (
            json!({"op": "delete", "key": "k", "ttl_s": 1}),
            pair("/ttl_s", "conflicting_fields"),
        ),
        (
            json!({"op": "get", "key": "k", "tenant": "x"}),
            pair("/tenant", "unknown_field"),
        ),
    ] {
        assert_eq!(codes(&params), expected);
    }
}

#[test]
fn without_upstash_the_outcome_says_so() {
    let skill = KvStore;
    let outcome = Scene::default().run(&skill, &json!({"op": "get", "key": "k"}));
    testing::assert_listed(&skill, &outcome);
    assert_eq!(outcome.error.unwrap().code, "integration_not_configured");
    let outcome = Scene::default().run(&skill, &json!({"op": "get", "key": "{{input.key}}", "by": "x"}));
    assert_eq!(outcome.error.unwrap().code, "invalid_params");
}

#[test]
fn replies_are_read_as_the_operations_output() {
    let add = || Operation::Write(Write::Add { by: 1, ttl_s: None });
    for (operation, reply, expected) in [
        (Operation::Get, json!(null), json!({"found": false, "value": null})),
        (Operation::Get, json!("null"), json!({"found": true, "value": null})),
        (
            Operation::Get,
            json!("{\"a\":1}"),
            json!({"found": true, "value": {"a": 1}}),
        ),
        (Operation::Exists, json!(1), json!({"exists": true})),
        (Operation::Ttl, json!(-2), json!({"exists": false, "ttl_s": null})),
        (Operation::Ttl, json!(-1), json!({"exists": true, "ttl_s": null})),
        (Operation::Ttl, json!(0), json!({"exists": true, "ttl_s": 0})),
        (
            add(),
            json!("9007199254740993"),
            json!({"value": 9_007_199_254_740_993_i64}),
        ),
        (Operation::Write(Write::Delete), json!("0"), json!({"deleted": false})),
        (
            Operation::Write(Write::Expire { ttl_s: 1 }),
            json!("1"),
            json!({"updated": true}),
        ),
    ] {
        assert_eq!(output(&operation, &reply), Ok(expected), "{operation:?}");
    }
    let code = |operation: Operation<'_>, reply: Value| output(&operation, &reply).unwrap_err().code;
    assert_eq!(code(Operation::Get, json!("{")), "invalid_stored_value");
    assert_eq!(code(add(), json!("!not_an_integer")), "not_an_integer");
    assert_eq!(code(add(), json!(["x"])), "provider_failed");
}

#[test]
fn what_upstash_cannot_do_is_told_with_who_said_it() {
    use crate::integrations::{TookEffect, upstash::CommandError};
    let unreachable = upstash::Error::Unreachable {
        took_effect: TookEffect::Unknown,
        reason: "reset".to_owned(),
    };
    for (error, code) in [
        (unreachable, "network"),
        (upstash::Error::Timeout(Duration::from_secs(3)), "timeout"),
        (
            upstash::Error::Quota("ERR max daily request limit exceeded".to_owned()),
            "rate_limited",
        ),
        (
            upstash::Error::Unauthorized("WRONGPASS".to_owned()),
            "integration_unauthorized",
        ),
        (
            upstash::Error::Command(CommandError("WRONGTYPE".to_owned())),
            "provider_failed",
        ),
        (upstash::Error::Protocol("garbled".to_owned()), "provider_failed"),
    ] {
        let error = provider_error(error);
        assert_eq!(
            (error.code.as_ref(), error.provider.as_deref()),
            (code, Some("upstash"))
        );
    }
}
