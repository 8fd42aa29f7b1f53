//! What a query returns: types, parameters, limits; and which database it is asked of.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world;

#[test]
fn rows_come_as_objects_in_one_request_that_is_counted() {
    let world = world::shared();
    world.block_on(async {
        let bench = world.bench(&world.reader).await;
        let outcome = bench
            .run(json!({
                "sql": "select id, name, tags, attributes, added_at from items where price_cents < $1 order by price_cents",
                "params": [200],
            }))
            .await;
        assert_eq!(
            outcome.output.unwrap(),
            json!({
                "columns": [
                    {"name": "id", "type": "int8"}, {"name": "name", "type": "text"}, {"name": "tags", "type": "text[]"},
                    {"name": "attributes", "type": "jsonb"}, {"name": "added_at", "type": "timestamptz"},
                ],
                "rows": [
                    {"id": 1, "name": "fig", "tags": ["fruit"], "attributes": {"colour": "purple"},
                     "added_at": "2026-01-05T08:00:00Z"},
                    {"id": 2, "name": "pear", "tags": ["fruit", "in season"],
                     "attributes": {"colour": "green", "sizes": [1, 2]}, "added_at": "2026-02-11T09:30:00Z"},
                ],
                "row_count": 2,
                "truncated": false,
            })
        );
        assert_eq!(bench.gateway.counters().snapshot().total, 1);
        let [call] = outcome.calls.as_slice() else {
            panic!("{:?}", outcome.calls)
        };
        assert_eq!((call.integration.as_ref(), call.own_key, call.requests), ("neon", true, 1));
        assert!(call.bytes_out > 0 && call.bytes_in > 0 && call.provider_request_id.is_some());
        assert_eq!((call.cost_microusd, call.code.as_deref(), call.provider_status), (Some(0), None, Some(200)));
        assert_eq!(outcome.provider_request_id, call.provider_request_id);
    });
}

#[test]
fn values_of_every_kind_keep_what_they_are() {
    let world = world::shared();
    world.block_on(async {
        let bench = world.bench(&world.reader).await;
        for (sql, expected) in [
            ("null::int", json!(null)),
            ("true", json!(true)),
            ("(-32768)::int2", json!(-32768)),
            ("9007199254740991", json!(9_007_199_254_740_991_i64)),
            ("9007199254740993", json!("9007199254740993")),
            ("9223372036854775807", json!("9223372036854775807")),
            ("count(*)", json!(1)),
            ("sum(1)", json!(1)),
            ("avg(1)", json!("1.00000000000000000000")),
            ("0.1::numeric + 0.2::numeric", json!("0.3")),
            (
                "123456789012345678901234567890.5",
                json!("123456789012345678901234567890.5"),
            ),
            ("'NaN'::numeric", json!("NaN")),
            ("0.1::float8 + 0.2::float8", json!(0.300_000_000_000_000_04)),
            ("0.1::float4", json!(0.1)),
            ("'NaN'::float8", json!("NaN")),
            ("'-infinity'::float4", json!("-Infinity")),
            ("'ü\n\t\"\\ \u{1}\u{1F600}'::text", json!("ü\n\t\"\\ \u{1}\u{1F600}")),
            ("''::text", json!("")),
            ("'{}'::int[]", json!([])),
            ("'{}'::text[]", json!([])),
            ("'{}'::float8[]", json!([])),
            ("array[1, null, 3]", json!([1, null, 3])),
            ("array[[1, 2], [3, 4]]", json!([[1, 2], [3, 4]])),
            (
                "array['a,b', '\"', null, 'NULL', '']",
                json!(["a,b", "\"", null, "NULL", ""]),
            ),
            ("array['{\"a\": 1}'::jsonb]", json!([{"a": 1}])),
            ("array[1.5, 'NaN']::numeric[]", json!(["1.5", "NaN"])),
            ("'[2:3]={5,6}'::int[]", json!([5, 6])),
            (
                "'{\"b\": [1, null], \"a\": 1.50}'::jsonb",
                json!({"a": 1.5, "b": [1, null]}),
            ),
            ("'null'::jsonb", json!(null)),
            ("'\"x\"'::json", json!("x")),
            ("'2026-11-28 10:00:00+02'::timestamptz", json!("2026-11-28T08:00:00Z")),
            (
                "'2026-11-28 10:00:00.123456'::timestamp",
                json!("2026-11-28T10:00:00.123456"),
            ),
            ("'infinity'::timestamptz", json!("infinity")),
            ("'2026-11-28'::date", json!("2026-11-28")),
            ("'10:00:00'::time", json!("10:00:00")),
            ("'1 day 02:03:04'::interval", json!("P1DT2H3M4S")),
            ("'\\x00ff'::bytea", json!("\\x00ff")),
            (
                "'018F0000-0000-7000-8000-000000000001'::uuid",
                json!("018f0000-0000-7000-8000-000000000001"),
            ),
            ("'10.0.0.0/8'::cidr", json!("10.0.0.0/8")),
            ("int4range(1, 5)", json!("[1,5)")),
            ("row(1, 'a')", json!("(1,a)")),
            ("'items'::regclass", json!("items")),
            ("'1.50'::money is null", json!(false)),
        ] {
            let output = bench.output(json!({"sql": format!("select {sql} as v")})).await;
            assert_eq!(output["rows"], json!([{ "v": expected }]), "{sql}");
        }
        let twins = bench.output(json!({"sql": "select 1 as a, 2 as a, 3 as a_2, 4"})).await;
        assert_eq!(twins["rows"], json!([{"a": 1, "a_3": 2, "a_2": 3, "?column?": 4}]));
        let nothing = bench.output(json!({"sql": "select from items limit 2"})).await;
        assert_eq!(nothing["rows"], json!([{}, {}]));
        let none = bench.output(json!({"sql": "select id from items where false"})).await;
        assert_eq!((&none["rows"], &none["row_count"]), (&json!([]), &json!(0)));
    });
}

