//! What the Worker says when something that it needs is away or wrong.

use std::{collections::BTreeSet, time::Duration};

use aos_tests::chain;
use serde_json::json;

use crate::STAGE;

#[test]
fn without_postgres_the_worker_says_so_and_recovers() {
    STAGE.alone(async |world| {
        let client = world.client();
        let agents = format!("/v1/agents/{}", client.agent().await);
        assert_eq!(
            client.stranger("GET", "/readyz").send().await.expect(200),
            json!({"ready": true, "database": "ok", "redis": "ok", "rate_limits": "shared"})
        );
        world.cloud.postgres().stop().await;
        let reply = client.stranger("GET", "/readyz").send().await;
        assert_eq!(
            reply.expect(503),
            json!({"ready": false, "database": "away", "redis": "ok", "rate_limits": "shared"})
        );
        assert_eq!(
            client.stranger("GET", "/healthz").send().await.expect(200),
            json!({"status": "ok"})
        );
        let reply = client.get(&agents).await;
        assert!(reply.header("retry-after").is_some(), "{reply}");
        reply.refused(503, "unavailable");
        let body = client.run_of(chain(1)).await;
        client.post("/v1/runs", &body).await.refused(503, "unavailable");
        world.cloud.postgres().restart().await.expect("PostgreSQL starts again");
        let ready = async || client.stranger("GET", "/readyz").send().await.status == 200;
        world
            .until("the Worker is ready again", Duration::from_secs(20), ready)
            .await;
        client.get(&agents).await.expect(200);
        let run = client.start(chain(2)).await;
        client.ended_as(&run, "succeeded").await;
    });
}

#[test]
fn without_redis_runs_go_on_and_readiness_says_what_is_missing() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        world.cloud.redis().stop().await;
        let reply = client.stranger("GET", "/readyz").send().await;
        assert_eq!(
            reply.expect(503),
            json!({"ready": false, "database": "ok", "redis": "away", "rate_limits": "shared"})
        );
        let run = client.start(chain(3)).await;
        let began = std::time::Instant::now();
        client.ended_as(&run, "succeeded").await;
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "who waits for a run must not depend on Redis"
        );
        let kept = client.start(json!([
            {"id": "kv", "skill": "kv_store", "params": {"op": "get", "key": "k"}, "retry": {"attempts": 1}}
        ]));
        let kept = kept.await;
        let ended = client.ended_as(&kept, "failed").await;
        assert!(
            ["network", "provider", "timeout"]
                .iter()
                .any(|category| ended["error"]["category"] == *category),
            "{ended:#}"
        );
        world.cloud.redis().restart().await.expect("Redis starts again");
        let ready = async || client.stranger("GET", "/readyz").send().await.status == 200;
        world
            .until("the Worker is ready again", Duration::from_secs(20), ready)
            .await;
    });
}

#[test]
fn a_misconfigured_worker_answers_nothing_but_that_and_names_the_settings_to_the_operator_alone() {
    STAGE.alone(async |world| {
        let worker = world
            .worker_with(
                "misconfigured",
                &[("AOS_RING", "sometimes"), ("UPSTASH_REDIS_REST_URL", "x")],
            )
            .await;
        let client = world.client_of(&worker, "nobody");
        assert_eq!(
            client.stranger("GET", "/healthz").send().await.expect(200),
            json!({"status": "ok"})
        );
        for (method, path) in [
            ("GET", "/readyz"),
            ("GET", "/v1/agents"),
            ("POST", "/v1/runs"),
            ("GET", "/nothing"),
        ] {
            let reply = client.stranger(method, path).header("X-API-Key", "wrong").send().await;
            assert!(reply.json["errors"].as_array().is_none_or(Vec::is_empty), "{reply}");
            reply.refused(503, "misconfigured");
        }
        let reply = client.get("/v1/agents").await;
        let names: BTreeSet<&str> = reply.json["errors"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|error| error["pointer"].as_str())
            .collect();
        assert_eq!(names, BTreeSet::from(["AOS_RING", "UPSTASH_REDIS_REST_URL"]), "{reply}");
        reply.refused(503, "misconfigured");
        let log = std::fs::read_to_string(worker.log()).unwrap();
        assert!(log.contains("AOS_RING") && !log.contains("sometimes"), "{log}");
        worker.stop().await;
    });
}
