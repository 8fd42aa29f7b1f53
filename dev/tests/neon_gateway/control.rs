//! Faults on demand, and the count of requests.

use std::time::{Duration, Instant};

use aos_dev::faults::{Action, Rule};
use aos_dev::neon::NeonGateway;
use serde_json::{Value, json};

use crate::world::{World, send, shared};

/// A table, and a query that adds a row to it under a name that faults can be told to match.
async fn writer(world: &World, name: &str) -> String {
    world
        .query(&format!("create table {name} (n serial, t text)"), json!([]))
        .await
        .rows();
    format!("-- name: write_{name}\ninsert into {name} (t) values ('x') returning n, repeat('y', 2000) as y")
}

async fn written(world: &World, name: &str) -> Value {
    world
        .query(&format!("select count(*)::int as n from {name}"), json!([]))
        .await
        .rows()[0]["n"]
        .clone()
}

#[test]
fn dropped_before_nothing_is_done_and_dropped_after_all_of_it() {
    let world = shared();
    world.run(async {
        let query = writer(&world, "dropped").await;
        let ask = || world.request().json(&json!({ "query": query })).send();
        world
            .gateway
            .faults()
            .add(Rule::new(Action::DropBefore).matching("write_dropped").times(1));
        assert!(ask().await.is_err());
        assert_eq!(written(&world, "dropped").await, 0);
        world
            .gateway
            .faults()
            .add(Rule::new(Action::DropAfter).matching("write_dropped").times(1));
        assert!(ask().await.is_err());
        assert_eq!(written(&world, "dropped").await, 1);
        assert_eq!(ask().await.unwrap().status(), 200);
    });
}

#[test]
fn half_a_body_comes_after_the_work_was_done() {
    let world = shared();
    world.run(async {
        let query = writer(&world, "halved").await;
        let request = world
            .request()
            .header("x-aos-fault", r#""half_body""#)
            .json(&json!({ "query": query }));
        let mut response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let length = response.content_length().unwrap();
        let mut received = 0;
        let end = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => received += chunk.len() as u64,
                end => break end,
            }
        };
        assert!(end.is_err());
        assert_eq!(received, length / 2);
        assert_eq!(written(&world, "halved").await, 1);
    });
}

#[test]
fn a_status_can_be_given_instead_of_the_work() {
    let world = shared();
    world.run(async {
        let query = writer(&world, "refused").await;
        let action =
            json!({ "status": { "code": 503, "body": "{\"message\":\"busy\"}", "headers": { "retry-after": "1" } } });
        let request = world
            .request()
            .header("x-aos-fault", action.to_string())
            .json(&json!({ "query": query }));
        let answer = send(request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body),
            (503, json!({ "message": "busy" }))
        );
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(written(&world, "refused").await, 0);
    });
}

