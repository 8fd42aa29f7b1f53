//! One step of one tenant, with the stand-ins of both providers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aos::ids::TenantId;
use aos::integrations::provider::Provider;
use aos::platform::{Clock, Fetch, FetchError, FetchRequest, FetchResponse};
use aos::skills::llm_invoke::LlmInvoke;
use aos::skills::{Call, Category, Endpoints, Outcome, SecretValues, Services, Skill};
use aos::tenants::{OwnSetting, Owner, Tier};
use aos_dev::standins::script::Step;
use aos_dev::standins::{Standins, StandinsOptions};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use secrecy::SecretString;
use serde_json::{Value, json};

/// The system's clock, which a test may put forward.
#[derive(Default)]
pub(crate) struct Ahead(Mutex<Duration>);

impl Ahead {
    pub(crate) fn by(&self, more: Duration) {
        *self.0.lock().unwrap() += more;
    }
}

impl Clock for Ahead {
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

pub(crate) struct Bench {
    pub(crate) standins: Standins,
    pub(crate) services: Services,
    pub(crate) clock: Arc<Ahead>,
    pub(crate) owner: Owner,
    pub(crate) tenant: TenantId,
    pub(crate) timeout: Duration,
    pub(crate) skill: LlmInvoke,
}

impl Bench {
    /// With the installation's keys for both providers, which the tenant may use.
    pub(crate) async fn start() -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        let standins = Standins::start(StandinsOptions { listen }).await.unwrap();
        let clock = Arc::new(Ahead::default());
        let platform: Arc<dyn Clock> = clock.clone();
        let endpoints = Endpoints::new(&reqwest::Client::new(), &platform, |provider| match provider {
            Provider::Anthropic => Some(standins.anthropic().url().parse().unwrap()),
            Provider::OpenAi => Some(format!("{}/v1", standins.openai().url()).parse().unwrap()),
            _ => None,
        })
        .unwrap();
        let mut bench = Self {
            services: Services::new(platform, Arc::new(NoFetch), endpoints),
            owner: Owner {
                tier: Tier::Pro,
                ..Owner::default()
            },
            standins,
            clock,
            tenant: "ten_018f0000000070008000000000000001".parse().unwrap(),
            timeout: Duration::from_secs(20),
            skill: LlmInvoke::default(),
        };
        let keys = [
            (
                OwnSetting::AnthropicApiKey,
                bench.standins.anthropic().api_key().to_owned(),
            ),
            (OwnSetting::OpenaiApiKey, bench.standins.openai().api_key().to_owned()),
        ];
        bench.installation(|installation| {
            installation.open_to = vec![Tier::Pro];
            installation.values = BTreeMap::from(keys.map(|(setting, key)| (setting, SecretString::from(key))));
        });
        bench
    }

    pub(crate) fn installation(&mut self, change: impl FnOnce(&mut aos::tenants::Installation)) {
        let mut installation = (*self.services.installation).clone();
        change(&mut installation);
        self.services.installation = Arc::new(installation);
    }

    /// The tenant brings a value of its own.
    pub(crate) fn own(&mut self, setting: OwnSetting, value: &str) {
        self.owner.values.insert(setting, SecretString::from(value));
    }

    pub(crate) fn anthropic(&self, steps: impl IntoIterator<Item = Step>) {
        self.standins.anthropic().script(steps).unwrap();
    }

    pub(crate) fn openai(&self, steps: impl IntoIterator<Item = Step>) {
        self.standins.openai().script(steps).unwrap();
    }

    /// How many requests either has had.
    pub(crate) fn asked(&self) -> (u64, u64) {
        let standins = &self.standins;
        (
            standins.anthropic().received().count,
            standins.openai().received().count,
        )
    }

    /// The body of the last request to a provider.
    pub(crate) fn sent(&self, provider: &str) -> Value {
        let received = match provider {
            "anthropic" => self.standins.anthropic().received(),
            _ => self.standins.openai().received(),
        };
        received.requests.back().unwrap().body.clone()
    }

    pub(crate) async fn call(&self, params: &Value) -> Outcome {
        assert_eq!(self.skill.check(params), Ok(()), "{params}");
        let outcome = self
            .skill
            .execute(Call {
                params,
                secrets: &SecretValues::new(),
                owner: &self.owner,
                tenant: self.tenant,
                run: "run_018f0000000070008000000000000001".parse().unwrap(),
                step: "stp_018f0000000070008000000000000001".parse().unwrap(),
                attempt: 1,
                idempotency_key: "the-step",
                timeout: self.timeout,
                services: &self.services,
            })
            .await;
        if let Some(error) = outcome.error.as_ref().filter(|_| outcome.deferred.is_none()) {
            let modes = LlmInvoke::contract().failure_modes;
            let listed = modes.iter().find(|mode| mode.code == error.code);
            let listed = listed.map(|mode| (mode.category, mode.retryable));
            assert_eq!(listed, Some((error.category, error.retryable)), "{}", error.code);
        }
        outcome
    }

    /// A call that succeeds.
    pub(crate) async fn answer(&self, params: &Value) -> Value {
        let outcome = self.call(params).await;
        outcome
            .output
            .unwrap_or_else(|| panic!("{params}: {:?}", outcome.error))
    }

    pub(crate) async fn end(self) {
        self.standins.shutdown().await;
    }
}

/// Params that say this to whoever answers.
pub(crate) fn say(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

/// The same to one provider.
pub(crate) fn say_to(provider: &str, text: &str) -> Value {
    let mut params = say(text);
    params["provider"] = provider.into();
    params
}

/// The same with more params.
pub(crate) fn with(mut params: Value, more: Value) -> Value {
    params
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    params
}

/// Category, code and whether it is worth another attempt.
pub(crate) fn failure(outcome: &Outcome) -> (Category, &str, bool) {
    let error = outcome.error.as_ref().unwrap_or_else(|| panic!("{:?}", outcome.output));
    (error.category, &error.code, error.retryable)
}
