//! Sessions with PostgreSQL: whom they belong to, what they forget, how many there are, how they end.

use std::time::Duration;

use serde_json::json;

use crate::world::{send, shared};

#[test]
fn it_signs_in_as_the_user_of_the_connection_string() {
    let world = shared();
    world.run(async {
        for sql in [
            r#"create role "ann/a@b" login password 'p@s/s:w%rd é'"#,
            r#"create database "da ta" owner "ann/a@b""#,
        ] {
            world.query(sql, json!([])).await.rows();
        }
        let url = "postgresql://ann%2Fa%40b:p%40s%2Fs%3Aw%25rd%20%C3%A9@ep-x-pooler.example.com/da%20ta?sslmode=require\
            &options=-csearch_path%3Delsewhere";
        let request = world
            .client
            .post(world.gateway.endpoint())
            .header("neon-connection-string", url);
        let query =
            "select current_user::text as u, current_database()::text as d, current_setting('search_path') as s";
        let answer = send(request.json(&json!({ "query": query }))).await;
        assert_eq!(
            *answer.rows(),
            json!([{ "u": "ann/a@b", "d": "da ta", "s": "\"$user\", public" }])
        );
    });
}

#[test]
fn nothing_of_a_request_is_left_for_the_next() {
    let world = shared();
    world.run(async {
        // One session only, so that the next request surely meets what the one before left.
        let gateway = world.own_gateway(|options| options.max_backends = 1).await;
        let ask = async |query: &str| send(world.request_to(&gateway).json(&json!({ "query": query }))).await;
        let pid = ask("select pg_backend_pid() as pid").await.body["rows"].clone();
        for query in [
            "set work_mem = '77MB'",
            "set role pg_monitor",
            "create temporary table mine (n int)",
            "select pg_advisory_lock(4711)",
            "prepare held as select 1",
            "listen gossip",
        ] {
            assert_eq!(ask(query).await.status, 200, "{query}");
        }
        assert_eq!(
            ask("select pg_backend_pid() as pid").await.body["rows"],
            pid,
            "the session is used again"
        );
        let left = "select current_setting('work_mem') as mem, current_user::text as u, \
            to_regclass('pg_temp.mine')::text as temp, \
            (select count(*)::int from pg_locks where locktype = 'advisory' and objid = 4711) as locks, \
            (select count(*)::int from pg_prepared_statements) as prepared, \
            (select count(*)::int from pg_listening_channels()) as channels";
        let clean = json!([{ "mem": "4MB", "u": "postgres", "temp": null, "locks": 0, "prepared": 0, "channels": 0 }]);
        assert_eq!(*ask(left).await.rows(), clean);

        // A transaction that a single query left open goes with its session.
        assert_eq!(ask("begin isolation level serializable").await.status, 200);
        let isolation = "select current_setting('transaction_isolation') as i";
        assert_eq!(*ask(isolation).await.rows(), json!([{ "i": "read committed" }]));
        gateway.shutdown().await;
    });
}

#[test]
fn a_session_that_was_ended_is_replaced() {
    let world = shared();
    world.run(async {
        let gateway = world.own_gateway(|options| options.max_backends = 1).await;
        let ask = async |query: &str| send(world.request_to(&gateway).json(&json!({ "query": query }))).await;
        let pid = ask("select pg_backend_pid() as pid").await.rows()[0]["pid"].clone();
        world
            .query("select pg_terminate_backend($1)", json!([pid]))
            .await
            .rows();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let next = ask("select pg_backend_pid() as pid").await.rows()[0]["pid"].clone();
        assert_ne!(next, pid);
        // One that ends in the middle of a request is that request's error, and not the next one's.
        assert_eq!(
            ask("select pg_terminate_backend(pg_backend_pid())").await.code(),
            "57P01"
        );
        assert_eq!(ask("select 1").await.status, 200);
        gateway.shutdown().await;
    });
}

#[test]
fn requests_beyond_the_cap_wait_their_turn() {
    let world = shared();
    world.run(async {
        world
            .query("create role crowd login password 'crowd'", json!([]))
            .await
            .rows();
        let gateway = world.own_gateway(|options| options.max_backends = 2).await;
        let url = world.postgres.url("crowd", "crowd", "neon");
        let count = "select count(*)::int as n from pg_stat_activity, pg_sleep(0.05) where usename = 'crowd'";
        let asking = (0..8).map(|_| {
            let request = world
                .client
                .post(gateway.endpoint())
                .header("neon-connection-string", &url);
            send(request.json(&json!({ "query": count })))
        });
        let answers = futures::future::join_all(asking).await;
        let most = answers
            .iter()
            .map(|answer| answer.rows()[0]["n"].as_i64().unwrap())
            .max();
        assert!(most <= Some(2), "{most:?} sessions at once");
        // Sessions of somebody else make room when they are idle.
        let own = send(world.request_to(&gateway).json(&json!({ "query": "select 1 as n" }))).await;
        assert_eq!(*own.rows(), json!([{ "n": 1 }]));
        gateway.shutdown().await;
    });
}

#[test]
fn the_work_goes_on_when_the_client_hangs_up() {
    let world = shared();
    world.run(async {
        world.query("create table finished (n int)", json!([])).await.rows();
        let slow = "insert into finished select 1 from pg_sleep(0.4)";
        let request = world
            .request()
            .timeout(Duration::from_millis(100))
            .json(&json!({ "query": slow }));
        assert!(request.send().await.unwrap_err().is_timeout());
        assert_eq!(
            *world.query("select * from finished", json!([])).await.rows(),
            json!([])
        );
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(
            *world.query("select * from finished", json!([])).await.rows(),
            json!([{ "n": 1 }])
        );
    });
}
