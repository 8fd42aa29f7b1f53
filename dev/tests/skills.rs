//! The skill `kv_store` against a real Redis through the Upstash gateway: what it stores, and that a step which is tried
//! again writes nothing twice, whatever became of the first answer.

use std::sync::Arc;
use std::time::Duration;

use aos::ids::{StepId, TenantId};
use aos::integrations::Repeat;
use aos::integrations::upstash::{Command, Key, Upstash};
use aos::platform::{Clock, Fetch, FetchError, FetchRequest, FetchResponse};
use aos::skills::{Call, Endpoints, Outcome, Registry, SecretValues, Services, registry};
use aos::tenants::Owner;
use aos_dev::faults::{Action, Rule};
use aos_dev::progress::Progress;
use aos_dev::redis::{Redis, RedisOptions};
use aos_dev::scratch::Scratch;
use aos_dev::upstash::{UpstashGateway, UpstashGatewayOptions};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};

const TOKEN: &str = "a-token";

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed_local()
    }
}

/// `kv_store` fetches no URL of a caller's.
struct NoFetch;

impl Fetch for NoFetch {
    fn fetch(&self, _: FetchRequest) -> LocalBoxFuture<'_, Result<FetchResponse, FetchError>> {
        async { Err(FetchError::Refused("not here".to_owned())) }.boxed_local()
    }
}

struct Bench {
    registry: Registry,
    services: Services,
    upstash: Upstash,
    gateway: UpstashGateway,
    redis: Redis,
    _dir: Scratch,
}

impl Bench {
    async fn start() -> Self {
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
        let clock = Arc::new(SystemClock);
        let rest_url = gateway.url().parse().unwrap();
        let upstash = Upstash::new(reqwest::Client::new(), clock.clone(), rest_url, TOKEN.to_owned().into()).unwrap();
        let clock: Arc<dyn Clock> = clock;
        let endpoints = Endpoints::new(&reqwest::Client::new(), &clock, |_| None).unwrap();
        let services = Services {
            upstash: Some(upstash.clone()),
            ..Services::new(clock, Arc::new(NoFetch), endpoints)
        };
        Self {
            registry: Registry::default(),
            services,
            upstash,
            gateway,
            redis,
            _dir: dir,
        }
    }

    async fn call(&self, tenant: u8, step: u32, attempt: u32, params: Value) -> Outcome {
        let skill = self.registry.get("kv_store").unwrap();
        assert_eq!(skill.check(&params), Ok(()), "{params}");
        let outcome = skill
            .execute(Call {
                params: &params,
                secrets: &SecretValues::new(),
                owner: &Owner::default(),
                tenant: tenant_id(tenant),
                run: "run_018f0000000070008000000000000001".parse().unwrap(),
                step: step_id(step),
                attempt,
                idempotency_key: "the-step",
                timeout: Duration::from_secs(10),
                services: &self.services,
            })
            .await;
        if let Some(error) = &outcome.error {
            let modes = registry::contract(skill.identity().name).unwrap().failure_modes;
            assert!(
                modes.iter().any(|mode| mode.code == error.code),
                "{} is not in the contract",
                error.code
            );
        }
        outcome
    }

    /// One step of the first tenant that succeeds at once.
    async fn step(&self, step: u32, params: Value) -> Value {
        let outcome = self.call(1, step, 1, params.clone()).await;
        outcome
            .output
            .unwrap_or_else(|| panic!("{params}: {:?}", outcome.error))
    }

    async fn end(self) {
        self.gateway.shutdown().await;
        self.redis.stop().await;
    }
}

fn tenant_id(number: u8) -> TenantId {
    format!("ten_018f00000000700080000000000000{number:02x}")
        .parse()
        .unwrap()
}

fn step_id(number: u32) -> StepId {
    format!("stp_018f00000000700080000000{number:08x}").parse().unwrap()
}

