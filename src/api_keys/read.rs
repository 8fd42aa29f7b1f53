//! Reading one key, and the list of them. No secret is among what is read.

use super::ApiKey;
use crate::{
    auth::Principal,
    database::{Database, operation},
    ids::ApiKeyId,
    integrations::neon::Statement,
    paging::{Page, PageRequest, Query},
    problem::Problem,
};

/// `GET /v1/api-keys/{id}`.
///
/// # Errors
/// 404 `not_found`.
pub async fn get(database: &Database, principal: &Principal, id: ApiKeyId) -> Result<ApiKey, Problem> {
    let mut transaction = database.enter(principal, operation!("api_keys.get"));
    let read = transaction.push(Statement::new(include_str!("sql/read.sql")).bind(id));
    transaction
        .commit()
        .await?
        .one(read)?
        .ok_or_else(|| Problem::not_found("API key"))
}

/// `GET /v1/api-keys`: the tenant's keys, newest first, also those that have ended. `query` is what follows the question
/// mark.
///
/// # Errors
/// 422 `invalid_request` that points at `?limit`, `?cursor` or an unknown parameter.
pub async fn list(database: &Database, principal: &Principal, query: Option<&str>) -> Result<Page<ApiKey>, Problem> {
    let mut query = Query::read(query);
    let page = PageRequest::take(&mut query, "api_keys", &[]);
    query.finish()?;
    let mut transaction = database.enter(principal, operation!("api_keys.list"));
    let listed = transaction.push(
        Statement::new(include_str!("sql/list.sql"))
            .bind(page.after())
            .bind(page.rows()),
    );
    let keys = transaction.commit().await?.all::<ApiKey>(listed)?;
    Ok(page.page(keys, |key| key.id.uuid()))
}
