//! Asks the models that may answer, one after the other, until one does. Must never pass a request on that is wrong in
//! itself, nor bill the installation because a tenant's own key was refused.

use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::params::{Choice, Params};
use crate::{
    costs::{PriceTable, Tokens},
    integrations::{
        model::{
            self, Answer, Billed, Patience, Request,
            known::{Abilities, default_model},
        },
        provider::{Endpoint, ErrorKind, Provider},
    },
    skills::{
        Call, EffectClass,
        outcome::IntegrationCall,
        provider::{Allowed, Stopped, ask, record},
    },
    tenants::{Held, OwnSetting},
};

/// With less time than this left nobody else is asked.
const LEAST_TIME: Duration = Duration::from_millis(500);

/// A model that may answer.
struct Candidate<'a> {
    provider: Provider,
    model: Cow<'a, str>,
    /// Whether the call itself names the model.
    is_named: bool,
    key: Option<Held<'a>>,
}

/// One try, made or not.
#[derive(Debug)]
pub(super) struct Attempt {
    provider: Provider,
    model: String,
    /// Why it gave no answer.
    code: Option<Cow<'static, str>>,
    /// The usage row of a call that was made.
    call: Option<IntegrationCall>,
}

/// Why a try gave no answer.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) provider: Provider,
    pub(super) why: Why,
}

/// The same, without who.
#[derive(Debug)]
pub(super) enum Why {
    /// There is no key.
    NoKey(String),
    /// What was asked does not fit the model's context window.
    TooLong { message: String, status: Option<u16> },
    /// Anything else.
    Stopped(Stopped),
}

/// An answer and who gave it.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) provider: Provider,
    pub(super) answer: Answer,
    /// The params that were left out for this model.
    pub(super) ignored: &'static [&'static str],
    /// The model that was asked for.
    pub(super) model: String,
}

/// What came of it all.
pub(super) struct Asked {
    /// The answer, or why nobody gave one, in the order of the tries.
    pub(super) result: Result<Answered, Vec<Stop>>,
    pub(super) attempts: Vec<Attempt>,
}

impl Attempt {
    /// As the output shows it.
    pub(super) fn shown(&self) -> Value {
        let call = self.call.as_ref();
        json!({
            "provider": self.provider.as_str(),
            "model": self.model,
            "ok": self.code.is_none(),
            "code": self.code,
            "input_tokens": call.and_then(|call| call.input_tokens),
            "output_tokens": call.and_then(|call| call.output_tokens),
            "cost_microusd": call.map_or(Some(0), |call| call.cost_microusd),
        })
    }

    /// Its usage row, if a call was made.
    pub(super) fn into_call(self) -> Option<IntegrationCall> {
        self.call
    }
}

/// Asks until somebody answers. `idle`: the longest silence within an answer.
pub(super) async fn ask_in_turn(call: &Call<'_>, params: &Params<'_>, idle: Duration) -> Asked {
    let began = call.services.clock.now();
    let candidates = candidates(call, params);
    let mut attempts = Vec::new();
    let mut stops: Vec<Stop> = Vec::new();
    let mut own_key_refused = false;
    for (index, candidate) in candidates.iter().enumerate() {
        let mut skipped = |why: Why, code: &'static str| {
            attempts.push(Attempt {
                provider: candidate.provider,
                model: candidate.model.to_string(),
                code: Some(code.into()),
                call: None,
            });
            stops.push(Stop {
                provider: candidate.provider,
                why,
            });
        };
        let Some(key) = candidate.key else {
            skipped(
                Why::NoKey(no_key(call, candidate.provider)),
                "integration_not_configured",
            );
            continue;
        };
        let left = call.timeout.saturating_sub(passed(call, began));
        // A tenant whose own key is refused is told so; the installation does not pay for it.
        if (own_key_refused && !key.is_own) || (index > 0 && left < LEAST_TIME) {
            break;
        }
        let others = candidates.iter().skip(index.saturating_add(1));
        let has_fallback = others.into_iter().any(|other| other.key.is_some());
        let patience = Patience {
            total: left,
            first_event: left.checked_div(if has_fallback { 2 } else { 1 }).unwrap_or(left),
            idle,
        };
        match attempt(call, params, candidate, key, patience).await {
            (Ok(answered), attempt) => {
                attempts.push(attempt);
                return Asked {
                    result: Ok(answered),
                    attempts,
                };
            }
            (Err(why), attempt) => {
                attempts.push(attempt);
                let goes_on = matches!(&why, Why::Stopped(stopped) if stopped.allows_fallback());
                own_key_refused = key.is_own && is_unauthorized(&why);
                stops.push(Stop {
                    provider: candidate.provider,
                    why,
                });
                if !goes_on {
                    break;
                }
            }
        }
    }
    Asked {
        result: Err(stops),
        attempts,
    }
}

/// Who may answer, in the order in which they are asked.
fn candidates<'a>(call: &Call<'a>, params: &Params<'a>) -> Vec<Candidate<'a>> {
    let providers = match params.choice {
        Choice::Only(provider) => vec![provider],
        Choice::First(Provider::OpenAi) => vec![Provider::OpenAi, Provider::Anthropic],
        Choice::First(_) => vec![Provider::Anthropic, Provider::OpenAi],
    };
    let candidate = |(index, provider): (usize, Provider)| {
        let [key, model] = settings(provider);
        // A name means something to one provider only.
        let named = params.model.filter(|_| index == 0);
        let chosen = || {
            call.value(model)
                .map_or(default_model(provider), |held| held.value.expose_secret())
        };
        Candidate {
            provider,
            model: named.unwrap_or_else(chosen).into(),
            is_named: named.is_some(),
            key: call.value(key),
        }
    };
    providers.into_iter().enumerate().map(candidate).collect()
}