#[tokio::test]
async fn every_operation_does_what_its_contract_says() {
    let bench = Bench::start().await;
    let get = || json!({"op": "get", "key": "k"});
    let mut steps = 0..;
    for (params, expected) in [
        (get(), json!({"found": false, "value": null})),
        (
            json!({"op": "ttl", "key": "k"}),
            json!({"exists": false, "ttl_s": null}),
        ),
        (
            json!({"op": "expire", "key": "k", "ttl_s": 5}),
            json!({"updated": false}),
        ),
        (json!({"op": "delete", "key": "k"}), json!({"deleted": false})),
        (
            json!({"op": "set", "key": "k", "value": {"b": [1, "ü\u{1}\""], "a": null}}),
            json!({"stored": true}),
        ),
        (
            get(),
            json!({"found": true, "value": {"a": null, "b": [1, "ü\u{1}\""]}}),
        ),
        (json!({"op": "ttl", "key": "k"}), json!({"exists": true, "ttl_s": null})),
        (
            json!({"op": "expire", "key": "k", "ttl_s": 500}),
            json!({"updated": true}),
        ),
        (json!({"op": "ttl", "key": "k"}), json!({"exists": true, "ttl_s": 500})),
        (json!({"op": "set", "key": "k", "value": null}), json!({"stored": true})),
        (json!({"op": "ttl", "key": "k"}), json!({"exists": true, "ttl_s": null})),
        (get(), json!({"found": true, "value": null})),
        (json!({"op": "exists", "key": "k"}), json!({"exists": true})),
        (json!({"op": "delete", "key": "k"}), json!({"deleted": true})),
        (json!({"op": "exists", "key": "k"}), json!({"exists": false})),
        // Compare and set.
        (
            json!({"op": "cas", "key": "c", "value": 1, "expected": 0}),
            json!({"swapped": false}),
        ),
        (
            json!({"op": "cas", "key": "c", "value": {"v": 1, "u": 2}}),
            json!({"swapped": true}),
        ),
        (json!({"op": "cas", "key": "c", "value": 2}), json!({"swapped": false})),
        (
            json!({"op": "cas", "key": "c", "value": 2, "expected": {"u": 2, "v": 1}, "ttl_s": 60}),
            json!({"swapped": true}),
        ),
        (json!({"op": "get", "key": "c"}), json!({"found": true, "value": 2})),
        (json!({"op": "ttl", "key": "c"}), json!({"exists": true, "ttl_s": 60})),
        // Counters.
        (json!({"op": "incr", "key": "n"}), json!({"value": 1})),
        (
            json!({"op": "incr", "key": "n", "by": 9_007_199_254_740_991_i64}),
            json!({"value": 9_007_199_254_740_992_i64}),
        ),
        (
            json!({"op": "incr", "key": "n"}),
            json!({"value": 9_007_199_254_740_993_i64}),
        ),
        (
            json!({"op": "decr", "key": "n", "by": 9_007_199_254_740_991_i64, "ttl_s": 60}),
            json!({"value": 2}),
        ),
        (json!({"op": "ttl", "key": "n"}), json!({"exists": true, "ttl_s": 60})),
        (json!({"op": "incr", "key": "n", "ttl_s": 5}), json!({"value": 3})),
        (json!({"op": "ttl", "key": "n"}), json!({"exists": true, "ttl_s": 60})),
        (json!({"op": "get", "key": "n"}), json!({"found": true, "value": 3})),
        (json!({"op": "set", "key": "n", "value": 7}), json!({"stored": true})),
        (json!({"op": "decr", "key": "n", "by": 10}), json!({"value": -3})),
    ] {
        assert_eq!(
            bench.step(steps.next().unwrap(), params.clone()).await,
            expected,
            "{params}"
        );
    }
    bench.end().await;
}