#[test]
fn parameters_are_values_whatever_they_hold() {
    let world = world::shared();
    world.block_on(async {
        let bench = world.bench(&world.reader).await;
        for text in [
            "'; delete from items; --",
            "' or '1' = '1",
            "\\'; delete from items; --",
            "$1",
            "$$; rollback; $$",
            "a\n\t\r\u{1}\u{7f}ü\u{1F600}",
            "{1,2}",
            "NULL",
            "",
        ] {
            let params = json!({"sql": "select $1::text as v, (select count(*) from items where name = $1) as n", "params": [text]});
            let output = bench.output(params).await;
            assert_eq!(output["rows"], json!([{"v": text, "n": 0}]), "{text:?}");
        }
        for (sql, params, expected) in [
            ("select name as v from items where id = $1", json!([1]), json!("fig")),
            ("select name as v from items where id = $1", json!([1.0]), json!("fig")),
            ("select name as v from items where id = $1", json!(["1"]), json!("fig")),
            ("select name as v from items where attributes @> $1", json!([{"litres": 1.7}]), json!("kettle")),
            ("select name as v from items where name = $1 and $2", json!(["fig", true]), json!("fig")),
            ("select $1::jsonb as v", json!([[1, "a\n", null, {"b": []}]]), json!([1, "a\n", null, {"b": []}])),
            ("select $1::text as v", json!([null]), json!(null)),
            ("select ($1::timestamptz)::date as v", json!(["2026-11-28T23:00:00-05:00"]), json!("2026-11-29")),
            (
                "select count(*) as v from items where name in (select jsonb_array_elements_text($1))",
                json!([["fig", "pear"]]),
                json!(2),
            ),
            ("select $1::numeric as v", json!([0.1]), json!("0.1")),
            ("values ($1::int + $2)", json!([1, 2]), json!(3)),
        ] {
            let output = bench.output(json!({"sql": sql, "params": params})).await;
            let row = output["rows"][0].as_object().unwrap();
            assert_eq!(row.values().next(), Some(&expected), "{sql} {params}");
        }
        for (sql, params) in [
            ("select $1::int", json!([])),
            ("select 1", json!([1])),
            ("select $1::int", json!(["one"])),
            ("select $1::int", json!([1.5])),
            ("select $1::jsonb", json!(["{"])),
            ("select * from $1", json!(["items"])),
            ("select $1::jsonb", json!([{"a": "\u{0}"}])),
            ("select E'\\xff'", json!([])),
            ("select chr(0)", json!([])),
            ("select 1/0", json!([])),
            ("select * from nowhere", json!([])),
            ("select (select id from items)", json!([])),
        ] {
            let (code, said) = bench.code(json!({"sql": sql, "params": params})).await;
            assert_eq!(code, "query_rejected", "{sql} {params}: {said}");
        }
    });
}

