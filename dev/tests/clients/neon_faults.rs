//! What the client of Neon does when the gateway or the way to it fails: what it tries again, and what it never does.

use std::time::{Duration, Instant};

use aos::integrations::neon::{Batch, Error, Neon, Statement};
use aos::integrations::{Body, Repeat, TookEffect};
use aos_dev::faults::Action;
use aos_dev::neon::{NeonGateway, NeonGatewayOptions, PostgresAddr};

use crate::world::{self, Pair, World, status};

const AWAY: &str = r#"{"message":"Control plane request failed","code":"","severity":""}"#;
const CONFLICT: &str = r#"{"message":"could not serialize access","code":"40001","severity":"ERROR"}"#;
const DEADLOCK: &str = r#"{"message":"deadlock detected","code":"40P01","severity":"ERROR"}"#;

type Gate = Pair<Neon, NeonGateway>;

/// A gateway, and a table in which a test counts what took effect.
async fn counting(world: &World, table: &'static str) -> Gate {
    let neon = world.neon().await;
    let create = format!("create table {table} (at timestamptz default now())");
    let create = Batch::write(Repeat::Never).push(Statement::new(create.leak()));
    neon.client.batch(&create).await.unwrap();
    neon.requests();
    neon
}

fn insert(table: &'static str) -> Statement {
    Statement::new(format!("insert into {table} default values").leak())
}

async fn effects(neon: &Gate, table: &'static str) -> u64 {
    let count = Statement::new(format!("select to_jsonb(count(*)) as data from {table}").leak());
    let answers = neon.client.batch(&Batch::read().push(count)).await.unwrap();
    neon.requests();
    answers.one(0).unwrap().unwrap()
}

#[test]
fn what_took_no_effect_for_a_passing_reason_is_tried_again_even_if_it_must_not_be_repeated() {
    let world = world::shared();
    world.run(async {
        let neon = counting(&world, "passing").await;
        for (code, body) in [(500, AWAY), (503, AWAY), (400, CONFLICT), (400, DEADLOCK)] {
            neon.fault(2, status(code, body));
            neon.client
                .batch(&Batch::write(Repeat::Never).push(insert("passing")))
                .await
                .unwrap();
            assert_eq!(neon.requests(), 3, "{body}");
        }
        assert_eq!(effects(&neon, "passing").await, 4);
    });
}

#[test]
fn a_database_that_stays_away_is_given_up_after_four_tries_with_nothing_done() {
    let world = world::shared();
    world.run(async {
        let postgres = PostgresAddr {
            host: "127.0.0.1".to_owned(),
            port: world::nowhere().port(),
        };
        let gateway = NeonGateway::start(NeonGatewayOptions::new(postgres)).await.unwrap();
        let client = world::neon(&world.url, &gateway.endpoint());
        let error = client
            .batch(&Batch::write(Repeat::Never).push(Statement::new("select 1")))
            .await
            .err()
            .unwrap();
        assert!(
            matches!(
                error,
                Error::Unreachable {
                    took_effect: TookEffect::No,
                    ..
                }
            ),
            "{error:?}"
        );
        assert_eq!(gateway.counters().snapshot().total, 4);
    });
}

#[test]
fn a_gateway_that_is_not_there_took_no_effect() {
    let world = world::shared();
    world.run(async {
        let client = world::neon(&world.url, &format!("http://{}/sql", world::nowhere()));
        let error = client
            .batch(&Batch::write(Repeat::Never).push(Statement::new("select 1")))
            .await
            .err()
            .unwrap();
        assert!(
            matches!(
                error,
                Error::Unreachable {
                    took_effect: TookEffect::No,
                    ..
                }
            ),
            "{error:?}"
        );
    });
}

