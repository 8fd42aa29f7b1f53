//! Lost answers, lost executors, lost doorbells.

use std::time::Duration;

use aos_dev::faults::{Action, Rule};
use serde_json::json;

use crate::world::{World, pure};

#[tokio::test]
async fn the_answer_of_any_turn_may_be_lost() {
    let world = World::start().await;
    for (lost, action) in (0..5).flat_map(|lost| [(lost, Action::DropAfter), (lost, Action::HalfBody)]) {
        let counter = format!("lost-{lost}-{action:?}")
            .to_lowercase()
            .replace(|c: char| !c.is_alphanumeric(), "-");
        let run = world
            .create(json!([
                pure("first", "n", &[]),
                world.http("effect", "POST", &format!("/effects/{counter}"), &["first"]),
                pure("left", "n", &["effect"]),
                pure("right", "n", &["effect"]),
                pure("join", "n", &["left", "right"]),
            ]))
            .await;
        world
            .neon
            .faults()
            .add(Rule::new(action.clone()).matching("turn.pick").skip(lost).times(1));
        world.drain().await;
        world.neon.faults().clear();
        assert_eq!(
            world.steps(run).await,
            [
                "first: succeeded 1",
                "effect: succeeded 1",
                "left: succeeded 1",
                "right: succeeded 1",
                "join: succeeded 1"
            ],
            "answer {lost} lost by {action:?}"
        );
        assert_eq!(world.effects(&counter), 1);
    }
}

#[tokio::test]
async fn a_lost_executor_of_a_read_is_replaced_and_five_lost_ones_end_the_step() {
    let world = World::start().await;
    let run = world
        .create(json!([world.http("read", "GET", "/slow?ms=3000", &[])]))
        .await;
    for lost in 1..=5 {
        let killed = tokio::time::timeout(Duration::from_millis(300), world.drain()).await;
        assert!(killed.is_err(), "the executor is killed in the middle");
        assert_eq!(
            world.engine.tick().await.unwrap().expired,
            0,
            "its lease protects it for a while"
        );
        world
            .sql("update steps set lease_until = now() - interval '1 second' where status = 'running'")
            .await;
        let report = world.engine.tick().await.unwrap();
        assert_eq!((report.expired, report.rung), (1, usize::from(lost < 5)));
    }
    assert_eq!(world.steps(run).await, ["read: failed 0 executor_lost"]);
    assert_eq!(world.status(run).await, "failed");
}

#[tokio::test]
async fn an_effect_that_may_have_begun_is_unknown_and_never_repeated() {
    let world = World::start().await;
    let run = world
        .create(json!([
            world.http("pay", "POST", "/effects/pay", &[]),
            pure("after", "n", &["pay"])
        ]))
        .await;
    world.standins.faults().add(Rule::new(Action::DelayAfter { ms: 3_000 }));
    assert!(
        tokio::time::timeout(Duration::from_millis(400), world.drain())
            .await
            .is_err()
    );
    world
        .sql("update steps set lease_until = now() - interval '1 second' where status = 'running'")
        .await;
    world.engine.tick().await.unwrap();
    world.drain().await;
    assert_eq!(
        world.steps(run).await,
        ["pay: failed 1 unknown_effect", "after: cancelled 0"]
    );
    assert_eq!(world.effects("pay"), 1);
    let ledger = world
        .one(&format!("select state from effects where run_id = '{}'", run.uuid()))
        .await;
    assert_eq!(ledger.as_deref(), Some("unknown"));
}

#[tokio::test]
async fn an_executor_that_lost_its_lease_settles_nothing() {
    let world = World::start().await;
    let run = world
        .create(json!([world.http("slow", "GET", "/slow?ms=800", &[])]))
        .await;
    let steal = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world
            .sql("update steps set lease_until = now() - interval '1 second' where status = 'running'")
            .await;
        world.engine.tick().await.unwrap();
        assert_eq!(world.steps(run).await, ["slow: queued 0"]);
    };
    futures::join!(world.drain(), steal);
    // The late result was fenced off, and the same invocation then executed the step under a new claim.
    assert_eq!(world.steps(run).await, ["slow: succeeded 1"]);
    let history = world
        .one(&format!(
            "select string_agg(to_status, ' ' order by seq) from status_history
             where run_id = '{}' and step_key = 'slow'",
            run.uuid()
        ))
        .await;
    assert_eq!(history.unwrap(), "queued running queued running succeeded");
}

