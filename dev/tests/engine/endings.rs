//! How steps and runs end.

use serde_json::{Value, json};

use crate::world::{World, pure};

fn with(mut step: Value, more: Value) -> Value {
    step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    step
}

#[tokio::test]
async fn outputs_flow_through_references_and_a_join_runs_once() {
    let world = World::start().await;
    let run = world
        .create(json!([
            world.http("fetch", "GET", "/items?n=3", &[]),
            {"id": "left", "skill": "json_transform", "needs": ["fetch"],
             "params": {"input": "{{steps.fetch.output.body}}", "expression": "length(@)"}},
            {"id": "right", "skill": "json_transform", "needs": ["fetch"],
             "params": {"input": "{{steps.fetch.output.body}}", "expression": "[].name"}},
            {"id": "join", "skill": "json_transform", "needs": ["left", "right"],
             "params": {"input": {"l": "{{steps.left.output}}", "r": "{{steps.right.output}}"}, "expression": "@"}},
        ]))
        .await;
    world.drain().await;
    assert_eq!(
        world.steps(run).await,
        [
            "fetch: succeeded 1",
            "left: succeeded 1",
            "right: succeeded 1",
            "join: succeeded 1"
        ]
    );
    assert_eq!(
        world.output(run, "join").await.pointer("/r/2").cloned(),
        Some(json!("item-3"))
    );
}

#[tokio::test]
async fn a_failing_step_is_tried_as_often_as_the_plan_says_and_its_run_says_which_and_why() {
    let world = World::start().await;
    let run = world
        .create(json!([
            pure("before", "n", &[]),
            with(
                world.http("broken", "GET", "/status/503", &["before"]),
                json!({"retry": {"attempts": 3, "backoff_ms": 100}})
            ),
            pure("after", "n", &["broken"]),
        ]))
        .await;
    world.drain_until_ended(run).await;
    assert_eq!(world.status(run).await, "failed");
    let steps = world.steps(run).await;
    assert!(steps[1].starts_with("broken: failed 3 "), "{steps:?}");
    assert_eq!(steps[2], "after: cancelled 0");
    let error = world
        .one(&format!("select error from runs where id = '{}'", run.uuid()))
        .await
        .unwrap();
    assert!(
        error.contains(r#""step": "broken""#) && error.contains("503"),
        "{error}"
    );
    let history = world
        .one(&format!(
            "select string_agg(to_status, ' ' order by seq) from status_history
             where run_id = '{}' and step_key = 'broken'",
            run.uuid()
        ))
        .await;
    assert_eq!(history.unwrap(), "queued running queued running queued running failed");
}

#[tokio::test]
async fn a_passing_fault_is_cured_by_a_retry() {
    let world = World::start().await;
    let run = world
        .create(json!([with(
            world.http("flaky", "GET", "/flaky/cured?fail=2&status=503", &[]),
            json!({"retry": {"attempts": 4, "backoff_ms": 100}})
        )]))
        .await;
    world.drain_until_ended(run).await;
    assert_eq!(world.steps(run).await, ["flaky: succeeded 3"]);
    assert!(
        world.doorbells.take().iter().all(|job| job.delay_s >= 1),
        "a retry is rung for with its delay"
    );
}

#[tokio::test]
async fn steps_beside_a_failed_one_end_before_the_run_does_and_nothing_more_starts() {
    let world = World::start().await;
    let run = world
        .create(json!([
            world.http("bad", "GET", "/status/404", &[]),
            world.http("slow", "GET", "/slow?ms=400", &[]),
            pure("after_slow", "n", &["slow"]),
        ]))
        .await;
    world.drain().await;
    let steps = world.steps(run).await;
    assert!(steps[0].starts_with("bad: failed 1"), "{steps:?}");
    assert_eq!(steps[1..], ["slow: succeeded 1", "after_slow: cancelled 0"]);
    assert_eq!(world.status(run).await, "failed");
}

#[tokio::test]
async fn a_run_goes_on_after_a_failure_it_allows_and_skips_what_hangs_on_what_was_skipped() {
    let world = World::start().await;
    let run = world
        .create(json!([
            with(
                world.http("maybe", "GET", "/status/404", &[]),
                json!({"on_error": "continue"})
            ),
            with(
                pure("never", "n", &["maybe"]),
                json!({"when": "steps.maybe.status == 'succeeded'"})
            ),
            pure("under_never", "n", &["never"]),
            with(
                pure("always", "n", &["maybe"]),
                json!({"when": "steps.maybe.status == 'failed'"})
            ),
            pure("join", "n", &["under_never", "always"]),
        ]))
        .await;
    world.drain().await;
    let steps = world.steps(run).await;
    assert_eq!(
        steps[1..],
        [
            "never: skipped 0 condition_false",
            "under_never: skipped 0 needs_skipped",
            "always: succeeded 1",
            "join: succeeded 1"
        ]
    );
    assert_eq!(world.status(run).await, "succeeded");
}

#[tokio::test]
async fn a_cancelled_run_stops_and_a_late_result_changes_nothing_but_the_ledger() {
    let world = World::start().await;
    let run = world
        .create(json!([
            {"id": "late", "skill": "http_call",
             "params": {"method": "POST", "url": format!("{}/effects/late", world.standins.url())}},
            pure("after", "n", &["late"]),
        ]))
        .await;
    world
        .standins
        .faults()
        .add(aos_dev::faults::Rule::new(aos_dev::faults::Action::DelayAfter {
            ms: 600,
        }));
    let cancel = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        world.cancel(run).await;
    };
    futures::join!(world.drain(), cancel);
    assert_eq!(world.status(run).await, "cancelled");
    assert_eq!(world.steps(run).await, ["late: cancelled 0", "after: cancelled 0"]);
    assert_eq!(world.effects("late"), 1);
    let ledger = world
        .one(&format!("select state from effects where run_id = '{}'", run.uuid()))
        .await;
    assert_eq!(ledger.as_deref(), Some("finalised"));
}

#[tokio::test]
async fn what_the_database_refuses_fails_alone() {
    let world = World::start().await;
    let rule = |status: &str| {
        aos_dev::faults::Rule::new(aos_dev::faults::Action::Status {
            code: 400,
            body: json!({"message": status, "code": "22P05"}).to_string(),
            headers: Default::default(),
        })
    };
    let poisoned = world
        .create(json!([
            {"id": "poison", "skill": "json_transform", "params": {"input": "POI" , "expression": "join('', [@, 'SON'])"},
             "on_error": "continue"},
            pure("sane", "n", &[]),
            pure("after", "n", &["poison", "sane"]),
        ]))
        .await;
    let healthy = world.create(json!([pure("a", "n", &[]), pure("b", "n", &["a"])])).await;
    world
        .neon
        .faults()
        .add(rule("unsupported Unicode escape sequence").matching("POISON"));
    world.drain().await;
    assert_eq!(
        world.steps(poisoned).await,
        [
            "poison: failed 1 output_refused",
            "sane: succeeded 1",
            "after: succeeded 1"
        ]
    );
    assert_eq!(world.steps(healthy).await, ["a: succeeded 1", "b: succeeded 1"]);
}

#[tokio::test]
async fn a_nul_in_an_output_is_replaced() {
    let world = World::start().await;
    let run = world.create(json!([
        {"id": "nul", "skill": "json_transform", "params": {"input": {}, "expression": "`{\"a\\u0000b\": \"x\\u0000y\"}`"}}
    ])).await;
    world.drain().await;
    assert_eq!(world.output(run, "nul").await, json!({"a\u{fffd}b": "x\u{fffd}y"}));
}
