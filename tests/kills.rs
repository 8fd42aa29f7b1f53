//! workerd killed at any moment, and started again: every run ends right, and no effect happens twice in silence.

use std::time::{Duration, Instant};

use aos_tests::{Action, Client, Random, Rule, Stage, TERMINAL, World, pure, seed_from_environment};
use serde_json::{Value, json};

static STAGE: Stage = Stage::new(1);

/// Ten steps, every other one with an effect that must not happen twice. `round` tells the counters apart.
fn ten_steps(client: &Client, round: usize) -> Value {
    let step = |i: usize| {
        let (id, before) = (format!("s{i}"), format!("s{}", i.saturating_sub(1)));
        let needs: &[&str] = if i == 0 { &[] } else { &[&before] };
        if i.is_multiple_of(2) {
            client.http(&id, "POST", &format!("/effects/kill-{round}-{i}"), needs)
        } else {
            pure(&id, needs)
        }
    };
    (0..10).map(step).collect()
}

/// Kills the Worker after `wait`, and starts it again.
async fn kill_and_restart(world: &World, wait: Duration) {
    tokio::time::sleep(wait).await;
    world.kill_worker();
    // What the killed Worker had asked for is still being carried out: as in production, nobody hears the answer.
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.restart_worker().await;
}

/// Lets leases pass and cron ring until the run has ended.
async fn brought_to_its_end(world: &World, client: &Client, run: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(45);
    loop {
        let now = client.get(&format!("/v1/runs/{run}?wait=1")).await.expect(200);
        if TERMINAL.iter().any(|status| now["status"] == *status) {
            return now;
        }
        assert!(
            Instant::now() < deadline,
            "{run} does not end: {:#?}",
            client.steps(run).await
        );
        world.let_leases_pass().await;
        world.cron(world.worker()).await;
    }
}

/// A run that ended right: all of it done, each effect once; or failed at a step of which nobody knows whether its
/// effect happened, which says so, with nothing done after it and nothing done twice.
async fn assert_ended_right(world: &World, client: &Client, run: &str, round: usize) -> String {
    let ended = brought_to_its_end(world, client, run).await;
    let steps = client.steps(run).await;
    let unknown = steps.iter().position(|step| step.ends_with(" unknown_effect"));
    for (i, step) in steps.iter().enumerate() {
        let effects = world.effects(&format!("kill-{round}-{i}"));
        let expected = match unknown {
            None => step.ends_with(": succeeded 1"),
            Some(at) if i < at => step.ends_with(": succeeded 1"),
            Some(at) if i == at => step.ends_with(": failed 1 unknown_effect"),
            Some(_) => step.ends_with(": cancelled 0"),
        };
        assert!(expected, "round {round}: {steps:#?}");
        let counted = match unknown {
            _ if i % 2 == 1 => effects == 0,
            Some(at) if i == at => effects <= 1,
            Some(at) if i > at => effects == 0,
            _ => effects == 1,
        };
        assert!(counted, "round {round}, step {i}: {effects} effects; {steps:#?}");
    }
    match unknown {
        None => assert_eq!(ended["status"], "succeeded", "{ended:#}"),
        Some(at) => {
            assert_eq!(ended["status"], "failed", "{ended:#}");
            assert_eq!(
                (&ended["error"]["code"], &ended["error"]["step"]),
                (&json!("unknown_effect"), &json!(format!("s{at}")))
            );
        }
    }
    let id = run.trim_start_matches("run_");
    let gaps = format!("select count(*) - max(seq) from status_history where run_id = '{id}'");
    assert_eq!(world.owner.number(&gaps).await, 0, "the history has a gap");
    let begun = format!("select count(*) from effects where run_id = '{id}' and state = 'begun'");
    assert_eq!(world.owner.number(&begun).await, 0, "the ledger leaves an effect open");
    unknown.map_or_else(|| "succeeded".to_owned(), |at| format!("unknown_effect at step {at}"))
}

#[test]
fn a_worker_killed_in_the_middle_of_a_run_leaves_nothing_undone_and_nothing_done_twice() {
    STAGE.alone(async |world| {
        let soak = std::env::var_os("AOS_SOAK").is_some();
        let mut random = Random::new(seed_from_environment(20_261_123));
        let client = world.client();
        // Slow enough that a kill finds the run at work, and mostly after an effect that nobody has noted yet.
        for action in [Action::Delay { ms: 20 }, Action::DelayAfter { ms: 110 }] {
            world
                .cloud
                .standins()
                .faults()
                .add(Rule::new(action).matching("/effects/"));
        }
        let rounds = if soak { 10 } else { 3 };
        client.agent().await;
        for round in 0..rounds {
            // At random, but in each part of a run once: it takes some 900 ms.
            let part = 900 / rounds as u64;
            let wait = Duration::from_millis(round as u64 * part + random.below(part));
            let run = client.start(ten_steps(&client, round)).await;
            kill_and_restart(world, wait).await;
            let before = client.steps(&run).await;
            let done = before.iter().filter(|step| step.contains(": succeeded")).count();
            let end = assert_ended_right(world, &client, &run, round).await;
            println!("round {round}: killed after {wait:?}, {done} of 10 steps done; {end}");
        }
    });
}

