//! What the client of Neon sends and reads when all is well, and what it says when the database refuses.

use aos::ids::RunId;
use aos::integrations::neon::{Batch, Error, Isolation, Neon, Statement};
use aos::integrations::{Body, Repeat, TookEffect};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world;

/// Text that breaks what is escaped carelessly.
pub(crate) const AWKWARD: &str = "a\n\t\"b\" '\\ {c,d} NULL \u{1} \u{1f680} ü";

/// The one value that a statement without parameters returns.
async fn value(neon: &Neon, sql: &'static str) -> Value {
    let answers = neon.batch(&Batch::read().push(Statement::new(sql))).await.unwrap();
    answers.one(0).unwrap().unwrap()
}

async fn refused(neon: &Neon, statement: Statement) -> Error {
    neon.batch(&Batch::write(Repeat::Harmless).push(statement))
        .await
        .err()
        .expect("an error")
}

#[test]
fn every_type_of_parameter_comes_back_as_it_went() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Everything {
        text: String,
        id: RunId,
        big: i64,
        small: i32,
        yes: bool,
        nothing: Option<String>,
        something: Option<u32>,
        at: Timestamp,
        json: Value,
    }
    let world = world::shared();
    world.run(async {
        let neon = world.neon().await;
        let sent = Everything {
            text: AWKWARD.to_owned(),
            id: "run_018f0000000070008000000000000001".parse().unwrap(),
            big: i64::MIN,
            small: -7,
            yes: true,
            nothing: None,
            something: Some(u32::MAX),
            at: "2026-01-02T03:04:05.678901Z".parse().unwrap(),
            json: json!({"list": [AWKWARD, 1.5, null, [], {}], "n": i64::MAX}),
        };
        let statement = Statement::new(
            "-- name: everything
             select jsonb_build_object('text', $1::text, 'id', $2::uuid, 'big', $3::int8, 'small', $4::int4, 'yes', $5::bool,
                 'nothing', $6::text, 'something', $7::int8, 'at', $8::timestamptz, 'json', $9::jsonb) as data",
        )
        .bind(&sent.text)
        .bind(sent.id)
        .bind(sent.big)
        .bind(sent.small)
        .bind(sent.yes)
        .bind(sent.nothing.clone())
        .bind(sent.something)
        .bind(sent.at)
        .bind_json(&sent.json);
        let answers = neon.client.batch(&Batch::read().push(statement)).await.unwrap();
        assert_eq!(answers.one::<Everything>(0).unwrap(), Some(sent));
        assert_eq!(neon.gateway.counters().snapshot().labelled("everything"), 1);
    });
}

#[test]
fn lists_go_and_come_as_jsonb_one_row_per_item() {
    let world = world::shared();
    world.run(async {
        let neon = world.neon().await;
        let sql = "select item as data from jsonb_array_elements($1::jsonb) as item";
        for list in [vec![], vec![AWKWARD.to_owned(), String::new(), "x".repeat(70_000)]] {
            let batch = Batch::read()
                .push(Statement::new("select 1"))
                .push(Statement::new(sql).bind_json(&list));
            let answers = neon.client.batch(&batch).await.unwrap();
            assert_eq!(answers.decode::<String>(1).unwrap(), list);
            assert_eq!(answers.affected(1), list.len() as u64);
        }
    });
}

#[test]
fn a_batch_is_one_transaction_that_takes_effect_as_a_whole_or_not_at_all() {
    let world = world::shared();
    world.run(async {
        let neon = world.neon().await;
        let insert = |id: i32| Statement::new("insert into whole (id) values ($1)").bind(id);
        let create = Statement::new("create table whole (id int constraint whole_once primary key)");
        let batch = Batch::write(Repeat::Never).push(create).push(insert(1)).push(insert(2));
        let answers = neon.client.batch(&batch).await.unwrap();
        assert_eq!([answers.affected(0), answers.affected(1)], [0, 1]);

        let batch = Batch::write(Repeat::Never)
            .push(insert(3))
            .push(insert(1))
            .push(insert(4));
        let error = neon.client.batch(&batch).await.err().unwrap();
        assert_eq!(
            (error.sqlstate(), error.constraint()),
            (Some("23505"), Some("whole_once"))
        );
        assert!(error.is_data_error() && !error.may_have_taken_effect());
        assert_eq!(
            value(&neon.client, "select jsonb_agg(id order by id) as data from whole").await,
            json!([1, 2])
        );
        assert_eq!(neon.requests(), 3);
    });
}

#[test]
fn isolation_and_read_only_are_the_transactions_own() {
    let world = world::shared();
    world.run(async {
        let neon = world.neon().await;
        let sql = "select jsonb_build_array(current_setting('transaction_isolation'),
                                            current_setting('transaction_read_only')) as data";
        for (batch, expected) in [
            (Batch::read(), ["read committed", "on"]),
            (
                Batch::read().isolation(Isolation::RepeatableRead),
                ["repeatable read", "on"],
            ),
            (Batch::write(Repeat::Never), ["read committed", "off"]),
            (
                Batch::write(Repeat::Never).isolation(Isolation::Serializable),
                ["serializable", "off"],
            ),
        ] {
            let answers = neon.client.batch(&batch.push(Statement::new(sql))).await.unwrap();
            assert_eq!(answers.one::<[String; 2]>(0).unwrap().unwrap(), expected);
        }
        let write = Batch::read().push(Statement::new("create table never (id int)"));
        assert_eq!(neon.client.batch(&write).await.err().unwrap().sqlstate(), Some("25006"));
    });
}

