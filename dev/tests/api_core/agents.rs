//! Agents: creating, reading, changing, deleting.

use aos::agents::{self, Agent};
use aos::ids::{AgentId, RunId};
use aos::labels::Labels;
use aos::problem::Problem;
use aos::runs;
use serde_json::{Value, json};

use crate::world::{Test, agent_of, body, places, small_plan, test};

async fn patch(test: &Test, id: AgentId, json: Value) -> Result<Agent, Problem> {
    agents::patch(&test.database, &test.skills, &test.principal, id, body(json)).await
}

#[test]
fn an_agent_is_read_as_it_was_answered_each_by_one_request() {
    test("an-agent-is-read", async |test| {
        let new = json!({
            "name": "Überbringer \"x\"\n\t\u{1f600}", "instructions": "Zeile 1\nZeile 2", "model": "some-model",
            "allowed_skills": ["json_transform", "kv_store"], "max_concurrent_runs": 3, "max_runs_per_minute": 7,
            "labels": {"team": "a\u{1}\n", "~/": ""},
        });
        let (answer, requests) = test.requests(test.create_agent_with(None, new.clone())).await;
        let answer = answer.unwrap();
        assert_eq!(requests, ["agents.create"]);
        let agent = agent_of(&answer);
        assert_eq!((answer.status, answer.replayed), (201, false));
        assert_eq!(answer.location, format!("/v1/agents/{}", agent.id));
        for (field, value) in new.as_object().unwrap() {
            assert_eq!(&answer.body[field], value, "{field}");
        }
        let (read, requests) = test
            .requests(agents::get(&test.database, &test.principal, agent.id))
            .await;
        assert_eq!(requests, ["agents.get"]);
        assert_eq!(serde_json::to_value(read.unwrap()).unwrap(), answer.body);
    });
}

#[test]
fn what_is_not_said_has_its_default() {
    test("agent-defaults", async |test| {
        let agent = agent_of(
            &test
                .create_agent_with(None, json!({"name": "a", "allowed_skills": []}))
                .await
                .unwrap(),
        );
        assert_eq!(
            (agent.instructions.as_str(), agent.model, agent.labels.0.len()),
            ("", None, 0)
        );
        assert_eq!((agent.max_concurrent_runs, agent.max_runs_per_minute), (100, 600));
    });
}

#[test]
fn every_bad_field_is_named_before_anything_is_asked_of_the_database() {
    test("agent-bad-fields", async |test| {
        let many: serde_json::Map<String, Value> = (0..33).map(|n| (n.to_string(), json!(""))).collect();
        let bad = json!({
            "name": " ", "instructions": "x".repeat(16 * 1024 + 1), "model": "",
            "allowed_skills": ["json_transform", "fly", "json_transform"],
            "max_concurrent_runs": 0, "max_runs_per_minute": 100_001, "labels": many,
        });
        let (refused, requests) = test.requests(test.create_agent_with(None, bad)).await;
        let problem = refused.unwrap_err();
        assert_eq!(problem.status, 422);
        assert_eq!(
            places(&problem),
            [
                "/name invalid_format",
                "/instructions too_large",
                "/model invalid_format",
                "/max_concurrent_runs out_of_range",
                "/max_runs_per_minute out_of_range",
                "/allowed_skills/1 unknown_skill",
                "/allowed_skills/2 duplicate",
                "/labels too_many",
            ]
        );
        assert!(requests.is_empty());
        let labels = json!({"": "", "k".repeat(65): "", "v": "v".repeat(257), "ok": "v".repeat(256)});
        let bad = json!({"name": "n".repeat(129), "allowed_skills": [], "labels": labels});
        let problem = test.create_agent_with(None, bad).await.unwrap_err();
        let long_key = format!("/labels/{} invalid_format", "k".repeat(65));
        assert_eq!(
            places(&problem),
            [
                "/name invalid_format",
                "/labels/ invalid_format",
                &long_key,
                "/labels/v too_large"
            ]
        );
    });
}

