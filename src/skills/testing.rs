//! A scene for the tests of skills: a step, a clock that moves only when told to, and a scripted `Fetch` that records
//! what it was asked.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::{FutureExt, LocalBoxFuture};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Call, Endpoints, Outcome, SecretValues, Services, Skill, address_guard::AddressRules, registry};
use crate::{
    archive::Archive,
    ids::{RunId, StepId, TenantId},
    integrations::calendar::{ArchivedCalendars, CalendarProvider},
    platform::{Clock, Deleted, Fetch, FetchError, FetchRequest, FetchResponse, ObjectStore, PlatformError},
    tenants::Owner,
};

pub(super) const IDEMPOTENCY_KEY: &str = "stp_018f0000000070008000000000000003";

/// A clock that stands still until something moves it.
#[derive(Default)]
pub(super) struct Stopped(Mutex<Duration>);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH.checked_add(*self.0.lock().unwrap()).unwrap()
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        self.passes(duration);
        futures::future::ready(()).boxed_local()
    }
}

impl Stopped {
    fn passes(&self, duration: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = now.saturating_add(duration);
    }
}

/// What the scripted network does with one request.
pub(super) struct Scripted {
    pub(super) result: Result<FetchResponse, FetchError>,
    pub(super) takes: Duration,
}

/// A network that answers what it was told to, in this order.
#[derive(Default)]
pub(super) struct Network {
    script: Mutex<VecDeque<Scripted>>,
    requests: Mutex<Vec<FetchRequest>>,
    clock: Arc<Stopped>,
}

impl Fetch for Network {
    fn fetch(&self, request: FetchRequest) -> LocalBoxFuture<'_, Result<FetchResponse, FetchError>> {
        let timeout = request.timeout;
        self.requests.lock().unwrap().push(request);
        let scripted = self
            .script
            .lock()
            .unwrap()
            .pop_front()
            .expect("a request that the test did not expect");
        self.clock.passes(scripted.takes.min(timeout));
        let result = if scripted.takes >= timeout {
            Err(FetchError::Timeout(timeout))
        } else {
            scripted.result
        };
        futures::future::ready(result).boxed_local()
    }
}

/// A bucket in memory, which can be told to be away.
#[derive(Default)]
pub(super) struct Bucket {
    objects: Mutex<BTreeMap<String, Bytes>>,
    pub(super) is_away: AtomicBool,
}

impl Bucket {
    fn answer<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Bytes>) -> T) -> Result<T, PlatformError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(PlatformError("away".to_owned()));
        }
        Ok(work(&mut self.objects.lock().unwrap()))
    }
}

impl ObjectStore for Bucket {
    fn put(&self, key: &str, _: &str, bytes: Bytes) -> LocalBoxFuture<'_, Result<(), PlatformError>> {
        let put = self.answer(|objects| drop(objects.insert(key.to_owned(), bytes)));
        futures::future::ready(put).boxed_local()
    }

    fn get(&self, key: &str, _: usize) -> LocalBoxFuture<'_, Result<Option<Bytes>, PlatformError>> {
        futures::future::ready(self.answer(|objects| objects.get(key).cloned())).boxed_local()
    }

    fn delete_some(&self, _: &str) -> LocalBoxFuture<'_, Result<Deleted, PlatformError>> {
        futures::future::ready(Err(PlatformError("skills delete nothing".to_owned()))).boxed_local()
    }
}

/// A step about to be executed.
pub(super) struct Scene {
    pub(super) rules: AddressRules,
    pub(super) secrets: SecretValues,
    pub(super) owner: Owner,
    pub(super) timeout: Duration,
    pub(super) network: Arc<Network>,
    pub(super) archive: Option<Archive>,
    pub(super) calendar: Option<ArchivedCalendars>,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            rules: AddressRules::default(),
            secrets: SecretValues::new(),
            owner: Owner::default(),
            timeout: Duration::from_secs(30),
            network: Arc::default(),
            archive: None,
            calendar: None,
        }
    }
}

impl Scene {
    /// The next request is answered so.
    pub(super) fn answers(self, status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        self.scripted(Scripted {
            result: Ok(response(status, headers, body.into())),
            takes: Duration::ZERO,
        })
    }

    /// The next request fails so.
    pub(super) fn fails(self, error: FetchError) -> Self {
        self.scripted(Scripted {
            result: Err(error),
            takes: Duration::ZERO,
        })
    }

    pub(super) fn scripted(self, scripted: Scripted) -> Self {
        self.network.script.lock().unwrap().push_back(scripted);
        self
    }

    /// Executes the skill.
    pub(super) fn run(&self, skill: &dyn Skill, params: &Value) -> Outcome {
        let clock: Arc<dyn Clock> = self.network.clock.clone();
        let endpoints = Endpoints::new(&reqwest::Client::new(), &clock, |_| None).unwrap();
        let services = Services {
            address_rules: Arc::new(self.rules.clone()),
            archive: self.archive.clone(),
            calendar: self
                .calendar
                .clone()
                .map(|calendar| Arc::new(calendar) as Arc<dyn CalendarProvider>),
            ..Services::new(clock, self.network.clone(), endpoints)
        };
        let outcome = skill.execute(Call {
            params,
            secrets: &self.secrets,
            owner: &self.owner,
            tenant: "ten_018f0000000070008000000000000001".parse::<TenantId>().unwrap(),
            run: "run_018f0000000070008000000000000002".parse::<RunId>().unwrap(),
            step: IDEMPOTENCY_KEY.parse::<StepId>().unwrap(),
            attempt: 1,
            idempotency_key: IDEMPOTENCY_KEY,
            timeout: self.timeout,
            services: &services,
        });
        outcome.now_or_never().expect("nothing in a scene waits")
    }

    /// The clock of this scene.
    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        self.network.clock.clone()
    }

    /// Time goes by.
    pub(super) fn passes(&self, duration: Duration) {
        self.network.clock.passes(duration);
    }

    /// The requests so far.
    pub(super) fn requests(&self) -> Vec<FetchRequest> {
        self.network.requests.lock().unwrap().clone()
    }
}

pub(super) fn response(status: u16, headers: &[(&str, &str)], body: Bytes) -> FetchResponse {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    FetchResponse {
        status: StatusCode::from_u16(status).unwrap(),
        headers: map,
        body,
        truncated: false,
    }
}

/// An outcome's error must be one that the contract lists, with the category and the retry it promises.
pub(super) fn assert_listed(skill: &dyn Skill, outcome: &Outcome) {
    let Some(error) = &outcome.error else { return };
    let mode = registry::contract(skill.identity().name)
        .unwrap()
        .failure_modes
        .into_iter()
        .find(|mode| mode.code == error.code);
    let mode = mode.unwrap_or_else(|| panic!("{} is not in the contract", error.code));
    assert_eq!(
        (mode.category, mode.retryable),
        (error.category, error.retryable),
        "{}",
        error.code
    );
}

/// Arrays inside one another, so many levels deep.
pub(super) fn nested(levels: usize) -> Value {
    (1..levels).fold(json!([]), |inner, _| json!([inner]))
}
