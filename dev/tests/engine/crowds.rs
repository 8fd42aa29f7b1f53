//! Many runs, many executors, many tenants.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{World, pure};

/// The next number of a small seeded sequence (SplitMix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A random graph of 1 to 12 steps; every step may need any of those before it.
fn random_graph(seed: &mut u64) -> Value {
    let n = 1 + next(seed) % 12;
    (0..n)
        .map(|i| {
            let needs: Vec<String> = (0..i)
                .filter(|_| next(seed).is_multiple_of(3))
                .map(|j| format!("s{j}"))
                .collect();
            pure(
                &format!("s{i}"),
                "n",
                &needs.iter().map(String::as_str).collect::<Vec<_>>(),
            )
        })
        .collect()
}

#[tokio::test]
async fn executors_side_by_side_run_each_step_once_and_miss_no_join() {
    let world = World::start().await;
    let mut seed = 7;
    for tenant in 0..40 {
        world
            .create_for(&format!("tenant-{}", tenant % 4), random_graph(&mut seed))
            .await;
    }
    futures::future::join_all((0..6).map(|_| world.drain())).await;
    let wrong = world
        .one("select count(*) from steps where status <> 'succeeded' or attempt <> 1 or claim_no <> 1")
        .await;
    assert_eq!(wrong.as_deref(), Some("0"));
    assert_eq!(
        world
            .one("select count(*) from runs where status <> 'succeeded'")
            .await
            .as_deref(),
        Some("0")
    );
    let deadlocks = world
        .one("select deadlocks from pg_stat_database where datname = current_database()")
        .await;
    assert_eq!(deadlocks.as_deref(), Some("0"));
}

#[tokio::test]
async fn a_tenant_with_a_long_queue_does_not_hold_up_another() {
    let world = World::start().await;
    for _ in 0..3 {
        let steps: Value = (0..100)
            .map(|i| world.http(&format!("s{i}"), "GET", "/slow?ms=150", &[]))
            .collect();
        world.create_for("crowded", steps).await;
    }
    let late = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        world
            .create_for("quiet", json!([world.http("only", "GET", "/echo", &[])]))
            .await
    };
    let watch = async {
        let run = late.await;
        let began = std::time::Instant::now();
        while world.status(run).await != "succeeded" {
            assert!(began.elapsed() < Duration::from_secs(4), "the quiet tenant waits");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        world
            .one("select count(*) from steps where status = 'queued'")
            .await
            .unwrap()
            .parse::<u32>()
            .unwrap()
    };
    let still_queued = tokio::select! {
        _ = world.drain() => panic!("the crowd was served first"),
        queued = watch => queued,
    };
    assert!(
        still_queued > 200,
        "{still_queued} steps of the crowd wait behind the quiet tenant's"
    );
}

#[tokio::test]
async fn a_host_is_called_by_two_lanes_at_most() {
    let world = World::start().await;
    let steps: Value = (0..6)
        .map(|i| world.http(&format!("s{i}"), "GET", "/slow?ms=200", &[]))
        .collect();
    let run = world.create(steps).await;
    let began = std::time::Instant::now();
    world.drain().await;
    assert_eq!(world.status(run).await, "succeeded");
    assert!(
        began.elapsed() >= Duration::from_millis(600),
        "six calls of 200 ms, two at a time"
    );
}

#[tokio::test]
async fn a_spent_budget_leaves_the_rest_to_a_doorbell() {
    let world = World::start().await;
    let run = world
        .create((0..60).map(|i| pure(&format!("s{i}"), "n", &[])).collect())
        .await;
    // Just enough for one turn that claims.
    let budget = aos::runs::engine::InvocationBudget::new(&crate::world::RealClock, Duration::from_secs(600), 30);
    let report = world.engine.drain(1, budget).await.unwrap();
    assert!(report.rung > 0 || report.executed == 60, "{report:?}");
    world.drain_until_ended(run).await;
    assert_eq!(world.status(run).await, "succeeded");
}

#[tokio::test]
async fn a_tenants_steps_run_within_its_places() {
    let world = World::start().await;
    world.create(json!([pure("a", "n", &[])])).await;
    world.drain().await;
    world.sql("update tenants set max_concurrent_steps = 3").await;
    let run = world
        .create((0..20).map(|i| pure(&format!("s{i}"), "n", &[])).collect())
        .await;
    world.neon.counters().reset();
    world.drain().await;
    assert_eq!(world.status(run).await, "succeeded");
    assert!(world.turns() >= 8, "20 steps, 3 at a time, in {} turns", world.turns());
}

#[tokio::test]
async fn a_place_that_becomes_free_is_taken_while_another_step_goes_on() {
    let world = World::start().await;
    let first = world
        .create_for("b", json!([world.http("first", "GET", "/slow?ms=300", &[])]))
        .await;
    let long = world
        .create_for("a", json!([world.http("long", "GET", "/slow?ms=4000", &[])]))
        .await;
    world.sql("update tenants set max_concurrent_steps = 1").await;
    let second = world.create_for("b", json!([pure("second", "n", &[])])).await;
    let look = async {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        (
            world.status(first).await,
            world.status(second).await,
            world.status(long).await,
        )
    };
    let (_, seen) = futures::join!(world.drain(), look);
    assert_eq!(seen, ("succeeded".into(), "succeeded".into(), "running".into()));
}
