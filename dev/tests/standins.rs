//! The HTTP target: what skills call, and what counts their effects.

use std::time::{Duration, Instant};

use aos_dev::faults::{Action, Rule};
use aos_dev::standins::{Standins, StandinsOptions};
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn start() -> (Standins, reqwest::Client) {
    let standins = Standins::start(StandinsOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
    })
    .await
    .unwrap();
    let http = reqwest::Client::builder()
        .redirect(Policy::none())
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    (standins, http)
}

async fn json_of(request: reqwest::RequestBuilder) -> Value {
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn echo_tells_what_it_was_sent() {
    let (standins, http) = start().await;
    let url = format!("{}/echo?a=1&b=x%20y&a=2", standins.url());
    let seen = json_of(http.patch(url).header("X-Some", "thing").body(r#"{"n":1}"#)).await;
    assert_eq!(seen["method"], "PATCH");
    assert_eq!(seen["path"], "/echo");
    assert_eq!(seen["query"], json!({ "a": ["1", "2"], "b": "x y" }));
    assert_eq!(seen["headers"]["x-some"], "thing");
    assert_eq!(seen["body"], r#"{"n":1}"#);
    assert_eq!(seen["json"], json!({ "n": 1 }));
    let plain = json_of(http.post(format!("{}/echo", standins.url())).body("no json")).await;
    assert_eq!((&plain["body"], plain.get("json")), (&json!("no json"), None));
    standins.shutdown().await;
}

#[tokio::test]
async fn the_catalogue_is_always_the_same() {
    let (standins, http) = start().await;
    let get = |path: &str| json_of(http.get(format!("{}{path}", standins.url())));
    let items = get("/items?n=12").await;
    assert_eq!(items.as_array().unwrap().len(), 12);
    assert_eq!(items[0], json!({ "id": 1, "name": "item-1", "price": 2.5, "tags": [] }));
    assert_eq!(
        items[5],
        json!({ "id": 6, "name": "item-6", "price": 15.0, "tags": ["new", "sale", "gift"] })
    );
    assert_eq!(items[11]["price"], 5.0);
    assert_eq!(get("/items/6").await, items[5]);
    assert_eq!(get("/items").await.as_array().unwrap().len(), 10);
    assert_eq!(get("/items?n=99999").await.as_array().unwrap().len(), 1000);
    assert_eq!(get("/rates").await["rates"]["USD"], 1.1);
    for path in ["/items/0", "/items/1001", "/nowhere"] {
        assert_eq!(
            http.get(format!("{}{path}", standins.url()))
                .send()
                .await
                .unwrap()
                .status(),
            404,
            "{path}"
        );
    }
    standins.shutdown().await;
}

#[tokio::test]
async fn effects_are_counted_even_when_the_answer_is_lost() {
    let (standins, http) = start().await;
    let url = format!("{}/effects/mail", standins.url());
    let send = |key: &'static str| http.post(&url).header("Idempotency-Key", key).body("to: a");
    assert_eq!(json_of(send("k1")).await, json!({ "count": 1, "duplicate_key": false }));
    standins
        .faults()
        .add(Rule::new(Action::DropAfter).matching("/effects/mail").times(1));
    assert!(send("k2").send().await.is_err());
    assert_eq!(json_of(send("k2")).await, json!({ "count": 3, "duplicate_key": true }));
    assert_eq!(
        json_of(http.delete(&url)).await,
        json!({ "count": 4, "duplicate_key": false })
    );

    let tally = standins.effects().tally("mail");
    assert_eq!((tally.count, tally.duplicate_keys), (4, 1));
    let arrivals: Vec<_> = tally
        .arrivals
        .iter()
        .map(|arrival| {
            (
                arrival.method.as_str(),
                arrival.idempotency_key.as_deref(),
                arrival.body.as_str(),
            )
        })
        .collect();
    assert_eq!(
        arrivals,
        [
            ("POST", Some("k1"), "to: a"),
            ("POST", Some("k2"), "to: a"),
            ("POST", Some("k2"), "to: a"),
            ("DELETE", None, "")
        ]
    );
    standins.shutdown().await;
}

#[tokio::test]
async fn effects_are_read_and_forgotten_over_http() {
    let (standins, http) = start().await;
    let tallies = format!("{}/effects", standins.url());
    http.put(format!("{}/effects/a", standins.url()))
        .body("x".repeat(10_000))
        .send()
        .await
        .unwrap();
    http.get(format!("{}/effects/b", standins.url())).send().await.unwrap();
    let one = json_of(http.get(format!("{tallies}/a/tally"))).await;
    assert_eq!(one["count"], 1);
    assert_eq!(one["arrivals"][0]["body_bytes"], 10_000);
    assert_eq!(
        one["arrivals"][0]["body"].as_str().unwrap().len(),
        4096,
        "what is kept is bounded"
    );
    assert_eq!(json_of(http.get(format!("{tallies}/none/tally"))).await["count"], 0);
    let all = json_of(http.get(&tallies)).await;
    assert_eq!(all.as_object().unwrap().keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(http.delete(&tallies).send().await.unwrap().status(), 204);
    assert_eq!(json_of(http.get(&tallies)).await, json!({}));
    standins.shutdown().await;
}

#[tokio::test]
async fn answers_come_to_order() {
    let (standins, http) = start().await;
    let get = async |path: &str| http.get(format!("{}{path}", standins.url())).send().await.unwrap();

    let limited = get("/status/429?retry_after=7").await;
    assert_eq!(limited.status(), 429);
    assert_eq!(limited.headers()["retry-after"], "7");
    assert_eq!(get("/status/204").await.status(), 204);
    assert_eq!(get("/status/100").await.status(), 400, "that would be no answer");

    let begun = Instant::now();
    assert_eq!(get("/slow?ms=150").await.status(), 200);
    assert!(begun.elapsed() >= Duration::from_millis(150));

    let bytes = get("/bytes?n=200001").await;
    assert_eq!(bytes.headers()["content-length"], "200001");
    assert_eq!(bytes.bytes().await.unwrap().len(), 200_001);
    assert_eq!(get("/bytes?n=99999999999").await.status(), 400);

    let statuses = [
        get("/flaky/one?fail=2&status=502").await.status(),
        get("/flaky/one?fail=2&status=502").await.status(),
        get("/flaky/one?fail=2&status=502").await.status(),
        get("/flaky/other").await.status(),
        get("/flaky/other").await.status(),
    ];
    assert_eq!(statuses.map(|status| status.as_u16()), [502, 502, 200, 503, 200]);

    let chunked = get("/chunked").await;
    assert_eq!(chunked.headers().get("content-length"), None);
    assert_eq!(chunked.json::<Value>().await.unwrap(), json!({ "chunks": [1, 2, 3] }));

    let redirect = get("/redirect?to=http%3A%2F%2F169.254.169.254%2F&status=307").await;
    assert_eq!(redirect.status(), 307);
    assert_eq!(redirect.headers()["location"], "http://169.254.169.254/");
    assert_eq!(get("/redirect?to=/echo").await.status(), 302);
    assert_eq!(get("/redirect?to=/echo&status=200").await.status(), 400);
    assert_eq!(get("/redirect-loop").await.headers()["location"], "/redirect-loop");
    standins.shutdown().await;
}

#[tokio::test]
async fn broken_answers_are_broken() {
    let (standins, http) = start().await;
    let get = |path: &str| http.get(format!("{}{path}", standins.url())).send();

    let half = get("/half").await.unwrap();
    assert_eq!(half.status(), 200);
    assert!(half.bytes().await.is_err());

    let garbage = get("/garbage").await.unwrap();
    assert_eq!(garbage.headers()["content-type"], "application/json");
    let bytes = garbage.bytes().await.unwrap();
    assert!(serde_json::from_slice::<Value>(&bytes).is_err());
    assert!(std::str::from_utf8(&bytes).is_err());

    let mut stream = TcpStream::connect(standins.url().trim_start_matches("http://"))
        .await
        .unwrap();
    stream
        .write_all(b"GET /drop HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert_eq!(answer, b"", "not a single byte of an answer");
    standins.shutdown().await;
}
