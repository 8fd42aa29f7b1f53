use std::sync::LazyLock;

use serde_json::json;

use super::*;
use crate::{problem::FieldError, skills::Registry};

mod bad;
mod examples;
mod properties;
mod wire_form;

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);

/// An input that the plans of these tests may refer to.
fn input() -> Value {
    json!({"x": 1, "list": [{"id": 7}], "odd key": true})
}

fn check(draft: &Value) -> Result<Plan, Vec<FieldError>> {
    validate(
        draft,
        &PlanContext {
            skills: &REGISTRY,
            input: &input(),
        },
    )
}

fn good(draft: &Value) -> Plan {
    check(draft).unwrap_or_else(|errors| panic!("{draft:#}\n{errors:#?}"))
}

/// A pure step whose input is given.
fn step(id: &str, needs: &[&str], input: Value) -> Value {
    json!({"id": id, "skill": "json_transform", "params": {"input": input, "expression": "@"}, "needs": needs})
}

fn plan(steps: impl Into<Value>) -> Value {
    json!({"steps": steps.into()})
}

#[test]
fn a_step_that_says_only_what_it_must_gets_the_defaults() {
    let plan = good(&plan([
        json!({"id": "a", "skill": "http_call", "params": {"url": "https://example.com"}}),
    ]));
    let [a] = plan.steps() else { panic!("{plan:?}") };
    assert_eq!(
        (a.index(), a.id(), a.skill(), a.timeout_ms()),
        (0, "a", "http_call", 30_000)
    );
    assert_eq!((a.needs(), a.refs(), a.when()), (&[] as &[u16], &[] as &[u16], None));
    assert_eq!(
        (a.on_error(), a.retry()),
        (
            OnError::Abort,
            RetryPolicy {
                attempts: 3,
                backoff_ms: 1_000
            }
        )
    );
    assert_eq!(
        (a.effect_class(), a.outside(), a.is_sink()),
        (EffectClass::Read, true, true)
    );
}

#[test]
fn everything_that_a_step_says_is_in_the_plan() {
    let plan = good(&plan([
        step("first", &[], json!(1)),
        json!({
            "id": "Call-2_b", "skill": "http_call", "needs": ["first"], "on_error": "continue",
            "params": {"method": "POST", "url": "https://example.com/{{steps.first.output}}"},
            "retry": {"attempts": 10, "backoff_ms": 3_600_000}, "timeout_ms": 600_000,
            "when": "steps.first.status == 'succeeded'", "requires_approval": false,
        }),
    ]));
    let call = plan.step("Call-2_b").unwrap();
    assert_eq!(
        (call.index(), call.needs(), call.refs()),
        (1, &[0_u16] as &[_], &[0_u16] as &[_])
    );
    assert_eq!((call.on_error(), call.timeout_ms()), (OnError::Continue, 600_000));
    assert_eq!(
        call.retry(),
        RetryPolicy {
            attempts: 10,
            backoff_ms: 3_600_000
        }
    );
    assert_eq!(call.when(), Some("steps.first.status == 'succeeded'"));
    assert_eq!(call.params()["url"], "https://example.com/{{steps.first.output}}");
    assert_eq!((call.effect_class(), call.is_sink()), (EffectClass::Once, true));
    let first = plan.step("first").unwrap();
    assert_eq!(
        (first.effect_class(), first.outside(), first.is_sink()),
        (EffectClass::Pure, false, false)
    );
}

#[test]
fn a_step_may_name_the_input_and_every_step_that_has_ended_before_it() {
    let plan = good(&plan([
        step(
            "last",
            &["middle"],
            json!(["{{steps.first.output.items[0].id}}", {"b": "{{steps.middle.status}} {{input.list[0].id}}"}]),
        ),
        step("first", &[], json!("{{input}} {{input[\"odd key\"]}} {{{{literal}}")),
        step("middle", &["first"], json!(null)),
        step("beside", &[], json!("{{input.x}}")),
    ]));
    assert_eq!(plan.step("last").unwrap().refs(), [1, 2]);
    assert_eq!(plan.step("middle").unwrap().refs(), [] as [u16; 0]);
    assert_eq!(
        plan.steps()
            .iter()
            .filter(|step| step.is_sink())
            .map(Step::id)
            .collect::<Vec<_>>(),
        ["last", "beside"]
    );
}

