//! Holds the documented schema and the typed wire form equal to what the parser accepts.

use serde_json::{Value, json};
use utoipa::PartialSchema;

use super::{check, good, plan, step};
use crate::runs::plan::{
    MAX_ATTEMPTS, MAX_BACKOFF_MS, MAX_ID_CHARS, MAX_NEEDS, MAX_STEPS, MAX_TIMEOUT_MS, MAX_WHEN_BYTES, MIN_BACKOFF_MS,
    OnError, PlanDraft, RetryPolicy, StepDraft,
    read::{RETRY_FIELDS, STEP_FIELDS},
};

fn schema_of<T: PartialSchema>() -> Value {
    serde_json::to_value(T::schema()).unwrap()
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_schema_has_the_fields_that_the_parser_knows_and_no_others() {
    let (plan, step, retry) = (
        schema_of::<PlanDraft>(),
        schema_of::<StepDraft>(),
        schema_of::<RetryPolicy>(),
    );
    assert_eq!(keys(&plan["properties"]), ["steps"]);
    assert_eq!(keys(&step["properties"]), STEP_FIELDS);
    assert_eq!(keys(&retry["properties"]), RETRY_FIELDS);
    assert_eq!(plan["required"], json!(["steps"]));
    assert_eq!(step["required"], json!(["id", "skill"]));
    assert_eq!(retry["required"], Value::Null);
    for schema in [plan, step, retry] {
        assert_eq!(schema["additionalProperties"], json!(false), "{schema:#}");
    }
}

#[test]
fn the_schema_has_the_limits_and_defaults_of_the_parser() {
    let (plan, step, retry) = (
        schema_of::<PlanDraft>(),
        schema_of::<StepDraft>(),
        schema_of::<RetryPolicy>(),
    );
    let pattern = format!("^[A-Za-z][A-Za-z0-9_-]{{0,{}}}$", MAX_ID_CHARS - 1);
    for (place, expected) in [
        (&plan["properties"]["steps"]["minItems"], json!(1)),
        (&plan["properties"]["steps"]["maxItems"], json!(MAX_STEPS)),
        (&step["properties"]["id"]["pattern"], json!(pattern)),
        (&step["properties"]["needs"]["maxItems"], json!(MAX_NEEDS)),
        (&step["properties"]["timeout_ms"]["minimum"], json!(1)),
        (&step["properties"]["timeout_ms"]["maximum"], json!(MAX_TIMEOUT_MS)),
        (&step["properties"]["when"]["maxLength"], json!(MAX_WHEN_BYTES)),
        (&step["properties"]["params"]["type"], json!("object")),
        (&retry["properties"]["attempts"]["minimum"], json!(1)),
        (&retry["properties"]["attempts"]["maximum"], json!(MAX_ATTEMPTS)),
        (&retry["properties"]["backoff_ms"]["minimum"], json!(MIN_BACKOFF_MS)),
        (&retry["properties"]["backoff_ms"]["maximum"], json!(MAX_BACKOFF_MS)),
        (&schema_of::<OnError>()["enum"], json!(["abort", "continue"])),
    ] {
        assert_eq!(place, &expected, "{plan:#}\n{step:#}\n{retry:#}");
    }
    let defaults = good(&super::plan([
        json!({"id": "a", "skill": "json_transform", "params": {"input": 1, "expression": "@"}}),
    ]))
    .draft();
    let defaults = serde_json::to_value(&defaults.steps[0]).unwrap();
    for field in ["needs", "on_error", "timeout_ms", "requires_approval"] {
        assert_eq!(step["properties"][field]["default"], defaults[field], "{field}");
    }
    for field in RETRY_FIELDS {
        assert_eq!(
            retry["properties"][field]["default"], defaults["retry"][field],
            "{field}"
        );
    }
}

#[test]
fn the_values_at_the_schemas_limits_are_accepted() {
    let mut full = step(&format!("a{}", "-".repeat(MAX_ID_CHARS - 1)), &[], json!(1));
    full["when"] = json!(format!("'{}'", "x".repeat(MAX_WHEN_BYTES - 2)));
    full["on_error"] = json!("continue");
    for (timeout_ms, attempts, backoff_ms) in [(1, 1, MIN_BACKOFF_MS), (MAX_TIMEOUT_MS, MAX_ATTEMPTS, MAX_BACKOFF_MS)] {
        full["timeout_ms"] = json!(timeout_ms);
        full["retry"] = json!({"attempts": attempts, "backoff_ms": backoff_ms});
        good(&plan([full.clone()]));
    }
}

#[test]
fn the_typed_form_reads_what_the_parser_reads() {
    let mut full = step("b", &["a"], json!("{{steps.a.output}}"));
    full["on_error"] = json!("continue");
    full["retry"] = json!({"attempts": 2});
    full["when"] = json!("steps.a.output");
    full["timeout_ms"] = json!(5);
    let least = json!({"id": "a", "skill": "http_call", "params": {"url": "https://example.com"}});
    let draft = plan([least, full]);
    assert_eq!(
        serde_json::from_value::<PlanDraft>(draft.clone()).unwrap(),
        good(&draft).draft()
    );
    assert_eq!(
        serde_json::from_value::<StepDraft>(json!({"id": "a", "skill": "s"}))
            .unwrap()
            .params,
        json!({})
    );
}

#[test]
fn a_plans_own_draft_is_a_draft_of_the_same_plan() {
    let draft = plan([step("a", &[], json!(1)), step("b", &["a"], json!("{{steps.a.output}}"))]);
    let once = good(&draft);
    assert_eq!(check(&serde_json::to_value(once.draft()).unwrap()).unwrap(), once);
}
