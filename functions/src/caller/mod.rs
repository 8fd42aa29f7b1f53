//! Who is calling: exactly one credential, verified. The tenant comes from nowhere else.

mod credential;
mod gate;
mod identify;

use aos::{audit::By, auth::Principal, config::OperatorKey, problem::Problem};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, request::Parts},
};

pub(crate) use self::gate::{Gate, RequestId, gate};
use crate::answer::Refused;

/// The operator's key, or a tenant's.
pub(crate) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The secret of machines.
pub(crate) const MACHINE_TOKEN: HeaderName = HeaderName::from_static("x-machine-token");
/// The tenant that the operator or a machine acts for.
pub(crate) const TENANT: HeaderName = HeaderName::from_static("x-aos-tenant");
/// Where the request comes from, as the platform saw it; a client cannot set it.
pub(crate) const ADDRESS: HeaderName = HeaderName::from_static("cf-connecting-ip");

/// The verified caller of a request, put there by the gate of every route that is not open.
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

/// The verified caller and the request, for what is audited.
pub(crate) struct Audited {
    principal: Principal,
    request_id: String,
}

impl Audited {
    pub(crate) fn by(&self) -> By<'_> {
        By {
            principal: &self.principal,
            request_id: &self.request_id,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Audited {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let Caller(principal) = Caller::from_request_parts(parts, state).await?;
        let request_id = parts.extensions.get::<RequestId>().cloned().unwrap_or_default().0;
        Ok(Self { principal, request_id })
    }
}

/// Whether the request shows the operator's key, whatever else is wrong with it.
pub(crate) fn is_operator(headers: &HeaderMap, operator: Option<&OperatorKey>) -> bool {
    operator
        .zip(headers.get(API_KEY))
        .is_some_and(|(operator, shown)| operator.is(shown.as_bytes()))
}

fn unauthenticated(detail: &str) -> Problem {
    Problem::new(401, "unauthenticated", "No valid credential", detail)
}
