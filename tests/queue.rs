//! Doorbells that come twice, are garbage, or never come; a database that is away, or whose answers are lost.

use std::time::Duration;

use aos_tests::{Action, Client, Rule, Stage, World, chain, pure, with};
use serde_json::{Value, json};

static STAGE: Stage = Stage::new(1);

/// A run with an effect in the middle: five turns from its first claim to its end. `counter` is the effect's.
fn with_effects(client: &Client, counter: &str) -> Value {
    json!([
        pure("first", &[]),
        client.http("effect", "POST", &format!("/effects/{counter}"), &["first"]),
        pure("left", &["effect"]),
        client.http("right", "POST", &format!("/effects/{counter}-right"), &["effect"]),
        pure("join", &["left", "right"]),
    ])
}

const ALL_ONCE: [&str; 5] = [
    "first: succeeded 1",
    "effect: succeeded 1",
    "left: succeeded 1",
    "right: succeeded 1",
    "join: succeeded 1",
];

/// Asserts that a run of [`with_effects`] ended right: everything once, and nothing unknown.
async fn assert_once(world: &World, client: &Client, run: &str, counter: &str, what: &str) {
    client.ended(run).await;
    assert_eq!(client.steps(run).await, ALL_ONCE, "{what}");
    assert_eq!(
        (world.effects(counter), world.effects(&format!("{counter}-right"))),
        (1, 1),
        "{what}"
    );
    let id = run.trim_start_matches("run_");
    let ledger = format!("select string_agg(distinct state, ' ') from effects where run_id = '{id}'");
    assert_eq!(world.owner.value(&ledger).await, "finalised", "{what}");
}

#[test]
fn the_answer_of_any_turn_may_be_lost_or_its_request_never_arrive() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        let cases = [Action::DropAfter, Action::HalfBody, Action::DropBefore]
            .into_iter()
            .flat_map(|action| (0..6).map(move |turn| (turn, action.clone())));
        let mut hit = 0;
        for (number, (turn, action)) in cases.enumerate() {
            let what = format!("{action:?} at turn {turn}");
            let counter = format!("lost-{number}");
            world
                .cloud
                .neon()
                .faults()
                .add(Rule::new(action).matching("turn.pick").skip(turn).times(1));
            let run = client.start(with_effects(&client, &counter)).await;
            assert_once(world, &client, &run, &counter, &what).await;
            world.settle_down().await;
            hit += world.cloud.neon().faults().rules()[0].hits;
            world.clear_faults();
        }
        assert!(hit >= 15, "only {hit} faults had a turn to hit");
    });
}

#[test]
fn answers_that_say_the_database_is_away_are_waited_out() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        let away = Action::Status {
            code: 500,
            body: json!({"message": "Control plane request failed", "code": ""}).to_string(),
            headers: Default::default(),
        };
        for turn in [1, 3] {
            // More often than one request is tried: the engine itself has to come again.
            world
                .cloud
                .neon()
                .faults()
                .add(Rule::new(away.clone()).matching("turn.pick").skip(turn).times(5));
            let counter = format!("away-{turn}");
            let run = client.start(with_effects(&client, &counter)).await;
            assert_once(world, &client, &run, &counter, &format!("away at turn {turn}")).await;
            assert_eq!(world.cloud.neon().faults().rules()[0].hits, 5);
            world.clear_faults();
        }
    });
}

#[test]
fn a_database_that_dies_while_steps_run_loses_no_result() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        world
            .cloud
            .standins()
            .faults()
            .add(Rule::new(Action::DelayAfter { ms: 800 }).matching("/effects/outage"));
        let run = client.start(with_effects(&client, "outage")).await;
        world
            .until("the effect arrives", Duration::from_secs(10), async || {
                world.effects("outage") == 1
            })
            .await;
        world.cloud.postgres().kill();
        tokio::time::sleep(Duration::from_secs(4)).await;
        world.cloud.postgres().restart().await.expect("PostgreSQL starts again");
        assert_once(world, &client, &run, "outage", "the database was away for four seconds").await;
    });
}

#[test]
fn a_doorbell_that_finds_the_database_away_is_rung_again_by_the_queue() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        // Not to be retried by the client: so each of the invocation's turns fails at once, and the batch with them.
        let refused = Action::Status {
            code: 400,
            body: json!({"message": "role \"aos_engine_login\" is not permitted to log in", "code": "28000"})
                .to_string(),
            headers: Default::default(),
        };
        world
            .cloud
            .neon()
            .faults()
            .add(Rule::new(refused).matching("turn.pick").times(3));
        let run = client.start(with_effects(&client, "rung-again")).await;
        let three = async || world.cloud.neon().faults().rules()[0].hits == 3;
        world.until("three turns fail", Duration::from_secs(30), three).await;
        assert_eq!(client.steps(&run).await[0], "first: queued 0");
        // Nobody fires a cron: it is the queue that brings the doorbell back.
        assert_once(world, &client, &run, "rung-again", "the first invocation failed").await;
        assert!(
            world
                .breakages()
                .iter()
                .any(|line| line.contains("the engine could not go on"))
        );
    });
}

