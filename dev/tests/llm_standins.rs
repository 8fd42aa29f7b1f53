//! The stand-ins of Anthropic and OpenAI: scripts, what is recorded; and the vendors' own clients against them, in
//! `dev/peers/anthropic.test.mjs` and `dev/peers/openai.test.mjs`.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use aos_dev::faults::{Action, Rule};
use aos_dev::standins::received::Key;
use aos_dev::standins::script::{Step, Then};
use aos_dev::standins::{Standins, StandinsOptions, model};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

async fn start() -> Standins {
    let listen = "127.0.0.1:0".parse().unwrap();
    Standins::start(StandinsOptions { listen }).await.unwrap()
}

fn to_anthropic(standins: &Standins) -> RequestBuilder {
    reqwest::Client::new()
        .post(format!("{}/v1/messages", standins.anthropic().url()))
        .header("x-api-key", standins.anthropic().api_key())
        .header("anthropic-version", "2026-10-21")
}

async fn ask_anthropic(standins: &Standins, text: &str, stream: bool) -> reqwest::Result<Response> {
    let messages = json!([{ "role": "user", "content": text }]);
    let body = json!({ "model": "claude-sonnet-5-5", "max_tokens": 1000, "stream": stream, "messages": messages });
    to_anthropic(standins).json(&body).send().await
}

async fn ask_openai(standins: &Standins, text: &str, stream: bool) -> reqwest::Result<Response> {
    let messages = json!([{ "role": "user", "content": text }]);
    reqwest::Client::new()
        .post(format!("{}/v1/chat/completions", standins.openai().url()))
        .bearer_auth(standins.openai().api_key())
        .json(&json!({ "model": "gpt-4o", "stream": stream, "messages": messages }))
        .send()
        .await
}

async fn said_by_anthropic(standins: &Standins, text: &str) -> String {
    let answer: Value = ask_anthropic(standins, text, false)
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    answer["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_step_hits_as_often_as_it_says_and_only_what_it_matches() {
    let standins = start().await;
    let step = Step::error("overloaded_error")
        .times(2)
        .matching("plan")
        .retry_after("7");
    standins.anthropic().script([step]).unwrap();
    assert_eq!(said_by_anthropic(&standins, "hello").await, "echo: hello");
    for _ in 0..2 {
        let answer = ask_anthropic(&standins, "a plan", false).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (529, &"7".parse().unwrap())
        );
        let id = answer.headers()["request-id"].to_str().unwrap().to_owned();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(
            (&body["error"]["type"], &body["request_id"]),
            (&json!("overloaded_error"), &json!(id))
        );
    }
    assert_eq!(said_by_anthropic(&standins, "a plan").await, "echo: a plan");
    standins.shutdown().await;
}

#[tokio::test]
async fn a_script_is_added_to_read_and_cleared_over_http() {
    let standins = start().await;
    let http = reqwest::Client::new();
    let url = format!("{}/_script", standins.openai().url());
    let post = async |body: Value| http.post(&url).json(&body).send().await.unwrap();
    assert_eq!(post(json!({ "error": "insufficient_quota" })).await.status(), 204);
    assert_eq!(
        post(json!([{ "say": "one" }, { "say": "two", "times": 2 }]))
            .await
            .status(),
        204
    );
    for wrong in [
        json!({ "error": "purple" }),
        json!({ "error": "conflict", "garbage": true }),
        json!([{}]),
    ] {
        assert_eq!(post(wrong.clone()).await.status(), 400, "{wrong}");
    }
    let unknown = post(json!({ "error": "purple" })).await.text().await.unwrap();
    assert!(
        unknown.contains("purple") && unknown.contains("rate_limit_exceeded"),
        "{unknown}"
    );
    let left: Value = http.get(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(left.as_array().unwrap().len(), 3);

    assert_eq!(ask_openai(&standins, "hi", false).await.unwrap().status(), 429);
    let answer: Value = ask_openai(&standins, "hi", false).await.unwrap().json().await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "one");
    assert_eq!(http.delete(&url).send().await.unwrap().status(), 204);
    let answer: Value = ask_openai(&standins, "hi", false).await.unwrap().json().await.unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "echo: hi");
    // One stand-in's script is not the other's.
    assert!(
        standins
            .anthropic()
            .script([Step::error("insufficient_quota")])
            .is_err()
    );
    standins.shutdown().await;
}

