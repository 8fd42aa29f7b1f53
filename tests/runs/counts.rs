//! What a run costs in requests, counted at the gateways through the whole path.

use std::time::Duration;

use aos_tests::{World, chain, pure};
use serde_json::json;

use crate::STAGE;

/// Waits for the end of a run without asking the Worker, whose requests are being counted.
async fn ended_unasked(world: &World, run: &str) -> String {
    let id = run.trim_start_matches("run_");
    let status = format!("select status from runs where id = '{id}'");
    let open = format!("select count(*) from runs where id = '{id}' and ended_at is null");
    world
        .until("the run ends", Duration::from_secs(30), async || {
            world.owner.number(&open).await == 0
        })
        .await;
    world.settle_down().await;
    world.owner.value(&status).await
}

#[test]
fn creating_a_run_is_one_request_to_the_database_and_so_is_every_read() {
    STAGE.alone(async |world| {
        let client = world.client();
        let run = client.start(chain(3)).await;
        client.ended_as(&run, "succeeded").await;
        let body = client.run_of(chain(3)).await;
        world.settle_down().await;
        world.forget_requests();
        client
            .call("POST", "/v1/runs")
            .key("counted")
            .json(&body)
            .send()
            .await
            .expect(202);
        assert_eq!(world.requests().api, ["runs.create"]);
        world.settle_down().await;
        for (path, name) in [
            (format!("/v1/runs/{run}"), "runs.get"),
            (format!("/v1/runs/{run}?wait=5"), "runs.get"),
            (format!("/v1/runs/{run}/steps"), "runs.steps"),
            (format!("/v1/runs/{run}/steps/s1"), "runs.step"),
            (format!("/v1/runs/{run}/history"), "runs.history"),
            ("/v1/runs?limit=2".to_owned(), "runs.list"),
            ("/v1/agents".to_owned(), "agents.list"),
            (format!("/v1/agents/{}", client.agent().await), "agents.get"),
        ] {
            world.forget_requests();
            client.get(&path).await.expect(200);
            let requests = world.requests();
            assert_eq!(
                (requests.api.as_slice(), requests.total),
                (&[name.to_owned()][..], 1),
                "{path}"
            );
            let redis = world.cloud.upstash().counters().snapshot();
            assert_eq!(redis.total, 0, "{path} asks Redis: {redis:?}");
        }
        for path in [
            "/v1/skills",
            "/v1/skills/http_call",
            "/healthz",
            "/version",
            "/openapi.json",
        ] {
            world.forget_requests();
            client.get(path).await.expect(200);
            assert_eq!(world.requests().total, 0, "{path}");
        }
    });
}

#[test]
fn a_sequential_run_of_n_steps_is_n_plus_2_requests_from_the_post_to_its_end() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        for n in [1, 2, 10, 100] {
            world.settle_down().await;
            world.forget_requests();
            let run = client.start(chain(n)).await;
            assert_eq!(ended_unasked(world, &run).await, "succeeded");
            let requests = world.requests();
            assert_eq!(requests.api, ["runs.create"]);
            // So every successor started in the invocation that finished its predecessor: each hop through the queue
            // would have cost one turn more.
            assert_eq!(requests.turns, n + 1, "{requests:?}");
            assert!(requests.others.len() <= 2, "the outbox: {requests:?}");
        }
    });
}

#[test]
fn independent_steps_that_finish_together_are_2_requests() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        for n in [2, 6, 10] {
            world.settle_down().await;
            world.forget_requests();
            let run = client
                .start((0..n).map(|i| pure(&format!("s{i}"), &[])).collect())
                .await;
            assert_eq!(ended_unasked(world, &run).await, "succeeded");
            let requests = world.requests();
            assert_eq!((requests.turns, requests.api.len()), (2, 1), "{n} steps: {requests:?}");
        }
    });
}

#[test]
fn waves_of_steps_are_one_request_each_and_one_more() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        world.settle_down().await;
        world.forget_requests();
        let steps = json!([
            pure("fetch", &[]),
            pure("left", &["fetch"]),
            pure("middle", &["fetch"]),
            pure("right", &["fetch"]),
            pure("join", &["left", "middle", "right"]),
        ]);
        let run = client.start(steps).await;
        assert_eq!(ended_unasked(world, &run).await, "succeeded");
        assert_eq!(world.requests().turns, 4);
    });
}
