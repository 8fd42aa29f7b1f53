//! `http_call`: one request to any public HTTP(S) API. Every URL it fetches, each redirect's included, has passed the
//! address guard; credentials never follow a redirect to another origin.
//!
//! # What an answer means
//!
//! | status | outcome |
//! | --- | --- |
//! | 2xx, a redirect that is not followed, `expect_status` | success, with the status in the output |
//! | 408, 425, 429, 503, 529 | failed, retryable: the target says that it did nothing |
//! | another 5xx, GET, HEAD, OPTIONS, PUT, DELETE, or `idempotent` | failed, retryable: a repeat changes nothing more |
//! | 502, 504, 520–527, POST, PATCH | `unknown_effect`: a proxy answered, the request may have been carried out |
//! | another 5xx, POST, PATCH | failed: the target itself says that it broke, a repeat might do half of it twice |
//! | 401, 403, 407, 451 · 404, 410 · 409, 412, 423 · other 4xx | failed: permission · not found · conflict · rejected |
//!
//! Without a complete answer a POST or PATCH is `unknown_effect`, unless the platform refused to send it.

mod answer;
mod params;
mod redirects;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, sync::Arc};

use futures::future::{FutureExt, LocalBoxFuture};
use http::{HeaderName, HeaderValue, Method, header};
use serde_json::{Value, json};

use self::{
    params::{Request, read},
    redirects::{Exchange, Stopped},
};
use super::{
    Call, Category, Contract, EffectClass, Outcome, Skill,
    address_guard::{AddressRules, MAX_URL_BYTES},
    contract::{FailureMode, Limit},
    failure::{Failure, failures},
    outcome::Effect,
    params::{Stage, in_words},
};
use crate::{platform::FetchError, problem::FieldError};

/// The most bytes of an answer's body.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Known to payment and mail APIs, and on its way to a standard (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

failures! {
    /// How a call can fail.
    pub(super) enum HttpFailure {
        InvalidParams {
            code: "invalid_params", category: Category::Validation, retryable: false,
            when: "the params, with references filled in, are not valid",
        },
        ForbiddenAddress {
            code: "forbidden_address", category: Category::Permission, retryable: false,
            when: "the address guard refuses the URL, or that of a redirect",
        },
        RequestRefused {
            code: "request_refused", category: Category::Validation, retryable: false,
            when: "the platform cannot make the request as asked; nothing was sent",
        },
        TooManyRedirects {
            code: "too_many_redirects", category: Category::Provider, retryable: false,
            when: "the target redirects more than 5 times",
        },
        InvalidRedirect {
            code: "invalid_redirect", category: Category::Provider, retryable: false,
            when: "a redirect leads to what is not a URL",
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
            when: "a POST or PATCH was sent and nobody knows whether it was carried out: no complete answer, or one from a \
                   proxy (502, 504, 520 to 527)",
        },
        RateLimited {
            code: "rate_limited", category: Category::RateLimit, retryable: true,
            when: "the target answers 429; its Retry-After is honoured",
        },
        ProviderUnavailable {
            code: "provider_unavailable", category: Category::Provider, retryable: true,
            when: "the target answers 408, 425, 503 or 529, or another 5xx to what may be repeated; its Retry-After is honoured",
        },
        ProviderFailed {
            code: "provider_failed", category: Category::Provider, retryable: false,
            when: "the target answers a 5xx of its own to a POST or PATCH",
        },
        PermissionDenied {
            code: "permission_denied", category: Category::Permission, retryable: false,
            when: "the target answers 401, 403, 407 or 451",
        },
        NotFound {
            code: "target_not_found", category: Category::NotFound, retryable: false,
            when: "the target answers 404 or 410",
        },
        Conflict {
            code: "target_conflict", category: Category::Conflict, retryable: false,
            when: "the target answers 409, 412 or 423",
        },
        RequestRejected {
            code: "request_rejected", category: Category::Validation, retryable: false,
            when: "the target answers another 4xx",
        },
        OutputTooLarge {
            code: "output_too_large", category: Category::Content, retryable: false,
            when: "the answer's body has more than 1 MiB",
        },
    }
}

