//! What goes wrong, and how it is told: keys, codes, statuses, limits.

use aos_dev::neon::PostgresAddr;
use serde_json::{Value, json};

use crate::world::{Answer, batch_of, send, shared};

const KEYS: [&str; 17] = [
    "code",
    "column",
    "constraint",
    "dataType",
    "detail",
    "file",
    "hint",
    "internalPosition",
    "internalQuery",
    "line",
    "message",
    "position",
    "routine",
    "schema",
    "severity",
    "table",
    "where",
];

/// An error that Neon's proxy itself makes: all keys, nothing but a message.
#[track_caller]
fn assert_proxy_error(answer: &Answer, status: u16, message: &str) {
    assert_eq!(answer.status, status, "{}", answer.body);
    let body = answer.body.as_object().unwrap();
    assert_eq!(body.len(), KEYS.len());
    assert!(body["message"].as_str().unwrap().contains(message), "{}", answer.body);
    for (key, value) in body.iter().filter(|(key, _)| *key != "message") {
        let expected = if key == "code" || key == "severity" {
            json!("")
        } else {
            Value::Null
        };
        assert_eq!(*value, expected, "{key}");
    }
    assert!(answer.headers.contains_key("neon-request-id"));
}

#[test]
fn an_error_of_the_database_carries_all_its_fields() {
    let world = shared();
    world.run(async {
        world
            .query(
                "create table strict (n int constraint positive check (n > 0), m int not null)",
                json!([]),
            )
            .await;
        let answer = world.query("insert into strict values (-1, 1)", json!([])).await;
        assert_eq!(answer.status, 400);
        let mut keys: Vec<_> = answer.body.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, KEYS);
        let mut body = answer.body;
        assert!(
            body["line"]
                .take()
                .as_str()
                .is_some_and(|line| line.parse::<u32>().is_ok())
        );
        let expected = json!({
            "message": "new row for relation \"strict\" violates check constraint \"positive\"",
            "code": "23514", "detail": "Failing row contains (-1, 1).", "hint": null, "position": null,
            "internalPosition": null, "internalQuery": null, "severity": "ERROR", "where": null, "table": "strict",
            "column": null, "schema": "public", "dataType": null, "constraint": "positive", "file": "execMain.c",
            "line": null, "routine": "ExecConstraints",
        });
        assert_eq!(body, expected);
        let answer = world.query("insert into strict values (1, null)", json!([])).await;
        assert_eq!((answer.code(), &answer.body["column"]), ("23502", &json!("m")));
    });
}

#[test]
fn positions_are_strings_in_the_query_or_in_an_inner_one() {
    let world = shared();
    world.run(async {
        let answer = world.query("select nothing_such", json!([])).await;
        assert_eq!((answer.code(), &answer.body["position"]), ("42703", &json!("8")));
        let inner = "do $$ begin execute 'select oops'; end $$";
        let body = world.query(inner, json!([])).await.body;
        assert_eq!(body["position"], Value::Null);
        assert_eq!(
            (&body["internalPosition"], &body["internalQuery"]),
            (&json!("8"), &json!("select oops"))
        );
        assert!(body["where"].as_str().unwrap().contains("PL/pgSQL"));
    });
}

#[test]
fn every_error_of_a_statement_is_a_400_with_its_sqlstate() {
    let world = shared();
    world.run(async {
        for (query, params, code) in [
            ("select 1; select 2", json!([]), "42601"),
            ("selec 1", json!([]), "42601"),
            ("select $1::int", json!([]), "08P01"),
            ("select 1", json!([1]), "08P01"),
            ("select $1::int", json!(["x"]), "22P02"),
            ("select $1::text", json!(["a\u{0}b"]), "22021"),
            ("select 1/0", json!([]), "22012"),
            ("do $$ begin raise sqlstate '40001'; end $$", json!([]), "40001"),
            ("select pg_terminate_backend(pg_backend_pid())", json!([]), "57P01"),
        ] {
            let answer = world.query(query, params).await;
            assert_eq!((answer.status.as_u16(), answer.code()), (400, code), "{query}");
        }
        let answer = world
            .batch(&["set local statement_timeout = 30", "select pg_sleep(5)"])
            .await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "57014"));
    });
}

#[test]
fn a_login_that_cannot_be_is_a_400_without_code() {
    let world = shared();
    world.run(async {
        let ask = |url: String| {
            send(
                world
                    .client
                    .post(world.gateway.endpoint())
                    .header("neon-connection-string", url)
                    .body(r#"{"query":""}"#),
            )
        };
        for (url, message) in [
            (
                "postgres://postgres:wrong@h/neon",
                "password authentication failed for user 'postgres'",
            ),
            (
                "postgres://nobody:x@h/neon",
                "password authentication failed for user 'nobody'",
            ),
            (
                "postgres://postgres@h/neon",
                "missing authentication credentials: required password",
            ),
            ("postgres://h/neon", "missing username"),
            ("https://u:p@h/neon", "incorrect scheme"),
            ("nonsense", "invalid connection string: "),
        ] {
            assert_proxy_error(&ask(url.to_owned()).await, 400, message);
        }
        let answer = ask(world.url.replace("/neon", "/atlantis")).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "3D000"));
    });
}

