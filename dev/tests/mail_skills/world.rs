//! The stand-ins, a tenant with keys of its own, and the services that skills call on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aos::archive::Archive;
use aos::breakers::Breakers;
use aos::ids::StepId;
use aos::integrations::http_client;
use aos::integrations::provider::Provider;
use aos::integrations::upstash::Upstash;
use aos::platform::{Clock, Deleted, Fetch, FetchError, FetchRequest, FetchResponse, ObjectStore, PlatformError};
use aos::skills::{Call, Endpoints, Outcome, OutcomeError, Registry, SecretValues, Services, registry};
use aos::tenants::{OwnSetting, Owner};
use aos_dev::faults::{Action, Rule};
use aos_dev::progress::Progress;
use aos_dev::redis::{Redis, RedisOptions};
use aos_dev::scratch::Scratch;
use aos_dev::standins::{Standins, StandinsOptions};
use aos_dev::upstash::{UpstashGateway, UpstashGatewayOptions};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde_json::Value;

pub(crate) const SENDER: &str = "AOS <aos@example.com>";
const TOKEN: &str = "a-token";

/// The system's clock, moved forward when told to.
#[derive(Default)]
pub(crate) struct Movable(Mutex<Duration>);

impl Movable {
    pub(crate) fn passes(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for Movable {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now() + *self.0.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed_local()
    }
}

struct NoFetch;

impl Fetch for NoFetch {
    fn fetch(&self, _: FetchRequest) -> LocalBoxFuture<'_, Result<FetchResponse, FetchError>> {
        async { Err(FetchError::Refused("not here".to_owned())) }.boxed_local()
    }
}

/// A bucket in memory, which can be away.
#[derive(Default)]
pub(crate) struct Bucket {
    objects: Mutex<BTreeMap<String, Bytes>>,
    pub(crate) is_away: Mutex<bool>,
}

impl ObjectStore for Bucket {
    fn put(&self, key: &str, _: &str, bytes: Bytes) -> LocalBoxFuture<'_, Result<(), PlatformError>> {
        let result = if *self.is_away.lock().unwrap() {
            Err(PlatformError("away".to_owned()))
        } else {
            self.objects.lock().unwrap().insert(key.to_owned(), bytes);
            Ok(())
        };
        async { result }.boxed_local()
    }

    fn get(&self, key: &str, max_bytes: usize) -> LocalBoxFuture<'_, Result<Option<Bytes>, PlatformError>> {
        let object = self.objects.lock().unwrap().get(key).cloned();
        let result = match object {
            Some(object) if object.len() > max_bytes => Err(PlatformError("too large".to_owned())),
            object => Ok(object),
        };
        async { result }.boxed_local()
    }

    fn delete_some(&self, _: &str) -> LocalBoxFuture<'_, Result<Deleted, PlatformError>> {
        async { Ok(Deleted::default()) }.boxed_local()
    }
}

pub(crate) struct World {
    pub(crate) standins: Standins,
    pub(crate) services: Services,
    pub(crate) owner: Owner,
    pub(crate) clock: Arc<Movable>,
    pub(crate) bucket: Arc<Bucket>,
    registry: Registry,
    redis: Option<(UpstashGateway, Redis, Scratch)>,
}