#[test]
fn what_a_condition_names_is_loaded_like_what_the_params_name() {
    let mut last = step("last", &["b"], json!("{{steps.b.output}}"));
    last["when"] = json!("steps.a.output.ok && input.x");
    let plan = good(&plan([step("a", &[], json!(1)), step("b", &["a"], json!(1)), last]));
    assert_eq!(plan.step("last").unwrap().refs(), [0, 1]);
}

#[test]
fn a_hundred_steps_that_each_need_all_before_them_are_a_plan() {
    let ids: Vec<String> = (0..MAX_STEPS).map(|index| format!("s{index}")).collect();
    let steps: Vec<Value> = (0..MAX_STEPS)
        .map(|index| {
            step(
                &ids[index],
                &ids[..index].iter().map(String::as_str).collect::<Vec<_>>(),
                json!(0),
            )
        })
        .collect();
    let plan = good(&plan(steps));
    assert_eq!(plan.steps()[99].needs(), (0..99).collect::<Vec<u16>>());
}

#[test]
fn the_hash_is_of_what_the_plan_says_and_not_of_how_it_says_it() {
    let short = plan([
        step("a", &[], json!(1)),
        step("b", &[], json!(2)),
        step("c", &["a", "b"], json!(3)),
    ]);
    let mut long = short.clone();
    long["steps"][2]["needs"] = json!(["b", "a"]);
    long["steps"][0]["timeout_ms"] = json!(30_000);
    long["steps"][1]["retry"] = json!({});
    long["steps"][1]["when"] = json!(null);
    assert_eq!(good(&short).plan_hash(), good(&long).plan_hash());
    let mut other = short.clone();
    other["steps"][0]["timeout_ms"] = json!(30_001);
    assert_ne!(good(&short).plan_hash(), good(&other).plan_hash());
}

/// Holds the hash still: traces and golden runs are compared by it. The text was written by hand, its SHA-256 computed
/// with `sha256sum`.
#[test]
fn the_hash_is_sha256_over_the_canonical_json_of_the_draft() {
    let canonical = concat!(
        r#"{"steps":[{"id":"a","needs":[],"on_error":"abort","params":{"expression":"@","input":1},"#,
        r#""requires_approval":false,"retry":{"attempts":3,"backoff_ms":1000},"skill":"json_transform","#,
        r#""timeout_ms":30000,"when":null}]}"#,
    );
    let plan = good(&plan([step("a", &[], json!(1))]));
    assert_eq!(serde_json_canonicalizer::to_string(&plan.draft()).unwrap(), canonical);
    assert_eq!(
        plan.plan_hash(),
        "c016601dd1ddd3ae0b286b686d21ee4a8f066a76bdd034854355d115e0943993"
    );
}

#[test]
fn a_stored_plan_reads_back_as_it_was() {
    let plan = good(&plan([
        step("a", &[], json!("{{input.x}}")),
        step("b", &["a"], json!("{{steps.a.output}}")),
    ]));
    let stored = serde_json::to_value(&plan).unwrap();
    assert_eq!(stored["steps"][1]["needs"], json!([0]));
    assert_eq!(Plan::from_stored(stored).unwrap(), plan);
    assert!(Plan::from_stored(json!({"steps": []})).is_err());
}

#[test]
fn a_plan_says_which_skills_it_uses_and_where() {
    let call = json!({"id": "b", "skill": "http_call", "params": {"url": "https://example.com"}});
    let plan = good(&plan([step("a", &[], json!(1)), call, step("c", &[], json!(1))]));
    assert_eq!(
        plan.skills().into_iter().collect::<Vec<_>>(),
        ["http_call", "json_transform"]
    );
    assert_eq!(plan.first_use("http_call").as_deref(), Some("/steps/1/skill"));
    assert_eq!(plan.first_use("json_transform").as_deref(), Some("/steps/0/skill"));
    assert_eq!(plan.first_use("kv_store"), None);
}