#[tokio::test]
async fn words_that_are_scripted_take_the_place_of_the_echo_also_as_a_tools_input() {
    let standins = start().await;
    let plan = json!({ "goal": "g", "steps": [] });
    standins
        .anthropic()
        .script([Step::say(plan.to_string()).times(2)])
        .unwrap();
    assert_eq!(said_by_anthropic(&standins, "hi").await, plan.to_string());
    let body = json!({
        "model": "claude-sonnet-5-5",
        "max_tokens": 1000,
        "messages": [{ "role": "user", "content": "hi" }],
        "tools": [{ "name": "plan", "input_schema": { "type": "object" } }],
        "tool_choice": { "type": "tool", "name": "plan" },
    });
    let answer: Value = to_anthropic(&standins)
        .json(&body)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&answer["content"][0]["input"], &answer["stop_reason"]),
        (&plan, &json!("tool_use"))
    );
    standins.shutdown().await;
}

#[tokio::test]
async fn a_stream_stalls_breaks_off_or_fails_after_so_many_events() {
    let standins = start().await;
    let whole = ask_openai(&standins, "hi", true).await.unwrap().text().await.unwrap();
    assert!(whole.ends_with("data: [DONE]\n\n"));

    standins
        .openai()
        .script([Step::stream(2, Then::Stall { ms: 400 })])
        .unwrap();
    let begun = Instant::now();
    let mut answer = ask_openai(&standins, "hi", true).await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    assert!(
        begun.elapsed() < Duration::from_millis(400),
        "the beginning must not wait"
    );
    while answer.chunk().await.unwrap().is_some() {}
    assert!(begun.elapsed() >= Duration::from_millis(400));

    standins.openai().script([Step::stream(2, Then::Drop)]).unwrap();
    let mut answer = ask_openai(&standins, "hi", true).await.unwrap();
    let mut seen = String::new();
    let end = loop {
        match answer.chunk().await {
            Ok(Some(piece)) => seen.push_str(std::str::from_utf8(&piece).unwrap()),
            end => break end,
        }
    };
    assert!(end.is_err(), "{seen}");
    assert_eq!(seen.matches("data: ").count(), 2);

    let error = Then::Error("overloaded_error".to_owned());
    standins
        .anthropic()
        .script([Step::stream(3, error.clone()).times(2)])
        .unwrap();
    let answer = ask_anthropic(&standins, "hi", true).await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = answer.text().await.unwrap();
    assert_eq!(seen.matches("event: ").count(), 4);
    assert!(
        seen.contains("event: error\ndata: {\"error\":{\"message\":\"Overloaded\""),
        "{seen}"
    );
    // What is not streamed cannot fail half-way.
    assert_eq!(ask_anthropic(&standins, "hi", false).await.unwrap().status(), 529);
    standins.shutdown().await;
}