#[test]
fn a_hundred_parameters_pass() {
    let world = world::shared();
    world.block_on(async {
        let bench = world.bench(&world.reader).await;
        let sum = (1..=100)
            .map(|number| format!("${number}::int"))
            .collect::<Vec<_>>()
            .join("+");
        let params: Vec<_> = (1..=100).collect();
        let output = bench
            .output(json!({"sql": format!("select {sum} as v"), "params": params}))
            .await;
        assert_eq!(output["rows"][0]["v"], 5050);
    });
}

#[test]
fn rows_are_cut_at_their_number_and_at_their_bytes() {
    let world = world::shared();
    world.block_on(async {
        let bench = world.bench(&world.reader).await;
        let series = |to: u32| format!("select * from generate_series(1, {to}) as n");
        for (to, max_rows, expected) in [
            (3, Some(3), (3, false)),
            (4, Some(3), (3, true)),
            (1, Some(1), (1, false)),
            (100, None, (100, false)),
            (101, None, (100, true)),
            (1000, Some(1000), (1000, false)),
            (1_000_000, Some(1000), (1000, true)),
        ] {
            let mut params = json!({"sql": series(to)});
            if let Some(max_rows) = max_rows {
                params["max_rows"] = json!(max_rows);
            }
            let output = bench.output(params).await;
            let cut = (
                output["row_count"].as_u64().unwrap(),
                output["truncated"].as_bool().unwrap(),
            );
            assert_eq!(cut, expected, "{to} {max_rows:?}");
            assert_eq!(output["rows"].as_array().unwrap().len() as u64, cut.0);
        }
        let wide = bench
            .output(json!({"sql": "select repeat('x', 300000) as v from generate_series(1, 10)"}))
            .await;
        assert_eq!((&wide["row_count"], &wide["truncated"]), (&json!(3), &json!(true)));
        let (code, _) = bench.code(json!({"sql": "select repeat('x', 1100000) as v"})).await;
        assert_eq!(code, "output_too_large");
        let deep = format!("select '{}{}'::jsonb as v", "[".repeat(100), "]".repeat(100));
        assert_eq!(bench.code(json!({ "sql": deep })).await.0, "output_too_large");
    });
}

#[test]
fn the_time_of_a_query_is_the_steps() {
    let world = world::shared();
    world.block_on(async {
        let mut bench = world.bench(&world.reader).await;
        let timeout = |output: Value| output["rows"][0]["statement_timeout"].clone();
        let sql = json!({"sql": "select current_setting('statement_timeout') as statement_timeout"});
        for (step, expected) in [(3600, "30s"), (60, "30s"), (20, "19s"), (2, "1800ms")] {
            bench.timeout = Duration::from_secs(step);
            assert_eq!(timeout(bench.output(sql.clone()).await), expected);
        }
    });
}

#[test]
fn a_connection_that_cannot_work_is_a_matter_of_configuration() {
    let world = world::shared();
    world.block_on(async {
        let postgres = &world.postgres;
        for (url, code) in [
            (
                postgres.url("aos_query_reader", "wrong", "shop"),
                "integration_unauthorized",
            ),
            (postgres.url("nobody", "wrong", "shop"), "integration_unauthorized"),
            (world.reader.replace("/shop", "/nowhere"), "integration_unauthorized"),
            // The reader may not connect to another database that shuts itself to the public.
            (world.reader.replace("/shop", "/aos"), "database_not_allowed"),
            (world.own.clone(), "database_not_allowed"),
            (world.own.replace("127.0.0.1", "localhost"), "database_not_allowed"),
            (
                format!("{}?options=-cdefault_transaction_read_only=off", world.own),
                "database_not_allowed",
            ),
            ("mysql://u:p@127.0.0.1/shop".to_owned(), "database_not_allowed"),
            ("postgresql://u@127.0.0.1/shop".to_owned(), "database_not_allowed"),
        ] {
            let bench = world.bench(&url).await;
            let (found, said) = bench.code(json!({"sql": "select 1"})).await;
            assert_eq!(found, code, "{url}: {said}");
            assert!(!said.contains("wrong"), "{said}");
            let asked = bench.gateway.counters().snapshot().total > 0;
            assert_eq!(asked, code == "integration_unauthorized", "{url}");
        }
    });
}
