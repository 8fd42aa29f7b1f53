//! The bodies in `examples/` are plans, and what stands beside them is what they come to: computed here with the
//! references, conditions and expressions of the real thing, and with the stand-ins' answers written out by hand.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Plan, PlanContext, REGISTRY, validate};
use crate::{
    runs::{
        plan::{OnError, Step},
        references::{Scope, StepResult, resolve},
    },
    skills::{
        OutcomeStatus::{self, Failed, Skipped, Succeeded},
        jmespath::{compile, search, truthy},
    },
};

fn body(text: &str) -> Value {
    let filled = text.replace("{{AGENT_ID}}", "agt_018f0000000070008000000000000001");
    serde_json::from_str(&filled.replace("{{STANDINS_URL}}", "https://standins.example.com")).unwrap()
}

fn item(id: u32) -> Value {
    json!({"id": id, "name": format!("item-{id}"), "price": f64::from((id - 1) % 10 + 1) * 2.5, "tags": []})
}

/// What the stand-ins answer to a call that is not tried again.
fn answer(params: &Value) -> Option<Value> {
    let url = params["url"]
        .as_str()
        .unwrap()
        .strip_prefix("https://standins.example.com")
        .unwrap();
    let body = match (url, &params["query"]["n"]) {
        ("/items?n=12", _) => (1..=12).map(item).collect(),
        ("/items", Value::String(n)) if n == "4" => (1..=4).map(item).collect(),
        ("/rates", _) => {
            json!({"base": "EUR", "rates": {"CHF": 0.95, "EUR": 1.0, "GBP": 0.85, "JPY": 160.0, "USD": 1.1}})
        }
        ("/flaky/retry-and-continue?fail=2&status=503", _) => json!({"key": "retry-and-continue", "call": 3}),
        ("/echo", _) => json!({"method": params["method"], "json": params["json"]}),
        ("/status/404", _) => return None,
        other => panic!("no stand-in answers {other:?}"),
    };
    Some(json!({"status": 200, "body": body}))
}

fn transform(params: &Value) -> Value {
    let of = |expression: &Value| search(&compile(expression.as_str().unwrap()).unwrap(), &params["input"]).unwrap();
    match params["mapping"].as_object() {
        Some(mapping) => Value::Object(
            mapping
                .iter()
                .map(|(name, expression)| (name.clone(), of(expression)))
                .collect(),
        ),
        None => of(&params["expression"]),
    }
}

fn execute(step: &Step, scope: &Scope<'_>, store: &mut BTreeMap<String, Value>) -> (OutcomeStatus, Value) {
    if let Some(condition) = step.when()
        && !truthy(&compile(condition).unwrap(), &scope.document()).unwrap()
    {
        return (Skipped, Value::Null);
    }
    let params = resolve(step.params(), scope).unwrap().params;
    let key = params["key"].as_str().unwrap_or_default().to_owned();
    match (step.skill(), params["op"].as_str()) {
        ("json_transform", _) => (Succeeded, transform(&params)),
        ("http_call", _) => answer(&params).map_or((Failed, Value::Null), |answer| (Succeeded, answer)),
        ("kv_store", Some("set")) => {
            store.insert(key, params["value"].clone());
            (Succeeded, json!({"stored": true}))
        }
        ("kv_store", Some("get")) => (Succeeded, json!({"found": true, "value": store[&key]})),
        other => panic!("no such call: {other:?}"),
    }
}

/// Carries a plan out, one step after the other, each seeing only what it is declared to see.
fn carry_out(plan: &Plan, input: &Value) -> Value {
    let mut ended: BTreeMap<usize, StepResult> = BTreeMap::new();
    let mut store = BTreeMap::new();
    while ended.len() < plan.steps().len() {
        let is_due = |step: &&Step| {
            let index = usize::from(step.index());
            !ended.contains_key(&index) && step.needs().iter().all(|&need| ended.contains_key(&usize::from(need)))
        };
        let step = plan.steps().iter().find(is_due).expect("a step is due");
        let seen = step.refs().iter().map(|&index| usize::from(index));
        let steps = seen
            .map(|index| (plan.steps()[index].id().to_owned(), ended[&index].clone()))
            .collect();
        let are_all_skipped = step
            .needs()
            .iter()
            .all(|&need| ended[&usize::from(need)].status == Skipped);
        let (status, output) = if !step.needs().is_empty() && are_all_skipped {
            (Skipped, Value::Null)
        } else {
            execute(
                step,
                &Scope {
                    input,
                    steps,
                    secrets: &BTreeMap::new(),
                },
                &mut store,
            )
        };
        assert!(
            status != Failed || step.on_error() == OnError::Continue,
            "{} failed",
            step.id()
        );
        ended.insert(step.index().into(), StepResult { output, status });
    }
    let of = |value: fn(&StepResult) -> Value, wanted: fn(&Step) -> bool| -> Map<String, Value> {
        let steps = plan.steps().iter().filter(|step| wanted(step));
        steps
            .map(|step| (step.id().to_owned(), value(&ended[&usize::from(step.index())])))
            .collect()
    };
    json!({
        "status": "succeeded",
        "steps": of(|result| json!(result.status), |_| true),
        "output": of(|result| result.output.clone(), Step::is_sink),
    })
}

#[track_caller]
fn comes_to(example: &str, expected: &str) -> Plan {
    let body = body(example);
    let context = PlanContext {
        skills: &REGISTRY,
        input: &body["input"],
    };
    let plan = validate(&body["plan"], &context).unwrap_or_else(|errors| panic!("{errors:#?}"));
    assert_eq!(
        carry_out(&plan, &body["input"]),
        serde_json::from_str::<Value>(expected).unwrap()
    );
    plan
}

macro_rules! example {
    ($name:literal) => {
        comes_to(
            include_str!(concat!("../../../../examples/", $name, ".json")),
            include_str!(concat!("../../../../examples/expected/", $name, ".json")),
        )
    };
}

#[test]
fn the_sample_comes_to_what_one_computes_by_hand() {
    let plan = example!("sample");
    let needs: Vec<usize> = plan.steps().iter().map(|step| step.needs().len()).collect();
    assert_eq!(needs, [0, 1, 1, 1, 1, 2]);
}

#[test]
fn the_fan_out_skips_what_its_conditions_say() {
    example!("fan-out-and-skip");
}

#[test]
fn the_run_with_a_failure_goes_on_after_it() {
    example!("retry-and-continue");
}

#[test]
fn the_chain_has_ten_steps_in_a_row() {
    let plan = example!("chain");
    let needs: Vec<&[u16]> = plan.steps().iter().map(Step::needs).collect();
    assert_eq!(
        needs,
        [&[] as &[u16], &[0], &[1], &[2], &[3], &[4], &[5], &[6], &[7], &[8]]
    );
}

#[test]
fn a_placeholder_that_was_left_in_is_refused() {
    let body: Value = serde_json::from_str(include_str!("../../../../examples/sample.json")).unwrap();
    let context = PlanContext {
        skills: &REGISTRY,
        input: &body["input"],
    };
    let errors = validate(&body["plan"], &context).unwrap_err();
    assert_eq!(
        errors
            .iter()
            .map(|error| format!("{} {}", error.pointer, error.code))
            .collect::<Vec<_>>(),
        ["/steps/0/params/url unknown_reference",]
    );
}
