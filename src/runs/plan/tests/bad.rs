//! Drafts that are no plans: each with every place where it is wrong and the code of what is wrong there.

use serde_json::{Value, json};

use super::{check, plan, step};

/// What is wrong with a draft, as `<pointer> <code>`.
fn wrong(draft: &Value) -> Vec<String> {
    let errors = check(draft).expect_err(&draft.to_string());
    assert!(
        errors
            .iter()
            .all(|error| !error.detail.is_empty() && error.detail.chars().count() < 400),
        "{errors:#?}"
    );
    errors
        .iter()
        .map(|error| format!("{} {}", error.pointer, error.code))
        .collect()
}

#[track_caller]
fn refuse(draft: Value, expected: &[&str]) {
    assert_eq!(wrong(&draft), expected, "{draft:#}");
}

/// A plan of one good step with a field set.
fn with(field: &str, value: Value) -> Value {
    let mut step = step("a", &[], json!(1));
    step[field] = value;
    plan([step])
}

/// A plan of two good steps, the second with this input.
fn naming(needs: &[&str], text: &str) -> Value {
    plan([
        step("a", &[], json!(1)),
        step("b", needs, json!([text])),
        step("c", &[], json!(1)),
    ])
}

#[test]
fn a_draft_of_a_wrong_shape() {
    for draft in [json!(null), json!([]), json!("plan"), json!(3)] {
        refuse(draft, &[" wrong_type"]);
    }
    refuse(json!({}), &["/steps required"]);
    refuse(json!({"steps": {}}), &["/steps wrong_type"]);
    refuse(json!({"steps": null}), &["/steps wrong_type"]);
    refuse(json!({"steps": []}), &["/steps too_few"]);
    refuse(
        json!({"steps": [], "name~/": 1}),
        &["/name~0~1 unknown_field", "/steps too_few"],
    );
    refuse(
        plan([json!(1), json!(null), json!([])]),
        &["/steps/0 wrong_type", "/steps/1 wrong_type", "/steps/2 wrong_type"],
    );
    refuse(
        plan(
            (0..101)
                .map(|index| step(&format!("s{index}"), &[], json!(1)))
                .collect::<Vec<_>>(),
        ),
        &["/steps too_many"],
    );
}

#[test]
fn fields_of_a_wrong_type() {
    refuse(plan([json!({})]), &["/steps/0/id required", "/steps/0/skill required"]);
    for (field, value) in [
        ("id", json!(1)),
        ("id", json!(null)),
        ("skill", json!(["json_transform"])),
        ("params", json!([])),
        ("params", json!(null)),
        ("params", json!("{}")),
        ("needs", json!("a")),
        ("needs", json!(null)),
        ("on_error", json!(1)),
        ("on_error", json!(null)),
        ("retry", json!(3)),
        ("retry", json!(null)),
        ("timeout_ms", json!("30000")),
        ("timeout_ms", json!(1.5)),
        ("timeout_ms", json!(null)),
        ("when", json!(true)),
        ("requires_approval", json!("yes")),
        ("requires_approval", json!(null)),
    ] {
        refuse(with(field, value), &[&format!("/steps/0/{field} wrong_type")]);
    }
    refuse(
        with("retry", json!({"attempts": "2", "backoff_ms": 1.5})),
        &[
            "/steps/0/retry/attempts wrong_type",
            "/steps/0/retry/backoff_ms wrong_type",
        ],
    );
    refuse(
        with("needs", json!([1, null, {}])),
        &[
            "/steps/0/needs/0 wrong_type",
            "/steps/0/needs/1 wrong_type",
            "/steps/0/needs/2 wrong_type",
        ],
    );
}

#[test]
fn fields_that_do_not_exist() {
    refuse(with("timeout", json!(1)), &["/steps/0/timeout unknown_field"]);
    refuse(with("Id", json!("a")), &["/steps/0/Id unknown_field"]);
    refuse(with("retry", json!({"max": 1})), &["/steps/0/retry/max unknown_field"]);
    refuse(
        with(&"x".repeat(10_000), json!(1)),
        &[&format!("/steps/0/{} unknown_field", "x".repeat(10_000))],
    );
}

