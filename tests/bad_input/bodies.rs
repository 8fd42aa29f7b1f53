//! Bodies that are no JSON, not one object, too large, or called something else.

use serde_json::json;

use crate::{Bad, STAGE, refuse_all};

#[test]
fn bodies_that_are_no_json_or_not_one_object_are_refused_with_the_place() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        let mut cases = Vec::new();
        let deep = format!("{{\"input\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
        let no_json: [(&str, Vec<u8>); 18] = [
            ("empty", vec![]),
            ("spaces", b" \n\t ".to_vec()),
            ("truncated object", b"{\"name\": \"a\"".to_vec()),
            ("truncated string", b"{\"name\": \"a".to_vec()),
            ("truncated escape", b"{\"name\": \"\\u00".to_vec()),
            ("two values", b"{} {}".to_vec()),
            ("trailing comma", b"{\"name\": \"a\",}".to_vec()),
            ("single quotes", b"{'name': 'a'}".to_vec()),
            ("comment", b"{/* */}".to_vec()),
            ("NaN", b"{\"max_concurrent_runs\": NaN}".to_vec()),
            ("number without end", b"{\"max_concurrent_runs\": 1e999999}".to_vec()),
            ("bad UTF-8", b"{\"name\": \"\xff\xfe\"}".to_vec()),
            ("overlong UTF-8", b"{\"name\": \"\xc0\x80\"}".to_vec()),
            ("half a surrogate pair", b"{\"name\": \"\\ud83d\"}".to_vec()),
            ("byte order mark", b"\xef\xbb\xbf{}".to_vec()),
            ("raw NUL", b"{\"name\": \"a\0b\"}".to_vec()),
            ("nested 5,000 deep", deep.into_bytes()),
            (
                "key named twice",
                b"{\"name\": \"a\", \"name\": \"b\", \"allowed_skills\": []}".to_vec(),
            ),
        ];
        for (name, body) in no_json {
            for path in ["/v1/agents", "/v1/runs"] {
                let call = client
                    .call("POST", path)
                    .key(&format!("k-{}", cases.len()))
                    .body(body.clone());
                cases.push(Bad::new(format!("{name} at {path}"), call, 400, "invalid_json"));
            }
        }
        for (name, body) in [
            ("null", "null"),
            ("list", "[]"),
            ("text", "\"x\""),
            ("number", "-0.5e3"),
            ("true", "true"),
        ] {
            for path in ["/v1/agents", "/v1/runs"] {
                let call = client.call("POST", path).body(body);
                cases.push(Bad::at(format!("{name} at {path}"), call, [" wrong_type"]));
            }
        }
        let large = format!("{{\"name\": \"{}\"}}", "x".repeat(1024 * 1024));
        for path in ["/v1/agents", "/v1/runs"] {
            let call = client.call("POST", path).body(large.clone());
            cases.push(Bad::new(format!("over 1 MiB at {path}"), call, 413, "body_too_large"));
            let pieces: Vec<Result<_, std::io::Error>> = (0..40).map(|_| Ok(vec![b' '; 32 * 1024])).collect();
            let stream = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
            let call = client.call("POST", path).body(stream);
            cases.push(Bad::new(
                format!("over 1 MiB without a length at {path}"),
                call,
                413,
                "body_too_large",
            ));
        }
        refuse_all(world, cases, 40).await;
    });
}

#[test]
fn wrong_media_types_are_refused() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        let body = json!({"name": "a", "allowed_skills": []}).to_string();
        let types = [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/xml",
            "application/jsonp",
            "application/octet-stream",
            "json",
            "",
            ";",
            "text/html; application/json",
        ];
        let mut cases: Vec<Bad> = types
            .iter()
            .map(|kind| {
                let call = client
                    .call("POST", "/v1/agents")
                    .header("Content-Type", kind)
                    .text(body.clone());
                Bad::new(format!("content type {kind:?}"), call, 415, "unsupported_media_type")
            })
            .collect();
        let unlabelled = client.call("POST", "/v1/agents").text(body.clone());
        cases.push(Bad::new("no content type", unlabelled, 415, "unsupported_media_type"));
        let no_body = client.call("POST", "/v1/runs");
        cases.push(Bad::new("nothing at all", no_body, 415, "unsupported_media_type"));
        refuse_all(world, cases, 10).await;
    });
}