#[test]
fn a_name_is_taken_until_its_agent_is_deleted() {
    test("agent-names", async |test| {
        let first = test.agent("same").await;
        let again = json!({"name": "same", "allowed_skills": []});
        assert_eq!(
            test.create_agent_with(None, again.clone()).await.unwrap_err().code,
            "agent_name_taken"
        );
        let other = test.agent("other").await;
        assert_eq!(
            patch(test, other.id, json!({"name": "same"})).await.unwrap_err().code,
            "agent_name_taken"
        );
        agents::delete(&test.database, &test.principal, first.id).await.unwrap();
        assert_eq!(
            patch(test, other.id, json!({"name": "same"})).await.unwrap().name,
            "same"
        );
        assert_eq!(test.create_agent_with(None, again).await.unwrap_err().status, 409);
    });
}

#[test]
fn a_patch_changes_what_it_names_and_nothing_else() {
    test("agent-patch", async |test| {
        let new = json!({"name": "a", "instructions": "do", "model": "m", "allowed_skills": ["kv_store"],
                         "labels": {"keep": "1", "change": "1", "remove": "1"}});
        let before = agent_of(&test.create_agent_with(None, new).await.unwrap());
        let change = json!({"model": null, "labels": {"change": "2", "remove": null, "add": "3", "absent": null}});
        let (after, requests) = test.requests(patch(test, before.id, change)).await;
        let after = after.unwrap();
        assert_eq!(requests, ["agents.patch"]);
        let labels = [("add", "3"), ("change", "2"), ("keep", "1")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let expected = Agent {
            model: None,
            labels: Labels(labels.into()),
            updated_at: after.updated_at,
            ..before.clone()
        };
        assert_eq!(after, expected);
        assert!(after.updated_at > before.updated_at);

        let all = json!({"name": "b", "instructions": "", "model": "n", "allowed_skills": [], "max_concurrent_runs": 1,
                         "max_runs_per_minute": 2});
        let after = serde_json::to_value(patch(test, before.id, all.clone()).await.unwrap()).unwrap();
        for (field, value) in all.as_object().unwrap() {
            assert_eq!(&after[field], value, "{field}");
        }
        assert_eq!(
            agents::get(&test.database, &test.principal, before.id)
                .await
                .unwrap()
                .name,
            "b"
        );
    });
}

#[test]
fn a_patch_cannot_add_labels_past_the_limit() {
    test("agent-patch-labels", async |test| {
        let labels: serde_json::Map<String, Value> = (0..32).map(|n| (format!("k{n}"), json!("v"))).collect();
        let new = json!({"name": "a", "allowed_skills": [], "labels": labels});
        let agent = agent_of(&test.create_agent_with(None, new).await.unwrap());
        let problem = patch(test, agent.id, json!({"labels": {"one-more": "v"}}))
            .await
            .unwrap_err();
        assert_eq!(places(&problem), ["/labels too_many"]);
        let swapped = patch(test, agent.id, json!({"labels": {"one-more": "v", "k0": null}}))
            .await
            .unwrap();
        assert_eq!(swapped.labels.0.len(), 32);
    });
}

#[test]
fn an_agent_with_open_runs_is_not_deleted_and_one_without_leaves_its_runs() {
    test("agent-delete", async |test| {
        let agent = test.agent("a").await;
        let run: RunId = test.run(agent.id, small_plan()).await;
        let (refused, requests) = test
            .requests(agents::delete(&test.database, &test.principal, agent.id))
            .await;
        assert_eq!(refused.unwrap_err().code, "agent_has_open_runs");
        assert_eq!(requests, ["agents.delete"]);
        test.succeed(run, &json!(1)).await;
        agents::delete(&test.database, &test.principal, agent.id).await.unwrap();
        for gone in [
            agents::get(&test.database, &test.principal, agent.id)
                .await
                .unwrap_err(),
            patch(test, agent.id, json!({})).await.unwrap_err(),
            agents::delete(&test.database, &test.principal, agent.id)
                .await
                .unwrap_err(),
        ] {
            assert_eq!((gone.status, gone.code.as_ref()), (404, "not_found"));
        }
        let read = runs::read::get(&test.database, &test.principal, run).await.unwrap();
        assert_eq!(read.agent_id, agent.id);
        let refused = test.create_run(agent.id, small_plan()).await.unwrap_err();
        assert_eq!(places(&refused), ["/agent_id not_found"]);
    });
}
