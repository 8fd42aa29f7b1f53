//! The providers' breakers and lanes, in a real Redis.

use std::time::{Duration, Instant};

use aos::breakers::Breakers;
use aos::integrations::upstash::Upstash;
use aos::skills::Category;
use aos::tenants::OwnSetting;
use aos_dev::faults::{Action, Rule};
use aos_dev::progress::Progress;
use aos_dev::redis::{Redis, RedisOptions};
use aos_dev::scratch::Scratch;
use aos_dev::standins::script::Step;
use aos_dev::upstash::{UpstashGateway, UpstashGatewayOptions};

use crate::bench::{Bench, failure, say, say_to};

const TOKEN: &str = "a-token";

struct Shared {
    redis: Redis,
    gateway: UpstashGateway,
    _dir: Scratch,
}

impl Shared {
    /// Gives the bench breakers in a Redis of their own.
    async fn start(bench: &mut Bench) -> Self {
        let dir = Scratch::new().unwrap();
        let options = RedisOptions {
            dir: dir.path().join("redis"),
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
        let url = gateway.url().parse().unwrap();
        let clock = bench.clock.clone();
        let upstash = Upstash::new(reqwest::Client::new(), clock.clone(), url, TOKEN.to_owned().into()).unwrap();
        bench.services.breakers = Some(Breakers::new(upstash, clock));
        bench.timeout = Duration::from_secs(20);
        Self {
            redis,
            gateway,
            _dir: dir,
        }
    }

    async fn end(self) {
        self.gateway.shutdown().await;
        self.redis.stop().await;
    }
}

#[tokio::test]
async fn five_sick_answers_open_the_breaker_and_a_probe_closes_it() {
    let mut bench = Bench::start().await;
    let shared = Shared::start(&mut bench).await;
    bench.anthropic([Step::error("overloaded_error").times(5)]);
    for _ in 0..5 {
        let outcome = bench.call(&say_to("anthropic", "hi")).await;
        assert_eq!(failure(&outcome).1, "provider_unavailable");
    }
    let outcome = bench.call(&say_to("anthropic", "hi")).await;
    assert_eq!(failure(&outcome), (Category::Provider, "circuit_open", true));
    let wait = outcome.error.unwrap().retry_after_ms.unwrap();
    assert!(wait > 5_000 && wait <= 10_000, "{wait}");
    assert_eq!((outcome.calls.len(), outcome.cost_microusd), (0, Some(0)));
    assert_eq!(bench.asked(), (5, 0));

    // With a fallback it is left out, and that is said.
    let output = bench.answer(&say("hi")).await;
    assert_eq!(output["attempts"][0]["code"], "circuit_open");
    assert_eq!((&output["provider"], bench.asked()), (&"openai".into(), (5, 1)));

    bench.clock.by(Duration::from_secs(11));
    assert_eq!(bench.answer(&say_to("anthropic", "hi")).await["provider"], "anthropic");
    assert_eq!(bench.answer(&say("hi")).await["provider"], "anthropic");
    shared.end().await;
    bench.end().await;
}

#[tokio::test]
async fn a_probe_that_fails_opens_it_again() {
    let mut bench = Bench::start().await;
    let shared = Shared::start(&mut bench).await;
    bench.openai([Step::error("server_error").times(6)]);
    for _ in 0..5 {
        bench.call(&say_to("openai", "hi")).await;
    }
    bench.clock.by(Duration::from_secs(11));
    assert_eq!(
        failure(&bench.call(&say_to("openai", "hi")).await).1,
        "provider_unavailable"
    );
    let outcome = bench.call(&say_to("openai", "hi")).await;
    assert_eq!(failure(&outcome).1, "circuit_open");
    assert!(outcome.error.unwrap().retry_after_ms.unwrap() > 10_000);
    assert_eq!(bench.asked(), (0, 6));
    shared.end().await;
    bench.end().await;
}

#[tokio::test]
async fn a_tenants_failures_shut_nobody_else_out() {
    let mut bench = Bench::start().await;
    let shared = Shared::start(&mut bench).await;
    let another = "ten_018f0000000070008000000000000002".parse().unwrap();
    let key = bench.standins.anthropic().api_key().to_owned();
    let first = std::mem::replace(&mut bench.tenant, another);
    for is_own in [true, false] {
        if is_own {
            bench.own(OwnSetting::AnthropicApiKey, &key);
        }
        bench.tenant = first;
        bench.anthropic([Step::error("api_error").times(5)]);
        for _ in 0..5 {
            bench.call(&say_to("anthropic", "hi")).await;
        }
        assert_eq!(failure(&bench.call(&say_to("anthropic", "hi")).await).1, "circuit_open");
        bench.owner.values.clear();
        bench.tenant = another;
        assert_eq!(bench.answer(&say_to("anthropic", "hi")).await["provider"], "anthropic");
        bench.clock.by(Duration::from_secs(120));
        bench.tenant = first;
        bench.answer(&say_to("anthropic", "hi")).await;
    }
    shared.end().await;
    bench.end().await;
}

#[tokio::test]
async fn a_slow_redis_leaves_the_step_its_time() {
    let mut bench = Bench::start().await;
    let shared = Shared::start(&mut bench).await;
    bench.timeout = Duration::from_secs(2);
    // Admission and report take 300 ms each.
    shared.gateway.faults().add(Rule::new(Action::Delay { ms: 300 }));
    bench.anthropic([Step::fault(Action::Delay { ms: 10_000 })]);
    let began = Instant::now();
    let outcome = bench.call(&say_to("anthropic", "hi")).await;
    assert_eq!(failure(&outcome), (Category::Timeout, "timeout", true));
    assert!(began.elapsed() <= bench.timeout, "{:?}", began.elapsed());
    // So little time that nothing is sent.
    bench.timeout = Duration::from_millis(200);
    let outcome = bench.call(&say_to("anthropic", "hi")).await;
    assert_eq!(failure(&outcome), (Category::Network, "network", true));
    assert_eq!((outcome.cost_microusd, bench.asked()), (Some(0), (1, 0)));
    shared.end().await;
    bench.end().await;
}

#[tokio::test]
async fn what_is_the_callers_fault_never_opens_it() {
    let mut bench = Bench::start().await;
    let shared = Shared::start(&mut bench).await;
    for error in [
        "invalid_request_error",
        "not_found_error",
        "rate_limit_error",
        "authentication_error",
    ] {
        bench.anthropic([Step::error(error).times(6)]);
        for _ in 0..6 {
            assert_ne!(
                failure(&bench.call(&say_to("anthropic", "hi")).await).1,
                "circuit_open",
                "{error}"
            );
        }
    }
    bench.answer(&say_to("anthropic", "[refuse-not] hi")).await;
    assert_eq!(bench.asked(), (25, 0));
    shared.end().await;
    bench.end().await;
}

#[tokio::test]
async fn an_answer_that_a_steps_own_time_cuts_off_opens_nothing_but_silence_does() {
    let mut bench = Bench::start().await;
    let shared = Shared::start(&mut bench).await;
    // Long enough that silence for all of it is the provider's fault.
    bench.timeout = Duration::from_secs(11);
    bench.openai([Step::fault(Action::Delay { ms: 30_000 }).times(5)]);
    let flowing = say_to(
        "anthropic",
        &format!("[slow 1000] {}", "a text of many pieces ".repeat(30)),
    );
    let silent = say_to("openai", "hi");
    let calls = (0..5).flat_map(|_| [bench.call(&flowing), bench.call(&silent)]);
    for outcome in futures::future::join_all(calls).await {
        assert_eq!(failure(&outcome), (Category::Timeout, "timeout", true));
    }
    assert_eq!(bench.answer(&say_to("anthropic", "hi")).await["provider"], "anthropic");
    assert_eq!(failure(&bench.call(&silent).await).1, "circuit_open");
    shared.end().await;
    bench.end().await;
}

#[tokio::test]
async fn a_step_waits_only_when_the_lanes_of_both_are_taken() {
    let mut bench = Bench::start().await;
    let shared = Shared::start(&mut bench).await;
    let breakers = bench.services.breakers.take().unwrap();
    bench.services.breakers = Some(breakers.clone().with_lanes(0));
    let outcome = bench.call(&say("hi")).await;
    assert!(outcome.deferred.is_some());
    assert_eq!((bench.asked(), outcome.calls.len()), ((0, 0), 0));

    // One lane, which a slow call holds; the next call goes to the other provider.
    bench.services.breakers = Some(breakers.with_lanes(1));
    let slow = say_to("anthropic", "[slow 500] a text of some pieces");
    let holding = bench.call(&slow);
    let other = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let output = bench.answer(&say("hi")).await;
        assert_eq!(output["attempts"][0]["code"], "provider_busy");
        assert_eq!(output["provider"], "openai");
        let outcome = bench.call(&say_to("anthropic", "hi")).await;
        assert!(outcome.deferred.is_some());
    };
    let (held, ()) = futures::join!(holding, other);
    assert!(held.output.is_some());
    shared.end().await;
    bench.end().await;
}