#[test]
fn values_outside_their_limits() {
    for (field, value) in [
        ("timeout_ms", json!(0)),
        ("timeout_ms", json!(600_001)),
        ("timeout_ms", json!(-1)),
        ("timeout_ms", json!(u64::MAX)),
    ] {
        refuse(with(field, value), &[&format!("/steps/0/{field} out_of_range")]);
    }
    for retry in [json!({"attempts": 0}), json!({"attempts": 11}), json!({"attempts": -3})] {
        refuse(with("retry", retry), &["/steps/0/retry/attempts out_of_range"]);
    }
    for retry in [json!({"backoff_ms": 99}), json!({"backoff_ms": 3_600_001})] {
        refuse(with("retry", retry), &["/steps/0/retry/backoff_ms out_of_range"]);
    }
    refuse(with("on_error", json!("retry")), &["/steps/0/on_error invalid_value"]);
    refuse(
        with("requires_approval", json!(true)),
        &["/steps/0/requires_approval not_supported"],
    );
}

#[test]
fn ids_that_are_none() {
    let long = "a".repeat(65);
    for id in [
        "",
        "1a",
        "_a",
        "-a",
        "a b",
        "a.b",
        "é",
        "aé",
        "a/b",
        "a\u{0}",
        "{{input.x}}",
        long.as_str(),
    ] {
        refuse(with("id", json!(id)), &["/steps/0/id invalid_value"]);
    }
    refuse(
        plan([
            step("a", &[], json!(1)),
            step("b", &[], json!(1)),
            step("a", &[], json!(1)),
        ]),
        &["/steps/2/id duplicate"],
    );
}

#[test]
fn params_too_large_too_deep_or_not_storable() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    // Params and their field `input` are two levels less one.
    assert!(check(&plan([step("a", &[], nested(31))])).is_ok());
    refuse(plan([step("a", &[], nested(32))]), &["/steps/0/params too_deep"]);
    refuse(plan([step("a", &[], nested(120))]), &["/steps/0/params too_deep"]);
    refuse(
        plan([step("a", &[], json!("x".repeat(64 * 1024)))]),
        &["/steps/0/params too_long"],
    );
    let four: Vec<Value> = (0..5)
        .map(|index| step(&format!("s{index}"), &[], json!("x".repeat(60_000))))
        .collect();
    refuse(plan(four), &[" too_long"]);
    refuse(
        plan([step("a", &[], json!(["ok", "nul \u{0}"]))]),
        &["/steps/0/params/input/1 invalid_value"],
    );
    refuse(
        plan([step("a", &[], json!({"\u{0}": 1}))]),
        &["/steps/0/params/input/\u{0} invalid_value"],
    );
}

#[test]
fn skills_that_do_not_exist_and_params_that_a_skill_refuses() {
    refuse(with("skill", json!("shell")), &["/steps/0/skill unknown_skill"]);
    refuse(with("skill", json!("")), &["/steps/0/skill unknown_skill"]);
    refuse(
        with("skill", json!("JSON_TRANSFORM")),
        &["/steps/0/skill unknown_skill"],
    );
    refuse(
        with("params", json!({"expression": "@"})),
        &["/steps/0/params/input required"],
    );
    refuse(
        with("params", json!({"input": 1, "expression": "a..b"})),
        &["/steps/0/params/expression invalid_value"],
    );
    refuse(
        plan([
            json!({"id": "a", "skill": "http_call"}),
            json!({"id": "b", "skill": "kv_store", "params": {"op": "get", "key": 1}}),
        ]),
        &["/steps/0/params/url required", "/steps/1/params/key wrong_type"],
    );
}

