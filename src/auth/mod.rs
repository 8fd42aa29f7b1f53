//! Who is calling: the principal that a verified credential stands for, and what it may do.
//!
//! Nothing here reads a header: a [`Principal`] is made by whoever verified the credential, and the tenant it names is
//! never taken from anywhere else. Bearer tokens are verified by [`Tokens`], secrets by [`SharedSecret`]; a tenant's own
//! keys are looked up in the database.

mod cryptography;
pub mod jwks;
mod permission;
mod principal;
mod refusal;
mod role;
mod service_token;
mod session_token;
mod shared_secret;
mod tenant_name;
mod token;
mod tokens;
mod verified_tokens;

pub use self::{
    jwks::Jwks,
    permission::{Permission, PermissionSet, UnknownPermission},
    principal::{Credential, Label, Principal},
    refusal::Refusal,
    role::{Matrix, Role, RoleGrant, UnknownRole, matrix},
    service_token::ServiceTokens,
    shared_secret::SharedSecret,
    tenant_name::{MAX_TENANT_CHARS, TenantName, TenantNameError},
    token::{CLOCK_SKEW, MAX_TOKEN_BYTES},
    tokens::{Tokens, Verified},
};

#[cfg(test)]
mod testing;
