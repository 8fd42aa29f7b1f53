//! `email_send`: a mail by Resend, once per step: the step's key is Resend's `Idempotency-Key`. Must never let a value of
//! the params become a header of the mail, nor keep what a mail says.

mod address;
mod params;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeSet};

use futures::future::{FutureExt, LocalBoxFuture};
use secrecy::ExposeSecret;
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
        resend::{self, Mail},
    },
    problem::FieldError,
    tenants::OwnSetting,
};

/// The mail is sent once per step by Resend's own key.
const CLASS: EffectClass = EffectClass::Repeatable;
/// Domains of recipients that an effect names; the others are counted.
const NAMED_DOMAINS: usize = 5;

failures! {
    /// How a call can fail by itself.
    enum EmailFailure {
        InvalidParams {
            code: "invalid_params", category: Category::Validation, retryable: false,
            when: "the params, with references filled in, are not valid",
        },
    }
}

const IDENTITY: Identity = Identity {
    name: "email_send",
    version: "1",
    integrations: &["resend"],
};

/// The skill `email_send`.
pub struct EmailSend;

impl Skill for EmailSend {
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
        Some(Provider::Resend.as_str().to_owned())
    }

    fn execute<'a>(&'a self, call: Call<'a>) -> LocalBoxFuture<'a, Outcome> {
        async move {
            match read(call.params, Stage::Resolved) {
                Ok(mail) => send(&call, mail).await,
                Err(errors) => invalid(in_words(&errors)),
            }
        }
        .boxed_local()
    }
}

fn invalid(message: impl Into<String>) -> Outcome {
    Outcome::failed(EmailFailure::InvalidParams.error(message))
}

/// Sends the mail, from the sender of the settings if the params name none.
async fn send(call: &Call<'_>, mail: params::Params<'_>) -> Outcome {
    let Some(key) = call.value(OwnSetting::ResendApiKey) else {
        return provider::not_configured(call, OwnSetting::ResendApiKey);
    };
    let of_settings = call.value(OwnSetting::ResendFromAddress);
    let from = match (mail.from, &of_settings) {
        (Some(from), _) => from,
        (None, Some(held)) => match address::read(held.value.expose_secret()) {
            Ok(address) => address,
            Err(_) => return invalid("/from: resend_from_address is not an address; give from, or set it right"),
        },
        (None, None) => return invalid("/from: there is no sender; give from, or set resend_from_address"),
    };
    if !key.is_own
        && let Some(outcome) = sender_refused(call, &from)
    {
        return outcome;
    }
    let mail = Mail {
        from: from.text,
        to: texts(&mail.to),
        cc: texts(&mail.cc),
        bcc: texts(&mail.bcc),
        reply_to: texts(&mail.reply_to),
        subject: mail.subject,
        text: mail.text,
        html: mail.html,
        attachments: mail.attachments,
        tags: mail.tags,
    };
    let begun = call.services.clock.now();
    let endpoint = &call.services.endpoints.resend;
    let sending =
        async |allowed: Allowed| resend::send(endpoint, key.value, &mail, call.idempotency_key, allowed.total).await;
    match provider::ask(call, Provider::Resend, key, call.timeout, sending).await {
        Ok(sent) => {
            let record = provider::record(call, Provider::Resend, key, begun).with_traffic(&sent.traffic);
            let output = json!({
                "id": sent.id,
                "from": mail.from,
                "recipients": {"to": mail.to.len(), "cc": mail.cc.len(), "bcc": mail.bcc.len()},
            });
            Outcome {
                effects: vec![Effect {
                    kind: Cow::Borrowed("email"),
                    target: target(&mail),
                    idempotency_key: call.idempotency_key.to_owned(),
                }],
                provider_request_id: sent.traffic.request_id,
                ..Outcome::succeeded(output).with_calls(vec![record])
            }
        }
        Err(stopped) => stopped.outcome_of_call(CLASS, provider::record(call, Provider::Resend, key, begun)),
    }
}

/// Why no mail with the installation's key may come from there, if none may. That key could send as anybody of the
/// installation's domain: tenants get its one address, under whatever name.
fn sender_refused(call: &Call<'_>, from: &address::Address<'_>) -> Option<Outcome> {
    let setting = OwnSetting::ResendFromAddress;
    let held = call.services.installation.values.get(&setting);
    let allowed = held.and_then(|value| address::read(value.expose_secret()).ok());
    match allowed {
        Some(allowed) if allowed.is_mailbox_of(from) => None,
        Some(allowed) => {
            let reason = format!(
                "the installation's key sends from {}@{} alone; to send from another address, set a resend_api_key of your own",
                allowed.local, allowed.domain
            );
            Some(Outcome::failed(ProviderFailure::PermissionDenied.error(reason)))
        }
        None => {
            let reason = "the installation has no RESEND_FROM_ADDRESS that its key may send from; set a resend_api_key of your own";
            Some(Outcome::failed(ProviderFailure::NotConfigured.error(reason)))
        }
    }
}

fn texts<'a>(addresses: &[address::Address<'a>]) -> Vec<&'a str> {
    addresses.iter().map(|address| address.text).collect()
}

/// How many get it, and where they are: never who, nor what it says.
fn target(mail: &Mail<'_>) -> String {
    let all = || mail.to.iter().chain(&mail.cc).chain(&mail.bcc);
    let domains: BTreeSet<String> = all()
        .filter_map(|text| address::read(text).ok())
        .map(|address| address.domain.to_ascii_lowercase())
        .collect();
    let count = all().count();
    let recipients = if count == 1 { "recipient" } else { "recipients" };
    let named: Vec<&str> = domains.iter().map(String::as_str).take(NAMED_DOMAINS).collect();
    let more = match domains.len().saturating_sub(named.len()) {
        0 => String::new(),
        more => format!(" and {more} more domains"),
    };
    format!("{count} {recipients} at {}{more}", named.join(", "))
}

fn contract() -> Contract {
    Contract {
        identity: IDENTITY,
        summary: "Sends one mail by Resend, as text, HTML or both, with attachments.",
        input_schema: params::schema(),
        output_schema: json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["id", "from", "recipients"],
            "properties": {
                "id": {"type": "string", "description": "Resend's id of the mail."},
                "from": {"type": "string", "description": "The sender."},
                "recipients": {
                    "type": "object",
                    "description": "How many there were.",
                    "additionalProperties": false,
                    "required": ["to", "cc", "bcc"],
                    "properties": {
                        "to": {"type": "integer"}, "cc": {"type": "integer"}, "bcc": {"type": "integer"}
                    }
                }
            }
        }),
        effects: &[CLASS],
        idempotency: "The step's key is sent as Resend's Idempotency-Key, the same for every attempt: a mail whose \
                      answer was lost is not sent again. Resend forgets a key after 24 hours. Ten attempts an hour \
                      apart end long before; an attempt of a run that was paused for a day in between could send \
                      twice.",
        cost_model: "Free to the tenant but for Resend's own bill; one mail of the account's quota.",
        limits: params::limits(),
        failure_modes: [EmailFailure::modes(), ProviderFailure::modes()].concat(),
        volatile: &["/id"],
        example: json!({
            "to": ["Ada <ada@example.com>"],
            "cc": "team@example.com",
            "subject": "The report of today",
            "text": "It is attached.",
            "attachments": [{"filename": "report.txt", "content": "YWxsIGlzIHdlbGwK", "content_type": "text/plain"}],
            "tags": [{"name": "kind", "value": "report"}]
        }),
    }
}
