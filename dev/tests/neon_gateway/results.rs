//! Single queries: the shape of the answer, types both ways, the modes.

use serde_json::{Value, json};

use crate::world::{send, shared};

#[test]
fn an_answer_has_neons_shape() {
    let world = shared();
    world.run(async {
        let answer = world.query("select 7 as n, $1::varchar(9) as t", json!(["x"])).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["content-type"], "application/json");
        let field = |name, oid, size, modifier| {
            json!({ "name": name, "dataTypeID": oid, "tableID": 0, "columnID": 0, "dataTypeSize": size,
                    "dataTypeModifier": modifier, "format": "text" })
        };
        let expected = json!({
            "fields": [field("n", 23, 4, -1), field("t", 1043, -1, 13)],
            "rows": [{ "n": 7, "t": "x" }],
            "command": "SELECT", "rowCount": 1, "rowAsArray": false,
        });
        assert_eq!(answer.body, expected);
    });
}

#[test]
fn a_column_of_a_table_names_its_table_and_place() {
    let world = shared();
    world.run(async {
        world
            .query("create table placed (a int, b text)", json!([]))
            .await
            .rows();
        let answer = world
            .query("select b, 'placed'::regclass::oid::int8 as oid from placed", json!([]))
            .await;
        assert_eq!(answer.body["fields"][0]["columnID"], 2);
        assert!(answer.body["fields"][0]["tableID"].as_u64().unwrap() > 0);
    });
}

const TYPES: &str = "select 1::int2 a, -2::int4 b, 9007199254740993::int8 c, 0.5::float4 d, 'NaN'::float8 e, \
    '-Infinity'::float8 f, 1.50::numeric g, true h, '\\x00ff'::bytea i, '{\"k\": [1, null]}'::jsonb j, \
    '[1]'::json k, array[1,null,3] l, array['a\"b','c,d'] m, null::int n, \
    '2024-01-02 03:04:05.678+00'::timestamptz o, array[[1.5::float8],['NaN'::float8]] p, '00000000-0000-0000-0000-00000000000a'::uuid q";

#[test]
fn results_are_typed_as_neon_types_them() {
    let world = shared();
    world.run(async {
        let expected = json!([{
            "a": 1, "b": -2, "c": "9007199254740993", "d": 0.5, "e": "NaN", "f": "-Infinity", "g": "1.50",
            "h": true, "i": "\\x00ff", "j": { "k": [1, null] }, "k": [1], "l": [1, null, 3], "m": ["a\"b", "c,d"],
            "n": null, "o": "2024-01-02 03:04:05.678+00", "p": [[1.5], ["NaN"]],
            "q": "00000000-0000-0000-0000-00000000000a",
        }]);
        assert_eq!(*world.query(TYPES, json!([])).await.rows(), expected);
    });
}

#[test]
fn raw_text_is_text_or_null_for_every_type() {
    let world = shared();
    world.run(async {
        let request = world
            .request()
            .header("neon-raw-text-output", "true")
            .json(&json!({ "query": TYPES }));
        let answer = send(request).await;
        let row = answer.rows()[0].as_object().unwrap();
        assert!(
            row.values().all(|value| value.is_string() || value.is_null()),
            "{row:?}"
        );
        assert_eq!(
            (&row["b"], &row["h"], &row["n"]),
            (&json!("-2"), &json!("t"), &Value::Null)
        );
        assert_eq!(row["l"], "{1,NULL,3}");
    });
}

#[test]
fn rows_are_arrays_by_header_or_by_query() {
    let world = shared();
    world.run(async {
        for (header, own, as_array) in [
            (None, None, false),
            (Some("true"), None, true),
            (Some("TRUE"), None, false),
            (Some("true"), Some(false), false),
            (None, Some(true), true),
        ] {
            let mut body = json!({ "query": "select 1 as a, 'x' as a" });
            if let Some(own) = own {
                body["arrayMode"] = json!(own);
            }
            let mut request = world.request().json(&body);
            if let Some(header) = header {
                request = request.header("neon-array-mode", header);
            }
            let answer = send(request).await;
            let row = if as_array { json!([1, "x"]) } else { json!({ "a": "x" }) };
            assert_eq!(answer.body["rows"], json!([row]), "header {header:?}, own {own:?}");
            assert_eq!(answer.body["rowAsArray"], as_array);
        }
    });
}

#[test]
fn parameters_go_in_as_text() {
    let world = shared();
    world.run(async {
        for (cast, value, back) in [
            ("int", json!(5), json!(5)),
            ("int", json!("5"), json!(5)),
            ("text", json!(5.25), json!("5.25")),
            ("bool", json!(true), json!(true)),
            ("text", json!("ü\n\t\"'\\"), json!("ü\n\t\"'\\")),
            ("text", json!(""), json!("")),
            ("text", Value::Null, Value::Null),
            (
                "jsonb",
                json!({ "b": [1, "x"], "a": null }),
                json!({ "a": null, "b": [1, "x"] }),
            ),
            ("jsonb", json!("[1,\"a\\nb\"]"), json!([1, "a\nb"])),
            ("int[]", json!([1, null, 3]), json!([1, null, 3])),
            (
                "text[]",
                json!(["a", "b\"c\\", "NULL", ""]),
                json!(["a", "b\"c\\", "NULL", ""]),
            ),
            ("int[][]", json!([[1, 2], [3, 4]]), json!([[1, 2], [3, 4]])),
            ("jsonb[]", json!([{ "k": 1 }]), json!([{ "k": 1 }])),
        ] {
            let answer = world.query(&format!("select $1::{cast} as v"), json!([value])).await;
            assert_eq!(answer.rows()[0]["v"], back, "{value} as {cast}");
        }
    });
}

#[test]
fn commands_tell_their_name_and_count() {
    let world = shared();
    world.run(async {
        for (query, command, count) in [
            ("create table counted (n int)", "CREATE", Value::Null),
            ("insert into counted select generate_series(1, 3)", "INSERT", json!(3)),
            ("update counted set n = n where n > 1", "UPDATE", json!(2)),
            ("select * from counted where n > 5", "SELECT", json!(0)),
            ("delete from counted", "DELETE", json!(3)),
            ("set work_mem = '8MB'", "SET", Value::Null),
            ("", "", Value::Null),
            ("  -- nothing\n/* at all */ ", "", Value::Null),
        ] {
            let answer = world.query(query, json!([])).await;
            assert_eq!(answer.status, 200, "{query}");
            assert_eq!(
                (&answer.body["command"], &answer.body["rowCount"]),
                (&json!(command), &count),
                "{query}"
            );
        }
    });
}

#[test]
fn the_content_type_and_unknown_keys_do_not_matter() {
    let world = shared();
    world.run(async {
        let body = r#"{"query":"select 1 as n","fetchSize":10}"#;
        let answer = send(world.request().header("content-type", "text/plain").body(body)).await;
        assert_eq!(*answer.rows(), json!([{ "n": 1 }]));
    });
}

#[test]
fn an_empty_list_in_a_result_goes_as_wrong_as_at_neon() {
    let world = shared();
    world.run(async {
        let answer = world.query("select '{}'::int[] as v", json!([])).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (500, ""));
        assert_eq!(
            *world.query("select '{}'::text[] as v", json!([])).await.rows(),
            json!([{ "v": [""] }])
        );
        assert_eq!(
            *world.query("select '[]'::jsonb as v", json!([])).await.rows(),
            json!([{ "v": [] }])
        );
    });
}