/// The skill `http_call`.
pub struct HttpCall {
    contract: Contract,
    /// What plans are checked against.
    rules: Arc<AddressRules>,
}

impl Skill for HttpCall {
    fn contract(&self) -> &Contract {
        &self.contract
    }

    fn check(&self, params: &Value) -> Result<(), Vec<FieldError>> {
        read(params, Stage::Planned, &self.rules).map(drop)
    }

    fn effect_class(&self, params: &Value) -> EffectClass {
        // What is not one of these words is a reference, or refused by the check.
        let method = match params.get("method") {
            None => "GET",
            Some(method) => method.as_str().unwrap_or_default(),
        };
        match method {
            "GET" | "HEAD" | "OPTIONS" => EffectClass::Read,
            "PUT" | "DELETE" => EffectClass::Repeatable,
            _ if params.get("idempotent") == Some(&Value::Bool(true)) => EffectClass::Repeatable,
            _ => EffectClass::Once,
        }
    }

    fn host(&self, params: &Value) -> Option<String> {
        let url = url::Url::parse(params.get("url")?.as_str()?).ok()?;
        url.host_str().map(|host| host.trim_end_matches('.').to_owned())
    }

    fn may_hold_secret(&self, pointer: &str) -> bool {
        pointer.starts_with("/headers/")
    }

    fn execute<'a>(&'a self, call: Call<'a>) -> LocalBoxFuture<'a, Outcome> {
        async move {
            let request = match read(call.params, Stage::Resolved, &call.services.address_rules) {
                Ok(Some(request)) => request,
                Ok(None) => return failed(HttpFailure::InvalidParams, "method and url are required"),
                Err(errors) => {
                    let is_forbidden = errors
                        .iter()
                        .any(|error| error.code == super::params::FORBIDDEN_ADDRESS);
                    let failure = if is_forbidden {
                        HttpFailure::ForbiddenAddress
                    } else {
                        HttpFailure::InvalidParams
                    };
                    return failed(failure, in_words(&errors));
                }
            };
            send(request, self.effect_class(call.params), &call).await
        }
        .boxed_local()
    }
}

fn failed(failure: HttpFailure, message: impl Into<String>) -> Outcome {
    Outcome::failed(failure.error(message))
}

async fn send(mut request: Request, class: EffectClass, call: &Call<'_>) -> Outcome {
    let changes = !matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && !request.headers.contains_key(IDEMPOTENCY_KEY) {
        match HeaderValue::from_str(call.idempotency_key) {
            Ok(key) => drop(request.headers.insert(IDEMPOTENCY_KEY, key)),
            Err(_) => return failed(HttpFailure::RequestRefused, "the step's idempotency key fits no header"),
        }
    }
    let user_agent = HeaderValue::from_static(concat!("AOS/", env!("CARGO_PKG_VERSION")));
    request.headers.entry(header::USER_AGENT).or_insert(user_agent);

    let target = format!(
        "{} {}{}",
        request.method,
        request.url.host_str().unwrap_or_default(),
        request.url.path()
    );
    let host = request.url.host_str().unwrap_or_default().to_owned();
    let expected = std::mem::take(&mut request.expected);
    let mut exchange = Exchange::begin(call);
    let result = exchange.run(request).await;
    let mut usage = exchange.usage();
    let (mut outcome, may_have_changed) = match result {
        Ok(answer) => {
            usage.bytes_in = u64::try_from(answer.response.body.len()).unwrap_or(u64::MAX);
            let may_have_changed = answer.response.status.is_success() || answer.response.status.is_redirection();
            (
                answer::outcome(answer, class, &expected, call.services.clock.now(), &host),
                may_have_changed,
            )
        }
        Err(stopped) => (
            Outcome::failed(stopped_error(stopped, class, exchange.was_answered())),
            exchange.was_answered(),
        ),
    };
    let is_unknown = outcome
        .error
        .as_ref()
        .is_some_and(|error| error.category == Category::UnknownEffect);
    if changes && (may_have_changed || is_unknown) {
        outcome.effects.push(Effect {
            kind: Cow::Borrowed("http_request"),
            target,
            idempotency_key: call.idempotency_key.to_owned(),
        });
    }
    Outcome { usage, ..outcome }
}

