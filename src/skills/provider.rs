//! What skills that call a provider share: the failures they can end with, the breaker around each call, and the usage row
//! it leaves. A provider's bad day must end as an outcome, never as an incident.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Call, Category, EffectClass, Outcome, OutcomeError,
    failure::{Failure, failures},
    outcome::IntegrationCall,
};
use crate::{
    breakers::{self, Account, Admission, Health},
    integrations::provider::{ErrorKind, Provider, ProviderError, Traffic},
    tenants::{Held, OwnSetting},
};

/// A step that found all lanes taken is due again after between this long and twice that.
const BUSY_AGAIN: Duration = Duration::from_secs(1);
/// A provider that did not begin to answer within less than this is not sick: the caller was impatient.
const FAIR_PATIENCE: Duration = Duration::from_secs(10);

failures! {
    /// How a call of a provider can fail.
    pub(super) enum ProviderFailure {
        NotConfigured {
            code: "integration_not_configured", category: Category::Configuration, retryable: false,
            when: "neither the tenant nor the installation has what the integration needs, or the tenant's tier may not use \
                   the installation's",
        },
        Unauthorized {
            code: "integration_unauthorized", category: Category::Configuration, retryable: false,
            when: "the provider refuses the key",
        },
        PermissionDenied {
            code: "permission_denied", category: Category::Permission, retryable: false,
            when: "the provider says that the key may not do this",
        },
        QuotaExhausted {
            code: "quota_exhausted", category: Category::RateLimit, retryable: false,
            when: "the account's money, or its quota for the day or month, is used up",
        },
        RequestRejected {
            code: "request_rejected", category: Category::Validation, retryable: false,
            when: "the provider says that the request is wrong",
        },
        NotFound {
            code: "target_not_found", category: Category::NotFound, retryable: false,
            when: "the provider does not know what the request names",
        },
        Conflict {
            code: "target_conflict", category: Category::Conflict, retryable: false,
            when: "the request contradicts an earlier one",
        },
        InFlight {
            code: "request_in_flight", category: Category::Conflict, retryable: true,
            when: "the provider is still carrying out the same request",
        },
        TooLarge {
            code: "request_too_large", category: Category::Validation, retryable: false,
            when: "the request is larger than the provider takes",
        },
        RateLimited {
            code: "rate_limited", category: Category::RateLimit, retryable: true,
            when: "the provider takes no more requests for now; its Retry-After is honoured",
        },
        Unavailable {
            code: "provider_unavailable", category: Category::Provider, retryable: true,
            when: "the provider is overloaded, or broke and a repeat changes nothing more",
        },
        Failed {
            code: "provider_failed", category: Category::Provider, retryable: false,
            when: "the provider says that it broke, and a repeat might do half of it twice",
        },
        InvalidAnswer {
            code: "invalid_answer", category: Category::Provider, retryable: true,
            when: "the provider's answer is not what its protocol says, and a repeat changes nothing more",
        },
        Network {
            code: "network", category: Category::Network, retryable: true,
            when: "the connection failed and a repeat changes nothing more",
        },
        Timeout {
            code: "timeout", category: Category::Timeout, retryable: true,
            when: "no complete answer in time and a repeat changes nothing more",
        },
        UnknownEffect {
            code: "unknown_effect", category: Category::UnknownEffect, retryable: false,
            when: "the request was sent, and nobody knows whether it was carried out",
        },
        CircuitOpen {
            code: "circuit_open", category: Category::Provider, retryable: true,
            when: "the provider failed too often of late; it was not asked",
        },
    }
}

impl ProviderFailure {
    /// What a kind of error means for a call of this class.
    fn of(kind: ErrorKind, class: EffectClass) -> Self {
        let is_once = class == EffectClass::Once;
        match kind {
            ErrorKind::Unauthorized => Self::Unauthorized,
            ErrorKind::Forbidden => Self::PermissionDenied,
            ErrorKind::Quota => Self::QuotaExhausted,
            ErrorKind::Rejected => Self::RequestRejected,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::InFlight => Self::InFlight,
            ErrorKind::TooLarge => Self::TooLarge,
            ErrorKind::RateLimited => Self::RateLimited,
            ErrorKind::Overloaded => Self::Unavailable,
            ErrorKind::ServerError if is_once => Self::Failed,
            ErrorKind::NotSent => Self::Network,
            ErrorKind::Gateway
            | ErrorKind::Timeout
            | ErrorKind::CutOff
            | ErrorKind::Lost
            | ErrorKind::InvalidAnswer
                if is_once =>
            {
                Self::UnknownEffect
            }
            ErrorKind::ServerError | ErrorKind::Gateway => Self::Unavailable,
            ErrorKind::Timeout | ErrorKind::CutOff => Self::Timeout,
            ErrorKind::Lost => Self::Network,
            ErrorKind::InvalidAnswer => Self::InvalidAnswer,
        }
    }
}

