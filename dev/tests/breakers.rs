//! Breakers and lanes in a real Redis, by a clock that moves when it is told to.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aos::{
    breakers::{Account, Admission, Breakers, Health, PATIENCE, Pass},
    ids::TenantId,
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
            breakers: Breakers::new(upstash, clock.clone()).with_lanes(4),
            clock,
            gateway,
            _redis: redis,
            _dir: dir,
        }
    }

    async fn ask(&self, account: Account) -> Admission {
        self.breakers.admit(Provider::Anthropic, account, TIMEOUT).await
    }

    async fn admit_as(&self, account: Account) -> Pass {
        match self.ask(account).await {
            Admission::Admitted(pass) => pass,
            other => panic!("{other:?}"),
        }
    }

    async fn admit(&self) -> Pass {
        self.admit_as(installation(1)).await
    }

    /// One call that goes so.
    async fn call_as(&self, account: Account, health: Health) {
        let pass = self.admit_as(account).await;
        self.breakers.report(pass, health).await;
    }

    async fn call(&self, health: Health) {
        self.call_as(installation(1), health).await;
    }

    /// Seconds that the breaker is still open; `None` if it is not.
    async fn open_to(&self, account: Account) -> Option<u64> {
        match self.ask(account).await {
            Admission::Open { retry_after } => Some(retry_after.as_secs_f64().ceil() as u64),
            Admission::Admitted(pass) => {
                self.breakers.report(pass, Health::Neither).await;
                None
            }
            Admission::Busy => panic!("no lane is free"),
        }
    }

    async fn open_for(&self) -> Option<u64> {
        self.open_to(installation(1)).await
    }
}

fn tenant(number: u8) -> TenantId {
    format!("ten_018f00000000700080000000000000{number:02x}")
        .parse()
        .unwrap()
}

/// A tenant that uses the installation's key.
fn installation(number: u8) -> Account {
    Account::Installation(tenant(number))
}

