//! Breakers and lanes in a real Redis, by a clock that moves when it is told to.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aos::{
    breakers::{Admission, Breakers, Health, Pass},
    integrations::{provider::Provider, upstash::Upstash},
    platform::Clock,
};
use aos_dev::{
    faults::{Action, Rule},
    progress::Progress,
    redis::{Redis, RedisOptions},
    scratch::Scratch,
    upstash::{UpstashGateway, UpstashGatewayOptions},
};
use futures::{FutureExt, future::LocalBoxFuture};
use jiff::Timestamp;

const TIMEOUT: Duration = Duration::from_secs(30);

struct TestClock(Mutex<Timestamp>);

impl TestClock {
    fn passes(&self, seconds: u64) {
        let mut now = self.0.lock().unwrap();
        *now = now.checked_add(Duration::from_secs(seconds)).unwrap();
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed_local()
    }
}

struct Scene {
    breakers: Breakers,
    clock: Arc<TestClock>,
    gateway: UpstashGateway,
    _redis: Redis,
    _dir: Scratch,
}

impl Scene {
    async fn start() -> Self {
        let dir = Scratch::new().unwrap();
        let redis = Redis::start(RedisOptions {
            dir: dir.path().join("redis"),
            durable: false,
            progress: Progress::silent(),
        })
        .await
        .unwrap();
        let gateway = UpstashGateway::start(UpstashGatewayOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            redis: redis.url(),
            token: "throwaway".to_owned(),
        })
        .await
        .unwrap();
        let clock = Arc::new(TestClock(Mutex::new(Timestamp::now())));
        let upstash = Upstash::new(
            reqwest::Client::new(),
            clock.clone(),
            gateway.url().parse().unwrap(),
            "throwaway".to_owned().into(),
        )
        .unwrap();
        Self {
            breakers: Breakers::new(upstash, clock.clone()).with_lanes(3),
            clock,
            gateway,
            _redis: redis,
            _dir: dir,
        }
    }

    async fn admit(&self) -> Pass {
        match self.breakers.admit(Provider::Anthropic, "installation", TIMEOUT).await {
            Admission::Admitted(pass) => pass,
            other => panic!("{other:?}"),
        }
    }

    /// One call that goes so.
    async fn call(&self, health: Health) {
        let pass = self.admit().await;
        self.breakers.report(pass, health).await;
    }

    /// Seconds that the breaker is still open; `None` if it is not.
    async fn open_for(&self) -> Option<u64> {
        match self.breakers.admit(Provider::Anthropic, "installation", TIMEOUT).await {
            Admission::Open { retry_after } => Some(retry_after.as_secs_f64().ceil() as u64),
            Admission::Admitted(pass) => {
                self.breakers.report(pass, Health::Neither).await;
                None
            }
            Admission::Busy => panic!("no lane is free"),
        }
    }
}

#[tokio::test]
async fn five_failures_open_a_breaker_and_a_probe_that_succeeds_closes_it() {
    let scene = Scene::start().await;
    for _ in 0..5 {
        assert_eq!(scene.open_for().await, None);
        scene.call(Health::Sick).await;
    }
    assert_eq!(scene.open_for().await, Some(10));
    // Another provider's is its own.
    let voyage = scene.breakers.admit(Provider::Voyage, "installation", TIMEOUT).await;
    assert!(matches!(voyage, Admission::Admitted(_)));
    // A tenant's own key does not help: it is the provider that is sick.
    let own = scene.breakers.admit(Provider::Anthropic, "ten_1", TIMEOUT).await;
    assert!(matches!(own, Admission::Open { .. }));

    scene.clock.passes(11);
    let probe = scene.admit().await;
    assert!(scene.open_for().await.is_some(), "one probe at a time");
    scene.breakers.report(probe, Health::Well).await;
    assert_eq!(scene.open_for().await, None);
    for _ in 0..4 {
        scene.call(Health::Sick).await;
    }
    assert_eq!(scene.open_for().await, None, "it begins to count anew");
}

#[tokio::test]
async fn each_failed_probe_doubles_the_wait_up_to_five_minutes() {
    let scene = Scene::start().await;
    for _ in 0..5 {
        scene.call(Health::Sick).await;
    }
    let mut waits = Vec::new();
    for _ in 0..7 {
        let wait = scene.open_for().await.unwrap();
        waits.push(wait);
        scene.clock.passes(wait + 1);
        scene.call(Health::Sick).await;
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
}

#[tokio::test]
async fn a_probe_that_says_nothing_or_never_reports_lets_the_next_one_try() {
    let scene = Scene::start().await;
    for _ in 0..5 {
        scene.call(Health::Sick).await;
    }
    scene.clock.passes(11);
    scene.call(Health::Neither).await;
    let lost = scene.admit().await;
    assert!(scene.open_for().await.is_some());
    drop(lost);
    scene.clock.passes(31);
    scene.call(Health::Well).await;
    assert_eq!(scene.open_for().await, None);
}

#[tokio::test]
async fn what_is_not_the_providers_fault_opens_nothing_and_a_success_forgets_failures() {
    let scene = Scene::start().await;
    for _ in 0..20 {
        scene.call(Health::Neither).await;
    }
    for _ in 0..10 {
        for _ in 0..4 {
            scene.call(Health::Sick).await;
        }
        scene.call(Health::Well).await;
    }
    // Failures that lie far apart do not add up.
    for _ in 0..10 {
        scene.call(Health::Sick).await;
        scene.clock.passes(61);
    }
    assert_eq!(scene.open_for().await, None);
}

#[tokio::test]
async fn lanes_are_shared_given_back_and_end_by_themselves() {
    let scene = Scene::start().await;
    let mut held = vec![scene.admit().await, scene.admit().await, scene.admit().await];
    let busy = || scene.breakers.admit(Provider::Anthropic, "installation", TIMEOUT);
    assert!(matches!(busy().await, Admission::Busy));
    let own = scene.breakers.admit(Provider::Anthropic, "ten_1", TIMEOUT).await;
    assert!(matches!(own, Admission::Admitted(_)), "an own key has lanes of its own");

    scene.breakers.report(held.pop().unwrap(), Health::Well).await;
    let again = scene.admit().await;
    assert!(matches!(busy().await, Admission::Busy));
    // Whoever held the others never came back.
    drop((held, again));
    scene.clock.passes(36);
    scene.call(Health::Well).await;
}

#[tokio::test]
async fn without_redis_every_call_goes_on() {
    let scene = Scene::start().await;
    scene.gateway.faults().add(Rule::new(Action::DropBefore));
    for _ in 0..10 {
        scene.call(Health::Sick).await;
    }
    scene.gateway.faults().clear();
    assert_eq!(scene.open_for().await, None);
}