#[tokio::test]
async fn a_call_is_one_request() {
    let bench = Bench::start().await;
    for (step, params) in (0..).zip([
        json!({"op": "set", "key": "k", "value": 1}),
        json!({"op": "get", "key": "k"}),
        json!({"op": "incr", "key": "k"}),
        json!({"op": "cas", "key": "k", "value": 1, "expected": 2}),
        json!({"op": "ttl", "key": "k"}),
    ]) {
        bench.gateway.counters().reset();
        bench.step(step, params.clone()).await;
        assert_eq!(bench.gateway.counters().snapshot().total, 1, "{params}");
    }
    bench.end().await;
}

#[tokio::test]
async fn a_step_that_is_tried_again_gets_the_first_result_and_changes_nothing() {
    let bench = Bench::start().await;
    let incr = json!({"op": "incr", "key": "n", "by": 5});
    for attempt in 1..=3 {
        assert_eq!(
            bench.call(1, 1, attempt, incr.clone()).await.output,
            Some(json!({"value": 5}))
        );
    }
    assert_eq!(
        bench.call(1, 2, 1, incr).await.output,
        Some(json!({"value": 10})),
        "another step counts"
    );

    let set = json!({"op": "set", "key": "k", "value": "mine"});
    bench.call(1, 3, 1, set.clone()).await;
    bench.step(4, json!({"op": "set", "key": "k", "value": "theirs"})).await;
    assert_eq!(bench.call(1, 3, 2, set).await.output, Some(json!({"stored": true})));
    assert_eq!(
        bench.step(5, json!({"op": "get", "key": "k"})).await["value"],
        "theirs",
        "a late repeat overwrote it"
    );

    let delete = json!({"op": "delete", "key": "k"});
    assert_eq!(
        bench.call(1, 6, 1, delete.clone()).await.output,
        Some(json!({"deleted": true}))
    );
    bench.step(7, json!({"op": "set", "key": "k", "value": "again"})).await;
    assert_eq!(bench.call(1, 6, 2, delete).await.output, Some(json!({"deleted": true})));
    assert_eq!(
        bench.step(8, json!({"op": "exists", "key": "k"})).await,
        json!({"exists": true})
    );

    let cas = json!({"op": "cas", "key": "c", "value": 1});
    assert_eq!(
        bench.call(1, 9, 1, cas.clone()).await.output,
        Some(json!({"swapped": true}))
    );
    assert_eq!(
        bench.call(1, 9, 2, cas).await.output,
        Some(json!({"swapped": true})),
        "its own value is no stranger's"
    );
    bench.end().await;
}

#[tokio::test]
async fn an_answer_that_is_lost_counts_once() {
    let bench = Bench::start().await;
    let incr = json!({"op": "incr", "key": "n"});
    for (step, action) in (1..).zip([Action::DropAfter, Action::HalfBody, Action::DropBefore]) {
        bench.gateway.faults().add(Rule::new(action.clone()).times(1));
        let outcome = bench.call(1, step, 1, incr.clone()).await;
        assert_eq!(outcome.output, Some(json!({"value": step})), "{action:?}");
    }
    // So long that the client gives up: the engine's next attempt of the step finds the result.
    bench.gateway.faults().add(Rule::new(Action::DropAfter).times(4));
    let outcome = bench.call(1, 9, 1, incr.clone()).await;
    let error = outcome.error.unwrap();
    assert_eq!((error.code.as_ref(), error.retryable), ("network", true));
    assert!(outcome.effects.is_empty());
    assert_eq!(
        bench.call(1, 9, 2, incr.clone()).await.output,
        Some(json!({"value": 4}))
    );
    assert_eq!(bench.step(10, incr).await, json!({"value": 5}));
    bench.end().await;
}

