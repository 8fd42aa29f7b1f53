//! Sending the requests of one call: each to a name whose addresses are all public, and all within the call's time.
//! Must never send where nobody knows what the name leads to: with the resolver away nothing goes out.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;
use url::Url;

use super::WebFailure;
use crate::{
    integrations::dns,
    platform::{FetchError, FetchRequest, FetchResponse},
    skills::{
        Call, EffectClass, OutcomeError, Services,
        address_guard::{self, GuardError},
        failure::Failure,
        outcome::Usage,
    },
};

/// One request. Its URL has passed the guard.
pub(in crate::skills) struct Message<'m> {
    pub(in crate::skills) method: &'m Method,
    pub(in crate::skills) url: &'m Url,
    pub(in crate::skills) headers: &'m HeaderMap,
    pub(in crate::skills) body: Option<&'m Bytes>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(in crate::skills) enum Unanswered {
    /// The name leads to where nobody may go.
    Forbidden(GuardError),
    /// The name leads nowhere.
    NoAddress(String),
    /// Where the name leads is not known.
    DnsFailed(String),
    /// The time was up before the request could be sent.
    OutOfTime,
    /// The platform has no answer.
    Fetch(FetchError),
}

impl Unanswered {
    /// The error of a call that ends with it. `was_answered`: an earlier request of the call was, so that a changing one
    /// may have been carried out before its redirect.
    pub(in crate::skills) fn error(self, class: EffectClass, was_answered: bool) -> OutcomeError {
        let is_once = class == EffectClass::Once;
        match self {
            Self::Forbidden(reason) => WebFailure::ForbiddenAddress.error(reason.to_string()),
            Self::NoAddress(name) => {
                WebFailure::NameNotResolved.error(format!("{name} does not exist or has no address"))
            }
            Self::DnsFailed(reason) if is_once && was_answered => {
                WebFailure::UnknownEffect.error(format!("{reason}; it was asked for after a redirect"))
            }
            Self::DnsFailed(reason) => WebFailure::DnsFailed.error(reason),
            Self::OutOfTime if is_once && was_answered => {
                WebFailure::UnknownEffect.error("the time was up after a redirect")
            }
            Self::OutOfTime => WebFailure::Timeout.error("the time was up before the request could be sent"),
            Self::Fetch(FetchError::Refused(reason)) => WebFailure::RequestRefused.error(reason),
            Self::Fetch(error) if is_once => {
                WebFailure::UnknownEffect.error(format!("{error}; whether the request was carried out is unknown"))
            }
            Self::Fetch(error @ FetchError::Timeout(_)) => WebFailure::Timeout.error(error.to_string()),
            Self::Fetch(error @ FetchError::Connection(_)) => WebFailure::Network.error(error.to_string()),
        }
    }
}

/// Who sends the requests of one call.
pub(in crate::skills) struct Sender<'a> {
    services: &'a Services,
    begun: Timestamp,
    total: Duration,
    max_answer_bytes: usize,
    answered: u32,
    usage: Usage,
}

impl<'a> Sender<'a> {
    /// The time of the call runs from here; `timeout` may shorten it.
    pub(in crate::skills) fn begin(call: &Call<'a>, timeout: Option<Duration>, max_answer_bytes: usize) -> Self {
        Self {
            services: call.services,
            begun: call.services.clock.now(),
            total: timeout.map_or(call.timeout, |timeout| timeout.min(call.timeout)),
            max_answer_bytes,
            answered: 0,
            usage: Usage::default(),
        }
    }

    /// Whether any request was answered.
    pub(in crate::skills) fn was_answered(&self) -> bool {
        self.answered > 0
    }

    /// What went over the wire so far; look-ups count as requests.
    pub(in crate::skills) fn usage(&self) -> Usage {
        self.usage.clone()
    }

    /// Looks the name up, sends the request if it may go there, and reads its answer.
    pub(in crate::skills) async fn send(&mut self, message: Message<'_>) -> Result<FetchResponse, Unanswered> {
        self.look_up(message.url).await?;
        let timeout = self.time_left()?;
        let length = message.body.map_or(0, Bytes::len);
        self.usage.requests = self.usage.requests.saturating_add(1);
        self.usage.bytes_out = self.usage.bytes_out.saturating_add(bytes(length));
        let request = FetchRequest {
            method: message.method.clone(),
            url: message.url.clone(),
            headers: message.headers.clone(),
            body: message.body.cloned(),
            timeout,
            max_bytes: self.max_answer_bytes,
        };
        let response = self.services.fetch.fetch(request).await.map_err(Unanswered::Fetch)?;
        self.answered = self.answered.saturating_add(1);
        self.usage.bytes_in = self.usage.bytes_in.saturating_add(bytes(response.body.len()));
        Ok(response)
    }

    /// Whether everything that the name leads to may be called. Asked before each request, since names change.
    async fn look_up(&mut self, url: &Url) -> Result<(), Unanswered> {
        let (Some(resolver), Some(name)) = (&self.services.resolver, address_guard::name_to_look_up(url)) else {
            return Ok(());
        };
        let look_up = resolver.look_up(name, self.time_left()?).await;
        self.usage.requests = self.usage.requests.saturating_add(look_up.requests);
        match look_up.addresses {
            Ok(addresses) => address_guard::check_resolved(&addresses).map_err(Unanswered::Forbidden),
            Err(dns::Error::NoAddress) => Err(Unanswered::NoAddress(name.to_owned())),
            Err(error @ dns::Error::Unanswered(_)) => {
                Err(Unanswered::DnsFailed(format!("{name} could not be looked up: {error}")))
            }
        }
    }

    fn time_left(&self) -> Result<Duration, Unanswered> {
        let passed = self.services.clock.now().duration_since(self.begun);
        let left = self
            .total
            .saturating_sub(Duration::try_from(passed).unwrap_or_default());
        if left.is_zero() {
            Err(Unanswered::OutOfTime)
        } else {
            Ok(left)
        }
    }
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Who we are, unless the caller says otherwise.
pub(in crate::skills) fn user_agent() -> HeaderValue {
    HeaderValue::from_static(concat!("AOS/", env!("CARGO_PKG_VERSION")))
}
