//! The skill as the engine calls it.

use serde_json::json;

use super::*;
use crate::skills::testing::{self, Scene};

fn run(params: Value) -> Outcome {
    let skill = JsonTransform;
    let outcome = Scene::default().run(&skill, &params);
    testing::assert_listed(&skill, &outcome);
    outcome
}

fn codes(params: &Value) -> Vec<(String, String)> {
    let errors = JsonTransform.check(params).unwrap_err();
    errors
        .into_iter()
        .map(|error| (error.pointer, error.code.into_owned()))
        .collect()
}

#[test]
fn an_expression_gives_the_output_and_a_mapping_an_object() {
    let input = json!({"items": [{"id": 1, "ok": true}, {"id": 2, "ok": false}]});
    let outcome = run(json!({"input": input, "expression": "items[?ok].id"}));
    assert_eq!(outcome.output, Some(json!([1])));
    let outcome =
        run(json!({"input": input, "mapping": {"ids": "items[*].id", "count": "length(items)", "none": "x.y"}}));
    assert_eq!(outcome.output, Some(json!({"ids": [1, 2], "count": 2, "none": null})));
    assert!(outcome.effects.is_empty());
    assert_eq!(run(json!({"input": null, "expression": "@"})).output, Some(Value::Null));
}

#[test]
fn bad_params_are_refused_at_their_place() {
    let pair = |pointer: &str, code: &str| vec![(pointer.to_owned(), code.to_owned())];
    let mapping: Map<String, Value> = (0..101).map(|n| (format!("f{n}"), json!("@"))).collect();
    for (params, expected) in [
        (json!({"expression": "a"}), pair("/input", "required")),
        (json!({"input": 1}), pair("/expression", "required")),
        (
            json!({"input": 1, "expression": "a", "mapping": {"a": "a"}}),
            pair("/mapping", "conflicting_fields"),
        ),
        (
            json!({"input": 1, "expression": "a."}),
            pair("/expression", "invalid_value"),
        ),
        (json!({"input": 1, "expression": 5}), pair("/expression", "wrong_type")),
        (
            json!({"input": 1, "expression": "a".repeat(5000)}),
            pair("/expression", "too_long"),
        ),
        (
            json!({"input": 1, "mapping": {"a/b": "a ="}}),
            pair("/mapping/a~1b", "invalid_value"),
        ),
        (
            json!({"input": 1, "mapping": {"a": 5}}),
            pair("/mapping/a", "wrong_type"),
        ),
        (json!({"input": 1, "mapping": mapping}), pair("/mapping", "too_many")),
        (
            json!({"input": 1, "expression": "a", "extra": 1}),
            pair("/extra", "unknown_field"),
        ),
        (
            json!({"input": "x".repeat(1024 * 1024), "expression": "a"}),
            pair("/input", "too_long"),
        ),
        (
            json!({"input": testing::nested(65), "expression": "a"}),
            pair("/input", "too_deep"),
        ),
    ] {
        assert_eq!(codes(&params), expected);
    }
}

#[test]
fn what_a_reference_leaves_open_passes_and_is_checked_when_it_is_filled_in() {
    let skill = JsonTransform;
    for params in [
        json!({"input": "{{steps.a.output}}", "expression": "a.b"}),
        json!({"input": 1, "expression": "{{input.expression}}"}),
        json!({"input": 1, "expression": "items[?id == '{{input.id}}']"}),
        json!({"input": 1, "mapping": {"a": "{{input.a}}"}}),
        json!({"input": 1, "mapping": "{{input.mapping}}"}),
    ] {
        assert_eq!(skill.check(&params), Ok(()), "{params}");
    }
    let outcome = run(json!({"input": 1, "expression": "{{input.expression}}"}));
    assert_eq!(outcome.error.unwrap().code, "invalid_params");
}

#[test]
fn failures_say_what_did_not_fit() {
    let error = |params| run(params).error.unwrap();
    let failed = error(json!({"input": {"a": 1}, "mapping": {"total": "sum(a)"}}));
    assert_eq!((failed.code.as_ref(), failed.retryable), ("expression_failed", false));
    assert!(
        failed.message.contains("total") && failed.message.contains("sum()"),
        "{}",
        failed.message
    );

    let big = "x".repeat(600 * 1024);
    assert_eq!(
        error(json!({"input": big, "expression": "[@, @]"})).code,
        "output_too_large"
    );
    assert_eq!(
        error(json!({"input": big, "mapping": {"a": "@", "b": "@"}})).code,
        "output_too_large"
    );
    assert_eq!(
        error(json!({"input": testing::nested(64), "expression": "[@]"})).code,
        "output_too_large"
    );
    let doubling = ["[@, @]"; 30].join(" | ");
    assert_eq!(
        error(json!({"input": 1, "expression": doubling})).code,
        "expression_failed"
    );
}
