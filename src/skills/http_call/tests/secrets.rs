//! Secrets that headers refer to.

use super::*;

const SECRET: &str = "s3cret-value";

/// A step whose headers hold a secret at these pointers.
fn with_secrets(pointers: &[(&str, &str)]) -> Scene {
    Scene {
        secrets: pointers
            .iter()
            .map(|(pointer, value)| ((*pointer).to_owned(), (*value).to_owned().into()))
            .collect(),
        ..Scene::default()
    }
}

#[test]
fn what_params_only_show_is_sent_and_does_not_print() {
    let scene = with_secrets(&[
        ("/headers/Authorization", "Bearer s3cret-value"),
        ("/headers/x~0~0key", SECRET),
    ])
    .answers(200, &[], "");
    let params = json!({
        "url": "https://api.example.com/",
        "headers": {"Authorization": "Bearer {{secrets.token}}", "x~~key": "{{secrets.token}}", "X-Plain": "1"}
    });
    assert_eq!(skill().check(&params), Ok(()));
    assert_eq!(code(&run(&scene, params)), "");
    let request = &scene.requests()[0];
    assert_eq!(request.headers["authorization"], "Bearer s3cret-value");
    assert_eq!(request.headers["x~~key"], SECRET);
    assert!(!format!("{request:?}").contains(SECRET));
    assert!(skill().may_hold_secret("/headers/Authorization"));
    for elsewhere in ["/url", "/query/key", "/body", "/json/token", "/headers"] {
        assert!(!skill().may_hold_secret(elsewhere), "{elsewhere}");
    }
}

#[test]
fn a_secret_that_fits_no_header_is_refused_untold() {
    let long = SECRET.repeat(1000);
    for value in [
        "s3cret\r\nX-Injected: 1",
        "s3cret\n",
        "s3cret\0",
        "s3crét",
        long.as_str(),
    ] {
        let scene = with_secrets(&[("/headers/X-Key", value)]);
        let outcome = run(
            &scene,
            json!({"url": "https://api.example.com/", "headers": {"X-Key": "{{secrets.key}}"}}),
        );
        let error = outcome.error.unwrap();
        assert_eq!(error.code, "invalid_params");
        assert!(
            error.message.contains("/headers/X-Key") && !error.message.contains("s3cr"),
            "{error:?}"
        );
        assert!(scene.requests().is_empty());
    }
}

#[test]
fn a_secret_follows_to_no_other_origin_under_any_name() {
    let names = [
        "Authorization",
        "User-Agent",
        "Accept",
        "Accept-Language",
        "If-Match",
        "Idempotency-Key",
    ];
    let pointers: Vec<String> = names.iter().map(|name| format!("/headers/{name}")).collect();
    let secrets: Vec<_> = pointers.iter().map(|pointer| (pointer.as_str(), SECRET)).collect();
    let mut headers: serde_json::Map<_, _> = names
        .iter()
        .map(|name| ((*name).to_owned(), json!("{{secrets.token}}")))
        .collect();
    headers.insert("Range".to_owned(), json!("bytes=0-9"));
    for (location, follows) in [
        ("/same", true),
        ("https://other.example.com/", false),
        ("http://api.example.com/", false),
        ("https://api.example.com:444/", false),
    ] {
        let scene = with_secrets(&secrets)
            .answers(307, &[("location", location)], "")
            .answers(200, &[], "");
        run(&scene, json!({"url": "https://api.example.com/", "headers": headers}));
        let second = &scene.requests()[1];
        let sent = second.headers.values().filter(|value| *value == SECRET).count();
        assert_eq!(sent, if follows { names.len() } else { 0 }, "{location}");
        assert_eq!(second.headers["range"], "bytes=0-9", "{location}");
    }
}

#[test]
fn data_that_looks_like_a_reference_is_only_text() {
    let scene = Scene::default().answers(200, &[], "");
    let params = json!({"url": "https://api.example.com/", "headers": {"X-Note": "{{secrets.token}}"}});
    run(&scene, params);
    assert_eq!(scene.requests()[0].headers["x-note"], "{{secrets.token}}");
}
