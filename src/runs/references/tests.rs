use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

fn scope<'a>(input: &'a Value, steps: &[(&str, Value)]) -> Scope<'a> {
    let result = |(id, output): &(&str, Value)| {
        let status = if output.is_null() {
            OutcomeStatus::Skipped
        } else {
            OutcomeStatus::Succeeded
        };
        (
            (*id).to_owned(),
            StepResult {
                output: output.clone(),
                status,
            },
        )
    };
    static SECRETS: LazyLock<BTreeMap<String, SecretString>> = LazyLock::new(|| {
        ["token", "other"]
            .map(|name| (name.to_owned(), SecretString::from(format!("<{name}>"))))
            .into()
    });
    Scope {
        input,
        steps: steps.iter().map(result).collect(),
        secrets: &SECRETS,
    }
}

/// The params alone, of what names no secret.
fn resolve(params: &Value, scope: &Scope<'_>) -> Result<Value, ReferenceError> {
    super::resolve(params, scope).map(|resolved| {
        assert!(resolved.secrets.is_empty());
        resolved.params
    })
}

fn resolved(params: Value) -> Result<Value, ReferenceError> {
    let input = json!({"x": 7, "odd key": [true], "name": "Ada", "trap": "{{input.name}}", "nothing": null});
    let steps = [
        ("fetch", json!({"items": [{"id": 1, "tags": ["a"]}], "n": 1.5})),
        ("left-out", Value::Null),
    ];
    resolve(&params, &scope(&input, &steps))
}

#[test]
fn a_string_that_is_only_a_reference_keeps_the_values_type() {
    for (text, expected) in [
        ("{{input.x}}", json!(7)),
        ("{{ steps.fetch.output.items[0] }}", json!({"id": 1, "tags": ["a"]})),
        ("{{steps.fetch.output[\"n\"]}}", json!(1.5)),
        ("{{input[\"odd key\"][0]}}", json!(true)),
        ("{{input.nothing}}", json!(null)),
        ("{{steps.left-out.output}}", json!(null)),
        ("{{steps.left-out.status}}", json!("skipped")),
        ("{{steps.fetch.status}}", json!("succeeded")),
    ] {
        assert_eq!(resolved(json!({"a": [text]})), Ok(json!({"a": [expected]})), "{text}");
    }
}

#[test]
fn inside_text_values_stand_as_text() {
    for (text, expected) in [
        (" {{input.x}}", " 7"),
        (
            "{{input.name}} has {{steps.fetch.output.items}}",
            "Ada has [{\"id\":1,\"tags\":[\"a\"]}]",
        ),
        ("{{input.x}}{{input.x}}", "77"),
        ("<{{input.nothing}}>", "<>"),
        ("{{steps.fetch.output.n}}/{{input[\"odd key\"][0]}}", "1.5/true"),
        ("{{{{input.x}}", "{{input.x}}"),
        ("{{{input.x}}}", "{7}"),
    ] {
        assert_eq!(resolved(json!(text)), Ok(json!(expected)), "{text}");
    }
}

#[test]
fn what_a_reference_brings_in_is_not_resolved_again() {
    assert_eq!(resolved(json!("{{input.trap}}")), Ok(json!("{{input.name}}")));
    assert_eq!(resolved(json!("a {{input.trap}}")), Ok(json!("a {{input.name}}")));
    let input = json!({"open": "{{", "rest": "input.secret}}", "secret": 1});
    let joined = resolve(&json!("{{input.open}}{{input.rest}}"), &scope(&input, &[]));
    assert_eq!(joined, Ok(json!("{{input.secret}}")));
}

#[test]
fn everything_but_strings_stays_as_it_is() {
    let params = json!({"n": 1, "b": false, "nil": null, "deep": [[{}, []]], "{{input.x}}": "text", "text": "a } b {"});
    assert_eq!(resolved(params.clone()), Ok(params));
}

