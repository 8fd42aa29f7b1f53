//! Who is calling: exactly one credential, verified. The tenant comes from nowhere else.

use aos::{
    auth::{Principal, TenantName},
    config::OperatorKey,
    problem::{FieldError, Problem},
};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, header, request::Parts},
};

use crate::answer::Refused;

/// The operator's key, and later a tenant's.
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The tenant that the operator acts for.
pub(crate) const TENANT: HeaderName = HeaderName::from_static("x-aos-tenant");
/// Every header that carries a credential.
const CREDENTIALS: [HeaderName; 2] = [header::AUTHORIZATION, API_KEY];
/// The tenant that the operator acts for without a word.
const OPERATORS_OWN: &str = "operator";

/// The verified caller of a request, put there by the router for every route that is not open.
pub(crate) struct Caller(pub(crate) Principal);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        // An open route that asks for its caller finds none.
        parts
            .extensions
            .get()
            .cloned()
            .map(Self)
            .ok_or(Refused(unauthenticated("this request has no credential")))
    }
}

/// Verifies the credential of a request.
///
/// # Errors
/// 401 `unauthenticated`; 400 `several_credentials`; 422 `invalid_request` for a tenant that cannot be one.
pub(crate) fn identify(headers: &HeaderMap, operator: &OperatorKey) -> Result<Principal, Problem> {
    let mut shown = headers.iter().filter(|(name, _)| CREDENTIALS.contains(name));
    let (name, value) = shown
        .next()
        .ok_or_else(|| unauthenticated("send the header X-API-Key"))?;
    if shown.next().is_some() {
        let title = "More than one credential";
        return Err(Problem::new(
            400,
            "several_credentials",
            title,
            "send exactly one credential",
        ));
    }
    if *name != API_KEY {
        return Err(unauthenticated(
            "this kind of credential is not accepted; send the header X-API-Key",
        ));
    }
    if !operator.is(value.as_bytes()) {
        return Err(unauthenticated("the key is not valid"));
    }
    Ok(Principal::operator(tenant(headers)?))
}

/// Whether the request shows the operator's key, whatever else is wrong with it.
pub(crate) fn is_operator(headers: &HeaderMap, operator: Option<&OperatorKey>) -> bool {
    operator
        .zip(headers.get(API_KEY))
        .is_some_and(|(operator, shown)| operator.is(shown.as_bytes()))
}

fn tenant(headers: &HeaderMap) -> Result<TenantName, Problem> {
    let name = match headers.get(TENANT) {
        Some(value) => value.to_str().unwrap_or_default(),
        None => OPERATORS_OWN,
    };
    name.parse::<TenantName>().map_err(|error| {
        Problem::invalid(vec![FieldError::new(
            "X-AOS-Tenant:",
            "invalid_format",
            error.to_string(),
        )])
    })
}

fn unauthenticated(detail: &str) -> Problem {
    Problem::new(401, "unauthenticated", "No valid credential", detail)
}

#[cfg(test)]
mod tests {
    use aos::config::OperatorKey;

    use super::*;

    const KEY: &str = "0123456789-the-operators-key-9876543210";

    fn identified(headers: &[(&'static str, &str)]) -> Result<Principal, Problem> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        identify(&headers, &OperatorKey::from(KEY))
    }

    fn code(headers: &[(&'static str, &str)]) -> (u16, String) {
        let problem = identified(headers).unwrap_err();
        (problem.status, problem.code.into_owned())
    }

    #[test]
    fn the_operator_acts_for_the_tenant_it_names_or_its_own() {
        let principal = identified(&[("x-api-key", KEY)]).unwrap();
        assert_eq!((principal.tenant.as_str(), principal.is_operator()), ("operator", true));
        let principal = identified(&[("x-api-key", KEY), ("x-aos-tenant", "org_1")]).unwrap();
        assert_eq!(principal.tenant.as_str(), "org_1");
    }

    #[test]
    fn without_a_valid_credential_nobody_is_known() {
        let unauthenticated = (401, "unauthenticated".to_owned());
        assert_eq!(code(&[]), unauthenticated);
        assert_eq!(code(&[("x-aos-tenant", "org_1")]), unauthenticated);
        assert_eq!(code(&[("x-api-key", "")]), unauthenticated);
        assert_eq!(code(&[("x-api-key", KEY.split_at(5).0)]), unauthenticated);
        assert_eq!(code(&[("x-api-key", &format!("{KEY}x"))]), unauthenticated);
        assert_eq!(code(&[("authorization", &format!("Bearer {KEY}"))]), unauthenticated);
    }

    #[test]
    fn two_credentials_are_refused_even_if_one_is_valid() {
        let several = (400, "several_credentials".to_owned());
        assert_eq!(code(&[("x-api-key", KEY), ("authorization", "Bearer x")]), several);
        assert_eq!(code(&[("x-api-key", KEY), ("x-api-key", KEY)]), several);
    }

    #[test]
    fn a_tenant_that_cannot_be_one_is_named_as_the_error() {
        for bad in ["", "a b", "ä"] {
            let problem = identified(&[("x-api-key", KEY), ("x-aos-tenant", bad)]).unwrap_err();
            assert_eq!(
                (problem.status, problem.errors[0].pointer.as_str()),
                (422, "X-AOS-Tenant:"),
                "{bad}"
            );
        }
    }
}
