//! `webhook_send`: one signed message to a receiver of webhooks (Standard Webhooks). The URL has passed the address guard,
//! a redirect is never followed, and nothing goes out unsigned.
//!
//! Every attempt carries the step's key as `webhook-id`, by which a receiver takes the message once: a repeat changes
//! nothing more, and what has no answer is tried again.

mod params;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use futures::future::{FutureExt, LocalBoxFuture};
use http::{HeaderValue, Method, header};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use self::params::{Request, read};
use super::{
    Call, Category, Contract, EffectClass, Outcome, OutcomeError, Skill,
    address_guard::{AddressRules, MAX_URL_BYTES},
    contract::{Identity, Limit},
    failure::{Failure, failures},
    outcome::Effect,
    params::Stage,
    web::{self, Message, Sender, WebFailure},
};
use crate::{integrations::standard_webhooks::SigningKey, problem::FieldError, tenants::OwnSetting};

/// What is read of an answer's body. It says nothing to a sender of webhooks; it is read so that the answer is complete.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

failures! {
    /// How a call can fail besides [`WebFailure`].
    enum WebhookFailure {
        NotConfigured {
            code: "integration_not_configured", category: Category::Configuration, retryable: false,
            when: "the tenant has no webhook_secret to sign with",
        },
        Redirected {
            code: "target_redirected", category: Category::Provider, retryable: false,
            when: "the receiver answers a 3xx; webhooks do not follow redirects",
        },
    }
}

const IDENTITY: Identity = Identity {
    name: "webhook_send",
    version: "1",
    integrations: &["webhooks"],
};

/// The skill `webhook_send`.
pub struct WebhookSend {
    /// What plans are checked against.
    rules: Arc<AddressRules>,
}

impl Skill for WebhookSend {
    fn identity(&self) -> Identity {
        IDENTITY
    }

    fn contract() -> Contract {
        contract()
    }

    fn check(&self, params: &Value) -> Result<(), Vec<FieldError>> {
        read(params, Stage::Planned, &self.rules).map(drop)
    }

    fn effect_class(&self, _: &Value) -> EffectClass {
        EffectClass::Repeatable
    }

    fn host(&self, params: &Value) -> Option<String> {
        web::host(params)
    }

    fn execute<'a>(&'a self, call: Call<'a>) -> LocalBoxFuture<'a, Outcome> {
        async move {
            let request = match read(call.params, Stage::Resolved, &call.services.address_rules) {
                Ok(Some(request)) => request,
                Ok(None) => return Outcome::failed(WebFailure::InvalidParams.error("url and payload are required")),
                Err(errors) => return Outcome::failed(web::refused_params(&errors)),
            };
            match signing_key(&call) {
                Ok(key) => send(request, &key, &call).await,
                Err(error) => Outcome::failed(error),
            }
        }
        .boxed_local()
    }
}

/// The tenant's own key: a signature by anybody else's would say nothing about the tenant.
fn signing_key(call: &Call<'_>) -> Result<SigningKey, OutcomeError> {
    let setting = OwnSetting::WebhookSecret;
    let Some(held) = call.value(setting) else {
        let why = if call.owner.unreadable.contains(&setting) {
            "cannot be opened any more"
        } else {
            "is not set"
        };
        let message =
            format!("webhook_send signs with the tenant's own {setting}, which {why}; set it at /v1/settings");
        return Err(WebhookFailure::NotConfigured.error(message));
    };
    SigningKey::parse(held.value.expose_secret()).map_err(|error| {
        WebhookFailure::NotConfigured.error(format!("the tenant's {setting} cannot be used: it {error}"))
    })
}

async fn send(request: Request, key: &SigningKey, call: &Call<'_>) -> Outcome {
    let Request {
        url,
        mut headers,
        payload,
    } = request;
    let body = Bytes::from(payload);
    let Ok(signed) = key.headers(call.idempotency_key, call.services.clock.now(), &body) else {
        return Outcome::failed(WebFailure::RequestRefused.error("the step's idempotency key fits no header"));
    };
    headers
        .entry(header::CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    headers.entry(header::USER_AGENT).or_insert_with(web::user_agent);
    headers.extend(signed);

    let host = url.host_str().unwrap_or_default().to_owned();
    let mut sender = Sender::begin(call, None, MAX_ANSWER_BYTES);
    let message = Message {
        method: &Method::POST,
        url: &url,
        headers: &headers,
        body: Some(&body),
    };
    let mut outcome = match sender.send(message).await {
        Err(unanswered) => Outcome::failed(unanswered.error(EffectClass::Repeatable, false)),
        Ok(response) => {
            let status = response.status;
            let outcome = if status.is_success() {
                Outcome::succeeded(json!({"status": status.as_u16(), "webhook_id": call.idempotency_key}))
            } else if status.is_redirection() {
                let message = format!("{host} answered {status}; webhooks do not follow redirects");
                Outcome::failed(
                    WebhookFailure::Redirected
                        .error(message)
                        .from_provider(&host, Some(status.as_u16())),
                )
            } else {
                let now = call.services.clock.now();
                Outcome::failed(web::refusal(&response, EffectClass::Repeatable, &host, now))
            };
            Outcome {
                provider_request_id: web::request_id(&response.headers),
                ..outcome
            }
        }
    };
    if outcome.error.is_none() {
        outcome.effects.push(Effect {
            kind: Cow::Borrowed("webhook"),
            target: format!("{host}{}", url.path()),
            idempotency_key: call.idempotency_key.to_owned(),
        });
    }
    Outcome {
        usage: sender.usage(),
        ..outcome
    }
}

impl WebhookSend {
    /// The skill; plans are checked against `rules`, calls against the rules of their services.
    pub fn new(rules: Arc<AddressRules>) -> Self {
        Self { rules }
    }
}

fn contract() -> Contract {
    Contract {
        identity: IDENTITY,
        summary: "Sends a signed webhook (Standard Webhooks) to a receiver.",
        input_schema: params::schema(),
        output_schema: json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["status", "webhook_id"],
            "properties": {
                "status": {"type": "integer", "minimum": 200, "maximum": 299},
                "webhook_id": {"type": "string", "description": "What the receiver knows the message by."}
            }
        }),
        effects: &[EffectClass::Repeatable],
        idempotency: "Every attempt carries the step's key as webhook-id, by which receivers take a message once.",
        cost_model: "Free; one outside request, and two or more to look the receiver's name up.",
        limits: vec![
            Limit {
                what: "url",
                max: MAX_URL_BYTES as u64,
                unit: "bytes",
            },
            Limit {
                what: "payload",
                max: params::MAX_PAYLOAD_BYTES as u64,
                unit: "bytes",
            },
            Limit {
                what: "headers",
                max: web::MAX_HEADERS as u64,
                unit: "items",
            },
        ],
        failure_modes: [WebFailure::modes_of_repeatable(), WebhookFailure::modes()].concat(),
        volatile: &["/webhook_id"],
        example: json!({
            "url": "https://hooks.example.com/orders",
            "payload": {"type": "order.shipped", "data": {"order": 17}},
            "headers": {"X-Environment": "staging"}
        }),
    }
}