#[test]
fn needs_of_nobody_of_oneself_and_of_each_other() {
    refuse(plan([step("a", &["b"], json!(1))]), &["/steps/0/needs/0 unknown_step"]);
    refuse(
        plan([step("a", &[], json!(1)), step("b", &["a", "a"], json!(1))]),
        &["/steps/1/needs/1 duplicate"],
    );
    refuse(plan([step("a", &["a"], json!(1))]), &["/steps/0/needs/0 cycle"]);
    refuse(
        plan([step("a", &["b"], json!(1)), step("b", &["a"], json!(1))]),
        &["/steps/1/needs/0 cycle"],
    );
    let many: Vec<String> = (0..101).map(|index| format!("s{index}")).collect();
    assert_eq!(wrong(&with("needs", json!(many)))[0], "/steps/0/needs too_many");
}

#[test]
fn a_cycle_is_told_by_its_members_in_order() {
    let draft = plan([
        step("fetch", &[], json!(1)),
        step("join", &["fetch", "totals"], json!(1)),
        step("sum", &["join"], json!(1)),
        step("totals", &["fetch", "sum"], json!(1)),
        step("end", &["join"], json!(1)),
    ]);
    let errors = check(&draft).unwrap_err();
    let [cycle] = errors.as_slice() else {
        panic!("{errors:#?}")
    };
    assert_eq!(
        (cycle.pointer.as_str(), cycle.code.as_ref()),
        ("/steps/2/needs/0", "cycle")
    );
    assert!(cycle.detail.ends_with("join → totals → sum → join"), "{}", cycle.detail);
}

#[test]
fn two_cycles_are_two_errors() {
    let pair = |one: &str, other: &str| [step(one, &[other], json!(1)), step(other, &[one], json!(1))];
    let draft = plan([pair("a", "b"), pair("c", "d")].concat());
    refuse(draft, &["/steps/1/needs/0 cycle", "/steps/3/needs/0 cycle"]);
}

#[test]
fn references_to_what_is_not_there() {
    for (text, code) in [
        ("{{steps.nobody.output}}", "unknown_reference"),
        ("{{steps.b.output}}", "unknown_reference"),
        ("{{steps.a}}", "unknown_reference"),
        ("{{steps.a.result}}", "unknown_reference"),
        ("{{steps.a.status.code}}", "unknown_reference"),
        ("{{steps[0].output}}", "unknown_reference"),
        ("{{steps}}", "unknown_reference"),
        ("{{input.y}}", "unknown_reference"),
        ("{{input.x.y}}", "unknown_reference"),
        ("{{input.list[1]}}", "unknown_reference"),
        ("{{input[0]}}", "unknown_reference"),
        ("{{env.HOME}}", "unknown_reference"),
        ("{{AGENT_ID}}", "unknown_reference"),
        ("{{memory.k}}", "not_supported"),
        ("{{memory.token}}", "not_supported"),
        ("{{secrets.token}}", "secret_not_allowed"),
        ("{{steps.c.output}}", "missing_need"),
        ("{{steps.c.status}}", "missing_need"),
        ("{{", "invalid_reference"),
        ("{{}}", "invalid_reference"),
        ("{{steps.a.output", "invalid_reference"),
        ("{{ steps.a.output + 1 }}", "invalid_reference"),
        ("{{steps.a.output[-1]}}", "invalid_reference"),
        ("{{steps.a.output | length(@)}}", "invalid_reference"),
    ] {
        refuse(
            naming(&["a"], &format!("text {text}")),
            &[&format!("/steps/1/params/input/0 {code}")],
        );
    }
    refuse(
        naming(&[], "{{steps.a.output}} {{input.y}}"),
        &[
            "/steps/1/params/input/0 missing_need",
            "/steps/1/params/input/0 unknown_reference",
        ],
    );
    refuse(
        plan([step("a", &[], json!({"~/{{input.x}}": 1}))]),
        &["/steps/0/params/input/~0~1{{input.x}} invalid_reference"],
    );
}

