//! The end of a tenant: its rows, its runs, its entries in Redis, its objects in the archive. What stays is that it happened: the audit log.
//!
//! From the first request on nobody gets in, no key opens and no step starts. A large tenant goes in parts: the minute
//! cron goes on with the rows, and so does the same request again. Who signs in under the same name later is a new
//! tenant with nothing.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    archive::{self, Archive},
    audit::{self, Action, By},
    auth::TenantName,
    database::{Database, operator_operation},
    ids::TenantId,
    integrations::{
        Repeat,
        neon::Statement,
        upstash::{Command, Error, Key, Upstash},
    },
    platform::Clock,
    problem::Problem,
};

/// Runs erased by one request.
const MAX_RUNS: u32 = 2_000;
/// Steps erased by one request, so that it stays well within the database's deadline.
const MAX_STEPS: u32 = 10_000;
/// Keys that one `SCAN` looks at, of all tenants.
const SCAN_COUNT: u32 = 1_000;
/// Requests of one scan, and the time that it may take. What is not found then is found by the same request again.
const MAX_SCANS: u32 = 500;
const SCAN_PATIENCE: Duration = Duration::from_secs(60);

/// Pages of the archive, of 1,000 objects each, that one request deletes.
const MAX_PAGES: u32 = 20;

/// How far the erasure of a tenant has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"id": "ten_018f0000000070008000000000000001", "erased": true, "cache_keys": 12, "archived_objects": 3}))]
pub struct Erasure {
    /// The tenant.
    pub id: TenantId,
    /// Whether nothing of it is left. If not, the minute cron erases the remaining rows, and the request may be sent
    /// again to see whether it has.
    pub erased: bool,
    /// How many of its entries were deleted from the cache by this request.
    pub cache_keys: u64,
    /// How many of its objects were deleted from the archive by this request.
    pub archived_objects: u64,
}

/// What the database did.
#[derive(Deserialize)]
struct Rows {
    name: Option<String>,
    erased: bool,
}

/// `DELETE /v1/tenants/{id}`: 200 when nothing is left, 202 when it goes on. May be sent again, also afterwards.
///
/// # Errors
/// 403 `forbidden`; 404 `not_found`; 503 `unavailable`, when the cache or the archive cannot be reached: the rows are being
/// erased, and the request is to be sent again.
pub async fn erase(
    database: &Database,
    upstash: &Upstash,
    archive: Option<&Archive>,
    by: By<'_>,
    id: TenantId,
) -> Result<Erasure, Problem> {
    let mut transaction = database.operate(by.principal, operator_operation!("tenants.erase"))?;
    // Before its row goes, which says that it is there.
    audit::done_to(&mut transaction, database.clock(), by, id, Action::TenantsErase, id);
    let erased = transaction.push(
        Statement::new(include_str!("sql/erase.sql"))
            .bind(id)
            .bind(MAX_RUNS)
            .bind(MAX_STEPS),
    );
    let rows: Rows = transaction.commit().await?.only(erased)?;
    let name = rows.name.ok_or_else(|| Problem::not_found("tenant"))?;
    let cache = forget(upstash, database.clock(), id, &name).await.map_err(|error| {
        tracing::error!(%error, tenant = %id, "the cache of a tenant could not be erased");
        Problem::unavailable("the tenant is closed and its rows are being erased, but its cache cannot be reached")
    })?;
    let archived = match archive {
        None => Forgotten { deleted: 0, all: true },
        Some(archive) => clear(archive, id).await.map_err(|error| {
            tracing::error!(%error, tenant = %id, "the archive of a tenant could not be erased");
            Problem::unavailable(
                "the tenant is closed and its rows are being erased, but its archive cannot be reached",
            )
        })?,
    };
    Ok(Erasure {
        id,
        erased: rows.erased && cache.all && archived.all,
        cache_keys: cache.deleted,
        archived_objects: archived.deleted,
    })
}

/// Deletes what the tenant has in the archive, up to a bound.
async fn clear(archive: &Archive, id: TenantId) -> Result<Forgotten, archive::Error> {
    let mut forgotten = Forgotten { deleted: 0, all: false };
    for _ in 0..MAX_PAGES {
        let (deleted, more) = archive.erase_some(id).await?;
        forgotten.deleted = forgotten.deleted.saturating_add(deleted);
        forgotten.all = !more;
        if forgotten.all {
            break;
        }
    }
    Ok(forgotten)
}

/// What was deleted from Redis, or from the archive.
struct Forgotten {
    deleted: u64,
    /// Whether all of it was looked through.
    all: bool,
}

async fn forget(upstash: &Upstash, clock: &dyn Clock, id: TenantId, name: &str) -> Result<Forgotten, Error> {
    let mut forgotten = Forgotten { deleted: 0, all: false };
    if let Ok(name) = name.parse::<TenantName>() {
        let keys = [Key::tenant_limit(&name), Key::tenant_rate(&name)];
        forgotten.deleted = delete(upstash, keys.map(Value::from).to_vec()).await?;
    }
    let pattern = Key::all_of_tenant(id);
    let begun = clock.now();
    let mut cursor = "0".to_owned();
    for _ in 0..MAX_SCANS {
        let scan = Command::new("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(&pattern)
            .arg("COUNT")
            .arg(SCAN_COUNT);
        let reply = upstash.command(scan, Repeat::Harmless).await?;
        let (next, keys): (String, Vec<Value>) =
            serde_json::from_value(reply).map_err(|error| Error::Protocol(error.to_string()))?;
        if !keys.is_empty() {
            forgotten.deleted = forgotten.deleted.saturating_add(delete(upstash, keys).await?);
        }
        forgotten.all = next == "0";
        if forgotten.all || is_over(begun, clock.now()) {
            break;
        }
        cursor = next;
    }
    Ok(forgotten)
}

fn is_over(begun: Timestamp, now: Timestamp) -> bool {
    now.duration_since(begun).unsigned_abs() > SCAN_PATIENCE
}

async fn delete(upstash: &Upstash, keys: Vec<Value>) -> Result<u64, Error> {
    let delete = keys.into_iter().fold(Command::new("DEL"), Command::arg);
    let reply = upstash.command(delete, Repeat::Harmless).await?;
    reply
        .as_u64()
        .ok_or_else(|| Error::Protocol("DEL answered no number".to_owned()))
}