/// The outcome of a call that lacks a setting which it cannot do without.
pub(super) fn not_configured(call: &Call<'_>, setting: OwnSetting) -> Outcome {
    let (owner, installation) = (call.owner, &call.services.installation);
    let reason = if owner.unreadable.contains(&setting) {
        format!("the tenant's {setting} cannot be opened any more; it must be set again")
    } else if installation.values.contains_key(&setting) {
        format!(
            "the tenant has no {setting} of its own, and its tier ({}) may not use the installation's",
            owner.tier
        )
    } else {
        format!("neither the tenant nor the installation has a {setting}")
    };
    Outcome::failed(ProviderFailure::NotConfigured.error(reason))
}

/// Why a call of a provider has no result.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The breaker is open: the provider was not asked.
    Open(Provider, Duration),
    /// All lanes are taken: the provider was not asked.
    Busy,
    /// The provider was asked.
    Failed(ProviderError),
}

impl Stopped {
    /// Whether another provider of the same kind may be asked instead.
    pub(super) fn allows_fallback(&self) -> bool {
        match self {
            Self::Open(..) | Self::Busy => true,
            Self::Failed(error) => error.kind.allows_fallback(),
        }
    }

    /// The outcome of a step that ends with it.
    pub(super) fn outcome(&self, class: EffectClass) -> Outcome {
        match self {
            Self::Busy => Outcome::deferred(spread(BUSY_AGAIN)),
            _ => Outcome::failed(self.error(class)),
        }
    }

    /// The outcome of a step whose one call ended with it; `record`: the row of that call, if it was made.
    pub(super) fn outcome_of_call(&self, class: EffectClass, record: IntegrationCall) -> Outcome {
        let outcome = self.outcome(class);
        match self {
            Self::Open(..) | Self::Busy => outcome,
            Self::Failed(error) => Outcome {
                provider_request_id: error.traffic.request_id.clone(),
                ..outcome.with_calls(vec![record.failed(error, class)])
            },
        }
    }

    /// The error of a step that ends with it.
    pub(super) fn error(&self, class: EffectClass) -> OutcomeError {
        match self {
            Self::Open(provider, retry_after) => OutcomeError {
                retry_after_ms: Some(millis(*retry_after)),
                ..ProviderFailure::CircuitOpen
                    .error(format!(
                        "{provider} failed too often of late and is left alone for a while"
                    ))
                    .from_provider(provider.as_str(), None)
            },
            Self::Busy => ProviderFailure::RateLimited.error("all lanes to the provider are taken"),
            Self::Failed(error) => {
                let of_provider = ProviderFailure::of(error.kind, class)
                    .error(message(error))
                    .from_provider(error.provider.as_str(), error.status);
                OutcomeError {
                    retry_after_ms: error.retry_after.filter(|_| of_provider.retryable).map(millis),
                    ..of_provider
                }
            }
        }
    }
}

/// What is said about an error. A provider that refuses a key may quote it in part, and it may be the installation's. Slack
/// has words in place of sentences, which hold nothing.
fn message(error: &ProviderError) -> String {
    match (error.kind, error.status) {
        (ErrorKind::Unauthorized, Some(_)) if error.provider != Provider::Slack => {
            format!("{} refuses the key", error.provider)
        }
        _ => error.message.clone(),
    }
}

/// How long a call of a provider may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed {
    /// In all.
    pub(super) total: Duration,
    /// Until the provider first says something.
    pub(super) silence: Duration,
}

impl From<Duration> for Allowed {
    fn from(total: Duration) -> Self {
        Self { total, silence: total }
    }
}

