//! Whether what every request needs is there: asked of the dependencies themselves, never remembered.
//!
//! An answer names no host and quotes no error: it is given to anybody. Why something is away is logged.

use std::{pin::pin, time::Duration};

use futures::future::{Either, join, select};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    integrations::{
        Repeat,
        neon::{Batch, Neon, Statement},
        upstash::{Command, Upstash},
    },
    limits::Limiter,
    platform::Clock,
};

/// The time that each dependency has to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The state of one dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DependencyState)]
pub enum State {
    /// It answered, and can be worked with.
    Ok,
    /// It did not answer in time, or refused us.
    Away,
    /// The database answered, but lacks our migrations or our role's rights.
    NotMigrated,
}

/// Who counts requests for the rate limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateLimits {
    /// All isolates together, in Redis.
    Shared,
    /// Redis was away when it was asked last: this isolate by itself, and a revoked session lives until its token expires.
    Local,
}

/// The state of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"ready": true, "database": "ok", "redis": "ok", "rate_limits": "shared"}))]
pub struct Readiness {
    /// Whether all of them can be worked with.
    pub ready: bool,
    /// PostgreSQL, in the API's role.
    pub database: State,
    /// Redis.
    pub redis: State,
    /// Who counts requests.
    pub rate_limits: RateLimits,
}

/// Asks all dependencies at once.
pub async fn check(database: &Neon, redis: &Upstash, limiter: &Limiter, clock: &dyn Clock) -> Readiness {
    let (database, redis) = join(within(clock, ask_database(database)), within(clock, ask_redis(redis))).await;
    Readiness {
        ready: database == State::Ok && redis == State::Ok,
        database,
        redis,
        rate_limits: if limiter.is_degraded() {
            RateLimits::Local
        } else {
            RateLimits::Shared
        },
    }
}

async fn within(clock: &dyn Clock, asked: impl Future<Output = State>) -> State {
    match select(pin!(asked), clock.sleep(PATIENCE)).await {
        Either::Left((state, _)) => state,
        Either::Right(_) => State::Away,
    }
}

/// Every operation begins with this function: who may call it can do the rest.
async fn ask_database(database: &Neon) -> State {
    let may_enter = Statement::new(
        "-- name: readiness\n\
         select to_jsonb(coalesce(has_function_privilege(to_regprocedure('enter_tenant(text, uuid)'), 'execute'), false)) \
         as data",
    );
    match database
        .batch(&Batch::read().deadline(PATIENCE).push(may_enter))
        .await
        .and_then(|rows| rows.one(0))
    {
        Ok(Some(true)) => State::Ok,
        Ok(_) => {
            tracing::warn!("the database lacks the migrations, or its role the rights");
            State::NotMigrated
        }
        Err(error) => {
            tracing::warn!(%error, "the database is not ready");
            State::Away
        }
    }
}

async fn ask_redis(redis: &Upstash) -> State {
    match redis.command(Command::new("PING"), Repeat::Harmless).await {
        Ok(_) => State::Ok,
        Err(error) => {
            tracing::warn!(%error, "Redis is not ready");
            State::Away
        }
    }
}
