//! Reading the audit log.

use super::{AuditEntry, AuditOutcome};
use crate::{
    auth::Principal,
    database::{Database, operation, operator_operation},
    integrations::neon::Statement,
    paging::{Page, PageRequest, Query},
    problem::Problem,
};

/// `GET /v1/audit`: the tenant's entries, newest first; `?action=`, `?outcome=` and `?actor=` narrow them. The operator
/// sees those of the tenant that it acts for, also if that is gone, and with `?strangers=true` those of nobody. `query`
/// is what follows the question mark.
///
/// # Errors
/// 422 `invalid_request` that points at the parameter.
pub async fn list(
    database: &Database,
    principal: &Principal,
    query: Option<&str>,
) -> Result<Page<AuditEntry>, Problem> {
    let mut query = Query::read(query);
    let action = query.take("action");
    let outcome = query.take_value::<AuditOutcome>("outcome", "done or refused");
    let actor = query.take("actor");
    let strangers = principal.is_operator() && query.take_value("strangers", "true or false").unwrap_or(false);
    let outcome = outcome.map(|outcome| outcome.as_str().to_owned());
    let whose = [
        principal.is_operator().then(|| principal.tenant.to_string()),
        strangers.then(|| "strangers".to_owned()),
    ];
    let filters = [&[action.clone(), outcome.clone(), actor.clone()][..], &whose[..]].concat();
    let page = PageRequest::take(&mut query, "audit", &filters);
    query.finish()?;

    let (mut transaction, sql) = if principal.is_operator() {
        let transaction = database.operate(principal, operator_operation!("audit.list"))?;
        (transaction, include_str!("sql/list_named.sql"))
    } else {
        let transaction = database.enter(principal, operation!("audit.list"));
        (transaction, include_str!("sql/list.sql"))
    };
    let mut listed = Statement::new(sql)
        .bind(page.after())
        .bind(page.rows())
        .bind(action)
        .bind(outcome)
        .bind(actor);
    if principal.is_operator() {
        listed = listed.bind((!strangers).then_some(principal.tenant.as_str()));
    }
    let listed = transaction.push(listed);
    let entries = transaction.commit().await?.all::<AuditEntry>(listed)?;
    Ok(page.page(entries, |entry| entry.id.uuid()))
}
