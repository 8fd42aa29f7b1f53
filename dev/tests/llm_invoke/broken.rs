//! Connections and streams that break, stall or say something else than they should.

use std::time::{Duration, Instant};

use aos::skills::llm_invoke::LlmInvoke;
use aos::skills::{Category, Outcome};
use aos_dev::faults::Action;
use aos_dev::standins::script::{Step, Then};

use crate::bench::{Bench, failure, say_to};

/// What a provider's only call comes to after this step.
async fn after(bench: &Bench, provider: &str, step: Step) -> Outcome {
    match provider {
        "anthropic" => bench.anthropic([step]),
        _ => bench.openai([step]),
    }
    bench
        .call(&say_to(
            provider,
            "a text of several pieces, so that there is something to break",
        ))
        .await
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_network_failure_whose_cost_nobody_knows() {
    let bench = Bench::start().await;
    for provider in ["anthropic", "openai"] {
        for action in [Action::DropBefore, Action::DropAfter] {
            let outcome = after(&bench, provider, Step::fault(action.clone())).await;
            assert_eq!(
                failure(&outcome),
                (Category::Network, "network", true),
                "{provider} {action:?}"
            );
            assert_eq!(outcome.cost_microusd, None, "{provider} {action:?}");
            assert_eq!(outcome.calls[0].code.as_deref(), Some("network"));
        }
    }
    bench.end().await;
}

#[tokio::test]
async fn nobody_knows_what_half_a_body_costs() {
    let bench = Bench::start().await;
    for (provider, is_input_known) in [("anthropic", true), ("openai", false)] {
        let outcome = after(&bench, provider, Step::fault(Action::HalfBody)).await;
        assert_eq!(failure(&outcome), (Category::Network, "network", true));
        assert_eq!(outcome.cost_microusd, None, "{provider}");
        let call = &outcome.calls[0];
        assert_eq!(
            (call.input_tokens.is_some(), call.output_tokens),
            (is_input_known, None)
        );
    }
    bench.end().await;
}

#[tokio::test]
async fn nobody_listening_costs_nothing() {
    let mut bench = Bench::start().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let clock = bench.services.clock.clone();
    bench.services.endpoints = aos::skills::Endpoints::new(&reqwest::Client::new(), &clock, |_| {
        Some(format!("http://{free}").parse().unwrap())
    })
    .unwrap();
    let outcome = bench.call(&say_to("anthropic", "hi")).await;
    assert_eq!(failure(&outcome), (Category::Network, "network", true));
    assert_eq!(outcome.cost_microusd, Some(0));
    bench.end().await;
}

#[tokio::test]
async fn garbage_is_an_invalid_answer() {
    let bench = Bench::start().await;
    for provider in ["anthropic", "openai"] {
        for step in [
            Step::garbage(),
            Step::status(200, "data: {\"half\n\n"),
            Step::status(200, "data: 5\n\n"),
            Step::status(200, ""),
            Step::status(200, r#"{"looks":"fine"}"#),
        ] {
            let outcome = after(&bench, provider, step.clone()).await;
            assert_eq!(
                failure(&outcome),
                (Category::Provider, "invalid_answer", true),
                "{provider} {step:?}"
            );
            assert_eq!(outcome.cost_microusd, None, "{provider} {step:?}");
        }
    }
    bench.end().await;
}

#[tokio::test]
async fn a_stream_without_its_end_is_no_answer() {
    let bench = Bench::start().await;
    let begun = r#"{"type":"message_start","message":{"model":"claude-sonnet-5-5","usage":{"input_tokens":10,"output_tokens":1}}}"#;
    let text = r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"half"}}"#;
    let stream = format!("event: message_start\ndata: {begun}\n\ndata: {text}\n\n");
    let outcome = after(&bench, "anthropic", Step::status(200, stream)).await;
    assert_eq!(failure(&outcome), (Category::Provider, "invalid_answer", true));
    // The one token of output is what it had counted before it wrote any.
    let call = &outcome.calls[0];
    assert_eq!(
        (outcome.cost_microusd, call.input_tokens, call.output_tokens),
        (None, Some(10), None)
    );
    let chunk = r#"{"model":"gpt-4o","choices":[{"index":0,"delta":{"content":"half"}}]}"#;
    let outcome = after(&bench, "openai", Step::status(200, format!("data: {chunk}\n\n"))).await;
    assert_eq!(failure(&outcome), (Category::Provider, "invalid_answer", true));
    bench.end().await;
}

