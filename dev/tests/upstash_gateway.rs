//! The Upstash gateway before a Redis of its own: by plain HTTP here, and by the vendor's clients in
//! `dev/peers/upstash.test.mjs`.

use std::process::Stdio;
use std::time::Duration;

use aos_dev::faults::{Action, Rule};
use aos_dev::progress::Progress;
use aos_dev::redis::{Redis, RedisOptions};
use aos_dev::upstash::{LIMIT_BYTES, UpstashGateway, UpstashGatewayOptions};
use futures::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const TOKEN: &str = "a-token";

struct Bench {
    redis: Redis,
    gateway: UpstashGateway,
    http: reqwest::Client,
    _dir: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = RedisOptions {
            dir: dir.path().to_owned(),
            durable: false,
            progress: Progress::silent(),
        };
        let redis = Redis::start(options).await.unwrap();
        let gateway = UpstashGateway::start(UpstashGatewayOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            redis: format!("{}/0", redis.url()),
            token: TOKEN.to_owned(),
        })
        .await
        .unwrap();
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Self {
            redis,
            gateway,
            http,
            _dir: dir,
        }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.gateway.url()))
            .bearer_auth(TOKEN)
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        read(self.request(Method::POST, path).body(body.to_string())).await
    }

    /// The result of one command that must succeed.
    async fn run(&self, command: Value) -> Value {
        let (status, mut answer) = self.post("/", command.clone()).await;
        assert_eq!(status, 200, "{command}: {answer}");
        answer["result"].take()
    }

    /// The error of one command that must be refused.
    async fn refused(&self, command: Value) -> String {
        let (status, answer) = self.post("/", command.clone()).await;
        assert_eq!(status, 400, "{command}: {answer}");
        answer["error"].as_str().unwrap().to_owned()
    }

    fn labels(&self) -> Vec<String> {
        self.gateway
            .counters()
            .snapshot()
            .requests
            .into_iter()
            .map(|request| request.label)
            .collect()
    }

    async fn end(self) {
        self.gateway.shutdown().await;
        self.redis.stop().await;
    }
}