#[test]
fn the_pooled_session_is_used_again_and_keeps_nothing() {
    let world = world::shared();
    world.run(async {
        let neon = world.neon().await;
        let set = Batch::write(Repeat::Never)
            .push(Statement::new("select set_config('aos.tenant', 'somebody', true)"))
            .push(Statement::new("select to_jsonb(pg_backend_pid()) as data"));
        let first: Value = neon.client.batch(&set).await.unwrap().one(1).unwrap().unwrap();
        assert_eq!(
            value(&neon.client, "select to_jsonb(pg_backend_pid()) as data").await,
            first
        );
        let left = value(
            &neon.client,
            "select to_jsonb(coalesce(current_setting('aos.tenant', true), '')) as data",
        );
        assert_eq!(left.await, json!(""));
    });
}

#[test]
fn what_the_database_refuses_says_why() {
    let world = world::shared();
    world.run(async {
        let neon = world.neon().await;
        for (statement, sqlstate, is_data) in [
            (Statement::new("select * from no_such_table"), "42P01", false),
            (Statement::new("select $1::text").bind("a\0b"), "22021", true),
            (Statement::new("select $1::jsonb").bind_json("a\0b"), "22P05", true),
            (Statement::new("select $1::uuid").bind("x"), "22P02", true),
            (Statement::new("select $1, $2").bind(1), "08P01", false),
            (Statement::new("select 1; select 2"), "42601", false),
        ] {
            let error = refused(&neon.client, statement).await;
            assert_eq!(
                (error.sqlstate(), error.is_data_error()),
                (Some(sqlstate), is_data),
                "{error:?}"
            );
            assert!(!error.may_have_taken_effect());
            assert_eq!(neon.requests(), 1, "{error:?} is not tried again");
        }
    });
}

#[test]
fn a_wrong_password_is_refused_and_never_printed() {
    let world = world::shared();
    world.run(async {
        let neon = world.neon().await;
        let wrong = format!("postgres://postgres:wrong-secret@127.0.0.1:1/{}", "clients");
        let client = world::neon(&wrong, &neon.gateway.endpoint());
        let error = refused(&client, Statement::new("select 1")).await;
        assert!(matches!(error, Error::Refused { status: 400, .. }), "{error:?}");
        assert!(!format!("{error} {error:?} {client:?}").contains("wrong-secret"));
        assert_eq!(neon.requests(), 1);
    });
}

#[test]
fn a_session_that_is_ended_from_outside_leaves_the_effect_unknown() {
    let world = world::shared();
    world.run(async {
        let neon = world.neon().await;
        let end = Statement::new("select pg_terminate_backend(pg_backend_pid())");
        let error = neon
            .client
            .batch(&Batch::write(Repeat::Never).push(end))
            .await
            .err()
            .unwrap();
        assert!(
            matches!(
                error,
                Error::Unreachable {
                    took_effect: TookEffect::Unknown,
                    ..
                }
            ),
            "{error:?}"
        );
        assert_eq!(value(&neon.client, "select to_jsonb(1) as data").await, json!(1));
    });
}

#[test]
fn what_is_too_large_is_told_apart_by_its_direction() {
    let world = world::shared();
    world.run(async {
        let neon = world.neon().await;
        let ask = |length: i32| {
            Statement::new("select to_jsonb(repeat('x', $1)) as data from generate_series(1, 2)").bind(length)
        };
        let error = refused(&neon.client, ask(11 << 20)).await;
        assert_eq!(
            error,
            Error::TooLarge {
                body: Body::Answer,
                took_effect: TookEffect::No
            }
        );
        assert!(!error.is_data_error());
        assert_eq!(neon.requests(), 1);

        let answers = neon.client.batch(&Batch::read().push(ask(5 << 20))).await.unwrap();
        assert_eq!(answers.decode::<String>(0).unwrap().len(), 2, "just below the limit");
        neon.requests();

        let length = Statement::new("select to_jsonb(length($1)) as data");
        let error = refused(&neon.client, length.clone().bind("x".repeat(10 << 20))).await;
        assert_eq!(
            error,
            Error::TooLarge {
                body: Body::Request,
                took_effect: TookEffect::No
            }
        );
        assert!(error.is_data_error());
        assert_eq!(neon.requests(), 0, "it is not even sent");

        let most = (10 << 20) - r#"{"queries":[{"query":"select to_jsonb(length($1)) as data","params":[""]}]}"#.len();
        let batch = Batch::read().push(length.bind("x".repeat(most)));
        assert_eq!(neon.client.batch(&batch).await.unwrap().one(0).unwrap(), Some(most));
    });
}
