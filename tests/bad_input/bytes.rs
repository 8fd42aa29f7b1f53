//! Bytes that no HTTP client would send.

use std::time::Duration;

use aos_tests::raw;

use crate::STAGE;

#[test]
fn bytes_that_are_hardly_http_break_nothing() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        world.settle_down().await;
        let before = world.owner.rows().await;
        let head = |line: &str, more: &str| {
            let (key, tenant) = (client.key(), client.tenant());
            format!("{line}\r\nHost: localhost\r\nConnection: close\r\nX-API-Key: {key}\r\nX-AOS-Tenant: {tenant}\r\n{more}\r\n")
        };
        let post = |more: &str| head("POST /v1/agents HTTP/1.1", &format!("Content-Type: application/json\r\n{more}"));
        let mut cases: Vec<(&str, Vec<u8>)> = vec![
            ("no request", b"\r\n\r\n".to_vec()),
            ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc".to_vec()),
            ("no version", b"GET /v1/runs\r\n\r\n".to_vec()),
            ("a version of the future", head("GET /v1/runs HTTP/9.9", "").into_bytes()),
            ("a method of two words", head("GET IT /v1/runs HTTP/1.1", "").into_bytes()),
            ("an unknown method", head("BREW /v1/runs HTTP/1.1", "").into_bytes()),
            ("a NUL in the path", head("GET /v1/runs/\0 HTTP/1.1", "").into_bytes()),
            ("a bare percent", head("GET /v1/runs/% HTTP/1.1", "").into_bytes()),
            ("half an escape", head("GET /v1/runs/%F HTTP/1.1", "").into_bytes()),
            ("a path that leaves", head("GET /../../etc/passwd HTTP/1.1", "").into_bytes()),
            ("a header without a colon", head("GET /v1/runs HTTP/1.1", "nonsense\r\n").into_bytes()),
            ("a header with a NUL", head("GET /v1/runs HTTP/1.1", "X-A: a\0b\r\n").into_bytes()),
            ("a header's name with a space", head("GET /v1/runs HTTP/1.1", "X A: b\r\n").into_bytes()),
            ("a header with a DEL", format!("{}{{}}", post("Idempotency-Key: a\x7f\r\nContent-Length: 2\r\n")).into_bytes()),
            ("a path of 300 KB", head(&format!("GET /{} HTTP/1.1", "a".repeat(300_000)), "").into_bytes()),
            ("a negative length", post("Content-Length: -1\r\n").into_bytes()),
            ("a length that is no number", post("Content-Length: many\r\n").into_bytes()),
            ("a length beyond counting", post("Content-Length: 99999999999999999999\r\n").into_bytes()),
            ("two lengths", format!("{}{{}}", post("Content-Length: 2\r\nContent-Length: 3\r\n")).into_bytes()),
            ("a body that breaks off", format!("{}{{\"name\": \"bro", post("Content-Length: 1000\r\n")).into_bytes()),
            ("a chunk that breaks off", format!("{}ff\r\n{{\"name\"", post("Transfer-Encoding: chunked\r\n")).into_bytes()),
            ("chunks that are none", format!("{}zz\r\n{{}}\r\n0\r\n\r\n", post("Transfer-Encoding: chunked\r\n")).into_bytes()),
            ("length and chunks", format!("{}2\r\n{{}}\r\n0\r\n\r\n", post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n")).into_bytes()),
            ("a body said to be gzip", format!("{}not gzip", post("Content-Encoding: gzip\r\nContent-Length: 8\r\n")).into_bytes()),
        ];
        let mut bytes = head("GET /v1/runs/BAD HTTP/1.1", "").into_bytes();
        replace(&mut bytes, b"BAD", b"\xff\xfe\xfd");
        cases.push(("a path that is not UTF-8", bytes));
        let mut bytes = head("GET /v1/runs?cursor=BAD HTTP/1.1", "").into_bytes();
        replace(&mut bytes, b"BAD", b"\xff\xfe\xfd");
        cases.push(("a query that is not UTF-8", bytes));
        let mut bytes = head("GET /v1/runs HTTP/1.1", "").into_bytes();
        replace(&mut bytes, client.key().as_bytes(), b"\xff\xfe\xfd");
        cases.push(("a key that is not UTF-8", bytes));
        let mut bytes = post("Idempotency-Key: BAD\r\nContent-Length: 2\r\n").into_bytes();
        replace(&mut bytes, b"BAD", b"\xff\xfe\xfd");
        bytes.extend_from_slice(b"{}");
        cases.push(("an idempotency key that is not UTF-8", bytes));

        let mut wrong = Vec::new();
        for (name, bytes) in &cases {
            let reply = raw(client.base(), bytes).await;
            // Some are refused by workerd itself, some by closing the connection. Where the body breaks off, wrangler's
            // proxy answers by a 500 of its own before the Worker's answer gets through; what that was, its log tells.
            let broke_off = name.contains("breaks off") || name.contains("are none");
            let refused = |status| (400..500).contains(&status) || status == 501 || (broke_off && reply.json.is_none());
            if reply.status.is_some_and(|status| !refused(status)) {
                wrong.push(format!("{name}: {reply:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        assert_eq!(world.owner.rows().await, before);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(world.breakages(), [""; 0]);
        client.get("/v1/agents").await.expect(200);
    });
}

fn replace(bytes: &mut Vec<u8>, from: &[u8], to: &[u8]) {
    let at = bytes
        .windows(from.len())
        .position(|window| window == from)
        .expect("what is replaced is there");
    bytes.splice(at..at + from.len(), to.iter().copied());
}