#[tokio::test]
async fn cron_rings_once_for_what_nobody_came_for() {
    let world = World::start().await;
    world.create(json!([pure("forgotten", "n", &[])])).await;
    assert_eq!(
        world.engine.tick().await.unwrap().rung,
        0,
        "its own doorbell has a minute"
    );
    world
        .sql("update steps set ring_at = now() where status = 'queued'")
        .await;
    assert_eq!(world.engine.tick().await.unwrap().rung, 1);
    assert_eq!(world.engine.tick().await.unwrap().rung, 0);
    assert_eq!(world.doorbells.take().len(), 1);
}

#[tokio::test]
async fn a_database_that_is_away_for_seconds_loses_no_result() {
    let world = World::start().await;
    let run = world
        .create(json!([
            world.http("effect", "POST", "/effects/away", &[]),
            pure("after", "n", &["effect"])
        ]))
        .await;
    world.standins.faults().add(Rule::new(Action::DelayAfter { ms: 500 }));
    let outage = async {
        tokio::time::sleep(Duration::from_millis(250)).await;
        world.postgres().stop().await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        world.postgres().restart().await.unwrap();
    };
    futures::join!(world.drain(), outage);
    assert_eq!(world.effects("away"), 1);
    let (client, connection) = tokio_postgres::connect(&world.direct, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let row = client
        .query_one(
            "select status from runs where id = $1::text::uuid",
            &[&run.uuid().to_string()],
        )
        .await;
    assert_eq!(row.unwrap().get::<_, String>(0), "succeeded");
}

#[tokio::test]
async fn a_release_takes_back_its_own_effect_and_not_that_of_an_earlier_attempt() {
    let world = World::start().await;
    world
        .sql(
            "insert into tenants (id, external_id) values ('018f0000-0000-7000-8000-000000000001', 'ledger');
             set session_replication_role = replica;
             insert into effects (step_id, tenant_id, run_id, claim_no, state, effects, begun_at, finalised_at)
             values (
                 '018f0000-0000-7000-8000-00000000000a', '018f0000-0000-7000-8000-000000000001',
                 '018f0000-0000-7000-8000-0000000000ff', 2, 'begun', '[1]', now(), now()
             ), (
                 '018f0000-0000-7000-8000-00000000000b', '018f0000-0000-7000-8000-000000000001',
                 '018f0000-0000-7000-8000-0000000000ff', 1, 'begun', null, now(), null
             )",
        )
        .await;
    let released = json!([
        {"step_id": "018f0000-0000-7000-8000-00000000000a", "claim_no": 2, "state": null},
        {"step_id": "018f0000-0000-7000-8000-00000000000b", "claim_no": 1, "state": null},
    ]);
    let release = include_str!("../../../src/runs/engine/sql/release_effects.sql");
    world.sql(&release.replace("$1", &format!("'{released}'"))).await;
    let ledger = world
        .one("select string_agg(state || effects::text, ' ') from effects")
        .await;
    assert_eq!(ledger.as_deref(), Some("finalised[1]"));
}

#[tokio::test]
async fn the_effect_of_a_cancelled_step_whose_executor_is_lost_is_unknown() {
    let world = World::start().await;
    let run = world
        .create(json!([world.http("pay", "POST", "/effects/cancelled", &[])]))
        .await;
    world.standins.faults().add(Rule::new(Action::DelayAfter { ms: 3_000 }));
    assert!(
        tokio::time::timeout(Duration::from_millis(400), world.drain())
            .await
            .is_err()
    );
    world
        .sql("update steps set lease_until = now() - interval '1 second' where status = 'running'")
        .await;
    world.cancel(run).await;
    world.engine.tick().await.unwrap();
    assert_eq!(world.steps(run).await, ["pay: cancelled 0"]);
    let ledger = world
        .one(&format!("select state from effects where run_id = '{}'", run.uuid()))
        .await;
    assert_eq!(ledger.as_deref(), Some("unknown"));
}
