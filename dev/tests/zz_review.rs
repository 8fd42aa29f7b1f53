//! scratch
#![allow(dead_code)]
#[path = "engine/world.rs"]
mod world;
use std::time::Duration;
use serde_json::{Value, json};
use world::{World, pure};

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

#[tokio::test]
async fn one_large_input_number() {
    let world = World::start().await;
    let healthy = world.create_for("healthy", json!([pure("a", "n", &[])])).await;
    let huge: Vec<f64> = vec![1e300; 35_000];
    let _bad = world.create_with_input("evil", json!([pure("a", "n", &[])]), json!({"x": huge})).await;
    let r = world.engine.drain(1, world.budget()).await;
    println!("HUGE NUMBER: {r:?} healthy={}", world.status(healthy).await);
    assert_eq!(world.status(healthy).await, "succeeded");
}

#[tokio::test]
async fn many_plain_inputs() {
    let world = World::start().await;
    let ones: Vec<u8> = vec![1; 130_000];
    for _ in 0..6 { world.create_with_input("bulk", json!([world.http("h","GET","/items?n=1",&[])]), json!({"x": ones})).await; }
    for _ in 0..32 {
        world.create_with_input("bulk", json!([pure("a", "n", &[])]), json!({"x": ones})).await;
    }
    let healthy = world.create_for("healthy", json!([pure("a", "n", &[])])).await;
    let r = world.engine.drain(1, world.budget()).await;
    println!("BULK: {r:?} healthy={}", world.status(healthy).await);
    assert_eq!(world.status(healthy).await, "succeeded");
}

#[tokio::test]
async fn deep_input() {
    let world = World::start().await;
    let healthy = world.create_for("healthy", json!([world.http("pay", "POST", "/effects/pay", &[])])).await;
    let _bad = world.create_with_input("evil", json!([pure("a", "n", &[])]), json!({"x": nested(124)})).await;
    let r = world.engine.drain(1, world.budget()).await;
    println!("DEEP: {r:?} healthy={:?} effects={}", world.steps(healthy).await, world.effects("pay"));
    assert_eq!(world.status(healthy).await, "succeeded");
}

#[tokio::test]
async fn large_refs() {
    let world = World::start().await;
    let mut steps: Vec<Value> = (0..16).map(|i| json!({"id": format!("s{i}"), "skill": "json_transform",
        "params": {"input": "{{input.x}}", "expression": "[@,@,@,@,@,@,@,@]"}})).collect();
    let input: serde_json::Map<_, _> = (0..16).map(|i| (format!("k{i}"), json!(format!("{{{{steps.s{i}.status}}}}")))).collect();
    let needs: Vec<_> = (0..16).map(|i| format!("s{i}")).collect();
    steps.push(json!({"id": "join", "skill": "json_transform", "needs": needs, "params": {"input": input, "expression": "@"}}));
    let bad = world.create_with_input("evil", json!(steps), json!({"x": "y".repeat(125_000)})).await;
    let r = world.engine.drain(1, world.budget()).await;
    let healthy = world.create_for("healthy", json!([pure("a", "n", &[])])).await;
    let r2 = world.engine.drain(1, world.budget()).await;
    println!("REFS: {r:?} {r2:?} bad={:?} healthy={}", world.steps(bad).await, world.status(healthy).await);
    assert_eq!(world.status(healthy).await, "succeeded");
}

#[tokio::test]
async fn full_tenant_goes_on() {
    let world = World::start().await;
    let b1 = world.create_for("b", json!([world.http("b1", "GET", "/slow?ms=300", &[])])).await;
    let a = world.create_for("a", json!([world.http("long", "GET", "/slow?ms=5000", &[])])).await;
    world.sql("update tenants set max_concurrent_steps = 1").await;
    let b2 = world.create_for("b", json!([pure("b2", "n", &[])])).await;
    let look = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        println!("FULL: b1={} b2={} a={} bells={:?}", world.status(b1).await, world.status(b2).await, world.status(a).await, world.doorbells.take());
        world.status(b2).await
    };
    let (_, b2) = futures::join!(world.drain(), look);
    assert_eq!(b2, "succeeded");
}
