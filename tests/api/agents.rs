//! Agents: created, read, changed, deleted, named, limited.

use aos_tests::{chain, pure};
use serde_json::{Value, json};

use crate::{STAGE, id};

#[test]
fn an_agent_is_created_read_changed_and_deleted() {
    STAGE.together(async |world| {
        let client = world.client();
        let body =
            json!({"name": "reporter", "allowed_skills": ["http_call"], "model": "m", "labels": {"a": "1", "b": "2"}});
        let created = client.post("/v1/agents", &body).await;
        let location = created.header("location").map(str::to_owned);
        let created = created.expect(201);
        let path = format!("/v1/agents/{}", id(&created));
        assert_eq!(location.as_deref(), Some(path.as_str()));
        assert_eq!(
            (&created["instructions"], &created["max_concurrent_runs"]),
            (&json!(""), &json!(100))
        );
        assert_eq!(client.get(&path).await.expect(200), created);

        let patch =
            json!({"name": "renamed", "model": null, "labels": {"a": null, "c": "3"}, "max_concurrent_runs": 7});
        let patched = client.call("PATCH", &path).json(&patch).send().await.expect(200);
        assert_eq!((&patched["name"], &patched["model"]), (&json!("renamed"), &Value::Null));
        assert_eq!(
            (&patched["labels"], &patched["max_concurrent_runs"]),
            (&json!({"b": "2", "c": "3"}), &json!(7))
        );
        assert_eq!(
            (&patched["allowed_skills"], &patched["created_at"]),
            (&created["allowed_skills"], &created["created_at"])
        );
        assert_ne!(patched["updated_at"], created["updated_at"]);
        assert_eq!(client.get(&path).await.expect(200), patched);

        let deleted = client.call("DELETE", &path).send().await;
        assert_eq!((deleted.status.as_u16(), deleted.body.len()), (204, 0), "{deleted}");
        client.get(&path).await.refused(404, "not_found");
        client.call("DELETE", &path).send().await.refused(404, "not_found");
        client
            .call("PATCH", &path)
            .json(&patch)
            .send()
            .await
            .refused(404, "not_found");
        assert_eq!(
            client.get("/v1/agents").await.expect(200),
            json!({"items": [], "next_cursor": null})
        );
        let run = json!({"agent_id": created["id"], "plan": {"steps": chain(1)}});
        client.post("/v1/runs", &run).await.points_at(&["/agent_id not_found"]);
        client
            .post("/v1/agents", &json!({"name": "renamed", "allowed_skills": []}))
            .await
            .expect(201);
    });
}

#[test]
fn the_name_of_an_agent_is_unique_in_its_tenant() {
    STAGE.together(async |world| {
        let (client, other) = (world.client(), world.client());
        let named = |name: &str| json!({"name": name, "allowed_skills": []});
        client.post("/v1/agents", &named("one")).await.expect(201);
        client
            .post("/v1/agents", &named("one"))
            .await
            .refused(409, "agent_name_taken");
        other.post("/v1/agents", &named("one")).await.expect(201);
        let two = id(&client.post("/v1/agents", &named("two")).await.expect(201));
        let renamed = client
            .call("PATCH", &format!("/v1/agents/{two}"))
            .json(&json!({"name": "one"}))
            .send()
            .await;
        renamed.refused(409, "agent_name_taken");
        assert_eq!(
            client.get(&format!("/v1/agents/{two}")).await.expect(200)["name"],
            "two"
        );
    });
}

#[test]
fn an_agent_with_open_runs_stays_and_its_ended_runs_outlive_it() {
    STAGE.together(async |world| {
        let client = world.client();
        let path = format!("/v1/agents/{}", client.agent().await);
        let run = client
            .start(json!([client.http("slow", "GET", "/slow?ms=700", &[])]))
            .await;
        client
            .call("DELETE", &path)
            .send()
            .await
            .refused(409, "agent_has_open_runs");
        client.ended_as(&run, "succeeded").await;
        assert_eq!(client.call("DELETE", &path).send().await.status, 204);
        assert_eq!(
            client.get(&format!("/v1/runs/{run}")).await.expect(200)["status"],
            "succeeded"
        );
    });
}

#[test]
fn an_agents_limits_hold_and_say_when_to_come_again() {
    STAGE.together(async |world| {
        let client = world.client();
        let agent = |name: &str, limit: &str, most: u32| {
            let mut body = json!({"name": name, "allowed_skills": ["http_call", "json_transform"]});
            body[limit] = json!(most);
            body
        };
        let one_at_once = id(&client
            .post("/v1/agents", &agent("one", "max_concurrent_runs", 1))
            .await
            .expect(201));
        let two_a_minute = id(&client
            .post("/v1/agents", &agent("two", "max_runs_per_minute", 2))
            .await
            .expect(201));
        let run = |agent: &str, step: Value| json!({"agent_id": agent, "plan": {"steps": [step]}});
        let slow = client
            .start_from(&run(&one_at_once, client.http("slow", "GET", "/slow?ms=900", &[])))
            .await;
        let limited = client.post("/v1/runs", &run(&one_at_once, pure("a", &[]))).await;
        assert!(limited.header("retry-after").is_some(), "{limited}");
        limited.refused(429, "agent_concurrency_limit");
        client.ended_as(&slow, "succeeded").await;
        client.start_from(&run(&one_at_once, pure("a", &[]))).await;

        for _ in 0..2 {
            client.start_from(&run(&two_a_minute, pure("a", &[]))).await;
        }
        let limited = client.post("/v1/runs", &run(&two_a_minute, pure("a", &[]))).await;
        let wait: u32 = limited
            .header("retry-after")
            .and_then(|value| value.parse().ok())
            .unwrap_or_default();
        assert!((1..=60).contains(&wait), "{limited}");
        limited.refused(429, "agent_rate_limit");
    });
}
