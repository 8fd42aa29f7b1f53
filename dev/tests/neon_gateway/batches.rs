//! Batches: one transaction, its modes, its end.

use serde_json::json;

use crate::world::{batch_of, send, shared};

#[test]
fn a_batch_answers_each_query_in_order() {
    let world = shared();
    world.run(async {
        let answer = send(world.request().json(&json!({ "queries": [
            { "query": "create table ordered (n int)" },
            { "query": "insert into ordered values ($1), ($2) returning n", "params": [1, 2], "arrayMode": true },
            { "query": "" },
            { "query": "select sum(n)::int as sum from ordered" },
        ] })))
        .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let results = answer.body["results"].as_array().unwrap();
        assert_eq!(results.len(), 4);
        assert_eq!(results[1]["rows"], json!([[1], [2]]));
        assert_eq!(results[2]["command"], "");
        assert_eq!(results[3]["rows"], json!([{ "sum": 3 }]));
    });
}

#[test]
fn an_empty_batch_has_no_results() {
    let world = shared();
    world.run(async {
        let answer = world.batch(&[]).await;
        assert_eq!((answer.status.as_u16(), answer.body), (200, json!({ "results": [] })));
    });
}

#[test]
fn the_first_error_rolls_all_of_a_batch_back() {
    let world = shared();
    world.run(async {
        world
            .query("create table undone (n int primary key)", json!([]))
            .await
            .rows();
        let queries = [
            "insert into undone values (1)",
            "insert into undone values (1)",
            "select * from missing",
            "select 1",
        ];
        assert_eq!(world.batch(&queries).await.code(), "23505");
        assert_eq!(*world.query("select * from undone", json!([])).await.rows(), json!([]));
    });
}

#[test]
fn a_commit_that_fails_is_the_batchs_error() {
    let world = shared();
    world.run(async {
        let table = "create table late (n int unique deferrable initially deferred)";
        world.query(table, json!([])).await.rows();
        let insert = "insert into late values (1)";
        let mut request = world.request().header("neon-batch-deferrable", "true");
        request = request.json(&batch_of(&[insert, insert]));
        let answer = send(request).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "23505"));
        assert!(!answer.headers.contains_key("neon-batch-deferrable"));
        assert_eq!(*world.query("select * from late", json!([])).await.rows(), json!([]));
    });
}

#[test]
fn commit_inside_a_batch_really_commits() {
    let world = shared();
    world.run(async {
        world
            .query("create table kept (n int primary key)", json!([]))
            .await
            .rows();
        let queries = [
            "insert into kept values (1)",
            "/* so far */ Commit",
            "insert into kept values (2)",
            "insert into kept values (2)",
            "insert into kept values (3)",
        ];
        assert_eq!(world.batch(&queries).await.code(), "23505");
        // What follows a commit stands alone; what follows an error does not happen.
        assert_eq!(
            *world.query("select n from kept order by n", json!([])).await.rows(),
            json!([{ "n": 1 }, { "n": 2 }])
        );
    });
}

const MODES: &str = "select current_setting('transaction_isolation') as isolation, \
    current_setting('transaction_read_only') as read_only, current_setting('transaction_deferrable') as deferrable";

#[test]
fn a_batch_runs_in_the_asked_mode_and_says_so() {
    let world = shared();
    world.run(async {
        for (header, isolation) in [
            ("ReadUncommitted", "read uncommitted"),
            ("ReadCommitted", "read committed"),
            ("RepeatableRead", "repeatable read"),
            ("Serializable", "serializable"),
        ] {
            let request = world
                .request()
                .header("neon-batch-isolation-level", header)
                .json(&batch_of(&[MODES]));
            let answer = send(request).await;
            let row = &answer.body["results"][0]["rows"][0];
            assert_eq!(
                *row,
                json!({ "isolation": isolation, "read_only": "off", "deferrable": "off" })
            );
            assert_eq!(answer.headers["neon-batch-isolation-level"], header);
            assert!(!answer.headers.contains_key("neon-batch-read-only"));
        }
        let request = world
            .request()
            .header("neon-batch-read-only", "true")
            .header("neon-batch-deferrable", "true");
        let answer = send(request.json(&batch_of(&[MODES]))).await;
        let row = &answer.body["results"][0]["rows"][0];
        assert_eq!(
            *row,
            json!({ "isolation": "read committed", "read_only": "on", "deferrable": "on" })
        );
        assert_eq!(answer.headers["neon-batch-read-only"], "true");
        assert_eq!(answer.headers["neon-batch-deferrable"], "true");
    });
}

#[test]
fn batch_headers_are_echoed_only_by_a_successful_batch() {
    let world = shared();
    world.run(async {
        let request = || world.request().header("neon-batch-read-only", "true");
        let failed = send(request().json(&batch_of(&["create table refused ()"]))).await;
        assert_eq!(
            (failed.code(), failed.headers.get("neon-batch-read-only")),
            ("25006", None)
        );
        let single = send(request().json(&json!({ "query": MODES }))).await;
        assert_eq!(single.rows()[0]["read_only"], "off");
        assert!(!single.headers.contains_key("neon-batch-read-only"));
    });
}

#[test]
fn an_unknown_isolation_level_is_refused() {
    let world = shared();
    world.run(async {
        for body in [batch_of(&["select 1"]), json!({ "query": "select 1" })] {
            let request = world
                .request()
                .header("neon-batch-isolation-level", "serializable")
                .json(&body);
            let answer = send(request).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (400, ""));
            assert_eq!(answer.body["message"], "invalid isolation level");
        }
    });
}

#[test]
fn a_large_batch_goes_both_ways_at_once() {
    let world = shared();
    world.run(async {
        // Far more than the sockets buffer in either direction: writing first and reading then would never end.
        let text = "x".repeat(40_000);
        let queries: Vec<_> = (0..200)
            .map(|_| json!({ "query": "select $1::text as v", "params": [text] }))
            .collect();
        let answer = send(world.request().json(&json!({ "queries": queries }))).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body["results"][199]["rows"][0]["v"], text);
    });
}