#[tokio::test]
async fn an_error_within_a_stream_keeps_its_meaning_and_what_was_used() {
    let bench = Bench::start().await;
    for (error, code, retryable) in [
        ("overloaded_error", "provider_unavailable", true),
        ("rate_limit_error", "rate_limited", true),
        ("api_error", "provider_unavailable", true),
        ("invalid_request_error", "request_rejected", false),
    ] {
        for (after_pieces, is_counted) in [(1, true), (6, false)] {
            let step = Step::stream(after_pieces, Then::Error(error.to_owned()));
            let outcome = after(&bench, "anthropic", step).await;
            let (_, found, again) = failure(&outcome);
            assert_eq!((found, again), (code, retryable), "{error}");
            assert_eq!(
                outcome.cost_microusd.is_some_and(|cost| cost > 0),
                is_counted,
                "{error}"
            );
            assert!(
                outcome.calls[0].input_tokens.is_some_and(|tokens| tokens > 0),
                "{error}"
            );
        }
    }
    for (after_pieces, cost) in [(0, Some(0)), (3, None)] {
        let step = Step::stream(after_pieces, Then::Error("server_error".to_owned()));
        let outcome = after(&bench, "openai", step).await;
        assert_eq!(failure(&outcome), (Category::Provider, "provider_unavailable", true));
        assert_eq!(outcome.cost_microusd, cost, "{after_pieces}");
    }
    bench.end().await;
}

#[tokio::test]
async fn nobody_knows_what_a_stream_costs_that_is_dropped() {
    let bench = Bench::start().await;
    let outcome = after(&bench, "anthropic", Step::stream(3, Then::Drop)).await;
    assert_eq!(failure(&outcome), (Category::Network, "network", true));
    let call = &outcome.calls[0];
    assert_eq!((call.output_tokens, call.provider_status), (None, Some(200)));
    assert!(
        call.input_tokens.is_some_and(|tokens| tokens > 0) && call.bytes_in > 0 && call.provider_request_id.is_some()
    );
    assert_eq!((call.cost_microusd, outcome.cost_microusd), (None, None));
    bench.end().await;
}

#[tokio::test]
async fn a_long_slow_answer_is_not_cut() {
    let mut bench = Bench::start().await;
    bench.skill = LlmInvoke::default().with_idle(Duration::from_millis(1_500));
    let began = Instant::now();
    for provider in ["anthropic", "openai"] {
        let output = bench
            .answer(&say_to(
                provider,
                "[slow 400] a text that comes in five or six pieces, slowly",
            ))
            .await;
        assert!(output["text"].as_str().unwrap().ends_with("slowly"), "{provider}");
    }
    assert!(began.elapsed() > Duration::from_secs(4), "{:?}", began.elapsed());
    bench.end().await;
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_cut() {
    let mut bench = Bench::start().await;
    bench.skill = LlmInvoke::default().with_idle(Duration::from_millis(300));
    for (provider, is_input_known) in [("anthropic", true), ("openai", false)] {
        let began = Instant::now();
        let outcome = after(&bench, provider, Step::stream(3, Then::Stall { ms: 10_000 })).await;
        assert_eq!(failure(&outcome), (Category::Timeout, "timeout", true), "{provider}");
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(outcome.error.as_ref().unwrap().message.contains("300 ms"));
        assert_eq!(outcome.cost_microusd, None, "{provider}");
        assert_eq!(outcome.calls[0].input_tokens.is_some(), is_input_known, "{provider}");
    }
    bench.end().await;
}

#[tokio::test]
async fn the_whole_is_bounded_by_the_steps_time() {
    let mut bench = Bench::start().await;
    bench.timeout = Duration::from_millis(800);
    for (provider, step) in [
        ("anthropic", Step::fault(Action::Delay { ms: 10_000 })),
        ("openai", Step::fault(Action::DelayAfter { ms: 10_000 })),
        ("anthropic", Step::stream(3, Then::Stall { ms: 10_000 })),
    ] {
        let began = Instant::now();
        let outcome = after(&bench, provider, step.clone()).await;
        assert_eq!(failure(&outcome), (Category::Timeout, "timeout", true), "{step:?}");
        assert!(began.elapsed() < Duration::from_secs(3), "{step:?}");
    }
    // Nothing was counted of the first two, and they may have been billed.
    let outcome = after(&bench, "anthropic", Step::fault(Action::Delay { ms: 10_000 })).await;
    assert_eq!((outcome.cost_microusd, outcome.usage.requests), (None, 1));
    bench.end().await;
}