impl Allowed {
    /// What is left of it for the call itself: something stands back for the report to the breaker, half a second or, of a
    /// short time, a quarter.
    fn left(self, passed: Duration) -> Self {
        let report = breakers::PATIENCE.min(self.total.checked_div(4).unwrap_or_default());
        let total = self.total.saturating_sub(passed.saturating_add(report));
        Self {
            total,
            silence: self.silence.min(total),
        }
    }
}

/// Makes one call of a provider under its breaker. `key`: whose key it is made with. `work` is told how long it may take:
/// asking the breaker, the work and the report to the breaker end within what is `allowed`.
pub(super) async fn ask<T>(
    call: &Call<'_>,
    provider: Provider,
    key: Held<'_>,
    allowed: impl Into<Allowed>,
    work: impl AsyncFnOnce(Allowed) -> Result<T, ProviderError>,
) -> Result<T, Stopped> {
    let allowed = allowed.into();
    let Some(breakers) = &call.services.breakers else {
        return work(allowed).await.map_err(Stopped::Failed);
    };
    let account = if key.is_own {
        Account::Own(call.tenant)
    } else {
        Account::Installation(call.tenant)
    };
    let begun = call.services.clock.now();
    let pass = match breakers.admit(provider, account, allowed.total).await {
        Admission::Admitted(pass) => pass,
        Admission::Open { retry_after } => return Err(Stopped::Open(provider, retry_after)),
        Admission::Busy => return Err(Stopped::Busy),
    };
    let passed = Duration::try_from(begun.duration_until(call.services.clock.now())).unwrap_or_default();
    let left = allowed.left(passed);
    if left.total.is_zero() {
        breakers.report(pass, Health::Neither).await;
        let reason = "the time was up before the provider could be asked";
        return Err(Stopped::Failed(ProviderError::new(
            provider,
            ErrorKind::NotSent,
            reason,
        )));
    }
    let result = work(left).await;
    breakers.report(pass, health(result.as_ref().err(), left)).await;
    result.map_err(Stopped::Failed)
}

/// What a call says about its provider's health.
fn health(error: Option<&ProviderError>, allowed: Allowed) -> Health {
    match error {
        None => Health::Well,
        Some(error) if error.kind == ErrorKind::Timeout && allowed.silence < FAIR_PATIENCE => Health::Neither,
        Some(error) if error.kind.is_sick() => Health::Sick,
        Some(error) if matches!(error.kind, ErrorKind::RateLimited | ErrorKind::CutOff) => Health::Neither,
        Some(_) => Health::Well,
    }
}

/// The usage row of a call that took from `begun` until now.
pub(super) fn record(call: &Call<'_>, provider: Provider, key: Held<'_>, begun: Timestamp) -> IntegrationCall {
    let took = Duration::try_from(begun.duration_until(call.services.clock.now())).unwrap_or_default();
    IntegrationCall {
        integration: provider.as_str().into(),
        own_key: key.is_own,
        requests: 1,
        duration_ms: millis(took),
        // Free unless a price says otherwise.
        cost_microusd: Some(0),
        ..IntegrationCall::default()
    }
}

impl IntegrationCall {
    /// The same with what went over the wire.
    #[must_use]
    pub(super) fn with_traffic(self, traffic: &Traffic) -> Self {
        Self {
            bytes_out: traffic.bytes_out,
            bytes_in: traffic.bytes_in,
            provider_request_id: traffic.request_id.clone(),
            ..self
        }
    }

    /// The same for a call that failed. What a failed call cost is the caller's to say.
    #[must_use]
    pub(super) fn failed(self, error: &ProviderError, class: EffectClass) -> Self {
        Self {
            provider_status: error.status,
            code: Some(ProviderFailure::of(error.kind, class).code().into()),
            ..self.with_traffic(&error.traffic)
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Between `shortest` and twice that, so that those who waited together do not come back together.
fn spread(shortest: Duration) -> Duration {
    let mut random = [0_u8; 2];
    // Without randomness the wait is the shortest one: still a wait.
    let share = if getrandom::fill(&mut random).is_ok() {
        u16::from_le_bytes(random)
    } else {
        0
    };
    shortest.mul_f64(1.0 + f64::from(share) / f64::from(u16::MAX))
}
