//! What one tenant sends stops nobody else's runs.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::world::{World, pure};

/// Ends if it fails: a turn that cannot be answered would be repeated for minutes.
async fn drained(world: &World) {
    let drain = tokio::time::timeout(Duration::from_secs(60), world.drain());
    drain.await.expect("the invocation ends");
}

#[tokio::test]
async fn an_input_as_deep_as_a_body_may_be_stops_nobody() {
    let world = World::start().await;
    let paid = world
        .create_for("other", json!([world.http("pay", "POST", "/effects/deep", &[])]))
        .await;
    let nested = (0..125).fold(json!(1), |inner, _| json!([inner]));
    let deep = world
        .create_with_input("acme", json!([pure("a", "n", &[])]), json!({"x": nested}))
        .await;
    drained(&world).await;
    assert_eq!(world.steps(paid).await, ["pay: succeeded 1"]);
    assert_eq!(world.steps(deep).await, ["a: succeeded 1"]);
    assert_eq!(world.effects("deep"), 1);
}

#[tokio::test]
async fn inputs_that_fill_more_than_one_answer_are_claimed_in_several() {
    let world = World::start().await;
    let ones = json!({"x": vec![1; 130_000]});
    let mut runs = Vec::new();
    for _ in 0..38 {
        runs.push(
            world
                .create_with_input("acme", json!([pure("a", "n", &[])]), ones.clone())
                .await,
        );
    }
    runs.push(world.create_for("other", json!([pure("a", "n", &[])])).await);
    drained(&world).await;
    for run in runs {
        assert_eq!(world.status(run).await, "succeeded");
    }
}

#[tokio::test]
async fn numbers_that_the_database_writes_out_fail_their_own_step() {
    let world = World::start().await;
    let other = world.create_for("other", json!([pure("a", "n", &[])])).await;
    let huge = json!({"x": vec![1e300; 37_000]});
    let mut runs = Vec::new();
    for _ in 0..2 {
        runs.push(
            world
                .create_with_input("acme", json!([pure("a", "n", &[])]), huge.clone())
                .await,
        );
    }
    drained(&world).await;
    assert_eq!(world.status(other).await, "succeeded");
    for run in runs {
        assert_eq!(world.steps(run).await, ["a: failed 1 reference_failed"]);
    }
}

#[tokio::test]
async fn a_step_that_refers_to_more_than_an_answer_holds_fails_alone() {
    let world = World::start().await;
    let sources: Vec<String> = (0..16).map(|i| format!("s{i}")).collect();
    let mut steps: Vec<Value> = sources
        .iter()
        .map(|id| {
            json!({"id": id, "skill": "json_transform",
                "params": {"input": "{{input.x}}", "expression": "[@,@,@,@,@,@,@,@]"}})
        })
        .collect();
    let input: Map<String, Value> = sources
        .iter()
        .map(|id| (id.clone(), json!(format!("{{{{steps.{id}.status}}}}"))))
        .collect();
    steps.push(json!({"id": "join", "skill": "json_transform", "needs": sources,
        "params": {"input": input, "expression": "@"}}));
    let run = world
        .create_with_input("acme", json!(steps), json!({"x": "y".repeat(125_000)}))
        .await;
    let other = world.create_for("other", json!([pure("a", "n", &[])])).await;
    drained(&world).await;
    assert_eq!(world.status(other).await, "succeeded");
    assert_eq!(world.steps(run).await[16], "join: failed 1 reference_failed");
    assert_eq!(world.status(run).await, "failed");
}