#[tokio::test]
async fn what_every_server_can_do_wrong_a_script_can_order_too() {
    let standins = start().await;
    let anthropic = standins.anthropic();
    anthropic
        .script([
            Step::fault(Action::Delay { ms: 200 }),
            Step::status(418, r#"{"any":"body"}"#),
            Step::fault(Action::DropAfter),
            Step::fault(Action::HalfBody),
            Step::garbage(),
        ])
        .unwrap();
    let begun = Instant::now();
    let teapot = ask_anthropic(&standins, "hi", false).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(teapot.status(), 418);
    assert_eq!(teapot.text().await.unwrap(), r#"{"any":"body"}"#);
    assert!(ask_anthropic(&standins, "hi", false).await.is_err());
    let half = ask_anthropic(&standins, "hi", false).await.unwrap();
    assert!(half.status() == 200 && half.bytes().await.is_err());
    let garbage = ask_anthropic(&standins, "hi", false).await.unwrap();
    assert!(garbage.status() == 200 && garbage.json::<Value>().await.is_err());
    assert_eq!(said_by_anthropic(&standins, "hi").await, "echo: hi");
    // The rules for the whole server reach the stand-ins as well.
    standins
        .faults()
        .add(Rule::new(Action::DropBefore).matching("/anthropic/v1").times(1));
    assert!(ask_anthropic(&standins, "hi", false).await.is_err());
    // What was dropped before any work is not among the received.
    assert_eq!(anthropic.received().count, 5);
    standins.shutdown().await;
}

#[tokio::test]
async fn requests_are_recorded_without_their_keys() {
    let standins = start().await;
    ask_openai(&standins, "remember me", false).await.unwrap();
    let url = format!("{}/v1/chat/completions", standins.openai().url());
    let http = reqwest::Client::new();
    let other = http
        .post(&url)
        .bearer_auth("sk-other")
        .body("no json")
        .send()
        .await
        .unwrap();
    assert_eq!(other.status(), 401);
    http.post(&url).send().await.unwrap();

    let received = standins.openai().received();
    assert_eq!((received.count, received.requests.len()), (3, 3));
    let keys = Vec::from_iter(received.requests.iter().map(|request| request.key));
    assert_eq!(keys, [Key::Right, Key::Wrong, Key::Missing]);
    let first = &received.requests[0];
    assert_eq!(first.body["messages"][0]["content"], "remember me");
    assert_eq!(
        (first.method.as_str(), first.headers["content-type"].as_str()),
        ("POST", "application/json")
    );
    assert_eq!(received.requests[1].body, "no json");

    let control = format!("{}/_received", standins.openai().url());
    let text = http.get(&control).send().await.unwrap().text().await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["count"], 3);
    assert!(
        !text.contains(standins.openai().api_key()) && !text.contains("sk-other"),
        "{text}"
    );
    let debug = format!("{standins:?}");
    assert!(!debug.contains(standins.openai().api_key()) && !debug.contains(standins.anthropic().api_key()));
    assert_eq!(http.delete(&control).send().await.unwrap().status(), 204);
    assert_eq!(standins.openai().received().count, 0);
    assert_eq!(standins.anthropic().received().count, 0);
    standins.shutdown().await;
}

#[tokio::test]
async fn a_slow_model_takes_its_time_between_pieces_and_as_long_for_the_whole() {
    let standins = start().await;
    for stream in [true, false] {
        let begun = Instant::now();
        let answer = ask_anthropic(&standins, "[slow 100] how are you today", stream)
            .await
            .unwrap();
        answer.text().await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    }
    standins.shutdown().await;
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused_as_the_vendor_does() {
    let standins = start().await;
    let answer = to_anthropic(&standins)
        .body(vec![b' '; 32 * 1024 * 1024 + 1])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 413);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["type"], "request_too_large");
    standins.shutdown().await;
}

async fn run_peer(file: &str, environment: BTreeMap<&str, String>) {
    let node = aos_dev::paths::node_modules().join(".bin/node");
    let output = tokio::process::Command::new(node)
        .args(["--test", "--test-reporter=spec", file])
        .current_dir(aos_dev::paths::repository())
        .envs(environment)
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
}

#[tokio::test]
async fn anthropics_own_client_accepts_the_stand_in() {
    let standins = start().await;
    run_peer("dev/peers/anthropic.test.mjs", standins.anthropic().settings()).await;
    standins.shutdown().await;
}

#[tokio::test]
async fn openais_own_client_accepts_the_stand_in() {
    let standins = start().await;
    let mut environment = standins.openai().settings();
    environment.insert("REFUSAL", model::REFUSAL.to_owned());
    run_peer("dev/peers/openai.test.mjs", environment).await;
    standins.shutdown().await;
}
