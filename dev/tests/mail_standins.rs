//! The stand-ins of Voyage, Resend, Slack, receivers of webhooks and the DNS: their scripts and records from Rust, and
//! the vendors' own clients against them, in `dev/peers/`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use aos_dev::faults::{Action, Rule};
use aos_dev::standins::received::Key;
use aos_dev::standins::resolver::{Rcode, Records};
use aos_dev::standins::script::Step;
use aos_dev::standins::webhook_receiver::SigningSecret;
use aos_dev::standins::{Standins, StandinsOptions};
use reqwest::redirect::Policy;
use serde_json::{Value, json};

async fn start() -> (Standins, reqwest::Client) {
    let listen = "127.0.0.1:0".parse().unwrap();
    let standins = Standins::start(StandinsOptions { listen }).await.unwrap();
    let http = reqwest::Client::builder()
        .redirect(Policy::none())
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    (standins, http)
}

/// Runs one file of `dev/peers/`, all of whose tests must pass.
async fn peer(file: &str, settings: &[(&str, &str)]) {
    let node = aos_dev::paths::node_modules().join(".bin/node");
    let output = tokio::process::Command::new(node)
        .args(["--test", "--test-reporter=spec", &format!("dev/peers/{file}")])
        .current_dir(aos_dev::paths::repository())
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(120), output)
        .await
        .expect("in time")
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(!said.contains("tests 0"), "{said}");
}

#[tokio::test]
async fn the_vendors_client_accepts_the_stand_in_of_voyage() {
    let (standins, _) = start().await;
    let voyage = standins.voyage();
    let settings = [("VOYAGE_BASE_URL", voyage.base_url()), ("VOYAGE_API_KEY", voyage.key())];
    peer("voyage.test.mjs", &settings).await;
    standins.shutdown().await;
}

#[tokio::test]
async fn the_vendors_client_accepts_the_stand_in_of_resend() {
    let (standins, _) = start().await;
    let resend = standins.resend();
    let settings = [
        ("RESEND_BASE_URL", resend.base_url()),
        ("RESEND_API_KEY", resend.key()),
        ("RESEND_SENDING_KEY", resend.sending_key()),
    ];
    peer("resend.test.mjs", &settings).await;
    standins.shutdown().await;
}

#[tokio::test]
async fn the_vendors_client_accepts_the_stand_in_of_slack() {
    let (standins, _) = start().await;
    let slack = standins.slack();
    let base = format!("{}/slack", standins.url());
    let (url, mismatch) = (slack.webhook_url(), slack.webhook("mismatch").unwrap());
    let settings = [
        ("SLACK_BASE_URL", base.as_str()),
        ("SLACK_WEBHOOK_URL", &url),
        ("SLACK_MISMATCH_WEBHOOK", &mismatch),
    ];
    peer("slack.test.mjs", &settings).await;
    standins.shutdown().await;
}

#[tokio::test]
async fn the_reference_library_and_the_receivers_of_webhooks_agree() {
    let (standins, _) = start().await;
    let base = format!("{}/webhooks", standins.url());
    peer("webhooks.test.mjs", &[("WEBHOOKS_URL", &base)]).await;
    standins.shutdown().await;
}

#[tokio::test]
async fn a_script_fails_some_times_and_then_the_vendor_answers() {
    let (standins, http) = start().await;
    let voyage = standins.voyage();
    let limited = Step::error("rate_limit_exceeded").times(2).retry_after("7");
    let slow = Step::fault(Action::Delay { ms: 150 });
    voyage.script([limited, slow, Step::garbage()]).unwrap();
    assert!(
        voyage.script([Step::error("overloaded")]).is_err(),
        "no error of Voyage's"
    );
    let ask = || {
        let request = http.post(format!("{}/v1/embeddings", voyage.base_url()));
        let body = json!({ "input": "a", "model": "voyage-3" });
        request.bearer_auth(voyage.key()).json(&body).send()
    };
    for _ in 0..2 {
        let answer = ask().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (429, &"7".parse().unwrap())
        );
    }
    let begun = Instant::now();
    assert!(ask().await.unwrap().json::<Value>().await.is_err(), "garbage");
    assert!(begun.elapsed() >= Duration::from_millis(150));
    assert_eq!(ask().await.unwrap().status(), 200);

    let received = voyage.received();
    assert_eq!(received.count, 4);
    let last = received.requests.back().unwrap();
    assert_eq!((last.key, &last.body["model"]), (Key::Right, &json!("voyage-3")));
    assert!(!serde_json::to_string(&received).unwrap().contains(voyage.key()));
    standins.shutdown().await;
}

