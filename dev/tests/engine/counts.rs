//! What a run costs in requests, counted at the gateway.

use serde_json::{Value, json};

use crate::world::{World, pure};

fn chain(n: usize) -> Value {
    let step = |i: usize| {
        let previous = format!("s{}", i.wrapping_sub(1));
        let needs: Vec<&str> = if i == 0 { vec![] } else { vec![&previous] };
        pure(&format!("s{i}"), "n", &needs)
    };
    (0..n).map(step).collect()
}

#[tokio::test]
async fn a_sequential_run_of_n_steps_is_n_plus_2_requests_from_the_post_to_its_end() {
    let world = World::start().await;
    world.create(chain(1)).await;
    world.drain().await;
    for n in [1, 2, 10, 25] {
        world.neon.counters().reset();
        let run = world.create(chain(n)).await;
        assert_eq!(world.neon.counters().snapshot().total, 1, "creating is one request");
        let report = world.drain().await;
        assert_eq!(world.turns(), n + 1);
        assert_eq!(
            (report.turns as usize, report.executed as usize, report.runs_ended),
            (n + 1, n, 1)
        );
        assert_eq!(world.status(run).await, "succeeded");
        let outbox = world.neon.counters().snapshot().total as usize - 1 - world.turns();
        assert!(outbox <= 2, "{outbox} requests for the outbox");
    }
}

#[tokio::test]
async fn n_jobs_that_finish_together_are_2_requests() {
    let world = World::start().await;
    for n in [1, 6, 30] {
        let run = world
            .create((0..n).map(|i| pure(&format!("s{i}"), "n", &[])).collect())
            .await;
        world.neon.counters().reset();
        world.drain().await;
        assert_eq!(
            (world.turns(), world.status(run).await.as_str()),
            (2, "succeeded"),
            "{n} jobs"
        );
    }
}

#[tokio::test]
async fn waves_cost_one_request_each_and_one_more() {
    let world = World::start().await;
    let mut steps: Vec<_> = (0..4).map(|i| pure(&format!("a{i}"), "n", &[])).collect();
    steps.extend((0..4).map(|i| pure(&format!("b{i}"), "n", &["a0", "a1", "a2", "a3"])));
    steps.push(pure("c", "n", &["b0", "b1", "b2", "b3"]));
    let run = world.create(json!(steps)).await;
    world.neon.counters().reset();
    world.drain().await;
    assert_eq!((world.turns(), world.status(run).await.as_str()), (4, "succeeded"));
}

#[tokio::test]
async fn a_doorbell_too_many_claims_nothing_for_one_request() {
    let world = World::start().await;
    world.neon.counters().reset();
    let report = world.drain().await;
    assert_eq!((world.turns(), report.executed, report.rung), (1, 0, 0));
    assert_eq!(world.upstash.counters().snapshot().total, 0);
}

#[tokio::test]
async fn a_slow_step_does_not_hold_the_others_back() {
    let world = World::start().await;
    let run = world
        .create(json!([
            world.http("slow", "GET", "/slow?ms=1500", &[]),
            pure("a", "n", &[]),
            pure("b", "n", &["a"]),
            pure("c", "n", &["b"]),
        ]))
        .await;
    let drain = world.drain();
    let watch = async {
        tokio::time::sleep(std::time::Duration::from_millis(900)).await;
        world.steps(run).await
    };
    let (_, halfway) = futures::join!(drain, watch);
    assert_eq!(
        halfway,
        ["slow: running 0", "a: succeeded 1", "b: succeeded 1", "c: succeeded 1"]
    );
    assert_eq!(world.status(run).await, "succeeded");
}
