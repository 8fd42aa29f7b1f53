//! Lists, steps, skills: what is read page by page or piece by piece.

use aos_tests::pure;
use serde_json::json;

use crate::{STAGE, id};

#[test]
fn a_list_is_read_page_by_page_newest_first_under_its_filters() {
    STAGE.together(async |world| {
        let client = world.client();
        let mut created = Vec::new();
        for number in 0..7 {
            let body = json!({"name": format!("agent {number}"), "allowed_skills": ["json_transform"]});
            created.insert(0, id(&client.post("/v1/agents", &body).await.expect(201)));
        }
        let (mut listed, mut sizes, mut query) = (Vec::new(), Vec::new(), "?limit=3".to_owned());
        let cursor = loop {
            let page = client.get(&format!("/v1/agents{query}")).await.expect(200);
            let items = page["items"].as_array().unwrap();
            sizes.push(items.len());
            listed.extend(items.iter().map(id));
            match page["next_cursor"].as_str() {
                Some(cursor) => query = format!("?limit=3&cursor={cursor}"),
                None => break query.split("cursor=").nth(1).unwrap().to_owned(),
            }
        };
        assert_eq!((listed, sizes), (created.clone(), vec![3, 3, 1]));
        client
            .get(&format!("/v1/runs?cursor={cursor}"))
            .await
            .points_at(&["?cursor invalid_cursor"]);

        let run = |agent: &str| json!({"agent_id": agent, "plan": {"steps": [pure("a", &[])]}});
        let mut runs = Vec::new();
        for agent in [&created[0], &created[1], &created[0]] {
            runs.insert(0, client.start_from(&run(agent)).await);
            client.ended_as(&runs[0], "succeeded").await;
        }
        let list = async |query: &str| -> Vec<String> {
            let page = client.get(&format!("/v1/runs{query}")).await.expect(200);
            page["items"].as_array().unwrap().iter().map(id).collect()
        };
        assert_eq!(list("").await, runs);
        assert_eq!(list("?status=succeeded&limit=2").await, runs[..2]);
        assert_eq!(list("?status=failed").await, [""; 0]);
        assert_eq!(
            list(&format!("?agent_id={}", created[0])).await,
            [runs[0].clone(), runs[2].clone()]
        );
        let page = client
            .get(&format!("/v1/runs?agent_id={}&limit=1", created[0]))
            .await
            .expect(200);
        let cursor = page["next_cursor"].as_str().unwrap();
        assert_eq!(
            list(&format!("?agent_id={}&cursor={cursor}", created[0])).await,
            [runs[2].clone()]
        );
        let elsewhere = client
            .get(&format!("/v1/runs?agent_id={}&cursor={cursor}", created[1]))
            .await;
        elsewhere.points_at(&["?cursor invalid_cursor"]);
    });
}

#[test]
fn a_step_is_read_by_its_key_with_its_whole_output() {
    STAGE.together(async |world| {
        let client = world.client();
        let run = client
            .start(json!([
                client.http("a", "GET", "/bytes?n=200000", &[]),
                pure("b", &["a"])
            ]))
            .await;
        client.ended_as(&run, "succeeded").await;
        let step = client.get(&format!("/v1/runs/{run}/steps/a")).await.expect(200);
        assert_eq!(step["output"]["body"].as_str().map(str::len), Some(200_000));
        assert_eq!((&step["status"], &step["attempt"]), (&json!("succeeded"), &json!(1)));
        assert_eq!(
            step["outcome"]["skill_version"].as_str().map(str::is_empty),
            Some(false)
        );
        for key in ["c", "A", "a%20", "%00", "..%2Fa"] {
            client
                .get(&format!("/v1/runs/{run}/steps/{key}"))
                .await
                .refused(404, "not_found");
        }
    });
}

#[test]
fn skills_are_served_with_their_contracts() {
    STAGE.together(async |world| {
        let client = world.client();
        let skills = client.get("/v1/skills").await.expect(200);
        let names: Vec<&str> = skills["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|skill| skill["name"].as_str())
            .collect();
        assert_eq!(
            names,
            [
                "calendar_write",
                "email_send",
                "http_call",
                "json_transform",
                "kv_store",
                "llm_invoke",
                "postgres_query",
                "slack_send",
                "voyage_embed",
                "webhook_send"
            ]
        );
        for (skill, name) in skills["items"].as_array().unwrap().iter().zip(names) {
            assert_eq!(&client.get(&format!("/v1/skills/{name}")).await.expect(200), skill);
            assert_eq!(skill["configured"], true, "{name}");
            for field in [
                "version",
                "input_schema",
                "output_schema",
                "effects",
                "idempotency",
                "limits",
                "failure_modes",
                "example",
            ] {
                assert!(!skill[field].is_null(), "{name} has no {field}");
            }
            // The contract's own example is a step that a plan may have.
            let mut params = skill["example"].clone();
            if name == "http_call" {
                params["url"] = json!(format!("{}/echo", world.standins()));
            }
            let run = client
                .start(json!([{"id": "example", "skill": name, "params": params}]))
                .await;
            client.ended(&run).await;
        }
        client.get("/v1/skills/shell").await.refused(404, "not_found");
    });
}
