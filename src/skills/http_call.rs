//! `http_call`: one request to any public HTTP(S) API. Every URL it fetches, each redirect's included, has passed the
//! address guard; credentials never follow a redirect to another origin.
//!
//! A 2xx, a redirect that is not followed and what `expect_status` names are a success, with the status in the output. What
//! other statuses mean is in the table of `web.rs`; POST and PATCH may not be repeated unless `idempotent` says so.
//! Without a complete answer such a call is `unknown_effect`, unless nothing was sent.

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
    redirects::{Stopped, exchange},
};
use super::{
    Call, Category, Contract, EffectClass, Outcome, OutcomeError, SecretValues, Skill,
    address_guard::{AddressRules, MAX_URL_BYTES},
    contract::{Identity, Limit},
    failure::{Failure, failures},
    outcome::Effect,
    params::Stage,
    web::{self, Sender, WebFailure},
};
use crate::problem::FieldError;

/// The most bytes of an answer's body.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// The same where the archive keeps what is too large for a row. Its objects are at most 4 MiB, and in base64 a body is a
/// third longer; six lanes may each hold one, more than once.
const MAX_ARCHIVED_ANSWER_BYTES: usize = 2 * 1024 * 1024;

/// Known to payment and mail APIs, and on its way to a standard (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

failures! {
    /// How a call can fail besides [`WebFailure`].
    pub(super) enum HttpFailure {
        TooManyRedirects {
            code: "too_many_redirects", category: Category::Provider, retryable: false,
            when: "the target redirects more than 5 times",
        },
        InvalidRedirect {
            code: "invalid_redirect", category: Category::Provider, retryable: false,
            when: "a redirect leads to what is not a URL",
        },
        OutputTooLarge {
            code: "output_too_large", category: Category::Content, retryable: false,
            when: "the answer's body has more than 2 MiB, or more than 1 MiB where there is no archive to keep it",
        },
    }
}

const IDENTITY: Identity = Identity {
    name: "http_call",
    version: "1",
    integrations: &[],
};

/// The skill `http_call`.
pub struct HttpCall {
    /// What plans are checked against.
    rules: Arc<AddressRules>,
}

impl Skill for HttpCall {
    fn identity(&self) -> Identity {
        IDENTITY
    }

    fn contract() -> Contract {
        contract()
    }

    fn check(&self, params: &Value) -> Result<(), Vec<FieldError>> {
        read(params, Stage::Planned, &self.rules, &SecretValues::new()).map(drop)
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
        web::host(params)
    }

    fn may_hold_secret(&self, pointer: &str) -> bool {
        pointer.starts_with("/headers/")
    }

    fn execute<'a>(&'a self, call: Call<'a>) -> LocalBoxFuture<'a, Outcome> {
        async move {
            let request = match read(call.params, Stage::Resolved, &call.services.address_rules, call.secrets) {
                Ok(Some(request)) => request,
                Ok(None) => return Outcome::failed(WebFailure::InvalidParams.error("method and url are required")),
                Err(errors) => return Outcome::failed(web::refused_params(&errors)),
            };
            send(request, self.effect_class(call.params), &call).await
        }
        .boxed_local()
    }
}

async fn send(mut request: Request, class: EffectClass, call: &Call<'_>) -> Outcome {
    let changes = !matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && !request.headers.contains_key(IDEMPOTENCY_KEY) {
        match HeaderValue::from_str(call.idempotency_key) {
            Ok(key) => drop(request.headers.insert(IDEMPOTENCY_KEY, key)),
            Err(_) => {
                let error = WebFailure::RequestRefused.error("the step's idempotency key fits no header");
                return Outcome::failed(error);
            }
        }
    }
    request
        .headers
        .entry(header::USER_AGENT)
        .or_insert_with(web::user_agent);

    let target = format!(
        "{} {}{}",
        request.method,
        request.url.host_str().unwrap_or_default(),
        request.url.path()
    );
    let host = request.url.host_str().unwrap_or_default().to_owned();
    let expected = std::mem::take(&mut request.expected);
    let max_answer_bytes = if call.services.archive.is_some() {
        MAX_ARCHIVED_ANSWER_BYTES
    } else {
        MAX_ANSWER_BYTES
    };
    let mut sender = Sender::begin(call, request.timeout, max_answer_bytes);
    let result = exchange(&mut sender, request, &call.services.address_rules).await;
    let (mut outcome, may_have_changed) = match result {
        Ok(answer) => {
            let may_have_changed = answer.response.status.is_success() || answer.response.status.is_redirection();
            let meant = answer::Meant {
                class,
                expected: &expected,
                host: &host,
                max_bytes: max_answer_bytes,
            };
            (
                answer::outcome(answer, &meant, call.services.clock.now()),
                may_have_changed,
            )
        }
        Err(stopped) => (
            Outcome::failed(stopped_error(stopped, class, sender.was_answered())),
            sender.was_answered(),
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
    Outcome {
        usage: sender.usage(),
        ..outcome
    }
}

/// What it means that there is no answer. `was_answered`: an earlier hop was.
fn stopped_error(stopped: Stopped, class: EffectClass, was_answered: bool) -> OutcomeError {
    match stopped {
        Stopped::Forbidden(reason) => WebFailure::ForbiddenAddress.error(format!("redirect: {reason}")),
        Stopped::InvalidRedirect => HttpFailure::InvalidRedirect.error("the target redirects to what is not a URL"),
        Stopped::TooManyRedirects => HttpFailure::TooManyRedirects.error("the target redirects more than 5 times"),
        Stopped::Unanswered(unanswered) => unanswered.error(class, was_answered),
    }
}

impl HttpCall {
    /// The skill; plans are checked against `rules`, calls against the rules of their services.
    pub fn new(rules: Arc<AddressRules>) -> Self {
        Self { rules }
    }
}

fn contract() -> Contract {
    Contract {
        identity: IDENTITY,
        summary: "Sends one HTTP request to a public API and gives its answer.",
        input_schema: params::schema(),
        output_schema: answer::schema(),
        effects: &[EffectClass::Read, EffectClass::Repeatable, EffectClass::Once],
        idempotency: "POST, PUT, PATCH and DELETE carry the step's Idempotency-Key, the same for every attempt, unless \
                      the plan sets one. GET, HEAD, OPTIONS, PUT and DELETE are tried again as HTTP defines them; POST \
                      and PATCH only if `idempotent` promises that the target honours the key, else a lost answer \
                      is unknown_effect.",
        cost_model: "Free; per hop one outside request, and two or more to look its name up.",
        limits: vec![
            Limit {
                what: "url",
                max: MAX_URL_BYTES as u64,
                unit: "bytes",
            },
            Limit {
                what: "headers",
                max: web::MAX_HEADERS as u64,
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
                max: MAX_ARCHIVED_ANSWER_BYTES as u64,
                unit: "bytes",
            },
            Limit {
                what: "output.body without an archive",
                max: MAX_ANSWER_BYTES as u64,
                unit: "bytes",
            },
        ],
        failure_modes: [WebFailure::modes(), HttpFailure::modes()].concat(),
        volatile: &["/headers/*"],
        example: json!({
            "method": "POST",
            "url": "https://api.example.com/v1/orders",
            "headers": {"Accept": "application/json"},
            "json": {"item": "pear", "count": 3},
            "timeout_ms": 10_000
        }),
    }
}
