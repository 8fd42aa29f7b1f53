//! Usage rows: one per call of an integration, of every attempt, however often the turn that settles it is sent.

use serde_json::json;

use crate::world::World;
use aos_dev::faults::{Action, Rule};

#[tokio::test]
async fn every_call_of_an_integration_leaves_one_row_and_pure_steps_leave_none() {
    let world = World::start().await;
    let run = world
        .create(json!([
            world.http("fetch", "GET", "/items?n=3", &[]),
            {"id": "count", "skill": "json_transform", "needs": ["fetch"],
                "params": {"input": "{{steps.fetch.output.body}}", "expression": "length(@)"}},
            {"id": "keep", "skill": "kv_store", "needs": ["count"],
                "params": {"op": "set", "key": "count", "value": "{{steps.count.output}}"}},
            {"id": "flaky", "skill": "http_call", "needs": ["keep"], "retry": {"attempts": 3, "backoff_ms": 100},
                "params": {"url": format!("{}/flaky/usage?fail=2", world.standins.url())}}
        ]))
        .await;
    // Every settling turn commits and loses its answer.
    world
        .neon
        .faults()
        .add(Rule::new(Action::DropAfter).matching("turn.settle_usage").times(3));
    world.drain_until_ended(run).await;
    assert_eq!(world.status(run).await, "succeeded", "{:?}", world.steps(run).await);

    let rows = world
        .admin
        .query(
            "select s.key || ' ' || u.integration || ' ' || u.skill || coalesce(' ' || u.code, '') || ' ' || u.requests
                || ' ' || coalesce(u.cost_microusd::text, 'unknown')
             from usage u join steps s on s.id = u.step_id order by s.idx, u.claim_no",
            &[],
        )
        .await
        .unwrap();
    let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        rows,
        [
            "fetch http http_call 1 0",
            "keep upstash kv_store 1 0",
            "flaky http http_call provider_unavailable 1 0",
            "flaky http http_call provider_unavailable 1 0",
            "flaky http http_call 1 0",
        ]
    );
    let bytes = "select bytes_in from usage u join steps s on s.id = u.step_id where s.key = 'fetch'";
    assert!(world.one(bytes).await.unwrap().parse::<i64>().unwrap() > 50);
}
