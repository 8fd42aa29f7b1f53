//! The evaluator: what it gives, against the crate's own interpreter as a second opinion, and what it must survive.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn run(expression: &str, input: &Value) -> Result<Value, String> {
    search(&compile(expression)?, input)
}

fn document() -> Value {
    json!({
        "a": {"b": {"c": 1, "d": [1, 2, 3]}, "e": null},
        "people": [
            {"name": "Bo", "age": 30, "tags": ["x", "y"]},
            {"name": "Al", "age": 25, "tags": []},
            {"name": "Cy", "age": null, "tags": ["z"]}
        ],
        "ops": {"f": {"n": 1}, "g": {"n": 2}, "h": 3},
        "list": [0, 1, 2, 3, 4, 5],
        "nested": [[1, [2]], 3, [[4]]],
        "texts": ["b", "a", "ä"],
        "empty": [],
        "flag": true
    })
}

/// Expressions whose value both interpreters must agree on.
const AGREED: &[&str] = &[
    "a.b.c",
    "a.x.c",
    "a.b.d[0]",
    "a.b.d[-1]",
    "a.b.d[5]",
    "a.e",
    "a.e.f",
    "people[0].name",
    "people[*].name",
    "people[*].age",
    "people[].tags[]",
    "people[].tags",
    "people[?age > `26`].name",
    "people[?age].name",
    "people[?!age].name",
    "people[?name == 'Al' || age == `30`].name",
    "people[?name != 'Al' && age].name",
    "ops.*",
    "ops.*.n",
    "*.b",
    "list[1:3]",
    "list[:2]",
    "list[4:]",
    "list[::2]",
    "list[::-1]",
    "list[-2:]",
    "list[:-2]",
    "list[5:1:-2]",
    "list[10:]",
    "list[-100:2]",
    "list[2:-100:-1]",
    "list[100::-1]",
    "nested[]",
    "nested[][]",
    "nested[*][0]",
    "[a.b.c, flag]",
    "{x: a.b.c, y: list[0]}",
    "people[*].{n: name, t: tags[0]}",
    "a.e.[x]",
    "a | b | c",
    "people[*].tags | [0]",
    "people[*].tags[*] | [0][0]",
    "(a || b).b",
    "!flag",
    "!empty",
    "!list",
    "flag && list[0]",
    "empty || 'none'",
    "`[1, {\"a\": 2}]`",
    "'raw \\' text'",
    "\"a\".\"b\"",
    "@.flag",
    "list[?@ > `2`]",
    "list[?@ >= `2` && @ <= `4`]",
    "length(people)",
    "length('äb')",
    "length(a)",
    "keys(ops)",
    "values(a.b)",
    "contains(texts, 'a')",
    "contains('abc', 'b')",
    "contains(list, `7`)",
    "starts_with('abc', 'ab')",
    "ends_with('abc', 'bc')",
    "join('-', texts)",
    "join('', empty)",
    "reverse(list)",
    "reverse('äb')",
    "sort(texts)",
    "sort(list)",
    "sort_by(people[?age], &age)[*].name",
    "max(list)",
    "min(list)",
    "max(texts)",
    "max(empty)",
    "max_by(people[?age], &age).name",
    "min_by(people[?age], &age).name",
    "map(&name, people)",
    "map(&age, people)",
    "merge(a, `{\"z\": 1}`)",
    "not_null(a.e, a.x, flag)",
    "to_array(flag)",
    "to_array(list)",
    "to_string(a)",
    "to_string('x')",
    "to_number('12')",
    "to_number('x')",
    "type(a)",
    "type(list)",
    "type(flag)",
    "type(a.e)",
    "abs(`-3`)",
    "list == `[0, 1, 2, 3, 4, 5]`",
    "a == a",
    "a != ops",
    "'a' < 'b'",
    "flag == `true`",
    "people[*].tags[].length(@)",
    "sum(list)",
    "avg(list)",
    "ceil(`1.2`)",
    "floor(`-1.2`)",
    "people[?contains(tags, 'x')] | [0].name",
    "[[a.b.c]]",
    "[*]",
    "[0]",
    "*",
    "@",
];

#[test]
fn the_value_is_that_of_the_crates_own_interpreter() {
    let input = document();
    let variable = ::jmespath::Variable::from_json(&input.to_string()).unwrap();
    let variable = ::jmespath::Rcvar::new(variable);
    for expression in AGREED {
        let expected = ::jmespath::compile(expression).unwrap().search(&variable).unwrap();
        let expected = serde_json::to_value(&*expected).unwrap();
        let found = run(expression, &input).unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert!(
            evaluate::equal(&found, &expected),
            "{expression}: {found} is not {expected}"
        );
    }
}