/// The settings of a provider's key and model.
fn settings(provider: Provider) -> [OwnSetting; 2] {
    match provider {
        Provider::OpenAi => [OwnSetting::OpenaiApiKey, OwnSetting::OpenaiModel],
        _ => [OwnSetting::AnthropicApiKey, OwnSetting::AnthropicModel],
    }
}

fn endpoint<'a>(call: &Call<'a>, provider: Provider) -> &'a Endpoint {
    match provider {
        Provider::OpenAi => &call.services.endpoints.openai,
        _ => &call.services.endpoints.anthropic,
    }
}

/// Asks one model once.
async fn attempt(
    call: &Call<'_>,
    params: &Params<'_>,
    candidate: &Candidate<'_>,
    key: Held<'_>,
    patience: Patience,
) -> (Result<Answered, Why>, Attempt) {
    let &Candidate { provider, is_named, .. } = candidate;
    let model = &*candidate.model;
    let takes_temperature = is_named || Abilities::of(model).temperature;
    let request = Request {
        model,
        system: params.system,
        messages: &params.messages,
        max_tokens: params.max_tokens,
        temperature: params.temperature.filter(|_| takes_temperature),
        stop: &params.stop,
        schema: params.schema,
    };
    let begun = call.services.clock.now();
    let mut failed = None;
    let work = async |allowed: Allowed| {
        let patience = Patience {
            total: allowed.total,
            first_event: allowed.silence,
            ..patience
        };
        model::ask(endpoint(call, provider), key.value, &request, patience)
            .await
            .map_err(|failure| {
                failed = Some((failure.billed, failure.is_too_long));
                failure.error
            })
    };
    let allowed = Allowed {
        total: patience.total,
        silence: patience.first_event,
    };
    let result = ask(call, provider, key, allowed, work).await;
    let row = || IntegrationCall {
        model: Some(model.to_owned()),
        ..record(call, provider, key, begun)
    };
    let (result, code, row) = match result {
        Ok(answer) => {
            let row = row().with_traffic(&answer.traffic);
            let row = IntegrationCall {
                provider_status: Some(200),
                ..priced(row, provider, answer.tokens.map_or(Billed::Unknown, Billed::Tokens))
            };
            let answered = Answered {
                provider,
                answer,
                ignored: match params.temperature {
                    Some(_) if !takes_temperature => &["temperature"],
                    _ => &[],
                },
                model: model.to_owned(),
            };
            (Ok(answered), None, Some(row))
        }
        Err(Stopped::Failed(error)) => {
            // Without a word from the model it was not asked.
            let (billed, is_too_long) = failed.unwrap_or((Billed::Nothing, false));
            let mut row = priced(row().failed(&error, EffectClass::Read), provider, billed);
            let why = if is_too_long {
                row.code = Some("context_window_exceeded".into());
                Why::TooLong {
                    message: error.message,
                    status: error.status,
                }
            } else {
                Why::Stopped(Stopped::Failed(error))
            };
            (Err(why), row.code.clone(), Some(row))
        }
        // It was not asked.
        Err(Stopped::Busy) => (Err(Why::Stopped(Stopped::Busy)), Some("provider_busy".into()), None),
        Err(open @ Stopped::Open(..)) => (Err(Why::Stopped(open)), Some("circuit_open".into()), None),
    };
    let attempt = Attempt {
        provider,
        model: model.to_owned(),
        code,
        call: row,
    };
    (result, attempt)
}

/// The same with what is billed and what that costs.
fn priced(row: IntegrationCall, provider: Provider, billed: Billed) -> IntegrationCall {
    let table = PriceTable::shipped();
    let (tokens, is_counted) = match billed {
        Billed::Nothing => return row,
        Billed::Unknown => {
            return IntegrationCall {
                cost_microusd: None,
                ..row
            };
        }
        Billed::Tokens(tokens) => (tokens, true),
        Billed::Input(tokens) => (tokens, false),
    };
    let Tokens {
        input,
        cached_input,
        cache_write,
        output,
    } = tokens;
    let model = row.model.as_deref().unwrap_or_default();
    let cost_microusd = table.cost_microusd(provider, model, tokens).filter(|_| is_counted);
    IntegrationCall {
        input_tokens: Some(input.saturating_add(cached_input).saturating_add(cache_write)),
        cached_input_tokens: Some(cached_input),
        output_tokens: is_counted.then_some(output),
        cost_microusd,
        price_version: Some(table.version.clone()),
        ..row
    }
}

/// Why there is no key, for whoever can do something about it.
fn no_key(call: &Call<'_>, provider: Provider) -> String {
    let [key, _] = settings(provider);
    if call.owner.unreadable.contains(&key) {
        format!("the tenant's own {key} cannot be opened any more; set it again")
    } else if call.services.installation.values.contains_key(&key) {
        format!("the tenant has no {key}, and its tier may not use the installation's")
    } else {
        format!("neither the tenant nor the installation has a key of {provider} ({key})")
    }
}

fn is_unauthorized(why: &Why) -> bool {
    matches!(why, Why::Stopped(Stopped::Failed(error)) if error.kind == ErrorKind::Unauthorized)
}

fn passed(call: &Call<'_>, since: Timestamp) -> Duration {
    Duration::try_from(since.duration_until(call.services.clock.now())).unwrap_or_default()
}