impl World {
    /// Without breakers, so that one failure has no part in the next call.
    pub(crate) async fn start() -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        let standins = Standins::start(StandinsOptions { listen }).await.unwrap();
        let clock = Arc::new(Movable::default());
        let bucket = Arc::new(Bucket::default());
        let services = Services {
            archive: Some(Archive::new(bucket.clone(), clock.clone())),
            ..Services::new(clock.clone(), Arc::new(NoFetch), endpoints(&standins, &clock))
        };
        let owner = Owner {
            values: BTreeMap::from([
                (OwnSetting::ResendApiKey, standins.resend().key().into()),
                (OwnSetting::ResendFromAddress, SENDER.into()),
                (OwnSetting::SlackWebhookUrl, standins.slack().webhook_url().into()),
                (OwnSetting::VoyageApiKey, standins.voyage().key().into()),
            ]),
            ..Owner::default()
        };
        Self {
            standins,
            services,
            owner,
            clock,
            bucket,
            registry: Registry::default(),
            redis: None,
        }
    }

    /// With breakers in a real Redis behind the gateway.
    pub(crate) async fn with_breakers() -> Self {
        let mut world = Self::start().await;
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
        let clock: Arc<dyn Clock> = world.clock.clone();
        let rest_url = gateway.url().parse().unwrap();
        let upstash = Upstash::new(http_client(), clock.clone(), rest_url, TOKEN.to_owned().into()).unwrap();
        world.services.breakers = Some(Breakers::new(upstash, clock));
        world.redis = Some((gateway, redis, dir));
        world
    }

    /// From now on nobody listens where the providers are.
    pub(crate) fn close_the_providers(&mut self) {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let closed = |_| Some("http://127.0.0.1:1".parse().unwrap());
        self.services.endpoints = Endpoints::new(&http_client(), &clock, closed).unwrap();
        let url = "http://127.0.0.1:1/services/T0/B0/s3cret".to_owned();
        self.owner.values.insert(OwnSetting::SlackWebhookUrl, url.into());
    }

    /// The next request commits this fault.
    pub(crate) fn next(&self, action: Action) {
        self.standins.faults().add(Rule::new(action).times(1));
    }

    pub(crate) async fn call(&self, skill: &str, step: u32, params: &Value) -> Outcome {
        self.call_within(Duration::from_secs(10), skill, step, params).await
    }

    pub(crate) async fn call_within(&self, timeout: Duration, skill: &str, step: u32, params: &Value) -> Outcome {
        let skill = self.registry.get(skill).unwrap();
        assert_eq!(skill.check(params), Ok(()), "{params}");
        let step = step_id(step);
        let outcome = skill
            .execute(Call {
                params,
                secrets: &SecretValues::new(),
                owner: &self.owner,
                tenant: "ten_018f0000000070008000000000000001".parse().unwrap(),
                run: "run_018f0000000070008000000000000001".parse().unwrap(),
                step,
                attempt: 1,
                idempotency_key: &step.to_string(),
                timeout,
                services: &self.services,
            })
            .await;
        if let Some(error) = outcome.error.as_ref().filter(|_| outcome.deferred.is_none()) {
            let modes = registry::contract(skill.identity().name).unwrap().failure_modes;
            let mode = modes.iter().find(|mode| mode.code == error.code);
            let mode = mode.unwrap_or_else(|| panic!("{} is not in the contract", error.code));
            assert_eq!((mode.category, mode.retryable), (error.category, error.retryable));
        }
        self.assert_secrets_are_kept(&outcome);
        outcome
    }

    /// No outcome holds a key, whatever happened.
    fn assert_secrets_are_kept(&self, outcome: &Outcome) {
        let shown = serde_json::to_string(outcome).unwrap();
        let webhook = self.standins.slack().webhook_url();
        let (_, webhook) = webhook.rsplit_once('/').unwrap();
        let keys = [
            self.standins.resend().key(),
            self.standins.voyage().key(),
            webhook,
            "s3cret",
        ];
        for key in keys {
            assert!(!shown.contains(key), "{shown}");
        }
    }

    pub(crate) async fn end(self) {
        self.standins.shutdown().await;
        if let Some((gateway, redis, _dir)) = self.redis {
            gateway.shutdown().await;
            redis.stop().await;
        }
    }
}

fn endpoints(standins: &Standins, clock: &Arc<Movable>) -> Endpoints {
    let clock: Arc<dyn Clock> = clock.clone();
    let base_url = |provider| {
        let base_url = match provider {
            Provider::Resend => standins.resend().base_url().to_owned(),
            Provider::Voyage => format!("{}/v1", standins.voyage().base_url()),
            Provider::Slack => format!("{}/slack", standins.url()),
            Provider::Anthropic | Provider::OpenAi => return None,
        };
        Some(base_url.parse().unwrap())
    };
    Endpoints::new(&http_client(), &clock, base_url).unwrap()
}

pub(crate) fn step_id(number: u32) -> StepId {
    format!("stp_018f00000000700080000000{number:08x}").parse().unwrap()
}

/// Category, code, whether it is tried again, and after how long, as a table has them.
pub(crate) type Meaning = (&'static str, &'static str, bool, Option<u64>);

/// Holds an error to what the table says.
pub(crate) fn assert_means(error: &OutcomeError, (category, code, retryable, retry_after_ms): Meaning, when: &str) {
    let shown = serde_json::to_value(error).unwrap();
    assert_eq!(shown["category"], category, "{when}: {shown}");
    assert_eq!(error.code, code, "{when}: {shown}");
    assert_eq!(error.retryable, retryable, "{when}: {shown}");
    assert_eq!(error.retry_after_ms, retry_after_ms, "{when}: {shown}");
}