#[test]
fn numbers_stay_exact_and_integers_stay_integers() {
    let input = json!({"big": 9_007_199_254_740_993_u64, "other": 9_007_199_254_740_992_u64, "all": [u64::MAX, 1], "max": u64::MAX});
    for (expression, expected) in [
        ("big", "9007199254740993"),
        ("big == other", "false"),
        ("big > other", "true"),
        ("max", "18446744073709551615"),
        ("sum(`[1, 2]`)", "3"),
        ("sum(`[1.5, 1.5]`)", "3"),
        ("sum(`[0.5]`)", "0.5"),
        ("sum(`[]`)", "0"),
        ("avg(`[1, 2]`)", "1.5"),
        ("avg(`[1, 3]`)", "2"),
        ("avg(`[]`)", "null"),
        ("ceil(`1.5`)", "2"),
        ("floor(`-1.5`)", "-2"),
        ("abs(`-9007199254740993`)", "9007199254740993"),
        ("`1` == `1.0`", "true"),
        ("`[1, {\"a\": 2}]` == `[1.0, {\"a\": 2.0}]`", "true"),
        ("sort(`[3, 1.5, 2]`)", "[1.5,2,3]"),
        ("max(`[9007199254740993, 9007199254740992]`)", "9007199254740993"),
        ("to_number('1e400')", "null"),
        ("to_number('9007199254740993')", "9007199254740993"),
        ("to_number('[1]')", "null"),
    ] {
        assert_eq!(
            run(expression, &input).map(|value| value.to_string()),
            Ok(expected.to_owned()),
            "{expression}"
        );
    }
    assert!(compile("`1e400`").is_err(), "a number that JSON cannot hold");
    assert!(run("sum(`[1e308, 1e308]`)", &input).unwrap_err().contains("too large"));
}

