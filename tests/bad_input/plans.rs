//! Plans that cannot be carried out.

use aos_tests::{pure, with};
use serde_json::{Value, json};

use crate::{Bad, STAGE, refuse_all, table};

/// A plan of one step with these fields over the required ones.
fn step(fields: Value) -> Value {
    json!([with(pure("a", &[]), fields)])
}

/// A plan of one transform.
fn transform(params: Value) -> Value {
    json!([{"id": "a", "skill": "json_transform", "params": params}])
}

/// A plan of one call.
fn http(params: Value) -> Value {
    json!([{"id": "a", "skill": "http_call", "params": params}])
}

/// A plan of one call to a good address.
fn call(params: Value) -> Value {
    http(with(json!({"url": "https://aos.dev/"}), params))
}

/// A plan of one operation on the store.
fn kv(params: Value) -> Value {
    json!([{"id": "a", "skill": "kv_store", "params": params}])
}

/// A plan whose second step, which needs the first, names this.
fn naming(text: &str) -> Value {
    let named = json!({"params": {"input": text, "expression": "@"}});
    json!([pure("a", &[]), with(pure("b", &["a"]), named)])
}

/// `levels` of arrays, one inside the other.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn plans_that_cannot_be_carried_out_are_refused_at_every_place_that_is_wrong() {
    STAGE.alone(async |world| {
        let client = world.client();
        let agent = client.agent().await.to_owned();
        let many: Value = (0..101).map(|i| pure(&format!("s{i}"), &[])).collect();
        let unordered = json!({"params": {"input": "{{steps.a.output}}", "expression": "@"}});
        // Places are those below `/plan/steps`.
        let bad = table! {
            json!({}) => " wrong_type";
            json!([]) => " too_few";
            many => " too_many";
            json!([null]) => "/0 wrong_type";
            json!([{}]) => "/0/id required", "/0/skill required";
            step(json!({"timeout": 1})) => "/0/timeout unknown_field";
            step(json!({"id": ""})) => "/0/id invalid_value";
            step(json!({"id": "../a"})) => "/0/id invalid_value";
            step(json!({"id": "a".repeat(65)})) => "/0/id invalid_value";
            json!([pure("a", &[]), pure("a", &[])]) => "/1/id duplicate";
            step(json!({"skill": "shell"})) => "/0/skill unknown_skill";
            step(json!({"skill": 1})) => "/0/skill wrong_type";
            step(json!({"params": []})) => "/0/params wrong_type";
            transform(json!({"input": nested(40), "expression": "@"})) => "/0/params too_deep";
            transform(json!({"input": "x".repeat(65 * 1024), "expression": "@"})) => "/0/params too_long";
            step(json!({"needs": ["a"]})) => "/0/needs/0 cycle";
            json!([pure("a", &["b"]), pure("b", &["a"])]) => "/1/needs/0 cycle";
            json!([pure("a", &["c"]), pure("b", &["a"]), pure("c", &["b"])]) => "/1/needs/0 cycle";
            step(json!({"needs": ["b"]})) => "/0/needs/0 unknown_step";
            json!([pure("a", &[]), pure("b", &["a", "a"])]) => "/1/needs/1 duplicate";
            step(json!({"needs": "b"})) => "/0/needs wrong_type";
            step(json!({"on_error": "retry"})) => "/0/on_error invalid_value";
            step(json!({"retry": {"attempts": 0}})) => "/0/retry/attempts out_of_range";
            step(json!({"retry": {"attempts": -3}})) => "/0/retry/attempts out_of_range";
            step(json!({"retry": {"attempts": 11}})) => "/0/retry/attempts out_of_range";
            step(json!({"retry": {"backoff_ms": 0}})) => "/0/retry/backoff_ms out_of_range";
            step(json!({"retry": {"max": 1}})) => "/0/retry/max unknown_field";
            step(json!({"timeout_ms": 0})) => "/0/timeout_ms out_of_range";
            step(json!({"timeout_ms": 600_001})) => "/0/timeout_ms out_of_range";
            step(json!({"timeout_ms": u64::MAX})) => "/0/timeout_ms out_of_range";
            step(json!({"timeout_ms": "30"})) => "/0/timeout_ms wrong_type";
            step(json!({"when": "a =="})) => "/0/when invalid_value";
            step(json!({"when": "length(keys(steps)) > `0`"})) => "/0/when invalid_value";
            step(json!({"when": "steps.z.output"})) => "/0/when unknown_reference";
            step(json!({"when": "x".repeat(1_025)})) => "/0/when too_long";
            step(json!({"requires_approval": true})) => "/0/requires_approval not_supported";
            naming("{{steps.z.output}}") => "/1/params/input unknown_reference";
            naming("{{steps.b.output}}") => "/1/params/input unknown_reference";
            naming("{{input.x}}") => "/1/params/input unknown_reference";
            naming("{{env.AOS_API_KEY}}") => "/1/params/input unknown_reference";
            naming("{{AGENT_ID}}") => "/1/params/input unknown_reference";
            naming("{{secrets.token}}") => "/1/params/input secret_not_allowed";
            naming("{{memory.key}}") => "/1/params/input not_supported";
            naming("{{steps.a.output") => "/1/params/input invalid_reference";
            json!([pure("a", &[]), with(pure("b", &[]), unordered)]) => "/1/params/input missing_need";
            transform(json!({"expression": "@"})) => "/0/params/input required";
            transform(json!({"input": 1, "expression": "a..b"})) => "/0/params/expression invalid_value";
            transform(json!({"input": 1, "expression": "@", "mapping": {"x": "@"}}))
                => "/0/params/mapping conflicting_fields";
            http(json!({})) => "/0/params/url required";
            call(json!({"method": "BREW"})) => "/0/params/method invalid_value";
            call(json!({"body": "x"})) => "/0/params/body conflicting_fields";
            call(json!({"headers": {"X-A": "a\r\nX-B: b"}})) => "/0/params/headers/X-A invalid_value";
            call(json!({"headers": {"Host": "b"}})) => "/0/params/headers/Host invalid_value";
            call(json!({"headers": {"X A": "b"}})) => "/0/params/headers/X A invalid_value";
            call(json!({"timeout_ms": 60_001})) => "/0/params/timeout_ms out_of_range";
            kv(json!({"op": "flushall", "key": "a"})) => "/0/params/op invalid_value";
            kv(json!({"op": "get"})) => "/0/params/key required";
            kv(json!({"op": "get", "key": "k".repeat(513)})) => "/0/params/key too_long";
            kv(json!({"op": "get", "key": "a\nb"})) => "/0/params/key invalid_value";
            kv(json!({"op": "get", "key": "a", "value": 1})) => "/0/params/value conflicting_fields";
            kv(json!({"op": "set", "key": "a"})) => "/0/params/value required";
            kv(json!({"op": "expire", "key": "a", "ttl_s": -1})) => "/0/params/ttl_s out_of_range";
            json!([with(pure("a", &["z"]), json!({"skill": "x", "timeout_ms": -1})), 7])
                => "/0/needs/0 unknown_step", "/0/skill unknown_skill", "/0/timeout_ms out_of_range", "/1 wrong_type";
        };
        let large = |i: usize| {
            with(
                pure(&format!("s{i}"), &[]),
                json!({"params": {"input": "x".repeat(60_000)}}),
            )
        };
        let whole = table! {
            json!(3) => " wrong_type";
            json!({"steps": [pure("a", &[])], "version": 2}) => "/version unknown_field";
            json!({"steps": (0..5).map(large).collect::<Value>()}) => " too_long";
        };
        let mut cases = Vec::new();
        let mut refuse = |plan: Value, errors: Vec<&str>, under: &str| {
            let body = json!({"agent_id": agent, "plan": plan});
            let errors = errors.into_iter().map(|error| format!("{under}{error}"));
            cases.push(Bad::post(&client, "/v1/runs", &body, errors.collect::<Vec<_>>()));
        };
        for (steps, errors) in bad {
            refuse(json!({"steps": steps}), errors, "/plan/steps");
        }
        for (plan, errors) in whole {
            refuse(plan, errors, "/plan");
        }
        refuse_all(world, cases, 60).await;
    });
}

#[test]
fn skills_that_the_agent_may_not_use_are_refused_at_every_step_that_uses_them() {
    STAGE.alone(async |world| {
        let client = world.client();
        let body = json!({"name": "reader", "allowed_skills": ["json_transform"]});
        let agent = client.post("/v1/agents", &body).await.expect(201)["id"].clone();
        let steps = json!([
            pure("a", &[]),
            client.http("b", "GET", "/echo", &[]),
            {"id": "k", "skill": "kv_store", "params": {"op": "get", "key": "k"}},
            client.http("c", "GET", "/echo", &["a"]),
        ]);
        let body = json!({"agent_id": agent, "plan": {"steps": steps}});
        let errors = [1, 2, 3].map(|step| format!("/plan/steps/{step}/skill skill_not_allowed"));
        refuse_all(world, vec![Bad::post(&client, "/v1/runs", &body, errors)], 1).await;
        let called = world.cloud.standins().counters().snapshot();
        assert_eq!(called.labelled("GET /echo"), 0);
    });
}
