//! Setting a tenant's tier and limits: the operator's. Requests are counted by the new limit at once; steps that run
//! go on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Limits, MAX_CONCURRENT_STEPS, MAX_REQUESTS_PER_MINUTE, Tenant, Tier};
use crate::{
    audit::{self, Action, By},
    auth::TenantName,
    body::{Body, present},
    database::{Database, operator_operation},
    ids::TenantId,
    integrations::{Repeat, neon::Statement, upstash::Upstash},
    limits,
    problem::{FieldError, Problem},
};

/// What to change of a tenant (JSON merge patch, RFC 7396): what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"tier": "pro", "requests_per_minute": null}))]
pub struct TenantPatch {
    /// Another tier.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub tier: Option<Tier>,
    /// Another limit of steps that run at once.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000, nullable = false)]
    pub max_concurrent_steps: Option<u32>,
    /// Requests a minute in place of the tier's; `null`: as many as the tier has.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
    pub requests_per_minute: Option<Option<u32>>,
}

/// `PATCH /v1/tenants/{id}`: changes a tenant and answers what it is now.
///
/// # Errors
/// 403 `forbidden`, 404 `not_found`, 422 `invalid_request`.
pub async fn patch(
    database: &Database,
    upstash: &Upstash,
    by: By<'_>,
    id: TenantId,
    body: Body<TenantPatch>,
) -> Result<Tenant, Problem> {
    let mut transaction = database.operate(by.principal, operator_operation!("tenants.patch"))?;
    let patch = body.value;
    check(&patch)?;
    transaction.push(Statement::new(include_str!("sql/patch.sql")).bind(id).bind_json(&patch));
    audit::done_to(&mut transaction, database.clock(), by, id, Action::TenantsUpdate, id);
    let read = transaction.push(Statement::new(include_str!("sql/read.sql")).bind(id));
    let tenant: Tenant = transaction
        .commit()
        .await?
        .one(read)?
        .ok_or_else(|| Problem::not_found("tenant"))?;
    tell(upstash, &tenant).await;
    Ok(tenant)
}

/// Other isolates count by the new limit from their next request on. Where that fails they learn it one request later,
/// from the database.
async fn tell(upstash: &Upstash, tenant: &Tenant) {
    let limits = Limits {
        id: tenant.id,
        tier: tenant.tier,
        requests_per_minute: tenant.requests_per_minute,
    };
    let Ok(name) = tenant.name.parse::<TenantName>() else {
        return;
    };
    let set = limits::set_entry(&name, limits.per_minute());
    if let Err(error) = upstash.command(set, Repeat::Harmless).await {
        tracing::warn!(%error, tenant = %tenant.id, "a tenant's new limit could not be told");
    }
}

fn check(patch: &TenantPatch) -> Result<(), Problem> {
    let mut errors = Vec::new();
    for (pointer, number, most) in [
        (
            "/max_concurrent_steps",
            patch.max_concurrent_steps,
            MAX_CONCURRENT_STEPS,
        ),
        (
            "/requests_per_minute",
            patch.requests_per_minute.flatten(),
            MAX_REQUESTS_PER_MINUTE,
        ),
    ] {
        if number.is_some_and(|number| number == 0 || number > most) {
            errors.push(FieldError::new(
                pointer,
                "out_of_range",
                format!("must be from 1 to {most}"),
            ));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(errors))
    }
}
