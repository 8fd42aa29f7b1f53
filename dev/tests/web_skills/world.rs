//! The stand-ins, and skills that reach them by any name: whatever is called, this machine answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aos::archive::Archive;
use aos::integrations::dns;
use aos::platform::{Clock, Deleted, Fetch, FetchError, FetchRequest, FetchResponse, ObjectStore, PlatformError};
use aos::skills::address_guard::AddressRules;
use aos::skills::{Call, Endpoints, Outcome, Registry, SecretValues, Services, registry};
use aos::tenants::Owner;
use aos_dev::faults::{Action, Rule};
use aos_dev::standins::resolver::Records;
use aos_dev::standins::{Standins, StandinsOptions};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::Value;

/// An address of the public internet, for names that may be called.
pub(crate) const PUBLIC: &str = "93.184.216.34";
pub(crate) const PUBLIC_V6: &str = "2606:4700::1111";

/// The key of the one step of these tests.
pub(crate) const STEP: &str = "stp_018f0000000070008000000000000003";

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed_local()
    }
}

/// Takes every name to this machine.
struct Here;

impl Resolve for Here {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new([SocketAddr::from(([127, 0, 0, 1], 0))].into_iter());
        futures::future::ready(Ok(addresses)).boxed()
    }
}

/// The platform's fetch, as the Worker has it.
struct NativeFetch(reqwest::Client);

impl Fetch for NativeFetch {
    fn fetch(&self, request: FetchRequest) -> LocalBoxFuture<'_, Result<FetchResponse, FetchError>> {
        let timeout = request.timeout;
        async move {
            tokio::time::timeout(timeout, self.exchange(request))
                .await
                .unwrap_or(Err(FetchError::Timeout(timeout)))
        }
        .boxed_local()
    }
}

impl NativeFetch {
    async fn exchange(&self, request: FetchRequest) -> Result<FetchResponse, FetchError> {
        let failed = |error: reqwest::Error| FetchError::Connection(error.without_url().to_string());
        let response = self
            .0
            .request(request.method, request.url)
            .headers(request.headers)
            .body(request.body.unwrap_or_default())
            .send()
            .await
            .map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut pieces = response.bytes_stream();
        let mut body = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            body.extend_from_slice(&piece.map_err(failed)?);
            if body.len() > request.max_bytes {
                break;
            }
        }
        let truncated = body.len() > request.max_bytes;
        body.truncate(request.max_bytes);
        Ok(FetchResponse {
            status,
            headers,
            body: body.freeze(),
            truncated,
        })
    }
}

/// A bucket in memory.
#[derive(Default)]
pub(crate) struct Bucket(Mutex<BTreeMap<String, Bytes>>);

impl Bucket {
    pub(crate) fn archive(clock: Arc<dyn Clock>) -> Archive {
        Archive::new(Arc::new(Self::default()), clock)
    }
}

impl ObjectStore for Bucket {
    fn put(&self, key: &str, _: &str, bytes: Bytes) -> LocalBoxFuture<'_, Result<(), PlatformError>> {
        self.0.lock().unwrap().insert(key.to_owned(), bytes);
        futures::future::ready(Ok(())).boxed_local()
    }

    fn get(&self, key: &str, _: usize) -> LocalBoxFuture<'_, Result<Option<Bytes>, PlatformError>> {
        let object = self.0.lock().unwrap().get(key).cloned();
        futures::future::ready(Ok(object)).boxed_local()
    }

    fn delete_some(&self, _: &str) -> LocalBoxFuture<'_, Result<Deleted, PlatformError>> {
        futures::future::ready(Err(PlatformError("skills delete nothing".to_owned()))).boxed_local()
    }
}

pub(crate) struct World {
    pub(crate) standins: Standins,
    pub(crate) services: Services,
    pub(crate) owner: Owner,
    pub(crate) secrets: SecretValues,
    pub(crate) timeout: Duration,
    registry: Registry,
}

impl World {
    pub(crate) async fn start() -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        let standins = Standins::start(StandinsOptions { listen }).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .dns_resolver(Arc::new(Here))
            .build()
            .unwrap();
        let endpoints = Endpoints::new(&reqwest::Client::new(), &clock, |_| None).unwrap();
        let url = standins.resolver().url().parse().unwrap();
        let services = Services {
            resolver: Some(dns::Resolver::new(reqwest::Client::new(), Arc::clone(&clock), url)),
            ..Services::new(clock, Arc::new(NativeFetch(client)), endpoints)
        };
        Self {
            standins,
            services,
            owner: Owner::default(),
            secrets: SecretValues::new(),
            timeout: Duration::from_secs(10),
            registry: Registry::default(),
        }
    }

    /// Lets the stand-ins be called by their own address, as on a development machine.
    pub(crate) fn allow_loopback(&mut self) {
        let rules = Arc::new(AddressRules {
            allowed_loopback_ports: [self.port()].into(),
            ..AddressRules::default()
        });
        self.registry = Registry::new(Arc::clone(&rules));
        self.services.address_rules = rules;
    }

    pub(crate) fn port(&self) -> u16 {
        url::Url::parse(&self.standins.url()).unwrap().port().unwrap()
    }

    /// A path of the stand-ins under a name.
    pub(crate) fn at(&self, name: &str, path: &str) -> String {
        format!("http://{name}:{}{path}", self.port())
    }

    /// A name that may be called.
    pub(crate) fn public(&self, name: &str) {
        self.standins
            .resolver()
            .set(name, Records::addresses([PUBLIC.parse().unwrap()]));
    }

    /// The resolver misbehaves so often.
    pub(crate) fn resolver_fails(&self, times: u64, action: Action) {
        self.standins
            .faults()
            .add(Rule::new(action).matching("/dns-query").times(times));
    }

    /// How often a path of the stand-ins was asked for.
    pub(crate) fn arrivals(&self, path: &str) -> usize {
        let requests = self.standins.counters().snapshot().requests;
        requests
            .iter()
            .filter(|request| request.label.ends_with(&format!(" {path}")))
            .count()
    }

    pub(crate) async fn call(&self, skill: &str, params: Value) -> Outcome {
        let skill = self.registry.get(skill).unwrap();
        let outcome = skill
            .execute(Call {
                params: &params,
                secrets: &self.secrets,
                owner: &self.owner,
                tenant: "ten_018f0000000070008000000000000001".parse().unwrap(),
                run: "run_018f0000000070008000000000000002".parse().unwrap(),
                step: STEP.parse().unwrap(),
                attempt: 1,
                idempotency_key: STEP,
                timeout: self.timeout,
                services: &self.services,
            })
            .await;
        if let Some(error) = &outcome.error {
            let modes = registry::contract(skill.identity().name).unwrap().failure_modes;
            let mode = modes.iter().find(|mode| mode.code == error.code);
            let mode = mode.unwrap_or_else(|| panic!("{} is not in the contract", error.code));
            assert_eq!((mode.category, mode.retryable), (error.category, error.retryable));
        }
        outcome
    }
}

/// The code of the error, or nothing for a success.
pub(crate) fn code(outcome: &Outcome) -> &str {
    outcome.error.as_ref().map_or("", |error| error.code.as_ref())
}

/// An answer of this status with this body.
pub(crate) fn status(code: u16, body: impl AsRef<[u8]>) -> Action {
    Action::Status {
        code,
        body: String::from_utf8(Bytes::copy_from_slice(body.as_ref()).to_vec()).unwrap(),
        headers: Default::default(),
    }
}
