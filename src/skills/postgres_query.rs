//! `postgres_query`: reads rows of a Neon database that is the tenant's own. Must never change anything there, nor sign in
//! to a database that AOS keeps its own state in.
//!
//! There is no breaker around it: the databases are the tenants', and one that is away must not shut out the others.

mod answer;
mod databases;
mod failures;
mod params;
mod values;

use std::{borrow::Cow, time::Duration};

use futures::future::{FutureExt, LocalBoxFuture};
use serde_json::{Value, json};

pub use self::databases::QueryDatabases;
use self::{
    answer::{MAX_ROW_BYTES, output},
    failures::QueryFailure,
    params::{Params, read},
};
use super::{
    Call, Contract, EffectClass, Outcome, Skill,
    contract::{Identity, Limit},
    failure::Failure,
    outcome::IntegrationCall,
    params::{Field, Stage, in_words},
};
use crate::{
    integrations::{
        SettingError,
        neon::{Neon, Query},
    },
    problem::FieldError,
    tenants::{Held, OwnSetting},
};

/// The name in outcomes and usage rows, and of the host that calls take lanes to.
const PROVIDER: &str = "neon";
/// How long the database works on a query at most.
const MAX_STATEMENT: Duration = Duration::from_secs(30);
/// What is left of the step's time for the way there and back, at most.
const MAX_WAY: Duration = Duration::from_secs(1);

const IDENTITY: Identity = Identity {
    name: "postgres_query",
    version: "1",
    integrations: &[PROVIDER],
};

/// The skill `postgres_query`.
pub struct PostgresQuery;

impl Skill for PostgresQuery {
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
        EffectClass::Read
    }

    fn host(&self, _: &Value) -> Option<String> {
        Some(PROVIDER.to_owned())
    }

    fn execute<'a>(&'a self, call: Call<'a>) -> LocalBoxFuture<'a, Outcome> {
        async move {
            let (sql, params, max_rows) = match read(call.params, Stage::Resolved) {
                Ok(Params {
                    sql: Field::Is(sql),
                    params,
                    max_rows,
                }) => (sql, params, max_rows),
                Ok(_) => return failed(QueryFailure::InvalidParams, "sql is required"),
                Err(errors) => return failed(QueryFailure::InvalidParams, in_words(&errors)),
            };
            let (neon, held) = match connect(&call) {
                Ok(connected) => connected,
                Err((failure, reason)) => return failed(failure, reason),
            };
            let query = Query {
                sql,
                params: &params,
                // One more tells whether there are more.
                rows: max_rows.saturating_add(1),
                statement_timeout: statement_timeout(call.timeout),
                deadline: call.timeout,
            };
            ask(&call, &neon, held, &query, max_rows).await
        }
        .boxed_local()
    }
}

fn failed(failure: QueryFailure, message: impl Into<String>) -> Outcome {
    Outcome::failed(failure.error(message))
}

/// A client for the database that the tenant may query.
fn connect<'a>(call: &Call<'a>) -> Result<(Neon, Held<'a>), (QueryFailure, String)> {
    const SETTING: OwnSetting = OwnSetting::QueryDatabaseUrl;
    let Some(held) = call.value(SETTING) else {
        let reason = if call.owner.unreadable.contains(&SETTING) {
            "the tenant's query_database_url is sealed with a key that is gone; it has to be set again"
        } else if call.services.installation.values.contains_key(&SETTING) {
            "the tenant has no query_database_url; the installation's is for the operator's tenant alone"
        } else {
            "the tenant has no query_database_url"
        };
        return Err((QueryFailure::NotConfigured, reason.to_owned()));
    };
    let Some(databases) = &call.services.query_databases else {
        let reason = "this installation has no way to tenants' databases";
        return Err((QueryFailure::NotConfigured, reason.to_owned()));
    };
    let neon = databases.connect(held.value).map_err(|SettingError(reason)| {
        let setting = if held.is_own {
            "the tenant's query_database_url"
        } else {
            "QUERY_DATABASE_URL"
        };
        (QueryFailure::DatabaseNotAllowed, format!("{setting} {reason}"))
    })?;
    Ok((neon, held))
}

