//! Requests that are sent again, on purpose or because an answer was lost.

use std::collections::BTreeSet;

use aos_tests::{Action, Rule, pure};
use futures::future::join_all;
use serde_json::json;

use crate::{STAGE, id};

#[test]
fn the_same_request_under_the_same_key_gets_the_first_answer_again() {
    STAGE.together(async |world| {
        let client = world.client();
        let agent = client.agent().await.to_owned();
        let runs = json!({"agent_id": agent, "plan": {"steps": [pure("a", &[])]}, "labels": {"x": "1", "y": "2"}});
        let agents = json!({"name": "kept", "allowed_skills": []});
        for (path, body, status) in [("/v1/runs", &runs, 202), ("/v1/agents", &agents, 201)] {
            let send = || client.call("POST", path).key("same").json(body).send();
            let first = send().await;
            assert_eq!(
                (first.status.as_u16(), first.header("idempotency-replayed")),
                (status, None),
                "{first}"
            );
            let again = send().await;
            assert_eq!(
                (again.status.as_u16(), again.header("idempotency-replayed")),
                (status, Some("true")),
                "{again}"
            );
            assert_eq!(
                again.json, first.json,
                "as it was the first time, whatever became of it since"
            );
            assert_eq!(again.header("location"), first.header("location"));
            let mut other = body.clone();
            other["labels"] = json!({"z": "3"});
            client
                .call("POST", path)
                .key("same")
                .json(&other)
                .send()
                .await
                .refused(409, "idempotency_conflict");
            // Spaces and the order of keys make no other body.
            let spaced = format!("{body:#}").replace("\"labels\"", " \"labels\"");
            let spaced = client.call("POST", path).key("same").body(spaced).send().await;
            assert_eq!(
                (spaced.json["id"].clone(), spaced.status.as_u16()),
                (first.json["id"].clone(), status)
            );
            client.get(path).await.expect(200);
        }
        let elsewhere = world.client();
        let body = json!({"name": "kept", "allowed_skills": []});
        let reply = elsewhere
            .call("POST", "/v1/agents")
            .key("same")
            .json(&body)
            .send()
            .await;
        assert_eq!(
            reply.header("idempotency-replayed"),
            None,
            "a key belongs to its tenant: {reply}"
        );
        assert_eq!(
            client.get("/v1/runs").await.expect(200)["items"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    });
}

#[test]
fn concurrent_twins_get_one_answer_and_do_one_thing() {
    STAGE.together(async |world| {
        let client = world.client();
        let body = client
            .run_of(json!([client.http("effect", "POST", "/effects/twins", &[])]))
            .await;
        let twins = join_all((0..8).map(|_| client.call("POST", "/v1/runs").key("twins").json(&body).send())).await;
        let ids: BTreeSet<String> = twins.iter().map(|twin| id(&twin.json)).collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        assert!(twins.iter().all(|twin| twin.status == 202));
        let replayed = twins
            .iter()
            .filter(|twin| twin.header("idempotency-replayed") == Some("true"))
            .count();
        assert_eq!(replayed, 7);
        client.ended_as(ids.first().unwrap(), "succeeded").await;
        assert_eq!(
            client.get("/v1/runs").await.expect(200)["items"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        assert_eq!(world.effects("twins"), 1);
    });
}

#[test]
fn a_refused_request_does_not_use_its_key_up() {
    STAGE.together(async |world| {
        let client = world.client();
        let agent = id(&client
            .post("/v1/agents", &json!({"name": "a", "allowed_skills": []}))
            .await
            .expect(201));
        let body = json!({"agent_id": agent, "plan": {"steps": [pure("a", &[])]}});
        let send = || client.call("POST", "/v1/runs").key("refused").json(&body).send();
        send().await.points_at(&["/plan/steps/0/skill skill_not_allowed"]);
        let allow = json!({"allowed_skills": ["json_transform"]});
        client
            .call("PATCH", &format!("/v1/agents/{agent}"))
            .json(&allow)
            .send()
            .await
            .expect(200);
        let reply = send().await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("idempotency-replayed")),
            (202, None),
            "{reply}"
        );

        client
            .post("/v1/agents", &json!({"name": "taken", "allowed_skills": []}))
            .await
            .expect(201);
        let send = |name: &str| {
            client
                .call("POST", "/v1/agents")
                .key("name")
                .json(&json!({"name": name, "allowed_skills": []}))
                .send()
        };
        send("taken").await.refused(409, "agent_name_taken");
        send("free").await.expect(201);
    });
}

#[test]
fn an_answer_that_the_database_gave_and_the_network_lost_creates_one_run() {
    STAGE.alone(async |world| {
        let client = world.client();
        let body = client
            .run_of(json!([client.http("effect", "POST", "/effects/answer-lost", &[])]))
            .await;
        for (action, count) in [(Action::DropAfter, 1), (Action::HalfBody, 2), (Action::DropBefore, 3)] {
            world
                .cloud
                .neon()
                .faults()
                .add(Rule::new(action).matching("runs.create").times(1));
            let run = id(&client.post("/v1/runs", &body).await.expect(202));
            world.clear_faults();
            client.ended_as(&run, "succeeded").await;
            assert_eq!(
                client.get("/v1/runs").await.expect(200)["items"]
                    .as_array()
                    .unwrap()
                    .len(),
                count
            );
            assert_eq!(world.effects("answer-lost"), count as u64);
        }
    });
}
