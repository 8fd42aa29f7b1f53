//! The skill against a scripted network.

mod params;
mod redirects;
mod secrets;

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{
    archive::Archive,
    platform::FetchError,
    skills::testing::{self, Bucket, IDEMPOTENCY_KEY, Scene, Scripted, response},
};

fn skill() -> HttpCall {
    HttpCall::new(Arc::default())
}

fn run(scene: &Scene, params: Value) -> Outcome {
    let skill = skill();
    let outcome = scene.run(&skill, &params);
    testing::assert_listed(&skill, &outcome);
    outcome
}

fn get(scene: &Scene) -> Outcome {
    run(scene, json!({"url": "https://api.example.com/x"}))
}

fn post(scene: &Scene) -> Outcome {
    run(
        scene,
        json!({"method": "POST", "url": "https://api.example.com/x", "json": {"a": 1}}),
    )
}

fn code(outcome: &Outcome) -> &str {
    outcome.error.as_ref().map_or("", |error| error.code.as_ref())
}

#[test]
fn a_request_goes_out_as_the_params_say() {
    let scene = Scene::default().answers(200, &[], "");
    run(
        &scene,
        json!({
            "method": "POST",
            "url": "https://api.example.com:8443/a%20b?x=1#part",
            "query": {"q": "ü&=", "n": 5, "ok": true, "many": ["a", "b"]},
            "headers": {"Accept": "application/json", "X-Custom": "1"},
            "json": {"b": 1, "a": [true]},
            "timeout_ms": 5000
        }),
    );
    let requests = scene.requests();
    let request = &requests[0];
    assert_eq!(request.method, Method::POST);
    assert_eq!(
        request.url.as_str(),
        "https://api.example.com:8443/a%20b?x=1&many=a&many=b&n=5&ok=true&q=%C3%BC%26%3D"
    );
    assert_eq!(request.headers["accept"], "application/json");
    assert_eq!(request.headers["x-custom"], "1");
    assert_eq!(request.headers["content-type"], "application/json");
    assert_eq!(request.headers["idempotency-key"], IDEMPOTENCY_KEY);
    assert!(request.headers["user-agent"].to_str().unwrap().starts_with("AOS/"));
    assert_eq!(request.body.as_deref(), Some(br#"{"a":[true],"b":1}"#.as_slice()));
    assert_eq!(request.timeout, Duration::from_secs(5));
    assert_eq!(request.max_bytes, 1024 * 1024);
}

#[test]
fn only_changing_methods_carry_an_idempotency_key_and_the_plans_own_key_wins() {
    for (method, carries) in [
        ("GET", false),
        ("HEAD", false),
        ("OPTIONS", false),
        ("POST", true),
        ("PUT", true),
        ("PATCH", true),
        ("DELETE", true),
    ] {
        let scene = Scene::default().answers(204, &[], "");
        let outcome = run(&scene, json!({"method": method, "url": "https://api.example.com/"}));
        assert_eq!(
            scene.requests()[0].headers.contains_key("idempotency-key"),
            carries,
            "{method}"
        );
        assert_eq!(outcome.effects.len(), usize::from(carries), "{method}");
    }
    let scene = Scene::default().answers(200, &[], "");
    run(
        &scene,
        json!({"method": "POST", "url": "https://api.example.com/", "headers": {"idempotency-key": "mine"}}),
    );
    assert_eq!(scene.requests()[0].headers["idempotency-key"], "mine");
}

#[test]
fn the_body_is_given_as_what_it_is() {
    let body_of = |headers: &[(&str, &str)], bytes: &'static [u8]| {
        let output = get(&Scene::default().answers(200, headers, bytes)).output.unwrap();
        (
            output["body"].clone(),
            output["body_encoding"].as_str().unwrap().to_owned(),
        )
    };
    let json_type = [("content-type", "application/json; charset=utf-8")];
    let problem = [("content-type", "application/problem+json")];
    let text = [("content-type", "text/plain")];
    for (headers, bytes, body, encoding) in [
        (
            &json_type[..],
            b"{\"b\":1,\"a\":null}".as_slice(),
            json!({"a": null, "b": 1}),
            "json",
        ),
        (&problem, b"[1]", json!([1]), "json"),
        (&json_type, b"not json", json!("not json"), "text"),
        (&text, b"{\"a\":1}", json!("{\"a\":1}"), "text"),
        (&[], "grün".as_bytes(), json!("grün"), "text"),
        (&text, b"\xff\xfe", json!("//4="), "base64"),
        (&text, b"a\0b", json!("YQBi"), "base64"),
        (&json_type, b"", Value::Null, "none"),
    ] {
        assert_eq!(body_of(headers, bytes), (body, encoding.to_owned()));
    }
    let deep = testing::nested(65).to_string();
    let output = get(&Scene::default().answers(200, &json_type, deep.clone()))
        .output
        .unwrap();
    assert_eq!(
        (&output["body"], &output["body_encoding"]),
        (&json!(deep), &json!("text"))
    );
}

#[test]
fn headers_come_in_lower_case_without_cookies_and_bounded() {
    let long = "x".repeat(5000);
    let headers = [
        ("X-One", "1"),
        ("X-Many", "a"),
        ("X-Many", "b"),
        ("Set-Cookie", "s=1"),
        ("WWW-Authenticate", "Bearer"),
        ("X-Long", &long),
    ];
    let outcome = get(&Scene::default().answers(200, &headers, ""));
    assert_eq!(
        outcome.output.unwrap()["headers"],
        json!({"x-one": "1", "x-many": "a, b"})
    );

    let names: Vec<String> = (0..100).map(|n| format!("x-{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let outcome = get(&Scene::default().answers(200, &many, ""));
    assert_eq!(outcome.output.unwrap()["headers"].as_object().unwrap().len(), 64);
}

#[test]
fn every_status_is_the_outcome_that_the_table_says() {
    // status, to a GET, to a POST
    for (status, read, once) in [
        (200, "", ""),
        (201, "", ""),
        (204, "", ""),
        (299, "", ""),
        (304, "", ""),
        (400, "request_rejected", "request_rejected"),
        (401, "permission_denied", "permission_denied"),
        (402, "request_rejected", "request_rejected"),
        (403, "permission_denied", "permission_denied"),
        (404, "target_not_found", "target_not_found"),
        (405, "request_rejected", "request_rejected"),
        (407, "permission_denied", "permission_denied"),
        (408, "provider_unavailable", "provider_unavailable"),
        (409, "target_conflict", "target_conflict"),
        (410, "target_not_found", "target_not_found"),
        (412, "target_conflict", "target_conflict"),
        (413, "request_rejected", "request_rejected"),
        (422, "request_rejected", "request_rejected"),
        (423, "target_conflict", "target_conflict"),
        (425, "provider_unavailable", "provider_unavailable"),
        (429, "rate_limited", "rate_limited"),
        (451, "permission_denied", "permission_denied"),
        (500, "provider_unavailable", "provider_failed"),
        (501, "provider_unavailable", "provider_failed"),
        (502, "provider_unavailable", "unknown_effect"),
        (503, "provider_unavailable", "provider_unavailable"),
        (504, "provider_unavailable", "unknown_effect"),
        (520, "provider_unavailable", "unknown_effect"),
        (524, "provider_unavailable", "unknown_effect"),
        (529, "provider_unavailable", "provider_unavailable"),
        (599, "provider_unavailable", "provider_failed"),
    ] {
        let to_get = get(&Scene::default().answers(status, &[], "no"));
        let to_post = post(&Scene::default().answers(status, &[], "no"));
        assert_eq!((code(&to_get), code(&to_post)), (read, once), "{status}");
        if let Some(error) = to_post.error {
            assert_eq!(
                (error.provider.as_deref(), error.provider_status),
                (Some("api.example.com"), Some(status))
            );
        } else {
            assert_eq!(to_post.output.unwrap()["status"], status);
        }
        let idempotent = json!({"method": "POST", "url": "https://api.example.com/", "idempotent": true});
        assert_eq!(
            code(&run(&Scene::default().answers(status, &[], ""), idempotent)),
            read,
            "{status}"
        );
    }
}

#[test]
fn a_plan_can_expect_a_status_that_is_otherwise_a_failure() {
    let params = json!({"url": "https://api.example.com/", "expect_status": [404, 503]});
    let outcome = run(&Scene::default().answers(404, &[], "nothing here"), params.clone());
    assert_eq!(outcome.output.unwrap()["body"], "nothing here");
    assert_eq!(
        code(&run(&Scene::default().answers(410, &[], ""), params)),
        "target_not_found"
    );
}

#[test]
fn retry_after_is_read_as_seconds_and_as_a_date() {
    let wait = |status, value: &str| {
        get(&Scene::default().answers(status, &[("retry-after", value)], ""))
            .error
            .unwrap()
            .retry_after_ms
    };
    assert_eq!(wait(429, "7"), Some(7_000));
    assert_eq!(wait(503, "0"), Some(0));
    // The scene's clock stands at 1970-01-01T00:00:00Z.
    assert_eq!(wait(503, "Thu, 01 Jan 1970 00:01:30 GMT"), Some(90_000));
    assert_eq!(wait(429, "Wed, 31 Dec 1969 23:59:59 GMT"), Some(0));
    assert_eq!(wait(429, "99999999999999999999"), None);
    assert_eq!(wait(429, "9999999999"), Some(86_400_000));
    assert_eq!(wait(429, "soon"), None);
    assert_eq!(wait(404, "7"), None, "nobody will try again");
}

#[test]
fn without_an_answer_only_what_may_be_repeated_is_tried_again() {
    let connection = || FetchError::Connection("reset".to_owned());
    let timeout = || FetchError::Timeout(Duration::from_secs(1));
    let refused = || FetchError::Refused("bad port".to_owned());
    assert_eq!(code(&get(&Scene::default().fails(connection()))), "network");
    assert_eq!(code(&get(&Scene::default().fails(timeout()))), "timeout");
    assert_eq!(code(&get(&Scene::default().fails(refused()))), "request_refused");
    assert_eq!(code(&post(&Scene::default().fails(refused()))), "request_refused");
    for error in [connection(), timeout()] {
        let outcome = post(&Scene::default().fails(error));
        assert_eq!(code(&outcome), "unknown_effect");
        assert_eq!(outcome.effects[0].target, "POST api.example.com/x");
    }
    let put = json!({"method": "PUT", "url": "https://api.example.com/x", "body": "1"});
    assert_eq!(code(&run(&Scene::default().fails(connection()), put)), "network");
}

#[test]
fn an_answer_over_the_limit_is_a_clear_failure() {
    let mut answer = response(200, &[], vec![b'x'; 1024 * 1024].into());
    answer.truncated = true;
    let outcome = post(&Scene::default().scripted(Scripted {
        result: Ok(answer.clone()),
        takes: Duration::ZERO,
    }));
    assert_eq!(code(&outcome), "output_too_large");
    assert_eq!(outcome.effects.len(), 1, "it was carried out all the same");
    answer.truncated = false;
    let outcome = get(&Scene::default().scripted(Scripted {
        result: Ok(answer),
        takes: Duration::ZERO,
    }));
    assert_eq!(code(&outcome), "");
    assert_eq!((outcome.usage.bytes_in, outcome.usage.requests), (1024 * 1024, 1));
}

#[test]
fn with_an_archive_answers_may_be_twice_as_long() {
    let with_archive = || Scene {
        archive: Some(Archive::new(Arc::new(Bucket::default()), Scene::default().clock())),
        ..Scene::default()
    };
    let scene = with_archive().answers(200, &[], vec![b'x'; 2 * 1024 * 1024]);
    let outcome = get(&scene);
    assert_eq!(code(&outcome), "");
    assert_eq!(scene.requests()[0].max_bytes, 2 * 1024 * 1024);
    let mut answer = response(200, &[], vec![b'x'; 2 * 1024 * 1024].into());
    answer.truncated = true;
    let error = get(&with_archive().scripted(Scripted {
        result: Ok(answer),
        takes: Duration::ZERO,
    }));
    let error = error.error.unwrap();
    assert!(
        error.code == "output_too_large" && error.message.contains("2097152"),
        "{error:?}"
    );
}

#[test]
fn no_error_tells_a_secret() {
    let params = json!({
        "method": "POST", "url": "https://api.example.com/x?token=hidden", "headers": {"Authorization": "Bearer hidden"},
        "json": {"password": "hidden"}
    });
    for scene in [
        Scene::default().answers(500, &[], "hidden"),
        Scene::default().answers(400, &[], "hidden"),
        Scene::default().fails(FetchError::Connection("reset".to_owned())),
    ] {
        let outcome = run(&scene, params.clone());
        assert!(
            !serde_json::to_string(&outcome).unwrap().contains("hidden"),
            "{outcome:?}"
        );
    }
}

#[test]
fn json_of_more_values_than_memory_has_room_for_stays_text() {
    let zeros = |values: usize| format!("[{}]", vec!["0"; values].join(","));
    let json = &[("Content-Type", "application/json")];
    for (values, encoding) in [(90_000, "json"), (120_000, "text")] {
        let outcome = get(&Scene::default().answers(200, json, zeros(values)));
        assert_eq!(outcome.output.unwrap()["body_encoding"], encoding, "{values}");
    }
    // What stands in a string is one value, however it looks.
    let text = format!(r#"{{"text": "{}\\\""}}"#, "[,{:".repeat(100_000));
    let outcome = get(&Scene::default().answers(200, json, text));
    assert_eq!(outcome.output.unwrap()["body_encoding"], "json");
}
