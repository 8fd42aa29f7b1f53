//! Who comes for a step and when: cron without the bell, waves of claims, lanes.

use std::time::Duration;

use aos_tests::{pure, with};
use serde_json::{Value, json};

use crate::STAGE;

#[test]
fn without_the_bell_cron_alone_finishes_a_run() {
    STAGE.alone(async |world| {
        let silent = world.worker_with("silent", &[("AOS_RING", "off")]).await;
        let client = world.client_of(&silent, "silent");
        let steps = json!([
            pure("before", &[]),
            with(
                client.http("flaky", "GET", "/flaky/silent?fail=1&status=503", &["before"]),
                json!({"retry": {"attempts": 3, "backoff_ms": 100}}),
            ),
            pure("after", &["flaky"]),
        ]);
        let run = client.start(steps).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(
            client.steps(&run).await,
            ["before: queued 0", "flaky: pending 0", "after: pending 0"]
        );
        // A cron of the other Worker would do as well; this one must do it without help.
        let mut ticks = 0;
        while client.get(&format!("/v1/runs/{run}?wait=1")).await.expect(200)["ended_at"].is_null() {
            ticks += 1;
            assert!(ticks < 15, "cron does not finish it: {:?}", client.steps(&run).await);
            world.cron(&silent).await;
        }
        assert!(ticks >= 2, "the retry was rung for by somebody else");
        assert_eq!(
            client.steps(&run).await,
            ["before: succeeded 1", "flaky: succeeded 2", "after: succeeded 1"]
        );
        silent.stop().await;
    });
}

#[test]
fn a_run_of_more_steps_than_one_claim_takes_goes_on_until_all_have_run() {
    STAGE.together(async |world| {
        let client = world.client();
        // 32 pure steps at once are an invocation's most, 10 messages are a batch's most.
        let mut steps: Vec<Value> = (0..99).map(|i| pure(&format!("s{i}"), &[])).collect();
        let all: Vec<String> = (0..99).map(|i| format!("s{i}")).collect();
        steps.push(pure("join", &all.iter().map(String::as_str).collect::<Vec<_>>()));
        let run = client.start(json!(steps)).await;
        client.ended_as(&run, "succeeded").await;
        let steps = client.steps(&run).await;
        assert_eq!(steps.len(), 100);
        assert!(steps.iter().all(|step| step.ends_with(": succeeded 1")), "{steps:?}");
    });
}

#[test]
fn more_outside_calls_than_there_are_lanes_wait_their_turn() {
    STAGE.together(async |world| {
        let client = world.client();
        let steps = (0..12)
            .map(|i| client.http(&format!("s{i}"), "POST", "/effects/lanes", &[]))
            .collect();
        let run = client.start(steps).await;
        client.ended_as(&run, "succeeded").await;
        let tally = world.cloud.standins().effects().tally("lanes");
        assert_eq!(
            (tally.count, tally.duplicate_keys),
            (12, 0),
            "once each, under a key of its own"
        );
    });
}
