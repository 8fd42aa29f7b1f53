//! Bodies whose fields are wrong: of agents, and of runs outside the plan.

use aos_tests::pure;
use serde_json::{Value, json};

use crate::{Bad, NO_AGENT, NO_RUN, STAGE, refuse_all, table};

/// The body of an agent with these fields over the required ones.
fn agent(fields: Value) -> Value {
    aos_tests::with(json!({"name": "a", "allowed_skills": []}), fields)
}

fn labels(count: usize) -> Value {
    (0..count).map(|i| (format!("l{i}"), json!("v"))).collect()
}

#[test]
fn agents_with_wrong_fields_are_refused_at_the_field() {
    STAGE.alone(async |world| {
        let client = world.client();
        let id = client.agent().await.to_owned();
        let beyond_u64: Value = serde_json::from_str("18446744073709551616").unwrap();
        let created = table! {
            json!({}) => "/name required";
            json!({"name": "a"}) => "/allowed_skills required";
            json!({"Name": "a", "allowed_skills": []}) => "/Name unknown_field";
            agent(json!({"admin": true})) => "/admin unknown_field";
            agent(json!({"tenant_id": "another"})) => "/tenant_id unknown_field";
            agent(json!({"name": 1})) => "/name wrong_type";
            agent(json!({"name": null})) => "/name wrong_type";
            agent(json!({"name": ""})) => "/name invalid_format";
            agent(json!({"name": " \t "})) => "/name invalid_format";
            agent(json!({"name": "é".repeat(129)})) => "/name invalid_format";
            agent(json!({"name": "a\0b"})) => "/name invalid_text";
            agent(json!({"allowed_skills": "http_call"})) => "/allowed_skills wrong_type";
            agent(json!({"allowed_skills": ["http_call", "shell"]})) => "/allowed_skills/1 unknown_skill";
            agent(json!({"allowed_skills": [null]})) => "/allowed_skills/0 wrong_type";
            agent(json!({"allowed_skills": ["kv_store", "kv_store"]})) => "/allowed_skills/1 duplicate";
            agent(json!({"max_concurrent_runs": 0})) => "/max_concurrent_runs out_of_range";
            agent(json!({"max_concurrent_runs": -1})) => "/max_concurrent_runs out_of_range";
            agent(json!({"max_concurrent_runs": 10_001})) => "/max_concurrent_runs out_of_range";
            agent(json!({"max_runs_per_minute": 4_294_967_296_u64})) => "/max_runs_per_minute out_of_range";
            agent(json!({"max_runs_per_minute": beyond_u64})) => "/max_runs_per_minute wrong_type";
            agent(json!({"max_runs_per_minute": 1.5})) => "/max_runs_per_minute wrong_type";
            agent(json!({"max_runs_per_minute": "600"})) => "/max_runs_per_minute wrong_type";
            agent(json!({"model": " "})) => "/model invalid_format";
            agent(json!({"instructions": "x".repeat(16_385)})) => "/instructions too_large";
            agent(json!({"labels": []})) => "/labels wrong_type";
            agent(json!({"labels": {"x": 1}})) => "/labels/x wrong_type";
            agent(json!({"labels": labels(33)})) => "/labels too_many";
            agent(json!({"labels": {"": "v"}})) => "/labels/ invalid_format";
            agent(json!({"labels": {"a/b": "v".repeat(257)}})) => "/labels/a~1b too_large";
            agent(json!({"name": "", "model": ""})) => "/model invalid_format", "/name invalid_format";
        };
        let patched = table! {
            json!({"id": id}) => "/id unknown_field";
            json!({"name": null}) => "/name wrong_type";
            json!({"allowed_skills": null}) => "/allowed_skills wrong_type";
            json!({"allowed_skills": ["x"]}) => "/allowed_skills/0 unknown_skill";
            json!({"labels": labels(33)}) => "/labels too_many";
        };
        let texts = |errors: Vec<&str>| errors.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let mut cases: Vec<Bad> = created
            .into_iter()
            .map(|(body, errors)| Bad::post(&client, "/v1/agents", &body, texts(errors)))
            .collect();
        for (body, errors) in patched {
            let call = client.call("PATCH", &format!("/v1/agents/{id}")).json(&body);
            cases.push(Bad::at(body.to_string(), call, errors));
        }
        refuse_all(world, cases, 35).await;
    });
}

#[test]
fn runs_with_wrong_fields_are_refused_at_the_field() {
    STAGE.alone(async |world| {
        let client = world.client();
        let id = client.agent().await.to_owned();
        let plan = json!({"steps": [pure("a", &[])]});
        let run = |fields: Value| aos_tests::with(json!({"agent_id": id, "plan": plan}), fields);
        let bad = table! {
            json!({}) => "/agent_id required";
            json!({"agent_id": id}) => "/plan required";
            json!({"agent_id": id, "goal": "become rich"}) => "/goal not_supported", "/plan required";
            run(json!({"plan": null})) => "/plan required";
            run(json!({"goal": "x"})) => "/goal not_supported";
            run(json!({"agent_id": null})) => "/agent_id wrong_type";
            run(json!({"agent_id": 7})) => "/agent_id wrong_type";
            run(json!({"agent_id": "me"})) => "/agent_id invalid_format";
            run(json!({"agent_id": NO_RUN})) => "/agent_id invalid_format";
            run(json!({"agent_id": NO_AGENT})) => "/agent_id not_found";
            run(json!({"status": "succeeded"})) => "/status unknown_field";
            run(json!({"budget_microusd": 1})) => "/budget_microusd unknown_field";
            run(json!({"input": []})) => "/input wrong_type";
            run(json!({"input": null})) => "/input wrong_type";
            run(json!({"input": {"x": ["a", "\0"]}})) => "/input/x/1 invalid_text";
            run(json!({"input": {"\0": 1}})) => "/input invalid_text";
            run(json!({"input": {"x": "x".repeat(256 * 1024)}})) => "/input too_large";
            run(json!({"labels": {"a": null}})) => "/labels/a wrong_type";
            run(json!({"labels": labels(33)})) => "/labels too_many";
        };
        let cases = bad
            .into_iter()
            .map(|(body, errors)| Bad::post(&client, "/v1/runs", &body, errors.into_iter().map(str::to_owned)))
            .collect();
        refuse_all(world, cases, 19).await;
    });
}
