//! Usage rows: one per call of an integration, of every attempt, however often the turn that settles it is sent.

use std::sync::Arc;

use aos::{
    integrations::provider::Provider,
    platform::Clock,
    skills::Endpoints,
    tenants::{Installation, OwnSetting, Tier},
};
use aos_dev::faults::{Action, Rule};
use serde_json::json;

use crate::world::{RealClock, World};

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

#[tokio::test]
async fn what_an_executor_had_spent_when_it_was_lost_makes_the_cost_unknown() {
    let mut world = World::start().await;
    let voyage = world.standins.voyage();
    let base_url = format!("{}/v1", voyage.base_url()).parse().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(RealClock);
    world.engine.services.endpoints = Endpoints::new(&reqwest::Client::new(), &clock, |provider| {
        (provider == Provider::Voyage).then_some(&base_url).cloned()
    })
    .unwrap();
    world.engine.services.installation = Arc::new(Installation {
        values: [(OwnSetting::VoyageApiKey, voyage.key().to_owned().into())].into(),
        open_to: Tier::ALL.to_vec(),
        operator_tenant: None,
    });
    for lost in [false, true] {
        let run = world
            .create(
                json!([{"id": "embed", "skill": "voyage_embed", "params": {"input": ["some words and some more"]}}]),
            )
            .await;
        if lost {
            world
                .sql("update steps set claims_lost = 1 where status = 'queued'")
                .await;
        }
        world.drain_until_ended(run).await;
        assert_eq!(world.steps(run).await, ["embed: succeeded 1"]);
        let cost = |table: &str| format!("select cost_microusd from {table} where run_id = '{}'", run.uuid());
        let known = world.one(&cost("usage")).await;
        assert!(known.is_some_and(|cost| cost != "0"), "the call itself has its price");
        let step = world.one(&cost("steps")).await;
        assert_eq!(step.is_none(), lost, "{step:?}");
    }
}