/// What it means that there is no answer. `was_answered`: an earlier hop was, so that a changing request may have been
/// carried out before its redirect.
fn stopped_error(stopped: Stopped, class: EffectClass, was_answered: bool) -> super::OutcomeError {
    let is_once = class == EffectClass::Once;
    match stopped {
        Stopped::Forbidden(reason) => HttpFailure::ForbiddenAddress.error(format!("redirect: {reason}")),
        Stopped::InvalidRedirect => HttpFailure::InvalidRedirect.error("the target redirects to what is not a URL"),
        Stopped::TooManyRedirects => HttpFailure::TooManyRedirects.error("the target redirects more than 5 times"),
        Stopped::OutOfTime if is_once && was_answered => {
            HttpFailure::UnknownEffect.error("the time was up after a redirect")
        }
        Stopped::OutOfTime => HttpFailure::Timeout.error("the time was up before the request could be sent"),
        Stopped::Fetch(FetchError::Refused(reason)) => HttpFailure::RequestRefused.error(reason),
        Stopped::Fetch(error) if is_once => {
            HttpFailure::UnknownEffect.error(format!("{error}; whether the request was carried out is unknown"))
        }
        Stopped::Fetch(error @ FetchError::Timeout(_)) => HttpFailure::Timeout.error(error.to_string()),
        Stopped::Fetch(error @ FetchError::Connection(_)) => HttpFailure::Network.error(error.to_string()),
    }
}

impl HttpCall {
    /// The skill; plans are checked against `rules`, calls against the rules of their services.
    pub fn new(rules: Arc<AddressRules>) -> Self {
        Self {
            rules,
            contract: Contract {
                name: "http_call",
                version: "1",
                summary: "Sends one HTTP request to a public API and gives its answer.",
                input_schema: params::schema(),
                output_schema: answer::schema(),
                effects: &[EffectClass::Read, EffectClass::Repeatable, EffectClass::Once],
                idempotency: "POST, PUT, PATCH and DELETE carry the step's Idempotency-Key, the same for every attempt, unless \
                              the plan sets one. GET, HEAD, OPTIONS, PUT and DELETE are tried again as HTTP defines them; POST \
                              and PATCH only if `idempotent` promises that the target honours the key, else a lost answer \
                              is unknown_effect.",
                integration: None,
                cost_model: "Free; one outside request per hop.",
                limits: vec![
                    Limit {
                        what: "url",
                        max: MAX_URL_BYTES as u64,
                        unit: "bytes",
                    },
                    Limit {
                        what: "headers",
                        max: params::MAX_HEADERS as u64,
                        unit: "items",
                    },
                    Limit {
                        what: "query",
                        max: params::MAX_QUERY as u64,
                        unit: "items",
                    },
                    Limit {
                        what: "body",
                        max: params::MAX_BODY_BYTES as u64,
                        unit: "bytes",
                    },
                    Limit {
                        what: "json",
                        max: params::MAX_BODY_BYTES as u64,
                        unit: "bytes",
                    },
                    Limit {
                        what: "timeout_ms",
                        max: params::MAX_TIMEOUT_MS as u64,
                        unit: "ms",
                    },
                    Limit {
                        what: "redirects",
                        max: redirects::MAX_REDIRECTS as u64,
                        unit: "items",
                    },
                    Limit {
                        what: "output.body",
                        max: MAX_ANSWER_BYTES as u64,
                        unit: "bytes",
                    },
                ],
                failure_modes: HttpFailure::modes(),
                volatile: &["/headers/*"],
                example: json!({
                    "method": "POST",
                    "url": "https://api.example.com/v1/orders",
                    "headers": {"Accept": "application/json"},
                    "json": {"item": "pear", "count": 3},
                    "timeout_ms": 10_000
                }),
            },
        }
    }
}