#[test]
fn a_write_whose_answer_was_lost_is_never_repeated_blindly() {
    let world = world::shared();
    world.run(async {
        let neon = counting(&world, "never").await;
        let lost = [
            Action::DropAfter,
            Action::HalfBody,
            Action::DropBefore,
            status(200, "{\"results\":[{"),
            status(200, "<html>"),
            status(502, "bad gateway"),
            status(400, r#"{"message":"connection closed","code":""}"#),
        ];
        for action in lost {
            neon.fault(1, action.clone());
            let error = neon
                .client
                .batch(&Batch::write(Repeat::Never).push(insert("never")))
                .await
                .err()
                .expect("an error");
            assert!(
                matches!(
                    error,
                    Error::Unreachable {
                        took_effect: TookEffect::Unknown,
                        ..
                    }
                ),
                "{action:?}: {error:?}"
            );
            assert!(error.may_have_taken_effect());
            assert_eq!(neon.requests(), 1, "{action:?}");
        }
        assert_eq!(effects(&neon, "never").await, 2, "the first two had taken effect");
    });
}

#[test]
fn a_lost_answer_is_asked_for_again_where_that_is_harmless() {
    let world = world::shared();
    world.run(async {
        let neon = counting(&world, "harmless").await;
        for action in [
            Action::DropAfter,
            Action::HalfBody,
            Action::DropBefore,
            status(200, "{}"),
            status(504, ""),
        ] {
            neon.fault(1, action.clone());
            let batch = Batch::write(Repeat::Harmless).push(insert("harmless"));
            assert_eq!(neon.client.batch(&batch).await.unwrap().affected(0), 1, "{action:?}");
            assert_eq!(neon.requests(), 2, "{action:?}");
        }
        assert_eq!(effects(&neon, "harmless").await, 7, "the first two took effect twice");
    });
}

#[test]
fn an_effect_that_became_unknown_stays_unknown_when_later_tries_fail_otherwise() {
    let world = world::shared();
    world.run(async {
        let neon = world.neon().await;
        neon.fault(1, Action::DropAfter);
        neon.fault(9, status(500, AWAY));
        let error = neon
            .client
            .batch(&Batch::read().push(Statement::new("select 1")))
            .await
            .err()
            .unwrap();
        assert!(error.may_have_taken_effect(), "{error:?}");
        assert_eq!(neon.requests(), 4);
    });
}

#[test]
fn no_answer_in_time_is_a_timeout_and_a_write_is_not_repeated_after_it() {
    let world = world::shared();
    world.run(async {
        let neon = counting(&world, "late").await;
        neon.fault(1, Action::DelayAfter { ms: 3_000 });
        let began = Instant::now();
        let batch = Batch::write(Repeat::Never)
            .push(insert("late"))
            .deadline(Duration::from_millis(300));
        let error = neon.client.batch(&batch).await.err().unwrap();
        assert_eq!(error, Error::Timeout(Duration::from_millis(300)));
        assert!(error.may_have_taken_effect() && began.elapsed() < Duration::from_secs(2));
        assert_eq!(neon.requests(), 1);
        assert_eq!(effects(&neon, "late").await, 1);
    });
}

#[test]
fn a_read_is_tried_again_after_a_timeout_and_all_tries_end_by_twice_the_deadline() {
    let world = world::shared();
    world.run(async {
        let neon = world.neon().await;
        let batch = Batch::read()
            .push(Statement::new("select 1"))
            .deadline(Duration::from_secs(1));
        neon.fault(1, Action::Delay { ms: 6_000 });
        neon.client.batch(&batch).await.unwrap();
        assert_eq!(neon.requests(), 2);

        neon.fault(9, Action::Delay { ms: 6_000 });
        let began = Instant::now();
        let error = neon.client.batch(&batch).await.err().unwrap();
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        assert_eq!(neon.requests(), 2);
    });
}

#[test]
fn an_answer_beyond_all_limits_is_cut_off() {
    let world = world::shared();
    world.run(async {
        let neon = world.neon().await;
        neon.fault(1, status(200, "x".repeat(13 << 20)));
        let error = neon
            .client
            .batch(&Batch::read().push(Statement::new("select 1")))
            .await
            .err()
            .unwrap();
        assert_eq!(
            error,
            Error::TooLarge {
                body: Body::Answer,
                took_effect: TookEffect::Unknown
            }
        );
        neon.fault(1, status(413, r#"{"message":"request is too large","code":""}"#));
        let error = neon
            .client
            .batch(&Batch::read().push(Statement::new("select 1")))
            .await
            .err()
            .unwrap();
        assert_eq!(
            error,
            Error::TooLarge {
                body: Body::Request,
                took_effect: TookEffect::No
            }
        );
        assert_eq!(neon.requests(), 2);
    });
}

#[test]
fn a_parameter_that_is_no_json_is_refused_before_anything_is_sent() {
    let world = world::shared();
    world.run(async {
        let neon = world.neon().await;
        let no_json = std::collections::BTreeMap::from([((1, 2), 3)]);
        let batch = Batch::write(Repeat::Never).push(Statement::new("-- name: odd\nselect $1").bind_json(&no_json));
        let error = neon.client.batch(&batch).await.err().unwrap();
        assert!(
            matches!(&error, Error::Unsendable(reason) if reason.contains("$1 of odd")),
            "{error:?}"
        );
        assert!(!error.may_have_taken_effect());
        assert_eq!(neon.requests(), 0);
    });
}
