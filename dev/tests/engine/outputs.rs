//! Outputs that are too large for a row: where they go, who reads them, and what becomes of a step when the archive fails.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::World;

/// Two steps, the second of which, `fetch`, has about 120 KiB of JSON as its output.
fn fetch(world: &World) -> [Value; 2] {
    [
        world.http("raw", "GET", "/items?n=1000", &[]),
        json!({"id": "fetch", "skill": "json_transform", "needs": ["raw"],
            "params": {"input": "{{steps.raw.output.body}}", "expression": "{body: @, twice: @}"}}),
    ]
}

/// Both of them, and others.
fn plan(world: &World, others: &[Value]) -> Value {
    fetch(world).iter().chain(others).cloned().collect()
}

/// Waits until something lies in the archive.
async fn filled(world: &World) {
    let filled = async {
        while world.bucket.keys().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), filled)
        .await
        .expect("nothing came into the archive");
}

fn count(id: &str) -> Value {
    json!({"id": id, "skill": "json_transform", "needs": ["fetch"], "retry": {"attempts": 1},
        "params": {"input": "{{steps.fetch.output.body}}", "expression": "length(@)"}})
}

#[tokio::test]
async fn a_large_output_leaves_its_row_and_later_steps_read_it_as_if_it_had_not() {
    let world = World::start().await;
    let run = world
        .create(plan(
            &world,
            &[
                count("all"),
                json!({"id": "one", "skill": "json_transform", "needs": ["fetch"],
                "params": {"input": {"name": "{{steps.fetch.output.body[999].name}}"}, "expression": "name"}}),
                json!({"id": "copy", "skill": "json_transform", "needs": ["all", "one"],
                "params": {"input": "{{steps.fetch.output.body}}", "expression": "[*].id"}}),
                json!({"id": "again", "skill": "json_transform", "needs": ["all", "one", "fetch"],
                "params": {"input": "{{steps.fetch.output}}", "expression": "@"}}),
            ],
        ))
        .await;
    world.neon.counters().reset();
    world.drain_until_ended(run).await;
    assert_eq!(world.status(run).await, "succeeded", "{:?}", world.steps(run).await);
    assert_eq!(world.turns(), 5, "no more requests than for small outputs");

    assert_eq!(world.output(run, "all").await, json!(1000));
    assert_eq!(world.output(run, "one").await, json!("item-1000"));
    let row = |column: &str| {
        format!(
            "select {column} from steps where key = 'fetch' and run_id = '{}'",
            run.uuid()
        )
    };
    assert!(world.one(&row("output")).await.is_none());
    let number = async |column: &str| world.one(&row(column)).await.unwrap().parse::<usize>().unwrap();
    let bytes = number("output_ref ->> 'bytes'").await;
    assert!((64 * 1024..200 * 1024).contains(&bytes), "{bytes}");
    // A claim carries what its values take in memory, which is more than their text.
    assert!(number("output_bytes").await > 2 * bytes);

    // The same content is one object, and the key says whose it is.
    let tenant = world
        .one("select 'ten_' || replace(id::text, '-', '') from tenants where external_id = 'acme'")
        .await
        .unwrap();
    let keys = world.bucket.keys();
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(
        keys.iter().all(|key| key.starts_with(&format!("outputs/{tenant}/20"))),
        "{keys:?}"
    );
    let shown = world.read(run).await;
    assert_eq!(shown["output"]["again"]["twice"].as_array().map(Vec::len), Some(1000));
    assert!(shown.get("output_omitted").is_none());

    // What cannot be read back is left out, and the rest is shown.
    world.bucket.is_away(true);
    let shown = world.read(run).await;
    assert_eq!(shown["output_omitted"], json!(["again"]));
    assert_eq!(shown["output"]["copy"].as_array().map(Vec::len), Some(1000));
}

#[tokio::test]
async fn an_output_that_fits_its_row_stays_there_while_the_archive_is_away() {
    let world = World::start().await;
    world.bucket.is_away(true);
    let run = world.create(plan(&world, &[count("all")])).await;
    world.drain_until_ended(run).await;
    assert_eq!(world.output(run, "all").await, json!(1000));
    assert!(world.bucket.keys().is_empty());
}

#[tokio::test]
async fn a_step_waits_for_an_archive_that_is_away_and_fails_for_an_object_that_is_gone() {
    let world = World::start().await;
    let chain = plan(
        &world,
        &[
            json!({"id": "pause", "skill": "http_call", "needs": ["fetch"], "params": {"url": format!("{}/slow?ms=700", world.standins.url())}}),
            json!({"id": "all", "skill": "json_transform", "needs": ["fetch", "pause"], "retry": {"attempts": 8, "backoff_ms": 100},
            "params": {"input": "{{steps.fetch.output.body}}", "expression": "length(@)"}}),
        ],
    );
    let away = async {
        filled(&world).await;
        world.bucket.is_away(true);
        tokio::time::sleep(Duration::from_millis(1200)).await;
        world.bucket.is_away(false);
    };
    let run = world.create(chain.clone()).await;
    futures::join!(world.drain_until_ended(run), away);
    assert_eq!(
        world.output(run, "all").await,
        json!(1000),
        "{:?}",
        world.steps(run).await
    );

    for spoilt in [true, false] {
        world.bucket.clear();
        let lost = async {
            filled(&world).await;
            if spoilt {
                world.bucket.spoil();
            } else {
                world.bucket.clear();
            }
        };
        let run = world.create(chain.clone()).await;
        futures::join!(world.drain_until_ended(run), lost);
        let steps = world.steps(run).await;
        assert!(steps[3].ends_with("archived_output_lost"), "{steps:?}");
    }
}

#[tokio::test]
async fn without_an_archive_a_step_keeps_a_megabyte_and_no_more() {
    let mut world = World::start().await;
    world.engine.services.archive = None;
    let double = |id: &str, needs: &str| {
        json!({"id": id, "skill": "json_transform", "needs": [needs],
            "params": {"input": format!("{{{{steps.{needs}.output}}}}"), "expression": "[@, @, @, @]"}})
    };
    let run = world
        .create(json!([
            {"id": "fetch", "skill": "http_call", "params": {"url": format!("{}/bytes?n=200000", world.standins.url())}},
            double("four", "fetch"),
            {"id": "sixteen", "skill": "json_transform", "needs": ["four"], "on_error": "continue",
                "params": {"input": "{{steps.fetch.output}}", "expression": "[@, @, @, @, @, @]"}}
        ]))
        .await;
    world.drain_until_ended(run).await;
    let steps = world.steps(run).await;
    assert_eq!(steps[1], "four: succeeded 1");
    assert!(steps[2].ends_with("output_too_large"), "{steps:?}");
}