#[test]
fn answers_can_be_late_before_and_after_the_work() {
    let world = shared();
    world.run(async {
        let query = writer(&world, "slow").await;
        for (fault, done) in [(r#"{"delay":{"ms":300}}"#, 0), (r#"{"delay_after":{"ms":300}}"#, 2)] {
            let request = || {
                world
                    .request()
                    .header("x-aos-fault", fault)
                    .json(&json!({ "query": query }))
            };
            let begun = Instant::now();
            assert_eq!(send(request()).await.status, 200);
            assert!(begun.elapsed() >= Duration::from_millis(300));
            assert!(
                request()
                    .timeout(Duration::from_millis(100))
                    .send()
                    .await
                    .unwrap_err()
                    .is_timeout()
            );
            if done > 0 {
                // The delayed write of the round before has come too by now.
                assert_eq!(written(&world, "slow").await, 4);
            } else {
                assert_eq!(written(&world, "slow").await, 1);
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
        }
    });
}

#[test]
fn a_header_that_names_no_fault_is_refused() {
    let world = shared();
    world.run(async {
        let response = world
            .request()
            .header("x-aos-fault", "explode")
            .body("{}")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 400);
        assert!(response.text().await.unwrap().contains("x-aos-fault"));
    });
}

#[test]
fn rules_are_set_listed_and_cleared_over_http() {
    let world = shared();
    world.run(async {
        let gateway = world.own_gateway(|_| {}).await;
        let control = gateway.endpoint().replace("/sql", "/_control/faults");
        let rules = json!([
            { "match": "probe", "skip": 1, "times": 2, "action": { "status": { "code": 500 } } },
            { "match": "other", "for_ms": 60000, "action": "drop_before" },
        ]);
        assert_eq!(
            world.client.post(&control).json(&rules).send().await.unwrap().status(),
            204
        );
        let probe = json!({ "query": "select 1 /* probe */" });
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(
                world
                    .request_to(&gateway)
                    .json(&probe)
                    .send()
                    .await
                    .unwrap()
                    .status()
                    .as_u16(),
            );
        }
        assert_eq!(statuses, [200, 500, 500, 200]);
        let listed = send(world.client.get(&control)).await.body;
        assert_eq!((&listed[0]["hits"], &listed[1]["hits"]), (&json!(2), &json!(0)));
        assert!(
            world
                .request_to(&gateway)
                .json(&json!({ "query": "/* other */" }))
                .send()
                .await
                .is_err()
        );
        assert_eq!(world.client.delete(&control).send().await.unwrap().status(), 204);
        assert_eq!(send(world.client.get(&control)).await.body, json!([]));
        for wrong in [
            json!({}),
            json!({ "action": "explode" }),
            json!({ "action": "drop_after", "tmies": 1 }),
        ] {
            assert_eq!(
                world.client.post(&control).json(&wrong).send().await.unwrap().status(),
                400,
                "{wrong}"
            );
        }
        gateway.shutdown().await;
    });
}

#[test]
fn requests_are_counted_with_label_user_and_number_of_queries() {
    let world = shared();
    world.run(async {
        let gateway: NeonGateway = world.own_gateway(|_| {}).await;
        let to = || world.request_to(&gateway);
        let batch = json!({ "queries": [{ "query": "/* first */ select 1" }, { "query": "/* second */ select 2" }] });
        assert_eq!(send(to().header("x-aos-role", "engine").json(&batch)).await.status, 200);
        let long = format!("select '{}'", "z".repeat(100));
        assert_eq!(send(to().json(&json!({ "query": long }))).await.status, 200);
        assert_eq!(send(to().body("{")).await.status, 400);
        assert!(
            to().header("x-aos-fault", r#""drop_after""#)
                .json(&batch)
                .send()
                .await
                .is_err()
        );

        let control = gateway.endpoint().replace("/sql", "/_control/requests");
        let seen = send(world.client.get(&control)).await.body;
        assert_eq!(seen["total"], 4, "control requests do not count");
        let requests = seen["requests"].as_array().unwrap();
        let brief = |n: usize| {
            let request = &requests[n];
            json!([
                request["label"],
                request["role"],
                request["user"],
                request["queries"],
                request["status"]
            ])
        };
        assert_eq!(brief(0), json!(["first", "engine", "postgres", 2, 200]));
        assert_eq!(
            brief(1),
            json!([long.chars().take(60).collect::<String>(), null, "postgres", 1, 200])
        );
        assert_eq!(brief(2), json!(["POST /sql", null, null, 0, 400]));
        assert_eq!(brief(3), json!(["first", null, "postgres", 2, null]));
        assert!(requests[0]["at_ms"].as_u64() > Some(1_700_000_000_000));
        assert!(requests[0]["duration_ms"].as_f64() > Some(0.0));
        assert_eq!(gateway.counters().snapshot().labelled("first"), 2);

        assert_eq!(world.client.delete(&control).send().await.unwrap().status(), 204);
        assert_eq!(gateway.counters().snapshot().total, 0);
        gateway.shutdown().await;
    });
}

#[test]
fn a_gateway_that_was_shut_down_listens_no_more() {
    let world = shared();
    world.run(async {
        let gateway = world.own_gateway(|_| {}).await;
        let endpoint = gateway.endpoint();
        assert_eq!(
            send(world.request_to(&gateway).body(r#"{"query":""}"#)).await.status,
            200
        );
        gateway.shutdown().await;
        assert!(
            reqwest::Client::new()
                .post(endpoint)
                .send()
                .await
                .unwrap_err()
                .is_connect()
        );
    });
}