#[test]
fn keys_come_in_one_order_however_they_were_written() {
    let one: Value = serde_json::from_str(r#"{"b": 1, "a": {"z": 1, "y": 2}}"#).unwrap();
    let other: Value = serde_json::from_str(r#"{"a": {"y": 2, "z": 1}, "b": 1}"#).unwrap();
    for expression in [
        "@",
        "{z: a, y: b}",
        "*",
        "to_string(@)",
        "keys(@)",
        "values(a)",
        "merge(@, a)",
    ] {
        assert_eq!(
            run(expression, &one).unwrap().to_string(),
            run(expression, &other).unwrap().to_string(),
            "{expression}"
        );
    }
}

#[test]
fn what_is_wrong_with_an_expression_is_told_when_it_is_compiled() {
    for (expression, part) in [
        ("", ""),
        ("a.", "Parse"),
        ("a b", "complete"),
        ("a = b", "=="),
        ("nosuch(@)", "no function nosuch()"),
        ("length()", "takes 1 arguments, not 0"),
        ("length(a, b)", "takes 1 arguments, not 2"),
        ("merge()", "1 or more"),
        ("sort_by(a, b)", "takes an expression"),
        ("map(a, &b)", "takes an expression"),
        ("&a", "argument"),
        ("[&a]", "argument"),
        ("length(&a)", "argument"),
        ("a[::0]", "must not be 0"),
        ("`{`", "literal"),
        ("a[99999999999]", "number"),
    ] {
        let error = compile(expression).expect_err(expression);
        assert!(error.contains(part), "{expression}: {error}");
    }
    assert!(compile(&format!("'{}'", "x".repeat(MAX_EXPRESSION_BYTES))).is_err());
}

#[test]
fn what_does_not_fit_the_input_is_an_error_and_names_the_function() {
    let input = document();
    for (expression, part) in [
        ("abs('x')", "abs() takes a number, not string"),
        ("length(flag)", "length()"),
        ("sum(texts)", "sum() takes an array of numbers"),
        ("sort(`[1, \"a\"]`)", "sort()"),
        ("sort_by(people, &age)", "sort_by()"),
        ("join('-', list)", "join()"),
        ("keys(list)", "keys() takes an object"),
        ("merge(a, list)", "merge()"),
        ("map(&a, flag)", "map() takes an array, not boolean"),
        ("max(`[true]`)", "max()"),
    ] {
        let error = run(expression, &input).expect_err(expression);
        assert!(error.contains(part), "{expression}: {error}");
    }
}

#[test]
fn conditions_are_true_as_jmespath_has_it() {
    let input = document();
    for (condition, expected) in [
        ("flag", true),
        ("!flag", false),
        ("empty", false),
        ("list", true),
        ("''", false),
        ("`{}`", false),
        ("`0`", true),
        ("nothing", false),
        ("a.b.c == `1`", true),
        ("length(people) > `2`", true),
        ("'a' < 'b'", false),
    ] {
        assert_eq!(
            truthy(&compile(condition).unwrap(), &input),
            Ok(expected),
            "{condition}"
        );
    }
}

#[test]
fn depth_is_bounded_before_the_parser_can_overflow_the_stack() {
    for opening in [
        "(", "[", "{a:", "!", "&", "a[?", "a.", "a|", "a||", "a&&", "a==", "[*]", "a[*].", "*.", "[].", "length(",
        "a[?b||",
    ] {
        let expression = opening.repeat(MAX_EXPRESSION_BYTES / opening.len());
        assert!(compile(&expression).unwrap_err().contains("deeper"), "{opening}");
    }
    for (expression, fits) in [
        (format!("a{}", ".a".repeat(120)), true),
        (format!("a{}", ".a".repeat(140)), false),
        (format!("[{}]", vec!["a.b.c"; 500].join(",")), true),
        (format!("{}@{}", "[".repeat(120), "]".repeat(120)), true),
        (format!("{}@{}", "[".repeat(140), "]".repeat(140)), false),
        (format!("'{}'", "(".repeat(1000)), true),
        (format!("\"{}\"", "[".repeat(1000)), true),
        (format!("`\"{}\"`", "[".repeat(1000)), true),
        (format!("'{}\\'{}'", "(".repeat(500), "(".repeat(500)), true),
        (format!("'x' {}", "(".repeat(500)), false),
        (vec!["a[?b == `1` && c != `2`]"; 40].join(" || "), true),
        (vec!["a[?b == `1` && c != `2`]"; 80].join(" || "), false),
        (vec!["a.b"; 60].join(" || "), true),
    ] {
        let result = compile(&expression);
        assert_eq!(result.is_ok(), fits, "{expression}: {result:?}");
        if let Ok(expression) = result {
            let _ = search(&expression, &document());
        }
    }
}

#[test]
fn an_expression_that_doubles_its_value_runs_out_of_budget_and_not_of_memory() {
    let doubling = |part: &str, times: usize| vec![part; times].join(" | ");
    for expression in [
        doubling("[@, @]", 40),
        doubling("[@, @][]", 40),
        doubling("{a: @, b: @}", 40),
        doubling("to_string([@])", 40),
        doubling("[@, @] | join(',', map(&to_string(@), @))", 24),
        doubling("merge({a: @}, {b: @})", 30),
    ] {
        let error = run(&expression, &json!(["\"\\"])).expect_err(&expression);
        assert!(error.contains("too much work"), "{expression}: {error}");
    }
    let many = Value::Array(vec![json!("x"); 100_000]);
    let glue = json!({"glue": "y".repeat(100_000), "many": many});
    assert!(run("join(glue, many)", &glue).unwrap_err().contains("too much work"));
    assert!(run("many[?length($x) == `1`]", &glue).is_err());
    assert!(run("many[?contains(@, 'x')] | length(@)", &glue).is_ok());
}

#[test]
fn slices_take_any_bounds_and_steps() {
    let input = json!([0, 1, 2]);
    for (expression, expected) in [
        ("[1::2147483647]", json!([1])),
        ("[::-2147483647]", json!([2])),
        ("[-2147483647:2147483647]", json!([0, 1, 2])),
        ("[2147483647:-2147483647:-1]", json!([2, 1, 0])),
        ("[-2147483647]", json!(null)),
        ("[2147483647]", json!(null)),
        ("[0:0]", json!([])),
        ("[::-1]", json!([2, 1, 0])),
    ] {
        assert_eq!(run(expression, &input), Ok(expected), "{expression}");
    }
    assert_eq!(run("[::-1]", &json!([])), Ok(json!([])));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z\"\\\\ä]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_makes_the_compiler_panic(text in "[a-d@.*!=<>|&,:?`'\"\\\\(){}\\[\\]0-9 -]{0,40}") {
        if let Ok(expression) = compile(&text) {
            let _ = search(&expression, &document());
        }
    }

    #[test]
    fn no_input_makes_an_expression_panic_and_both_interpreters_agree(input in any_json(), place in 0..AGREED.len()) {
        let expression = AGREED[place].replace("people", "a").replace("list", "b").replace("texts", "c").replace("ops", "d");
        // The average of nothing is null by the specification; the crate divides by zero.
        prop_assume!(!expression.starts_with("avg"));
        let found = run(&expression, &input);
        let variable = ::jmespath::Rcvar::new(::jmespath::Variable::from_json(&input.to_string()).unwrap());
        let expected = ::jmespath::compile(&expression).unwrap().search(&variable);
        prop_assert_eq!(found.is_ok(), expected.is_ok(), "{} on {}: {:?}", expression, input, found);
    }
}
