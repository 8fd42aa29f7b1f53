//! Where a call is led by its target.

use super::*;

#[test]
fn redirects_are_followed_for_reads_and_each_is_guarded() {
    let scene = Scene::default()
        .answers(301, &[("location", "/moved?x=1")], "")
        .answers(302, &[("location", "https://other.example.net/y#z")], "")
        .answers(200, &[], "there");
    let output = get(&scene).output.unwrap();
    assert_eq!(output["url"], "https://other.example.net/y");
    assert_eq!(output["body"], "there");
    assert_eq!(scene.requests().len(), 3);

    for location in [
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "//localhost/",
        "http://[::1]/",
        "file:///etc/passwd",
        "http://user:pass@example.com/",
        "http://0x7f.1/",
        "gopher://example.com/",
        "http://metadata.google.internal/",
    ] {
        let scene = Scene::default().answers(302, &[("location", location)], "");
        assert_eq!(code(&get(&scene)), "forbidden_address", "{location}");
        assert_eq!(scene.requests().len(), 1, "{location}");
    }

    let mut scene = Scene::default();
    for _ in 0..6 {
        scene = scene.answers(302, &[("location", "/again")], "");
    }
    assert_eq!(code(&get(&scene)), "too_many_redirects");
    assert_eq!(scene.requests().len(), 6);
}

#[test]
fn a_location_that_only_a_parser_understands_leads_nowhere() {
    for location in [
        "http://[",
        "http:127.0.0.1/",
        "http:\\\\127.0.0.1/",
        "\\\\127.0.0.1/",
        "/\\127.0.0.1/",
        "///127.0.0.1/",
        "////localhost/x",
        "https:////10.0.0.1/",
        "//2130706433/",
        "//0177.1/",
        "//%31%32%37.0.0.1/",
        "//[::ffff:7f00:1]/",
        "//api.example.com@10.0.0.1/",
        "//10.0.0.1#@api.example.com/",
        "//10.0.0.1\t/",
        "//LOCALHOST./",
        "//user@api.example.com/",
        "http://10.0.0.1:80/",
        "data:text/html,x",
        "javascript:1",
    ] {
        let scene = Scene::default().answers(302, &[("location", location)], "");
        let outcome = get(&scene);
        assert!(
            matches!(code(&outcome), "forbidden_address" | "invalid_redirect"),
            "{location}: {outcome:?}"
        );
        assert_eq!(scene.requests().len(), 1, "{location}");
    }
}

#[test]
fn a_redirect_that_is_not_followed_is_a_success_with_its_status() {
    let outcome = post(&Scene::default().answers(303, &[("location", "http://127.0.0.1/")], ""));
    assert_eq!(outcome.output.unwrap()["status"], 303);
    let scene = Scene::default().answers(302, &[("location", "/x")], "");
    let outcome = run(
        &scene,
        json!({"url": "https://api.example.com/", "follow_redirects": false}),
    );
    assert_eq!(outcome.output.unwrap()["headers"]["location"], "/x");
    assert_eq!(
        get(&Scene::default().answers(301, &[], "")).output.unwrap()["status"],
        301
    );
}

#[test]
fn method_and_body_change_with_a_redirect_as_the_fetch_standard_has_it() {
    for (status, method, then, keeps_body) in [
        (301, "POST", Method::GET, false),
        (302, "POST", Method::GET, false),
        (303, "POST", Method::GET, false),
        (303, "PUT", Method::GET, false),
        (301, "PUT", Method::PUT, true),
        (302, "DELETE", Method::DELETE, true),
        (307, "POST", Method::POST, true),
        (308, "PATCH", Method::PATCH, true),
    ] {
        let scene = Scene::default()
            .answers(status, &[("location", "/next")], "")
            .answers(200, &[], "");
        let params =
            json!({"method": method, "url": "https://api.example.com/", "json": {"a": 1}, "follow_redirects": true});
        assert_eq!(code(&run(&scene, params)), "", "{status} {method}");
        let second = &scene.requests()[1];
        assert_eq!(
            (&second.method, second.body.is_some()),
            (&then, keeps_body),
            "{status} {method}"
        );
        assert_eq!(
            second.headers.contains_key("content-type"),
            keeps_body,
            "{status} {method}"
        );
        assert_eq!(
            second.headers.contains_key("idempotency-key"),
            keeps_body,
            "{status} {method}"
        );
    }
    let scene = Scene::default()
        .answers(303, &[("location", "/next")], "")
        .answers(200, &[], "");
    run(&scene, json!({"method": "HEAD", "url": "https://api.example.com/"}));
    assert_eq!(scene.requests()[1].method, Method::HEAD);
}

#[test]
fn credentials_do_not_follow_to_another_origin_and_never_come_back() {
    let headers = json!({
        "Authorization": "Bearer secret", "Cookie": "s=secret", "X-API-Key": "secret", "Proxy-Authorization": "secret",
        "X-Whatever-Token": "secret", "Accept": "text/html", "User-Agent": "me"
    });
    for (location, is_same) in [
        ("/same", true),
        ("https://api.example.com:443/same", true),
        ("https://other.example.com/", false),
        ("http://api.example.com/", false),
        ("https://api.example.com:444/", false),
    ] {
        let scene = Scene::default()
            .answers(307, &[("location", location)], "")
            .answers(307, &[("location", "https://api.example.com/back")], "")
            .answers(200, &[], "");
        run(&scene, json!({"url": "https://api.example.com/", "headers": headers}));
        for (request, expected) in scene.requests().iter().zip([true, is_same, is_same]) {
            let values = format!("{:?}", request.headers);
            assert_eq!(values.contains("secret"), expected, "{location}: {values}");
            assert_eq!(request.headers["accept"], "text/html");
            assert_eq!(request.headers["user-agent"], "me");
        }
    }
}

#[test]
fn the_time_of_a_call_bounds_all_its_hops() {
    let slow = |status, headers: &[(&str, &str)], takes| Scripted {
        result: Ok(response(status, headers, Default::default())),
        takes: Duration::from_millis(takes),
    };
    let again = [("location", "/again")];
    let scene = Scene::default()
        .scripted(slow(302, &again, 600))
        .scripted(slow(302, &again, 300))
        .scripted(slow(200, &[], 600));
    let outcome = run(&scene, json!({"url": "https://api.example.com/", "timeout_ms": 1000}));
    assert_eq!(code(&outcome), "timeout");
    let timeouts: Vec<_> = scene
        .requests()
        .iter()
        .map(|request| request.timeout.as_millis())
        .collect();
    assert_eq!(timeouts, [1000, 400, 100]);

    let scene = Scene {
        timeout: Duration::from_millis(200),
        ..Scene::default()
    }
    .answers(200, &[], "");
    run(&scene, json!({"url": "https://api.example.com/", "timeout_ms": 60_000}));
    assert_eq!(scene.requests()[0].timeout, Duration::from_millis(200));
}