#[tokio::test]
async fn what_cannot_be_counted_is_refused_and_may_be_tried_when_it_can() {
    let bench = Bench::start().await;
    let incr = json!({"op": "incr", "key": "k"});
    for (step, value) in (1..).zip([json!("text"), json!({"a": 1}), json!(1.5), json!(null), json!(i64::MAX)]) {
        bench.step(step, json!({"op": "set", "key": "k", "value": value})).await;
        let outcome = bench.call(1, 100, 1, incr.clone()).await;
        assert_eq!(outcome.error.unwrap().code, "not_an_integer", "{value}");
        assert!(outcome.effects.is_empty());
    }
    bench.step(50, json!({"op": "set", "key": "k", "value": 1})).await;
    assert_eq!(
        bench.call(1, 100, 2, incr).await.output,
        Some(json!({"value": 2})),
        "a refusal leaves no marker"
    );
    bench.end().await;
}

#[tokio::test]
async fn tenants_do_not_see_each_other_nor_a_steps_marker() {
    let bench = Bench::start().await;
    bench.step(1, json!({"op": "set", "key": "k", "value": "first"})).await;
    let other = bench.call(2, 2, 1, json!({"op": "get", "key": "k"})).await;
    assert_eq!(other.output, Some(json!({"found": false, "value": null})));

    // A key that tries to be the first tenant's, or a marker.
    let forged = format!("{}:k:k", tenant_id(1));
    for key in [forged.as_str(), "../k", "k:k", "step:x", "*"] {
        let outcome = bench.call(2, 3, 1, json!({"op": "exists", "key": key})).await;
        assert_eq!(outcome.output, Some(json!({"exists": false})), "{key}");
    }
    let marker = format!("step:{}", step_id(1));
    let outcome = bench.step(4, json!({"op": "exists", "key": marker})).await;
    assert_eq!(outcome, json!({"exists": false}));

    let entry = Key::tenant_kv(tenant_id(1), &marker);
    let ttl = bench
        .upstash
        .command(Command::new("TTL").arg(&entry), Repeat::Harmless)
        .await
        .unwrap();
    assert!(
        (86_000..=86_400).contains(&ttl.as_i64().unwrap()),
        "a marker lives a day: {ttl}"
    );
    bench.end().await;
}

#[tokio::test]
async fn what_is_stored_is_not_believed_to_be_json() {
    let bench = Bench::start().await;
    let entry = Key::tenant_kv(tenant_id(1), "k:k");
    bench
        .upstash
        .command(Command::set_ex(&entry, "{", Duration::from_secs(60)), Repeat::Harmless)
        .await
        .unwrap();
    let outcome = bench.call(1, 1, 1, json!({"op": "get", "key": "k"})).await;
    assert_eq!(outcome.error.unwrap().code, "invalid_stored_value");
    bench
        .upstash
        .command(Command::del(&entry), Repeat::Harmless)
        .await
        .unwrap();
    bench
        .upstash
        .command(Command::new("HSET").arg(&entry).arg("f").arg("v"), Repeat::Harmless)
        .await
        .unwrap();
    for params in [json!({"op": "get", "key": "k"}), json!({"op": "incr", "key": "k"})] {
        let outcome = bench.call(1, 2, 1, params).await;
        assert_eq!(outcome.error.unwrap().code, "provider_failed");
    }
    bench.end().await;
}

#[tokio::test]
async fn a_sick_upstash_is_an_outcome_and_not_a_crash() {
    let bench = Bench::start().await;
    let get = json!({"op": "get", "key": "k"});
    for (code, body, expected) in [
        (
            401,
            "{\"error\":\"WRONGPASS invalid token\"}",
            "integration_unauthorized",
        ),
        (429, "{\"error\":\"ERR too many requests\"}", "rate_limited"),
        (
            400,
            "{\"error\":\"ERR max daily request limit exceeded. Limit: 10000\"}",
            "rate_limited",
        ),
        (503, "busy", "network"),
    ] {
        let action = Action::Status {
            code,
            body: body.to_owned(),
            headers: Default::default(),
        };
        bench.gateway.faults().add(Rule::new(action));
        let outcome = bench.call(1, 1, 1, get.clone()).await;
        assert_eq!(outcome.error.unwrap().code, expected, "{code} {body}");
        bench.gateway.faults().clear();
    }
    bench.end().await;
}
