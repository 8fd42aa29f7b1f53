//! What else becomes of a request that is refused: whose audit log tells of it, and that nobody waits for it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{STAGE, who};

#[test]
fn a_tenant_learns_of_its_ended_keys_that_are_still_tried() {
    STAGE.together(async |world| {
        let person = world.person("admin");
        let token = world.mint(person.spec());
        let created = person.api_key(&token, &["identity:read"], json!({})).await;
        let (id, key) = (&created["id"], created["key"].as_str().expect("the key is shown"));
        let path = format!("/v1/api-keys/{}", id.as_str().expect("a key has an id"));
        person.with(&token, "DELETE", &path).send().await.expect(200);
        who(&person.client)
            .api_key(key)
            .send()
            .await
            .refused(401, "api_key_revoked");

        let refusals = async || {
            let listed = person.with(&token, "GET", "/v1/audit?outcome=refused").send().await;
            listed.expect(200)["items"].clone()
        };
        let written = async || refusals().await.as_array().is_some_and(|items| !items.is_empty());
        world
            .until("the refusal is written", Duration::from_secs(5), written)
            .await;
        let items = refusals().await;
        let entry = &items[0];
        let actor = format!("api_key:{}", id.as_str().unwrap_or_default());
        assert_eq!(
            (&entry["code"], &entry["actor"], &entry["target"]),
            (&json!("api_key_revoked"), &Value::from(actor), &json!("/v1/session")),
            "{entry:#}"
        );
    });
}

#[test]
fn a_long_poll_that_is_refused_does_not_wait_for_its_run() {
    STAGE.together(async |world| {
        let person = world.person("admin");
        let session = format!("sess_polls{}", world.number());
        let token = world.mint(person.spec().in_session(session.as_str()));
        let agent = person
            .with(&token, "POST", "/v1/agents")
            .json(&json!({"name": "slow", "allowed_skills": ["http_call"]}));
        let agent = agent.send().await.expect(201)["id"].clone();
        let steps = json!([person.client.http("slow", "GET", "/slow?ms=20000", &[])]);
        let run = person
            .with(&token, "POST", "/v1/runs")
            .json(&json!({"agent_id": agent, "plan": {"steps": steps}}));
        let run = run.send().await.expect(202)["id"].clone();
        let run = run.as_str().expect("a run has an id");
        let revoke = person.with(&token, "POST", &format!("/v1/sessions/{session}/revoke"));
        assert_eq!(revoke.send().await.status, 204);

        let asked = Instant::now();
        let poll = person.with(&token, "GET", &format!("/v1/runs/{run}?wait=15"));
        poll.send().await.refused(401, "session_revoked");
        assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    });
}