#[test]
fn a_missing_path_is_an_error_that_says_where_it_ended() {
    for (text, reason) in [
        ("{{input.y}}", "`input` has no field `y`"),
        ("a {{input.x.y}}", "`input.x` is a number, it has no `.y`"),
        ("{{input[0]}}", "`input` is an object, it has no `[0]`"),
        (
            "{{steps.fetch.output.items[1].id}}",
            "`steps.fetch.output.items` has no item [1], only 1",
        ),
        (
            "{{steps.fetch.output.items[0].nope.id}}",
            "`steps.fetch.output.items[0]` has no field `nope`",
        ),
        (
            "{{steps.left-out.output.x}}",
            "`steps.left-out.output` is null, it has no `.x`",
        ),
        ("{{steps.later.output}}", "step `later` has not ended"),
    ] {
        let error = resolved(json!({"a/b": ["", text]})).expect_err(text);
        assert_eq!(
            (error.code, error.reason.as_str()),
            ("unresolved_reference", reason),
            "{text}"
        );
        assert_eq!(error.pointer, "/a~1b/1");
    }
    assert_eq!(
        resolved(json!("{{input.y}}")).map_err(|error| error.reference),
        Err("input.y".to_owned())
    );
}

#[test]
fn what_is_no_reference_is_an_error_and_never_text() {
    for (text, code) in [
        ("{{", "invalid_reference"),
        ("{{input.x", "invalid_reference"),
        ("{{memory.k}}", "unresolved_reference"),
        ("{{secrets.k}}", "unresolved_reference"),
        ("{{env.HOME}}", "unresolved_reference"),
        ("{{steps}}", "unresolved_reference"),
        ("{{steps.fetch}}", "unresolved_reference"),
        ("{{steps.fetch.status.x}}", "unresolved_reference"),
        ("{{steps.fetch.outputs}}", "unresolved_reference"),
    ] {
        assert_eq!(resolved(json!([text])).map_err(|error| error.code), Err(code), "{text}");
    }
}

#[test]
fn what_references_bring_in_is_bounded_before_it_is_copied() {
    let input = json!({"big": "x".repeat(MAX_RESOLVED_BYTES / 2)});
    let once = json!({"a": "{{input.big}}"});
    assert!(resolve(&once, &scope(&input, &[])).is_ok());
    for twice in [
        json!({"a": "{{input.big}}", "b": "{{input.big}}"}),
        json!("{{input.big}}{{input.big}}"),
    ] {
        let error = resolve(&twice, &scope(&input, &[])).unwrap_err();
        assert_eq!(
            (error.code, error.reference.as_str()),
            ("params_too_large", "input.big")
        );
    }
    let many: Vec<&str> = vec!["{{input.big}}"; 20_000];
    assert_eq!(resolve(&json!(many), &scope(&input, &[])).unwrap_err().pointer, "/1");
}

#[test]
fn the_depth_of_what_references_bring_in_is_bounded() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let resolve_in_two_levels = |levels| {
        let input = nested(levels);
        resolve(&json!({"a": ["{{input}}"]}), &scope(&input, &[]))
    };
    assert!(resolve_in_two_levels(MAX_RESOLVED_DEPTH - 2).is_ok());
    let error = resolve_in_two_levels(MAX_RESOLVED_DEPTH - 1).unwrap_err();
    assert_eq!((error.code, error.pointer.as_str()), ("params_too_deep", "/a/0"));
    assert_eq!(
        resolved(nested(MAX_RESOLVED_DEPTH + 1)).unwrap_err().code,
        "params_too_deep"
    );
}

/// All that is found, as `<pointer> <reference>` or `<pointer> !`.
fn found_in(params: &Value) -> Vec<String> {
    let mut all = Vec::new();
    each_reference(params, &mut |pointer, found| {
        all.push(found.map_or_else(|_| format!("{pointer} !"), |reference| format!("{pointer} {reference}")));
    });
    all
}

