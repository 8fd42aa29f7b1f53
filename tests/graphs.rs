//! Several Workers on one PostgreSQL and Redis, all claiming: no step runs twice, no join is missed, nobody deadlocks.

use std::{collections::BTreeMap, time::Duration};

use aos_tests::{Client, Random, Stage, pure, seed_from_environment};
use futures::future::join_all;
use serde_json::Value;

static STAGE: Stage = Stage::new(3);

/// A random graph of 1 to 12 steps. Every step may need any of those before it; one in four has an effect.
fn random_graph(random: &mut Random, client: &Client, number: usize) -> (Value, usize) {
    let mut effects = 0;
    let mut step = |i: u64| {
        let needs: Vec<String> = (0..i)
            .filter(|_| random.below(3) == 0)
            .map(|j| format!("s{j}"))
            .collect();
        let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
        if random.below(4) == 0 {
            effects += 1;
            client.http(&format!("s{i}"), "POST", &format!("/effects/graph-{number}"), &needs)
        } else {
            pure(&format!("s{i}"), &needs)
        }
    };
    let steps = 1 + number as u64 % 12;
    let steps = (0..steps).map(&mut step).collect();
    (steps, effects)
}

#[test]
fn workers_side_by_side_run_every_step_of_random_graphs_once_and_miss_no_join() {
    STAGE.alone(async |world| {
        let count = if std::env::var_os("AOS_SOAK").is_some() { 500 } else { 60 };
        let mut random = Random::new(seed_from_environment(7));
        // Each Worker has a queue of its own here, so each is rung; which of them then claims a step is open.
        let workers = world.cloud.workers();
        let clients: Vec<Client> = (0..6)
            .map(|number| world.client_of(&workers[number % workers.len()], &format!("crowd-{number}")))
            .collect();
        let mut expected = BTreeMap::new();
        let mut bodies = Vec::new();
        for number in 0..count {
            let client = &clients[number % clients.len()];
            let (steps, effects) = random_graph(&mut random, client, number);
            expected.insert(number, effects as u64);
            bodies.push((client, client.run_of(steps).await));
        }
        for wave in bodies.chunks(20) {
            join_all(wave.iter().map(|(client, body)| client.start_from(body))).await;
        }
        let open = "select count(*) from runs where ended_at is null";
        let patience = Duration::from_secs(60 + count as u64 / 2);
        world.until("all runs end", patience, async || world.owner.number(open).await == 0).await;

        let wrong = "select r.id || ' ' || r.status || ': ' || s.key || ' ' || s.status || ' ' || s.attempt || ' ' || s.claim_no
            from runs r join steps s on s.run_id = r.id
            where r.status <> 'succeeded' or s.status <> 'succeeded' or s.attempt <> 1 or s.claim_no <> 1";
        assert_eq!(world.owner.column(wrong).await, [""; 0]);
        assert_eq!(world.owner.number("select count(*) from runs").await, count as i64);
        for (number, effects) in expected {
            let tally = world.cloud.standins().effects().tally(&format!("graph-{number}"));
            assert_eq!((tally.count, tally.duplicate_keys), (effects, 0), "graph {number}");
        }
        // A step that starts before all it needs have ended would show here.
        let early = "select count(*) from steps s join steps n on n.run_id = s.run_id and n.idx = any (s.needs)
            where s.started_at < n.ended_at";
        assert_eq!(world.owner.number(early).await, 0);
        let gaps = "select count(*) from (select run_id from status_history group by run_id having count(*) <> max(seq)) g";
        assert_eq!(world.owner.number(gaps).await, 0);
        let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
        assert_eq!(world.owner.number(deadlocks).await, 0);
        for worker in workers {
            let log = std::fs::read_to_string(worker.log()).unwrap();
            assert!(log.contains(r#""message":"executed""#), "{} had no part in it", worker.url());
        }
        let turns = world.cloud.neon().counters().snapshot().labelled("turn.pick");
        println!("{count} graphs in {turns} turns");
    });
}