/// A tenant with a key of its own.
fn own(number: u8) -> Account {
    Account::Own(tenant(number))
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
    let voyage = scene.breakers.admit(Provider::Voyage, installation(1), TIMEOUT).await;
    assert!(matches!(voyage, Admission::Admitted(_)));

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
async fn one_tenant_alone_never_closes_a_provider_to_the_others() {
    let scene = Scene::start().await;
    for account in [own(1), installation(2)] {
        for _ in 0..5 {
            scene.call_as(account, Health::Sick).await;
        }
        assert_eq!(scene.open_to(account).await, Some(10));
        for other in [installation(3), own(4)] {
            assert_eq!(scene.open_to(other).await, None, "{account:?} {other:?}");
        }
    }
}

#[tokio::test]
async fn two_tenants_open_the_breaker_of_all_who_share_the_installations_key() {
    let scene = Scene::start().await;
    for _ in 0..4 {
        scene.call_as(installation(1), Health::Sick).await;
    }
    scene.call_as(installation(2), Health::Sick).await;
    assert_eq!(
        scene.open_to(installation(3)).await,
        None,
        "only three of one tenant's count"
    );
    scene.call_as(installation(2), Health::Sick).await;
    for sharing in 1..=3 {
        assert_eq!(scene.open_to(installation(sharing)).await, Some(10));
    }
    assert_eq!(
        scene.open_to(own(4)).await,
        None,
        "an own key is not the installation's"
    );

    // Anybody may probe it, and it is open or closed for all.
    scene.clock.passes(11);
    scene.call_as(installation(3), Health::Sick).await;
    assert_eq!(scene.open_to(installation(2)).await, Some(20));
    scene.clock.passes(21);
    scene.call_as(installation(2), Health::Well).await;
    assert_eq!(scene.open_to(installation(3)).await, None);
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
async fn only_the_probe_speaks_while_a_breaker_is_half_open() {
    let scene = Scene::start().await;
    let early = [scene.admit_as(own(1)).await, scene.admit_as(own(1)).await];
    for _ in 0..5 {
        scene.call_as(own(1), Health::Sick).await;
    }
    scene.clock.passes(11);
    let probe = scene.admit_as(own(1)).await;
    for (pass, health) in early.into_iter().zip([Health::Neither, Health::Sick]) {
        scene.breakers.report(pass, health).await;
        assert_eq!(scene.open_to(own(1)).await, Some(30), "the probe is still under way");
    }
    scene.breakers.report(probe, Health::Sick).await;
    assert_eq!(scene.open_to(own(1)).await, Some(20));
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
    let mut held = Vec::new();
    for number in 1..=4 {
        held.push(scene.admit_as(installation(number)).await);
    }
    let busy = || scene.ask(installation(5));
    assert!(matches!(busy().await, Admission::Busy));
    let own = scene.ask(own(6)).await;
    assert!(matches!(own, Admission::Admitted(_)), "an own key has lanes of its own");

    scene.breakers.report(held.pop().unwrap(), Health::Well).await;
    let again = scene.admit_as(installation(4)).await;
    assert!(matches!(busy().await, Admission::Busy));
    // Whoever held the others never came back.
    drop((held, again));
    scene.clock.passes(36);
    scene.call_as(installation(5), Health::Well).await;
}

#[tokio::test]
async fn one_tenant_has_half_of_the_installations_lanes_and_all_of_its_own() {
    let scene = Scene::start().await;
    let _held = [scene.admit().await, scene.admit().await];
    assert!(matches!(scene.ask(installation(1)).await, Admission::Busy));
    let _other = scene.admit_as(installation(2)).await;
    for _ in 0..4 {
        scene.admit_as(own(3)).await;
    }
    assert!(matches!(scene.ask(own(3)).await, Admission::Busy));
}

#[tokio::test]
async fn a_call_that_asks_again_because_the_answer_was_lost_is_answered_as_before() {
    let scene = Scene::start().await;
    let lose_one = || scene.gateway.faults().add(Rule::new(Action::DropAfter).times(1));
    let breakers = scene.breakers.clone().with_lanes(1);
    let admit = || breakers.admit(Provider::Anthropic, installation(1), TIMEOUT);
    // The last lane.
    lose_one();
    let Admission::Admitted(pass) = admit().await else {
        panic!("it was told that its own lane is taken");
    };
    assert!(matches!(admit().await, Admission::Busy), "the lane is taken by it");
    breakers.report(pass, Health::Sick).await;
    for _ in 0..4 {
        scene.call(Health::Sick).await;
    }
    // The probe.
    scene.clock.passes(11);
    lose_one();
    let Admission::Admitted(probe) = admit().await else {
        panic!("it was told that its own probe is under way");
    };
    breakers.report(probe, Health::Well).await;
    assert_eq!(scene.open_for().await, None);
}

#[tokio::test]
async fn without_redis_every_call_goes_on() {
    let scene = Scene::start().await;
    scene.gateway.faults().add(Rule::new(Action::DropBefore));
    for _ in 0..10 {
        scene.call(Health::Sick).await;
    }
    scene.gateway.faults().clear();
    scene.clock.passes(6);
    assert_eq!(scene.open_for().await, None);
}

#[tokio::test]
async fn a_slow_redis_holds_one_call_up_and_not_for_long() {
    let scene = Scene::start().await;
    scene.gateway.faults().add(Rule::new(Action::Delay { ms: 5_000 }));
    let began = Instant::now();
    scene.call(Health::Sick).await;
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    // The others do not wait, clones neither.
    let began = Instant::now();
    let clone = scene.breakers.clone();
    for _ in 0..20 {
        assert!(matches!(
            clone.admit(Provider::Voyage, own(2), TIMEOUT).await,
            Admission::Admitted(_)
        ));
    }
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    // After a while one asks again; and a report that finds no answer is held up no longer.
    scene.gateway.faults().clear();
    scene.clock.passes(6);
    let pass = scene.admit().await;
    scene.gateway.faults().add(Rule::new(Action::Delay { ms: 5_000 }));
    let began = Instant::now();
    scene.breakers.report(pass, Health::Well).await;
    let took = began.elapsed();
    assert!(took >= PATIENCE && took < Duration::from_millis(900), "{took:?}");
}