#[test]
fn messages_that_are_no_doorbells_or_ring_for_nothing_change_nothing() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        let sender = world.sender().await;
        let slow = client.start(json!([
            client.http("slow", "POST", "/effects/messages", &[]),
            pure("after", &["slow"]),
        ]));
        world
            .cloud
            .standins()
            .faults()
            .add(Rule::new(Action::DelayAfter { ms: 600 }).matching("/effects/messages"));
        let run = slow.await;
        let step = world
            .owner
            .value("select id from steps where key = 'slow' order by id desc limit 1")
            .await;
        let bell = json!({"body": {"step_id": format!("stp_{}", step.replace('-', ""))}, "contentType": "json"});
        world.forget_requests();
        let garbage = [
            json!({"body": "ring", "contentType": "text"}),
            json!({"body": "", "contentType": "text"}),
            json!({"body": null, "contentType": "json"}),
            json!({"body": 42, "contentType": "json"}),
            json!({"body": [1, 2, 3], "contentType": "json"}),
            json!({"body": {}, "contentType": "json"}),
            json!({"body": {"step_id": 7}, "contentType": "json"}),
            json!({"body": {"step_id": "run_018f0000000070008000000000000001"}, "contentType": "json"}),
            json!({"body": {"step_id": "'; drop table runs; --"}, "contentType": "json"}),
            json!({"body": {"deep": {"deeper": ["x".repeat(50_000)]}}, "contentType": "v8"}),
            json!({"hex": "00fffe80", "contentType": "bytes"}),
        ];
        let nothing = json!({"body": {"step_id": "stp_018f0000000070008000000000000001"}, "contentType": "json"});
        let mut messages: Vec<Value> = garbage.to_vec();
        messages.extend([bell.clone(), bell.clone(), bell.clone(), nothing.clone(), nothing]);
        sender.send(&messages).await;
        client.ended_as(&run, "succeeded").await;
        sender.send(&[bell.clone(), bell]).await;
        let logged = || {
            std::fs::read_to_string(world.worker().log())
                .unwrap()
                .matches("a message is no doorbell")
                .count()
        };
        world
            .until("all garbage is logged", Duration::from_secs(20), async || {
                logged() >= garbage.len()
            })
            .await;
        world.settle_down().await;
        assert_eq!(logged(), garbage.len(), "each is acknowledged and never comes back");
        assert_eq!(client.steps(&run).await, ["slow: succeeded 1", "after: succeeded 1"]);
        assert_eq!(world.effects("messages"), 1);
        // The consumer still works, and so does what came in the same batch as the garbage.
        let mut mixed = vec![garbage[0].clone(), garbage[5].clone()];
        mixed.push(json!({"body": {"step_id": "stp_018f0000000070008000000000000001"}, "contentType": "json"}));
        sender.send(&mixed).await;
        let next = client.start(chain(2)).await;
        client.ended_as(&next, "succeeded").await;
    });
}

#[test]
fn a_lost_doorbell_is_rung_again_by_cron() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        let run = client
            .start(json!([
                with(
                    client.http("flaky", "GET", "/flaky/lost-bell?fail=1&status=503&retry_after=4", &[]),
                    json!({"retry": {"attempts": 2, "backoff_ms": 100}}),
                ),
                client.http("effect", "POST", "/effects/lost-bell", &["flaky"]),
            ]))
            .await;
        let waits = async || client.steps(&run).await[0] == "flaky: queued 1 provider_unavailable";
        world.until("the retry waits", Duration::from_secs(10), waits).await;
        // The local queue lives in memory: so the doorbell for the retry is lost.
        world.settle_down().await;
        world.kill_worker();
        world.restart_worker().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(client.steps(&run).await[0], "flaky: queued 1 provider_unavailable");
        world
            .owner
            .execute("update steps set due_at = now(), ring_at = now() where status = 'queued'")
            .await;
        world.cron(world.worker()).await;
        client.ended_as(&run, "succeeded").await;
        assert_eq!(client.steps(&run).await, ["flaky: succeeded 2", "effect: succeeded 1"]);
        assert_eq!(world.effects("lost-bell"), 1);
    });
}

#[test]
fn crons_that_overlap_with_work_and_each_other_disturb_nothing() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        world
            .cloud
            .standins()
            .faults()
            .add(Rule::new(Action::DelayAfter { ms: 150 }).matching("/effects/crons"));
        let run = client.start(with_effects(&client, "crons")).await;
        for _ in 0..5 {
            futures::future::join_all((0..3).map(|_| world.cron(world.worker()))).await;
        }
        assert_once(world, &client, &run, "crons", "crons beside it").await;
    });
}