#[test]
fn a_run_without_an_input_has_nothing_to_refer_to() {
    let context = super::PlanContext {
        skills: &super::REGISTRY,
        input: &Value::Null,
    };
    let draft = plan([step("a", &[], json!("{{input.x}}"))]);
    let errors = super::validate(&draft, &context).unwrap_err();
    assert_eq!(errors[0].code, "unknown_reference");
    assert_eq!(errors[0].detail, "`input` is null, it has no `.x`");
    assert!(super::validate(&plan([step("a", &[], json!("{{input}}"))]), &context).is_ok());
}

#[test]
fn conditions_that_do_not_compile_or_name_what_they_cannot_see() {
    for (condition, code) in [
        ("", "invalid_value"),
        ("a ==", "invalid_value"),
        ("steps.my-step.output", "invalid_value"),
        ("no_such_function(input)", "invalid_value"),
        ("{{input.x}}", "invalid_value"),
        ("steps", "invalid_value"),
        ("steps.*.status", "invalid_value"),
        ("a\u{0}", "invalid_value"),
        ("steps.nobody.output", "unknown_reference"),
        ("steps.a.output", "unknown_reference"),
        ("output.x", "unknown_reference"),
    ] {
        refuse(with("when", json!(condition)), &[&format!("/steps/0/when {code}")]);
    }
    refuse(with("when", json!("x".repeat(1025))), &["/steps/0/when too_long"]);
    let mut beside = step("b", &[], json!(1));
    beside["when"] = json!("steps.a.output");
    refuse(
        plan([step("a", &[], json!(1)), beside]),
        &["/steps/1/when missing_need"],
    );
}

#[test]
fn everything_that_is_wrong_is_reported_together() {
    let draft = json!({"version": 2, "steps": [
        {"id": "a", "skill": "shell", "timeout_ms": 0, "needs": ["b"]},
        {"id": "b", "skill": "json_transform", "params": {"input": "{{memory.k}}"}, "needs": ["a", 3], "when": "("},
        7,
    ]});
    refuse(
        draft,
        &[
            "/version unknown_field",
            "/steps/0/timeout_ms out_of_range",
            "/steps/1/needs/1 wrong_type",
            "/steps/2 wrong_type",
            "/steps/1/needs/0 cycle",
            "/steps/0/skill unknown_skill",
            "/steps/1/params/expression required",
            "/steps/1/params/input not_supported",
            "/steps/1/when invalid_value",
        ],
    );
}

#[test]
fn past_a_hundred_errors_they_are_only_counted() {
    let many: Vec<Value> = (0..90).map(|index| json!({"id": index, "skill": index})).collect();
    let found = wrong(&plan(many));
    assert_eq!((found.len(), found[100].as_str()), (101, " too_many_errors"));
    let errors = check(&plan(
        (0..90)
            .map(|index| json!({"id": index, "skill": index}))
            .collect::<Vec<_>>(),
    ))
    .unwrap_err();
    assert_eq!(errors[100].detail, "80 more errors are not listed");
}

#[test]
fn a_long_key_over_many_errors_does_not_make_a_long_answer() {
    let bad: Vec<&str> = vec!["{{"; 2_000];
    let key = "k".repeat(40_000);
    let errors = check(&plan([step("a", &[], json!({ key: bad }))])).unwrap_err();
    let bytes: usize = errors
        .iter()
        .map(|error| error.pointer.len() + error.detail.len())
        .sum();
    assert!(bytes < 140_000, "{bytes}");
    assert_eq!((errors.len(), errors[3].code.as_ref()), (4, "too_many_errors"));
    assert_eq!(errors[3].detail, "1997 more errors are not listed");
    let name = "n".repeat(40_000);
    let errors = check(&plan([step(
        "a",
        &[],
        json!(format!("{{{{input.{name}}}}} {{{{{name}}}}}")),
    )]))
    .unwrap_err();
    assert!(
        errors.iter().all(|error| error.detail.chars().count() <= 1_001),
        "{errors:#?}"
    );
}