#[test]
fn an_effect_whose_answer_died_with_the_worker_is_unknown_and_not_repeated() {
    STAGE.alone(async |world| {
        let client = world.client();
        let slow = Rule::new(Action::DelayAfter { ms: 1_500 }).matching("/effects/pay");
        world.cloud.standins().faults().add(slow);
        let run = client
            .start(json!([
                client.http("pay", "POST", "/effects/pay", &[]),
                client.http("tell", "POST", "/effects/told", &["pay"]),
            ]))
            .await;
        world
            .until("the effect arrives", Duration::from_secs(10), async || {
                world.effects("pay") == 1
            })
            .await;
        kill_and_restart(world, Duration::ZERO).await;
        let ended = brought_to_its_end(world, &client, &run).await;
        assert_eq!(
            (&ended["status"], &ended["error"]["code"]),
            (&json!("failed"), &json!("unknown_effect"))
        );
        assert_eq!(
            client.steps(&run).await,
            ["pay: failed 1 unknown_effect", "tell: cancelled 0"]
        );
        assert_eq!((world.effects("pay"), world.effects("told")), (1, 0));
    });
}

#[test]
fn an_idempotent_effect_whose_answer_died_with_the_worker_is_repeated_under_the_same_key() {
    STAGE.alone(async |world| {
        let client = world.client();
        let slow = Rule::new(Action::DelayAfter { ms: 1_500 })
            .matching("/effects/mail")
            .times(1);
        world.cloud.standins().faults().add(slow);
        let mut step = client.http("mail", "POST", "/effects/mail", &[]);
        step["params"]["idempotent"] = json!(true);
        let run = client.start(json!([step])).await;
        world
            .until("the effect arrives", Duration::from_secs(10), async || {
                world.effects("mail") == 1
            })
            .await;
        kill_and_restart(world, Duration::ZERO).await;
        let ended = brought_to_its_end(world, &client, &run).await;
        assert_eq!(ended["status"], "succeeded", "{ended:#}");
        let tally = world.cloud.standins().effects().tally("mail");
        assert_eq!(
            (tally.count, tally.duplicate_keys),
            (2, 1),
            "the target can tell that it is the same one"
        );
    });
}

/// A mail, a message to Slack and a webhook, twice over, one after the other. `round` tells their recipients apart.
fn six_messages(world: &World, round: usize) -> Value {
    let step = |i: usize| {
        let mark = format!("kill-{round}-{i}");
        let (skill, params) = match i % 3 {
            0 => (
                "email_send",
                json!({"to": format!("{mark}@example.com"), "subject": "s", "text": "t"}),
            ),
            1 => ("slack_send", json!({"text": mark})),
            _ => (
                "webhook_send",
                json!({"url": format!("{}/webhooks/{mark}", world.standins()), "payload": {}}),
            ),
        };
        let needs: Vec<String> = i
            .checked_sub(1)
            .map(|before| format!("s{before}"))
            .into_iter()
            .collect();
        json!({"id": format!("s{i}"), "skill": skill, "params": params, "needs": needs})
    };
    (0..6).map(step).collect()
}

/// How often a message really came through, in the eyes of its receiver: a webhook's knows a repeat by its id.
fn came_through(world: &World, round: usize, i: usize) -> u64 {
    let (standins, mark) = (world.cloud.standins(), format!("kill-{round}-{i}"));
    match i % 3 {
        0 => standins.resend().sent_to(&format!("{mark}@example.com")),
        1 => {
            let posted = standins.slack().posted();
            let mine = posted
                .messages
                .iter()
                .filter(|message| message.payload["text"] == mark.as_str());
            mine.count() as u64
        }
        _ => standins.webhooks().tally(&mark).delivered,
    }
}

#[test]
fn mail_messages_and_webhooks_come_through_once_or_their_step_says_that_nobody_knows() {
    STAGE.alone(async |world| {
        let soak = std::env::var_os("AOS_SOAK").is_some();
        let mut random = Random::new(seed_from_environment(20_261_128));
        let (client, standins) = (world.client(), world.cloud.standins());
        client.agent().await;
        let rounds = if soak { 12 } else { 3 };
        for round in 0..rounds {
            // The receivers of this round know the tenant's secret.
            let secret = standins
                .webhooks()
                .secret(&format!("kill-{round}-2"))
                .expect("a secret");
            standins
                .webhooks()
                .trust(&format!("kill-{round}-5"), &[&secret])
                .expect("the secret is one");
            let settings = json!({"webhook_secret": secret});
            client
                .call("PUT", "/v1/settings")
                .json(&settings)
                .send()
                .await
                .expect(200);
            for action in [Action::Delay { ms: 20 }, Action::DelayAfter { ms: 110 }] {
                for path in ["/resend/emails", "/slack/services", "/webhooks/kill"] {
                    standins.faults().add(Rule::new(action.clone()).matching(path));
                }
            }
            let part = 900 / rounds as u64;
            let wait = Duration::from_millis(round as u64 * part + random.below(part));
            let run = client.start(six_messages(world, round)).await;
            kill_and_restart(world, wait).await;
            world.clear_faults();
            let ended = brought_to_its_end(world, &client, &run).await;
            let steps = client.steps(&run).await;
            for (i, step) in steps.iter().enumerate() {
                let count = came_through(world, round, i);
                let right = match step {
                    done if done.contains(": succeeded") => count == 1,
                    unknown if unknown.ends_with(" unknown_effect") => i % 3 == 1 && count <= 1,
                    cancelled if cancelled.contains(": cancelled") => count == 0,
                    _ => false,
                };
                assert!(right, "round {round}, step {i}: {count} came through; {steps:#?}");
            }
            println!("round {round}: killed after {wait:?}; {}", ended["status"]);
        }
    });
}
