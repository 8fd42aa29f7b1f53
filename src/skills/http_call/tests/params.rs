//! What a plan may ask for.

use super::*;

#[test]
fn bad_params_are_refused_at_their_place() {
    let long = "x".repeat(9000);
    let many: serde_json::Map<_, _> = (0..51).map(|n| (format!("x-{n}"), json!("1"))).collect();
    for (field, value, pointer, expected) in [
        ("method", json!("get"), "/method", "invalid_value"),
        ("method", json!("TRACE"), "/method", "invalid_value"),
        ("method", json!("CONNECT"), "/method", "invalid_value"),
        ("method", json!("GET\r\nX: 1"), "/method", "invalid_value"),
        ("url", json!("nonsense"), "/url", "invalid_value"),
        ("url", json!("http://10.0.0.1/"), "/url", "forbidden_address"),
        ("url", json!("ftp://example.com/"), "/url", "forbidden_address"),
        ("url", json!(format!("https://example.com/{long}")), "/url", "too_long"),
        ("headers", json!({"Host": "x"}), "/headers/Host", "invalid_value"),
        (
            "headers",
            json!({"content-length": "1"}),
            "/headers/content-length",
            "invalid_value",
        ),
        (
            "headers",
            json!({"Transfer-Encoding": "chunked"}),
            "/headers/Transfer-Encoding",
            "invalid_value",
        ),
        (
            "headers",
            json!({"Connection": "close"}),
            "/headers/Connection",
            "invalid_value",
        ),
        (
            "headers",
            json!({"CF-Connecting-IP": "1.2.3.4"}),
            "/headers/CF-Connecting-IP",
            "invalid_value",
        ),
        (
            "headers",
            json!({"x": "a\r\nInjected: 1"}),
            "/headers/x",
            "invalid_value",
        ),
        ("headers", json!({"x": "a\nb"}), "/headers/x", "invalid_value"),
        ("headers", json!({"x": "a\0b"}), "/headers/x", "invalid_value"),
        ("headers", json!({"x": "ü"}), "/headers/x", "invalid_value"),
        ("headers", json!({"x y": "1"}), "/headers/x y", "invalid_value"),
        ("headers", json!({"x:": "1"}), "/headers/x:", "invalid_value"),
        ("headers", json!({"": "1"}), "/headers/", "invalid_value"),
        ("headers", json!({"a/b": "1"}), "/headers/a~1b", "invalid_value"),
        (
            "headers",
            json!({"X-A": "1", "x-a": "2"}),
            "/headers/x-a",
            "invalid_value",
        ),
        ("headers", json!({"x": 1}), "/headers/x", "wrong_type"),
        ("headers", json!({"x": long}), "/headers/x", "too_long"),
        ("headers", json!(many), "/headers", "too_many"),
        ("headers", json!([]), "/headers", "wrong_type"),
        ("query", json!({"a": {"b": 1}}), "/query/a", "wrong_type"),
        ("query", json!({"a": null}), "/query/a", "wrong_type"),
        ("query", json!({"a": long}), "/query", "too_long"),
        ("body", json!("x"), "/body", "conflicting_fields"),
        ("json", json!(null), "/json", "conflicting_fields"),
        ("timeout_ms", json!(0), "/timeout_ms", "out_of_range"),
        ("timeout_ms", json!(60_001), "/timeout_ms", "out_of_range"),
        ("timeout_ms", json!(1.5), "/timeout_ms", "out_of_range"),
        ("timeout_ms", json!("1"), "/timeout_ms", "wrong_type"),
        ("timeout_ms", json!("{{input.a}}0"), "/timeout_ms", "wrong_type"),
        ("follow_redirects", json!("yes"), "/follow_redirects", "wrong_type"),
        ("idempotent", json!(1), "/idempotent", "wrong_type"),
        ("expect_status", json!([100]), "/expect_status/0", "out_of_range"),
        ("expect_status", json!(404), "/expect_status", "wrong_type"),
        ("verify", json!(false), "/verify", "unknown_field"),
    ] {
        let mut params = json!({"url": "https://api.example.com/"});
        params[field] = value.clone();
        let errors = skill().check(&params).expect_err(field);
        let found: Vec<_> = errors
            .iter()
            .map(|error| (error.pointer.as_str(), error.code.as_ref()))
            .collect();
        assert_eq!(found, [(pointer, expected)], "{field} {value}");
    }
    let both = json!({"method": "POST", "url": "https://api.example.com/", "body": "a", "json": 1});
    assert_eq!(skill().check(&both).unwrap_err()[0].pointer, "/json");
}

#[test]
fn what_a_reference_leaves_open_passes_and_is_checked_when_it_is_filled_in() {
    for params in [
        json!({"url": "https://{{input.host}}/x"}),
        json!({"url": "{{input.url}}"}),
        json!({"url": "https://api.example.com/{{steps.a.output.id}}"}),
        json!({"url": "https://api.example.com/", "headers": {"Authorization": "Bearer {{secrets.token}}"}}),
        json!({"url": "https://api.example.com/", "headers": "{{input.headers}}"}),
        json!({"url": "https://api.example.com/", "query": {"a": "{{input.a}}", "b": ["{{input.b}}"]}}),
        json!({"method": "{{input.method}}", "url": "https://api.example.com/", "body": "{{input.body}}"}),
        json!({"method": "POST", "url": "https://api.example.com/", "json": {"a": "{{input.a}}"}}),
        json!({"url": "https://api.example.com/", "timeout_ms": "{{input.ms}}", "expect_status": ["{{input.status}}"]}),
    ] {
        assert_eq!(skill().check(&params), Ok(()), "{params}");
    }
    for (params, expected) in [
        (json!({"url": "http://169.254.169.254/"}), "forbidden_address"),
        (json!({"url": "{{input.url}}"}), "invalid_params"),
        (
            json!({"url": "https://api.example.com/", "headers": {"x": "a\r\nb"}}),
            "invalid_params",
        ),
    ] {
        let scene = Scene::default();
        assert_eq!(code(&run(&scene, params)), expected);
        assert!(scene.requests().is_empty());
    }
}

#[test]
fn a_call_obeys_the_rules_of_its_deployment() {
    let rules = AddressRules {
        allowed_loopback_ports: [8080].into(),
        ..AddressRules::default()
    };
    let local = json!({"url": "http://127.0.0.1:8080/"});
    assert_eq!(HttpCall::new(Arc::new(rules.clone())).check(&local), Ok(()));
    assert!(skill().check(&local).is_err());
    let scene = Scene {
        rules,
        ..Scene::default()
    }
    .answers(200, &[], "");
    assert_eq!(code(&run(&scene, local.clone())), "");
    assert_eq!(code(&run(&Scene::default(), local)), "forbidden_address");
}

#[test]
fn the_host_is_that_of_the_url() {
    let host = |url: &str| skill().host(&json!({"url": url}));
    assert_eq!(
        host("https://API.example.com.:443/x").as_deref(),
        Some("api.example.com")
    );
    assert_eq!(host("nonsense"), None);
}