async fn read(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_command_in_the_body_answers_in_the_shapes_of_resp2() {
    let bench = Bench::start().await;
    assert_eq!(bench.run(json!(["SET", "k", "v", "EX", 100])).await, "OK");
    assert_eq!(bench.run(json!(["get", "k"])).await, "v");
    assert_eq!(bench.run(json!(["GET", "absent"])).await, Value::Null);
    assert_eq!(
        bench.run(json!(["INCRBY", "n", 9_007_199_254_740_993_i64])).await,
        json!(9_007_199_254_740_993_i64)
    );
    assert_eq!(bench.run(json!(["SET", "flag", true])).await, "OK");
    assert_eq!(bench.run(json!(["GET", "flag"])).await, "true");
    assert_eq!(bench.run(json!(["HSET", "h", "a", 1, "b", 2.5])).await, 2);
    assert_eq!(bench.run(json!(["HGETALL", "h"])).await, json!(["a", "1", "b", "2.5"]));
    assert_eq!(bench.run(json!(["HGETALL", "absent"])).await, json!([]));
    assert_eq!(bench.run(json!(["MGET", "k", "absent"])).await, json!(["v", null]));
    assert_eq!(bench.run(json!(["ZADD", "z", 1.5, "m"])).await, 1);
    assert_eq!(bench.run(json!(["ZSCORE", "z", "m"])).await, "1.5");
    assert_eq!(bench.run(json!(["PING"])).await, "PONG");
    assert_eq!(
        bench
            .run(json!(["EVAL", "return {1,'a',{KEYS[1]},false}", 1, "k"]))
            .await,
        json!([1, "a", ["k"], null])
    );
    let digest = bench.run(json!(["SCRIPT", "LOAD", "return ARGV[1]"])).await;
    assert_eq!(bench.run(json!(["EVALSHA", digest, 0, "x"])).await, "x");
    assert!(
        bench
            .refused(json!(["EVALSHA", "0".repeat(40), 0]))
            .await
            .starts_with("NOSCRIPT ")
    );
    assert!(
        bench
            .refused(json!(["INCR", "k"]))
            .await
            .starts_with("ERR value is not an integer")
    );
    assert!(
        bench
            .refused(json!(["LPUSH", "k", "x"]))
            .await
            .starts_with("WRONGTYPE ")
    );
    assert!(
        bench
            .refused(json!(["GET"]))
            .await
            .starts_with("ERR wrong number of arguments")
    );
    bench.end().await;
}

#[tokio::test]
async fn a_command_in_the_path_takes_body_and_query_as_arguments() {
    let bench = Bench::start().await;
    let get = |path: &str| read(bench.request(Method::GET, path));
    assert_eq!(get("/set/foo/bar").await, (StatusCode::OK, json!({ "result": "OK" })));
    assert_eq!(get("/get/foo/").await.1, json!({ "result": "bar" }));
    assert_eq!(get("/set/a%2Fb%20c/gr%C3%BC%C3%9Fe").await.1, json!({ "result": "OK" }));
    assert_eq!(bench.run(json!(["GET", "a/b c"])).await, "grüße");
    let posted = bench.request(Method::POST, "/set/doc?EX=100").body(r#"{"a":[1]}"#);
    assert_eq!(read(posted).await.1, json!({ "result": "OK" }));
    assert_eq!(bench.run(json!(["GET", "doc"])).await, r#"{"a":[1]}"#);
    assert_eq!(bench.run(json!(["TTL", "doc"])).await, 100);
    let put = bench.request(Method::PUT, "/set/doc?NX").body("other");
    assert_eq!(read(put).await.1, json!({ "result": null }));
    let binary = bench.request(Method::POST, "/set/raw").body(vec![0xff_u8, 0x00, b'a']);
    assert_eq!(read(binary).await.1, json!({ "result": "OK" }));
    assert_eq!(bench.run(json!(["GET", "raw"])).await, "\u{fffd}\0a");
    let encoded = bench
        .request(Method::GET, "/get/raw")
        .header("Upstash-Encoding", "base64");
    assert_eq!(read(encoded).await.1, json!({ "result": "/wBh" }));
    let deleted = bench.request(Method::DELETE, "/get/raw").send().await.unwrap();
    assert_eq!(deleted.status(), 405);
    assert_eq!(bench.request(Method::HEAD, "/").send().await.unwrap().status(), 200);
    bench.end().await;
}

#[tokio::test]
async fn a_pipeline_answers_each_command_in_its_place() {
    let bench = Bench::start().await;
    let commands = json!([
        ["SET", "k", "x"],
        ["INCR", "k"],
        ["WATCH", "k"],
        ["GET", "k"],
        ["NOSUCH"]
    ]);
    let (status, answer) = bench.post("/pipeline", commands).await;
    assert_eq!(status, 200);
    assert_eq!(answer[0], json!({ "result": "OK" }));
    assert_eq!(
        answer[1],
        json!({ "error": "ERR value is not an integer or out of range" })
    );
    assert!(answer[2]["error"].as_str().unwrap().starts_with("ERR "), "{answer}");
    assert_eq!(answer[3], json!({ "result": "x" }));
    assert!(
        answer[4]["error"]
            .as_str()
            .unwrap()
            .starts_with("ERR Command is not available: 'NOSUCH'"),
        "{answer}"
    );
    for (body, error) in [
        ("[]", "ERR empty pipeline request"),
        ("{", "ERR failed to parse pipeline request"),
        (r#"[["GET","k"],[]]"#, "ERR empty command"),
        (r#"[["GET",null]]"#, "ERR null args are not supported"),
    ] {
        let answer = read(bench.request(Method::POST, "/pipeline").body(body)).await;
        assert_eq!(answer, (StatusCode::BAD_REQUEST, json!({ "error": error })), "{body}");
    }
    bench.end().await;
}

#[tokio::test]
async fn a_transaction_is_executed_whole_or_discarded_whole() {
    let bench = Bench::start().await;
    let (status, answer) = bench
        .post(
            "/multi-exec",
            json!([["SET", "k", "x"], ["INCR", "k"], ["SET", "l", 1]]),
        )
        .await;
    assert_eq!(status, 200);
    assert_eq!(answer[0], json!({ "result": "OK" }));
    assert!(
        answer[1]["error"]
            .as_str()
            .unwrap()
            .starts_with("ERR value is not an integer")
    );
    assert_eq!(answer[2], json!({ "result": "OK" }));
    for bad in [
        json!(["GET"]),
        json!(["NOSUCH", "k"]),
        json!(["WATCH", "k"]),
        json!(["EXEC"]),
    ] {
        let (status, answer) = bench.post("/multi-exec", json!([["SET", "k", "changed"], bad])).await;
        assert_eq!(status, 400, "{bad}");
        assert!(answer["error"].as_str().unwrap().starts_with("ERR "), "{bad}: {answer}");
        assert_eq!(bench.run(json!(["GET", "k"])).await, "x", "{bad}");
    }
    bench.end().await;
}

#[tokio::test]
async fn base64_encodes_every_string_but_the_reply_ok() {
    let bench = Bench::start().await;
    let commands = json!([
        ["SET", "k", "v"],
        ["GET", "k"],
        ["PING"],
        ["GET", "absent"],
        ["INCR", "n"],
        ["EVAL", "return {KEYS[1],{'deep'},3}", 1, "k"],
        ["LPUSH", "k", "x"],
    ]);
    let request = bench
        .request(Method::POST, "/pipeline")
        .header("Upstash-Encoding", "base64")
        .body(commands.to_string());
    let (_, answer) = read(request).await;
    let results: Vec<_> = answer
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["result"].clone())
        .collect();
    assert_eq!(
        results,
        [
            json!("OK"),
            json!("dg=="),
            json!("UE9ORw=="),
            Value::Null,
            json!(1),
            json!(["aw==", ["ZGVlcA=="], 3]),
            Value::Null
        ]
    );
    assert!(
        answer[6]["error"].as_str().unwrap().starts_with("WRONGTYPE "),
        "errors stay readable"
    );
    for (header, value) in [("Upstash-Encoding", "gzip"), ("Upstash-Response-Format", "resp2")] {
        let response = bench
            .request(Method::GET, "/get/k")
            .header(header, value)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 400, "{header}: {value}");
    }
    bench.end().await;
}

#[tokio::test]
async fn without_the_right_token_nothing_is_done() {
    let bench = Bench::start().await;
    let url = bench.gateway.url();
    let bare = |path: &str| bench.http.get(format!("{url}{path}"));
    for request in [
        bare("/set/k/v"),
        bare("/set/k/v").bearer_auth("wrong"),
        bare("/set/k/v").header("authorization", format!("Basic {TOKEN}")),
        bare("/set/k/v?_token=wrong").bearer_auth(TOKEN),
        bare("/subscribe/chat"),
    ] {
        let (status, answer) = read(request).await;
        assert_eq!(status, 401);
        assert!(
            answer["error"]
                .as_str()
                .unwrap()
                .starts_with("WRONGPASS invalid or missing auth token"),
            "{answer}"
        );
    }
    let (status, answer) = read(bare(&format!("/get/k?_token={TOKEN}"))).await;
    assert_eq!(
        (status, answer),
        (StatusCode::OK, json!({ "result": null })),
        "nothing was set; no token among the arguments"
    );
    bench.end().await;
}

#[tokio::test]
async fn what_needs_a_connection_waits_or_runs_the_server_is_refused() {
    let bench = Bench::start().await;
    for command in [
        json!(["SUBSCRIBE", "c"]),
        json!(["WATCH", "k"]),
        json!(["MULTI"]),
        json!(["SELECT", 1]),
        json!(["CLIENT", "REPLY", "OFF"]),
        json!(["HELLO", 3]),
        json!(["QUIT"]),
        json!(["MONITOR"]),
        json!(["BLPOP", "k", 0]),
        json!(["XREAD", "BLOCK", 0, "STREAMS", "s", "$"]),
        json!(["CONFIG", "GET", "*"]),
        json!(["SHUTDOWN", "NOSAVE"]),
        json!(["DEBUG", "SLEEP", 9]),
    ] {
        assert!(
            bench.refused(command.clone()).await.starts_with("ERR Command "),
            "{command}"
        );
    }
    for (body, error) in [
        ("", "ERR failed to parse command"),
        ("[", "ERR failed to parse command"),
        (r#"{"a":1}"#, "ERR failed to parse command"),
        ("[]", "ERR empty command"),
        (r#"[["GET","k"]]"#, "ERR unsupported arg type: \"[\": json.Delim"),
    ] {
        let answer = read(bench.request(Method::POST, "/").body(body)).await;
        assert_eq!(answer, (StatusCode::BAD_REQUEST, json!({ "error": error })), "{body}");
    }
    assert_eq!(
        bench.run(json!(["PING"])).await,
        "PONG",
        "the shared connection is as it was"
    );
    bench.end().await;
}

#[tokio::test]
async fn requests_and_replies_end_at_ten_megabytes() {
    let bench = Bench::start().await;
    let frame = r#"["SET","big",""]"#.len();
    let body = |size: usize| format!(r#"["SET","big","{}"]"#, "x".repeat(size - frame));
    let (status, _) = read(bench.request(Method::POST, "/").body(body(LIMIT_BYTES))).await;
    assert_eq!(status, 200);
    let (status, answer) = read(bench.request(Method::POST, "/").body(body(LIMIT_BYTES + 1))).await;
    let expected = format!(
        "ERR max request size exceeded. Limit: 10485760 bytes, Actual: {} bytes",
        LIMIT_BYTES + 1
    );
    assert_eq!(
        (status, answer),
        (StatusCode::BAD_REQUEST, json!({ "error": expected }))
    );
    let (status, _) = read(bench.request(Method::POST, "/").body(body(5 * LIMIT_BYTES))).await;
    assert_eq!(status, 400, "a much larger one is read to its end, to be told so");
    bench.run(json!(["APPEND", "big", "x".repeat(frame)])).await;
    assert_eq!(
        bench.run(json!(["GET", "big"])).await.as_str().unwrap().len(),
        LIMIT_BYTES
    );
    bench.run(json!(["APPEND", "big", "x"])).await;
    assert!(
        bench
            .refused(json!(["GET", "big"]))
            .await
            .starts_with("ERR max request size exceeded.")
    );
    bench.end().await;
}

#[tokio::test]
async fn every_answer_brings_a_new_sync_token() {
    let bench = Bench::start().await;
    let mut last = String::new();
    for _ in 0..3 {
        let response = bench
            .request(Method::GET, "/get/k")
            .header("upstash-sync-token", &last)
            .send()
            .await
            .unwrap();
        let token = response.headers()["upstash-sync-token"].to_str().unwrap().to_owned();
        assert_ne!(token, last);
        last = token;
    }
    bench.end().await;
}

/// The lines of an event stream that carry data, as they arrive.
struct Events {
    body: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    read: String,
}

impl Events {
    async fn open(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            body: response.bytes_stream().boxed(),
            read: String::new(),
        }
    }

    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.find('\n') {
                let line: String = self.read.drain(..=end).collect();
                match line.strip_prefix("data: ") {
                    Some(data) => return Some(data.trim_end().to_owned()),
                    None => continue,
                }
            }
            let piece = tokio::time::timeout(Duration::from_secs(5), self.body.next())
                .await
                .expect("no event in time");
            self.read.push_str(std::str::from_utf8(&piece?.ok()?).unwrap());
        }
    }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn a_subscription_streams_and_ends_with_its_client_and_with_the_gateway() {
    let bench = Bench::start().await;
    let request = bench
        .request(Method::POST, "/subscribe/chat/news%20room")
        .header("accept", "text/event-stream");
    let mut events = Events::open(request).await;
    assert_eq!(events.next().await.unwrap(), "subscribe,chat,1");
    assert_eq!(events.next().await.unwrap(), "subscribe,news room,2");
    for (channel, text) in [("chat", "hello"), ("news room", "a, b"), ("chat", "grüße")] {
        assert_eq!(bench.run(json!(["PUBLISH", channel, text])).await, 1);
        assert_eq!(events.next().await.unwrap(), format!("message,{channel},{text}"));
    }
    let mut patterns = Events::open(bench.request(Method::GET, "/psubscribe/ch*")).await;
    assert_eq!(patterns.next().await.unwrap(), "psubscribe,ch*,1");
    assert_eq!(bench.run(json!(["PUBLISH", "chat", "both"])).await, 2);
    assert_eq!(patterns.next().await.unwrap(), "pmessage,ch*,chat,both");
    assert_eq!(events.next().await.unwrap(), "message,chat,both");

    drop(events);
    eventually("Redis has one subscriber less", async || {
        bench.run(json!(["PUBSUB", "NUMSUB", "chat"])).await == json!(["chat", 0])
    })
    .await;
    assert!(bench.labels().contains(&"subscribe".to_owned()), "{:?}", bench.labels());

    let Bench { gateway, redis, .. } = bench;
    gateway.shutdown().await;
    assert_eq!(patterns.next().await, None);
    redis.stop().await;
}

#[tokio::test]
async fn redis_may_be_away_and_come_back() {
    let bench = Bench::start().await;
    bench.run(json!(["SET", "k", "v"])).await;
    bench.redis.kill();
    for path in ["/", "/pipeline", "/multi-exec"] {
        let body = if path == "/" {
            json!(["GET", "k"])
        } else {
            json!([["GET", "k"]])
        };
        let (status, answer) = bench.post(path, body).await;
        assert_eq!(status, 500, "{path}: {answer}");
        assert!(answer["error"].as_str().unwrap().starts_with("ERR "), "{answer}");
    }
    assert_eq!(
        bench
            .request(Method::GET, "/subscribe/chat")
            .send()
            .await
            .unwrap()
            .status(),
        500
    );
    bench.redis.restart().await.unwrap();
    assert_eq!(
        bench.run(json!(["GET", "k"])).await,
        Value::Null,
        "the first command after the restart works"
    );
    bench.redis.restart().await.unwrap();
    assert_eq!(
        bench.run(json!(["SET", "k", "again"])).await,
        "OK",
        "even if nobody asked while it was away"
    );
    bench.end().await;
}

#[tokio::test]
async fn faults_act_before_or_after_the_work() {
    let bench = Bench::start().await;
    let incr = || bench.request(Method::POST, "/").body(r#"["INCR","n"]"#);

    bench
        .gateway
        .faults()
        .add(Rule::new(Action::DropAfter).matching("INCR").times(1));
    assert!(incr().send().await.is_err());
    assert_eq!(bench.run(json!(["GET", "n"])).await, "1", "the work was done");

    bench
        .gateway
        .faults()
        .add(Rule::new(Action::DropBefore).matching("INCR").times(1));
    assert!(incr().send().await.is_err());
    assert_eq!(bench.run(json!(["GET", "n"])).await, "1", "the work was not done");

    bench.gateway.faults().add(Rule::new(Action::HalfBody).times(1));
    let response = incr().send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err(), "the body breaks off");
    assert_eq!(bench.run(json!(["GET", "n"])).await, "2");

    let limit = r#"{"status":{"code":400,"body":"{\"error\":\"ERR max daily request limit exceeded\"}"}}"#;
    let (status, answer) = read(incr().header("x-aos-fault", limit)).await;
    assert_eq!(
        (status, answer),
        (
            StatusCode::BAD_REQUEST,
            json!({ "error": "ERR max daily request limit exceeded" })
        )
    );
    assert_eq!(bench.run(json!(["GET", "n"])).await, "2");
    bench.end().await;
}

#[tokio::test]
async fn requests_are_counted_by_their_commands() {
    let bench = Bench::start().await;
    bench.post("/", json!(["get", "k"])).await;
    bench
        .post("/pipeline", json!([["GET", "k"], ["EVAL", "return 1", 0]]))
        .await;
    bench.post("/multi-exec", json!([["SET", "k", 1], ["INCR", "k"]])).await;
    bench.request(Method::GET, "/set/secret/value").send().await.unwrap();
    assert_eq!(
        bench.labels(),
        ["GET", "pipeline GET,EVAL", "multi-exec SET,INCR", "SET"]
    );
    let snapshot = bench.gateway.counters().snapshot();
    assert_eq!(
        snapshot
            .requests
            .iter()
            .map(|request| request.queries)
            .collect::<Vec<_>>(),
        [1, 2, 2, 1]
    );
    let seen = bench
        .http
        .get(format!("{}/_control/requests", bench.gateway.url()))
        .send()
        .await
        .unwrap();
    let seen: Value = seen.json().await.unwrap();
    assert_eq!(seen["total"], 4);
    bench.end().await;
}

#[tokio::test]
async fn the_vendors_clients_accept_the_gateway() {
    let bench = Bench::start().await;
    let node = aos_dev::paths::node_modules().join(".bin/node");
    let output = tokio::process::Command::new(node)
        .args(["--test", "--test-reporter=spec", "dev/peers/upstash.test.mjs"])
        .current_dir(aos_dev::paths::repository())
        .env("UPSTASH_REDIS_REST_URL", bench.gateway.url())
        .env("UPSTASH_REDIS_REST_TOKEN", bench.gateway.token())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(120), output)
        .await
        .expect("in time")
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!said.contains("tests 0"), "{said}");
    bench.end().await;
}
