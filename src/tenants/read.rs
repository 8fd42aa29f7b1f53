//! Reading one tenant, and the list of them: the operator's.

use super::{Tenant, Tier};
use crate::{
    auth::{Principal, TenantName},
    database::{Database, operator_operation},
    ids::TenantId,
    integrations::neon::Statement,
    paging::{Page, PageRequest, Query},
    problem::Problem,
};

/// `GET /v1/tenants/{id}`.
///
/// # Errors
/// 403 `forbidden`, 404 `not_found`.
pub async fn get(database: &Database, principal: &Principal, id: TenantId) -> Result<Tenant, Problem> {
    let mut transaction = database.operate(principal, operator_operation!("tenants.get"))?;
    let read = transaction.push(Statement::new(include_str!("sql/read.sql")).bind(id));
    transaction
        .commit()
        .await?
        .one(read)?
        .ok_or_else(|| Problem::not_found("tenant"))
}

/// `GET /v1/tenants`: all tenants, newest first; `?name=` finds one, `?tier=` those of a tier. `query` is what follows
/// the question mark.
///
/// # Errors
/// 403 `forbidden`; 422 `invalid_request` that points at the parameter.
pub async fn list(database: &Database, principal: &Principal, query: Option<&str>) -> Result<Page<Tenant>, Problem> {
    let mut transaction = database.operate(principal, operator_operation!("tenants.list"))?;
    let mut query = Query::read(query);
    let name = query.take_value::<TenantName>("name", "a tenant's name");
    let tier = query.take_value::<Tier>("tier", "one of free, dev, pro, enterprise");
    let filters = [
        name.as_ref().map(ToString::to_string),
        tier.map(|tier| tier.to_string()),
    ];
    let page = PageRequest::take(&mut query, "tenants", &filters);
    query.finish()?;
    let [name, tier] = filters;
    let listed = transaction.push(
        Statement::new(include_str!("sql/list.sql"))
            .bind(page.after())
            .bind(page.rows())
            .bind(name)
            .bind(tier),
    );
    let tenants = transaction.commit().await?.all::<Tenant>(listed)?;
    Ok(page.page(tenants, |tenant| tenant.id.uuid()))
}
