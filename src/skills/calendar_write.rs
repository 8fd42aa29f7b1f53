//! `calendar_write`: one event as an iCalendar file, behind a signed link. A step that is tried again writes the same event
//! in the same place; it must never leave two.

mod ical;
mod params;
mod recurrence;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, pin::pin, time::Duration};

use futures::future::{Either, FutureExt, LocalBoxFuture, select};
use serde_json::{Value, json};

use self::params::read;
use super::{
    Call, Category, Contract, EffectClass, Outcome, Skill,
    contract::{Identity, Limit},
    failure::{Failure, failures},
    outcome::{Effect, Usage},
    params::{Stage, in_words},
};
use crate::{archive, integrations::calendar::CalendarFile, problem::FieldError};

/// How long the archive may take.
const PATIENCE: Duration = Duration::from_secs(10);

failures! {
    /// How a call can fail.
    enum CalendarFailure {
        InvalidParams {
            code: "invalid_params", category: Category::Validation, retryable: false,
            when: "the params, with references filled in, are not valid",
        },
        NotConfigured {
            code: "integration_not_configured", category: Category::Configuration, retryable: false,
            when: "the installation has no archive, or no SIGNED_URL_SECRET to sign links with",
        },
        ArchiveUnreachable {
            code: "archive_unreachable", category: Category::Network, retryable: true,
            when: "the archive does not take the file; a repeat takes its place",
        },
        Timeout {
            code: "timeout", category: Category::Timeout, retryable: true,
            when: "the archive does not answer in time; a repeat takes its place",
        },
    }
}

const IDENTITY: Identity = Identity {
    name: "calendar_write",
    version: "1",
    integrations: &["r2"],
};

/// The skill `calendar_write`.
pub struct CalendarWrite;

impl Skill for CalendarWrite {
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
        EffectClass::Repeatable
    }

    fn host(&self, _: &Value) -> Option<String> {
        Some("r2".to_owned())
    }

    fn execute<'a>(&'a self, call: Call<'a>) -> LocalBoxFuture<'a, Outcome> {
        async move {
            let event = match read(call.params, Stage::Resolved) {
                Ok(Some(event)) => event,
                Ok(None) => return failed(CalendarFailure::InvalidParams, "title, start and end are required"),
                Err(errors) => return failed(CalendarFailure::InvalidParams, in_words(&errors)),
            };
            let uid = format!("{}@aos", call.step);
            let ics = ical::write(&event, &uid, call.services.clock.now());
            write(ics, uid, &call).await
        }
        .boxed_local()
    }
}

fn failed(failure: CalendarFailure, message: impl Into<String>) -> Outcome {
    Outcome::failed(failure.error(message))
}

async fn write(ics: String, uid: String, call: &Call<'_>) -> Outcome {
    let Some(calendar) = &call.services.calendar else {
        return failed(
            CalendarFailure::NotConfigured,
            "calendar_write needs the archive (R2) and SIGNED_URL_SECRET, which this installation does not both have",
        );
    };
    let bytes = u64::try_from(ics.len()).unwrap_or(u64::MAX);
    let file = CalendarFile {
        tenant: call.tenant,
        step: call.step,
        ics,
    };
    let limit = call.services.clock.sleep(call.timeout.min(PATIENCE));
    let mut outcome = match select(pin!(calendar.write(file)), limit).await {
        Either::Left((Ok(placed), _)) => Outcome::succeeded(json!({
            "link": placed.link, "uid": uid, "bytes": bytes, "expires_at": placed.expires_at,
        })),
        Either::Left((Err(error), _)) => failed(CalendarFailure::ArchiveUnreachable, in_short(&error)),
        Either::Right(_) => failed(CalendarFailure::Timeout, "the archive did not answer in time"),
    };
    if outcome.error.is_none() {
        outcome.effects.push(Effect {
            kind: Cow::Borrowed("calendar_event"),
            target: uid,
            idempotency_key: call.idempotency_key.to_owned(),
        });
    }
    Outcome {
        usage: Usage {
            requests: 1,
            bytes_out: bytes,
            ..Usage::default()
        },
        ..outcome
    }
}

/// What the platform says is for the log, not for a tenant.
fn in_short(error: &archive::Error) -> &'static str {
    tracing::warn!(%error, "a calendar file cannot be written");
    "the archive does not take the file"
}

fn contract() -> Contract {
    Contract {
        identity: IDENTITY,
        summary: "Writes an event as an iCalendar file and gives a signed link to it.",
        input_schema: params::schema(),
        output_schema: json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["link", "uid", "bytes", "expires_at"],
            "properties": {
                "link": {
                    "type": "string",
                    "description": "Opens the file without another credential, for whoever has it; a path where the \
                                    installation does not know its own address."
                },
                "uid": {"type": "string", "description": "The event's own id, the same for every attempt."},
                "bytes": {"type": "integer", "minimum": 1},
                "expires_at": {"type": "string", "format": "date-time", "description": "In 7 days."}
            }
        }),
        effects: &[EffectClass::Repeatable],
        idempotency: "The file lies under the step's id: a repeat takes its place, with the same UID.",
        cost_model: "Free; one object of the archive.",
        limits: params::limits(),
        failure_modes: CalendarFailure::modes(),
        volatile: &["/link", "/uid", "/expires_at"],
        example: json!({
            "title": "Review of the week",
            "start": "2026-03-02T09:00:00+01:00",
            "end": "2026-03-02T09:30:00+01:00",
            "time_zone": "Europe/Berlin",
            "attendees": ["ada@example.com", "grace@example.com"],
            "recurrence": "FREQ=WEEKLY;BYDAY=MO;COUNT=10"
        }),
    }
}
