//! The limits of a key's fields, held by creating and rotating alike.

use jiff::Timestamp;

use crate::{
    auth::{PermissionSet, Principal, Role},
    problem::{FieldError, Problem},
};

/// Characters of a name.
const MAX_NAME_CHARS: usize = 128;

/// What a principal may give to a key: what it has itself, and never what is the operator's.
pub(super) fn may_give(principal: &Principal) -> PermissionSet {
    principal.permissions.intersection(Role::Owner.permissions())
}

pub(super) fn check_name(name: &str, errors: &mut Vec<FieldError>) {
    if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS {
        errors.push(FieldError::new(
            "/name",
            "invalid_format",
            format!("must have 1 to {MAX_NAME_CHARS} characters, not only spaces"),
        ));
    }
}

pub(super) fn check_expiry(expires_at: Option<Timestamp>, now: Timestamp, errors: &mut Vec<FieldError>) {
    if expires_at.is_some_and(|at| at <= now) {
        errors.push(FieldError::new("/expires_at", "out_of_range", "must be in the future"));
    }
}

/// 409: the tenant has as many keys as it may have.
pub(super) fn too_many() -> Problem {
    Problem::conflict(
        "too_many_api_keys",
        format!("a tenant may have {} keys; revoke one first", super::MAX_KEYS),
    )
}
