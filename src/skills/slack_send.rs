//! `slack_send`: a message by an incoming webhook of Slack. Slack knows no idempotency key, so a message whose answer was
//! lost is a question for a person. Must never show the webhook's URL, which is a secret, nor post twice.

mod params;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use futures::future::{FutureExt, LocalBoxFuture};
use serde_json::{Value, json};

use self::params::read;
use super::{
    Call, Category, Contract, EffectClass, Outcome, Skill,
    contract::Identity,
    failure::{Failure, failures},
    outcome::Effect,
    params::{Stage, in_words},
    provider::{self, Allowed, ProviderFailure},
};
use crate::{
    integrations::{
        provider::Provider,
        slack::{Message, Webhook},
    },
    problem::FieldError,
    tenants::OwnSetting,
};

/// A message that is posted again is there twice.
const CLASS: EffectClass = EffectClass::Once;

failures! {
    /// How a call can fail by itself.
    enum SlackFailure {
        InvalidParams {
            code: "invalid_params", category: Category::Validation, retryable: false,
            when: "the params, with references filled in, are not valid",
        },
    }
}

const IDENTITY: Identity = Identity {
    name: "slack_send",
    version: "1",
    integrations: &["slack"],
};

/// The skill `slack_send`.
pub struct SlackSend;

impl Skill for SlackSend {
    fn identity(&self) -> Identity {
        IDENTITY
    }

    fn contract() -> Contract {
        contract()
    }

    fn check(&self, params: &Value) -> Result<(), Vec<FieldError>> {
        read(params, Stage::Planned).map(drop)
    }

    fn effect_class(&self, _: &Value) -> EffectClass {
        CLASS
    }

    fn host(&self, _: &Value) -> Option<String> {
        Some(Provider::Slack.as_str().to_owned())
    }

    fn execute<'a>(&'a self, call: Call<'a>) -> LocalBoxFuture<'a, Outcome> {
        async move {
            match read(call.params, Stage::Resolved) {
                Ok(message) => post(&call, &message).await,
                Err(errors) => Outcome::failed(SlackFailure::InvalidParams.error(in_words(&errors))),
            }
        }
        .boxed_local()
    }
}

async fn post(call: &Call<'_>, message: &Message<'_>) -> Outcome {
    let Some(url) = call.value(OwnSetting::SlackWebhookUrl) else {
        return provider::not_configured(call, OwnSetting::SlackWebhookUrl);
    };
    let Some(webhook) = Webhook::new(&call.services.endpoints.slack, url.value) else {
        let reason = "slack_webhook_url does not lead to Slack; nothing was sent there";
        return Outcome::failed(ProviderFailure::NotConfigured.error(reason));
    };
    let effect = Effect {
        kind: Cow::Borrowed("slack_message"),
        target: match url.is_own {
            true => "the tenant's incoming webhook".to_owned(),
            false => "the installation's incoming webhook".to_owned(),
        },
        idempotency_key: call.idempotency_key.to_owned(),
    };
    let begun = call.services.clock.now();
    let posting = async |allowed: Allowed| webhook.post(message, allowed.total).await;
    match provider::ask(call, Provider::Slack, url, call.timeout, posting).await {
        Ok(traffic) => {
            let record = provider::record(call, Provider::Slack, url, begun).with_traffic(&traffic);
            Outcome {
                effects: vec![effect],
                provider_request_id: traffic.request_id,
                ..Outcome::succeeded(json!({"posted": true})).with_calls(vec![record])
            }
        }
        Err(stopped) => {
            let outcome = stopped.outcome_of_call(CLASS, provider::record(call, Provider::Slack, url, begun));
            // What nobody knows may be there.
            let may_be_there = outcome
                .error
                .as_ref()
                .is_some_and(|error| error.category == Category::UnknownEffect);
            Outcome {
                effects: may_be_there.then_some(effect).into_iter().collect(),
                ..outcome
            }
        }
    }
}

fn contract() -> Contract {
    Contract {
        identity: IDENTITY,
        summary: "Posts one message to the channel of an incoming webhook of Slack.",
        input_schema: params::schema(),
        output_schema: json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["posted"],
            "properties": {"posted": {"type": "boolean", "description": "Always true: Slack says no more."}}
        }),
        effects: &[CLASS],
        idempotency: "Slack has no idempotency key; the ledger of effects is ours. What Slack refused, and what was \
                      never sent, may be tried again; a message whose answer was lost is unknown_effect and is not \
                      posted again by itself.",
        cost_model: "Free; one message of the webhook's about one a second.",
        limits: params::limits(),
        failure_modes: [SlackFailure::modes(), ProviderFailure::modes()].concat(),
        volatile: &[],
        example: json!({
            "text": "The report of today is there.",
            "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": "The report of today"}},
                {"type": "section", "text": {"type": "mrkdwn", "text": "All is *well*."}}
            ],
            "thread": "1764331200.000100"
        }),
    }
}