#[test]
fn a_request_that_is_none_is_a_400_without_code() {
    let world = shared();
    world.run(async {
        let bare = world
            .client
            .post(world.gateway.endpoint())
            .body(r#"{"query":"select 1"}"#);
        assert_proxy_error(&send(bare).await, 400, "invalid header: neon-connection-string");
        let token = world
            .request()
            .header("authorization", "Bearer x")
            .body(r#"{"query":"select 1"}"#);
        assert_proxy_error(&send(token).await, 400, "missing authentication credentials");
        for body in [
            &b"{"[..],
            b"",
            b"[]",
            b"{}",
            br#"{"query":5}"#,
            br#"{"queries":[{}]}"#,
            b"{\"query\":\"\xff\"}",
        ] {
            let answer = send(world.request().body(body)).await;
            assert_proxy_error(&answer, 400, "could not parse the HTTP request body");
        }
        let answer = world.query("select '\u{0}'", json!([])).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, ""));
    });
}

#[test]
fn only_post_sql_is_supported() {
    let world = shared();
    world.run(async {
        let root = world.gateway.endpoint().replace("/sql", "");
        for (method, path) in [
            ("GET", "/sql"),
            ("PUT", "/sql"),
            ("DELETE", "/sql"),
            ("POST", "/"),
            ("POST", "/sql/"),
            ("POST", "/sqlx"),
        ] {
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            let answer = send(world.client.request(method.clone(), format!("{root}{path}"))).await;
            assert_eq!(
                (answer.status.as_u16(), answer.body),
                (400, json!("query is not supported")),
                "{method} {path}"
            );
            assert!(answer.headers.contains_key("neon-request-id"));
        }
    });
}

#[test]
fn every_answer_has_an_id_of_its_own() {
    let world = shared();
    world.run(async {
        let ids = [
            world.query("select 1", json!([])).await,
            world.query("oops", json!([])).await,
        ]
        .map(|answer| answer.headers["neon-request-id"].to_str().unwrap().to_owned());
        assert_ne!(ids[0], ids[1]);
        assert_eq!(ids[0].len(), 36);
    });
}

#[test]
fn a_request_of_10_mib_passes_and_a_byte_more_does_not() {
    let world = shared();
    world.run(async {
        let body = |size: usize| {
            let frame = r#"{"query":"select length($1) as n","params":[""]}"#;
            let text = "x".repeat(size - frame.len());
            frame.replace(r#"[""]"#, &format!(r#"["{text}"]"#))
        };
        let fits = send(world.request().body(body(10_485_760))).await;
        assert!(fits.rows()[0]["n"].as_u64().unwrap() > 10_485_000);
        let over = send(world.request().body(body(10_485_761))).await;
        assert_proxy_error(&over, 413, "request is too large (max is 10485760 bytes)");
    });
}

#[test]
fn a_response_over_10_mib_takes_no_further_row() {
    let world = shared();
    world.run(async {
        let one = world.query("select repeat('x', 11000000) as v", json!([])).await;
        assert_eq!(one.rows()[0]["v"].as_str().unwrap().len(), 11_000_000);
        let many = "select repeat('x', 6000000) as v from generate_series(1, $1)";
        assert_eq!(world.query(many, json!([2])).await.status, 200);
        let over = world.query(many, json!([3])).await;
        assert_proxy_error(&over, 507, "response is too large (max is 10485760 bytes)");
        let endless = world
            .query("select repeat('x', 1000), generate_series(1, 100000000)", json!([]))
            .await;
        assert_eq!(endless.status, 507);
    });
}

#[test]
fn a_batch_whose_response_is_too_large_is_not_committed() {
    let world = shared();
    world.run(async {
        world.query("create table unheard (n int)", json!([])).await.rows();
        let many = "select repeat('x', 6000000) as v from generate_series(1, 3)";
        let answer = send(
            world
                .request()
                .json(&batch_of(&["insert into unheard values (1)", many])),
        )
        .await;
        assert_eq!(answer.status, 507);
        assert_eq!(*world.query("select * from unheard", json!([])).await.rows(), json!([]));
    });
}

#[test]
fn a_database_that_is_away_is_a_500() {
    let world = shared();
    world.run(async {
        let unused = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let gateway = world
            .own_gateway(|options| {
                options.postgres = PostgresAddr {
                    host: "127.0.0.1".to_owned(),
                    port: unused,
                }
            })
            .await;
        let answer = send(world.request_to(&gateway).body(r#"{"query":"select 1"}"#)).await;
        assert_proxy_error(&answer, 500, "Control plane request failed");
        gateway.shutdown().await;
    });
}