#[tokio::test]
async fn a_mail_whose_answer_is_lost_is_sent_once() {
    let (standins, http) = start().await;
    let resend = standins.resend();
    standins
        .faults()
        .add(Rule::new(Action::DropAfter).matching("/resend/emails").times(1));
    let send = || {
        let mail = json!({ "from": "a@example.com", "to": ["B@example.com"], "subject": "s", "text": "t" });
        let request = http
            .post(format!("{}/emails", resend.base_url()))
            .bearer_auth(resend.key());
        request.header("idempotency-key", "step-1").json(&mail).send()
    };
    assert!(send().await.is_err());
    let answer: Value = send().await.unwrap().json().await.unwrap();
    let sent = resend.sent();
    assert_eq!((sent.count, &json!(sent.mails[0].id)), (1, &answer["id"]));
    assert_eq!(
        (resend.sent_to("b@example.com"), resend.sent_with_key("step-1")),
        (1, 1)
    );
    assert_eq!(resend.received().count, 2);

    resend.expire_idempotency_keys();
    send().await.unwrap();
    assert_eq!(resend.sent_with_key("step-1"), 2, "a day later it is another mail");
    standins.shutdown().await;
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_no_key_in_flight() {
    let (standins, http) = start().await;
    let resend = standins.resend();
    resend.take_time(Duration::from_millis(200));
    let send = |patience: u64| {
        let mail = json!({ "from": "a@example.com", "to": "b@example.com", "subject": "s", "text": "t" });
        let request = http
            .post(format!("{}/emails", resend.base_url()))
            .bearer_auth(resend.key());
        let request = request.header("idempotency-key", "k").json(&mail);
        request.timeout(Duration::from_millis(patience)).send()
    };
    assert!(send(50).await.is_err());
    assert_eq!(send(5_000).await.unwrap().status(), 409);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(send(5_000).await.unwrap().status(), 200);
    assert_eq!(resend.sent().count, 1);
    standins.shutdown().await;
}

#[tokio::test]
async fn a_message_whose_answer_is_lost_is_posted_each_time() {
    let (standins, http) = start().await;
    let slack = standins.slack();
    slack
        .script([Step::fault(Action::DropAfter), Step::fault(Action::HalfBody)])
        .unwrap();
    let post = || http.post(slack.webhook_url()).json(&json!({ "text": "hello" })).send();
    assert!(post().await.is_err());
    assert!(post().await.unwrap().text().await.is_err());
    assert_eq!(post().await.unwrap().text().await.unwrap(), "ok");
    let body = "payload=%7B%22text%22:%22from+a+form%22%7D";
    let kind = "application/x-www-form-urlencoded";
    let answer = http
        .post(slack.webhook_url())
        .header("content-type", kind)
        .body(body)
        .send();
    assert_eq!(answer.await.unwrap().status(), 200);
    let posted = slack.posted();
    assert_eq!(
        (posted.count, &posted.messages[3].payload["text"]),
        (4, &json!("from a form"))
    );
    slack.forget_posted();
    assert_eq!(slack.posted().count, 0);
    let debug = format!("{standins:?}");
    for secret in [&slack.webhook_url(), standins.resend().key(), standins.voyage().key()] {
        assert!(!debug.contains(secret), "{debug}");
    }
    standins.shutdown().await;
}

#[tokio::test]
async fn a_receiver_of_webhooks_tells_once_from_twice() {
    let (standins, http) = start().await;
    let webhooks = standins.webhooks();
    let secret = SigningSecret::read(&webhooks.secret("orders").unwrap()).unwrap();
    let send = |id: &'static str, secret: &SigningSecret| {
        let now = jiff::Timestamp::now().as_second();
        let request = http.post(webhooks.url("orders"));
        request
            .header("webhook-id", id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", secret.sign(id, now, b"{}"))
            .body("{}")
            .send()
    };
    webhooks
        .script([Step::error("unavailable"), Step::fault(Action::DropAfter)])
        .unwrap();
    assert_eq!(send("msg_1", &secret).await.unwrap().status(), 503);
    assert!(send("msg_1", &secret).await.is_err(), "taken, and the answer lost");
    assert_eq!(send("msg_1", &secret).await.unwrap().status(), 200);
    let other = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
    assert_eq!(
        send("msg_2", &SigningSecret::read(other).unwrap())
            .await
            .unwrap()
            .status(),
        401
    );
    let tally = webhooks.tally("orders");
    assert_eq!((tally.delivered, tally.duplicates, tally.invalid), (1, 1, 1));
    assert_eq!((webhooks.received().count, webhooks.tally("others").delivered), (4, 0));

    webhooks.trust("orders", &[other]).unwrap();
    assert_eq!(send("msg_2", &secret).await.unwrap().status(), 401);
    assert_eq!(
        send("msg_2", &SigningSecret::read(other).unwrap())
            .await
            .unwrap()
            .status(),
        200
    );
    standins.shutdown().await;
}

#[tokio::test]
async fn names_are_resolved_as_a_resolver_does() {
    let (standins, http) = start().await;
    let resolver = standins.resolver();
    let ask = async |query: &str| {
        let request = http.get(format!("{}?{query}", resolver.url()));
        let answer = request.header("accept", "application/dns-json").send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &"application/dns-json".parse().unwrap())
        );
        answer.json::<Value>().await.unwrap()
    };
    let addresses = |texts: &[&str]| Records::addresses(texts.iter().map(|text| text.parse().unwrap()));
    resolver.set(
        "Example.test.",
        addresses(&["93.184.216.34", "93.184.216.35", "2606:2800:220:1::1"]),
    );
    resolver.set("www.example.test", Records::alias("cdn.example.test"));
    resolver.set("cdn.example.test", Records::alias("example.test"));
    resolver.set("empty.test", Records::default());
    resolver.set("sick.test", Records::failing(Rcode::ServFail));

    let a = ask("name=example.TEST&type=A").await;
    assert_eq!(a["Status"], 0);
    assert_eq!(a["Question"], json!([{ "name": "example.test", "type": 1 }]));
    assert_eq!(
        a["Answer"],
        json!([
            { "name": "example.test", "type": 1, "TTL": 60, "data": "93.184.216.34" },
            { "name": "example.test", "type": 1, "TTL": 60, "data": "93.184.216.35" },
        ])
    );
    let aaaa = ask("name=www.example.test&type=28").await;
    let types: Vec<_> = aaaa["Answer"]
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| &answer["type"])
        .collect();
    assert_eq!(types, [&json!(5), &json!(5), &json!(28)]);
    assert_eq!(aaaa["Answer"][0]["data"], "cdn.example.test.");
    assert_eq!(
        aaaa["Answer"][2],
        json!({ "name": "example.test", "type": 28, "TTL": 60, "data": "2606:2800:220:1::1" })
    );
    for (query, status) in [
        ("name=unknown.test", 3),
        ("name=sick.test&type=AAAA", 2),
        ("name=empty.test", 0),
        ("name=example.test&type=TXT", 0),
    ] {
        let answer = ask(query).await;
        assert_eq!(
            (&answer["Status"], answer.get("Answer")),
            (&json!(status), None),
            "{query}"
        );
    }
    assert_eq!((resolver.queries(), resolver.queries_for("example.test")), (6, 2));
    for (query, accept) in [
        ("name=a.test", "text/html"),
        ("type=A", "application/dns-json"),
        ("name=a..b", "application/dns-json"),
    ] {
        let request = http.get(format!("{}?{query}", resolver.url())).header("accept", accept);
        assert_eq!(request.send().await.unwrap().status(), 400, "{query}");
    }
    standins.shutdown().await;
}