#[test]
fn every_reference_and_every_malformed_one_is_found_at_its_place() {
    let params = json!({
        "a": "{{input.x}} {{steps.s.output}}",
        "b": [{"c/d": "{{input.y}}"}, 1, null, "text"],
        "e": "{{",
        "{{input.z}}": "{{input}}",
    });
    let expected = [
        "/a input.x",
        "/a steps.s.output",
        "/b/0/c~1d input.y",
        "/e !",
        "/{{input.z}} !",
        "/{{input.z}} input",
    ];
    assert_eq!(found_in(&params), expected);
    assert_eq!(found_in(&json!("{{input}}")), [" input"]);
}

#[test]
fn a_condition_sees_the_input_and_the_steps_of_the_scope() {
    let input = json!({"x": 1});
    let scope = scope(&input, &[("a", json!([1])), ("b", Value::Null)]);
    let steps = json!({"a": {"output": [1], "status": "succeeded"}, "b": {"output": null, "status": "skipped"}});
    assert_eq!(scope.document(), json!({"steps": steps, "input": {"x": 1}}));
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "\\PC{0,8}",
        "[{}]{0,6}(input|steps|memory)?[.\\[\\]0x\"]{0,4}[{}]{0,6}",
        Just("{{input.x}}".to_owned()),
        Just("{{steps.s.output[0]}}".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_params_and_any_data_resolve_or_are_refused(params in any_json(), input in any_json(), output in any_json()) {
        let scope = scope(&input, &[("s", output)]);
        let mut is_malformed = false;
        each_reference(&params, &mut |_, found| {
            is_malformed |= found.err().is_some_and(|reason| !reason.starts_with("a key"));
        });
        match resolve(&params, &scope) {
            Err(error) => prop_assert!(params.pointer(&error.pointer).is_some_and(Value::is_string), "{}", error),
            Ok(_) => prop_assert!(!is_malformed),
        }
    }

    #[test]
    fn what_is_escaped_comes_out_as_it_was(text in "[{}x]{0,12}|\\PC*", data in any_json()) {
        let input = json!({ "x": data });
        let scope = scope(&input, &[]);
        prop_assert_eq!(resolve(&json!(escape(&text)), &scope), Ok(json!(text)));
        prop_assert_eq!(resolve(&json!("{{input.x}}"), &scope), Ok(data));
    }
}

#[test]
fn a_secret_is_filled_in_beside_the_params_and_never_in_them() {
    let input = json!({"user": "ada", "trap": "{{secrets.other}}"});
    let params = json!({"headers": {
        "Authorization": "Bearer {{secrets.token}}",
        "X/Pair": "{{input.user}}:{{ secrets[\"other\"] }}",
        "X-Trap": "{{secrets.token}} {{input.trap}}",
        "X-Plain": "{{input.trap}}"
    }});
    let Resolved { params, secrets } = super::resolve(&params, &scope(&input, &[])).unwrap();
    assert_eq!(
        params["headers"],
        json!({
            "Authorization": "Bearer {{secrets.token}}",
            "X/Pair": "ada:{{secrets.other}}",
            "X-Trap": "{{secrets.token}} {{secrets.other}}",
            "X-Plain": "{{secrets.other}}"
        })
    );
    let sent: Vec<_> = secrets
        .iter()
        .map(|(pointer, value)| (pointer.as_str(), value.expose_secret()))
        .collect();
    // What data brings in is text, also beside a secret.
    assert_eq!(
        sent,
        [
            ("/headers/Authorization", "Bearer <token>"),
            ("/headers/X-Trap", "<token> {{secrets.other}}"),
            ("/headers/X~1Pair", "ada:<other>"),
        ]
    );
}

#[test]
fn a_secret_that_is_not_there_is_never_an_empty_text() {
    let error = super::resolve(&json!({"a": ["{{secrets.gone}}"]}), &scope(&Value::Null, &[])).unwrap_err();
    assert_eq!((error.pointer.as_str(), error.code), ("/a/0", "unresolved_reference"));
    for malformed in ["{{secrets}}", "{{secrets.a.b}}", "{{secrets[0]}}"] {
        assert!(
            super::resolve(&json!(malformed), &scope(&Value::Null, &[])).is_err(),
            "{malformed}"
        );
    }
}