/// The database gives a query up before the executor does, so that its answer still arrives.
fn statement_timeout(left: Duration) -> Duration {
    let way = left.checked_div(10).unwrap_or_default().min(MAX_WAY);
    left.saturating_sub(way).min(MAX_STATEMENT)
}

async fn ask(call: &Call<'_>, neon: &Neon, held: Held<'_>, query: &Query<'_>, max_rows: u32) -> Outcome {
    let clock = &call.services.clock;
    let begun = clock.now();
    let (traffic, result) = neon.query(query).await;
    let took = Duration::try_from(begun.duration_until(clock.now())).unwrap_or_default();
    let result = result
        .map_err(|error| failures::error(&error))
        .and_then(|table| output(table, usize::try_from(max_rows).unwrap_or(usize::MAX)));
    let mut record = IntegrationCall {
        integration: Cow::Borrowed(PROVIDER),
        own_key: held.is_own,
        requests: 1,
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        // Neon bills whoever has the project.
        cost_microusd: Some(0),
        ..IntegrationCall::default()
    }
    .with_traffic(&traffic);
    let outcome = match result {
        Ok(output) => {
            record.provider_status = Some(200);
            Outcome::succeeded(output)
        }
        Err(error) => {
            record.provider_status = error.provider_status;
            record.code = Some(error.code.clone());
            Outcome::failed(error)
        }
    };
    Outcome {
        provider_request_id: traffic.request_id,
        ..outcome.with_calls(vec![record])
    }
}

fn contract() -> Contract {
    let limit = |what, max: usize, unit| Limit {
        what,
        max: max as u64,
        unit,
    };
    Contract {
        identity: IDENTITY,
        summary: "Reads rows of the tenant's own Neon database with one SQL query, which can change nothing there.",
        input_schema: params::schema(),
        output_schema: output_schema(),
        effects: &[EffectClass::Read],
        idempotency: "A query runs in a read-only transaction that is always rolled back: it may be repeated at will.",
        cost_model: "Free to the tenant; one request to Neon per call, billed to the project that is queried.",
        limits: vec![
            limit("sql", params::MAX_SQL_BYTES, "bytes"),
            limit("params", params::MAX_PARAMS, "items"),
            limit("params", params::MAX_PARAMS_BYTES, "bytes"),
            limit("max_rows", params::MAX_ROWS.unsigned_abs() as usize, "items"),
            limit("rows", MAX_ROW_BYTES, "bytes"),
            limit("statement_timeout", MAX_STATEMENT.as_secs() as usize, "s"),
        ],
        failure_modes: QueryFailure::modes(),
        // Rows are what they are when they are read: none of it is left out.
        volatile: &[],
        example: json!({
            "sql": "select name, price_cents from items where price_cents < $1 order by price_cents",
            "params": [500],
            "max_rows": 10
        }),
    }
}

fn output_schema() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["columns", "row_count", "rows", "truncated"],
        "properties": {
            "columns": {
                "type": "array",
                "description": "The columns in their order; a name that came before gets a number (id, id_2).",
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["name", "type"],
                    "properties": {
                        "name": {"type": "string"},
                        "type": {"type": "string", "description": "int4, text, jsonb, int4[], …; other for a type that is not built in."}
                    }
                }
            },
            "row_count": {"type": "integer", "description": "How many rows are returned."},
            "rows": {
                "type": "array",
                "description": "Objects by the columns' names. Whole numbers beyond ±(2^53 - 1), numeric, NaN and infinities are \
                                texts, so that no digit is lost; times are RFC 3339 in UTC, intervals ISO 8601, bytea is \\x in \
                                hex; arrays, json and jsonb are JSON.",
                "items": {"type": "object"}
            },
            "truncated": {"type": "boolean", "description": "Whether there are more rows than max_rows, or than fit into 1 MiB."}
        }
    })
}

#[cfg(test)]
mod tests;