#[tokio::test]
async fn a_name_may_point_elsewhere_the_second_time() {
    let (standins, http) = start().await;
    let names = format!("{}/dns/_names", standins.url());
    let order = json!({
        "name": "rebind.test",
        "answers": [{ "a": ["93.184.216.34"] }, { "a": ["127.0.0.1"], "aaaa": ["::1"], "ttl": 0 }],
    });
    assert_eq!(http.post(&names).json(&order).send().await.unwrap().status(), 204);
    let ask = async |kind: &str| {
        let url = format!(
            "{}?name=rebind.test&type={kind}&ct=application/dns-json",
            standins.resolver().url()
        );
        let answer: Value = http.get(url).send().await.unwrap().json().await.unwrap();
        answer["Answer"][0]["data"].clone()
    };
    assert_eq!(ask("A").await, "93.184.216.34");
    assert_eq!(ask("AAAA").await, Value::Null, "each type has its own turns");
    for _ in 0..2 {
        assert_eq!(ask("A").await, "127.0.0.1");
    }
    assert_eq!(ask("AAAA").await, "::1");
    let read: Value = http.get(&names).send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (&read["asked"]["rebind.test"], &read["queries"]),
        (&json!(5), &json!(5))
    );
    assert_eq!(http.delete(&names).send().await.unwrap().status(), 204);
    assert_eq!(ask("A").await, Value::Null);
    standins.shutdown().await;
}
