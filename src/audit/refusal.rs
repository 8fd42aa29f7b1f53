//! Refusals: written after the answer, at most 20 a minute for one tenant; of strangers the 1st, 10th, 100th, … of a
//! kind in a minute. More are counted by nobody here: the answer itself and the log tell of them.

use crate::{auth::TenantName, database::Database, ids::AuditId, integrations::neon::Statement, problem::Problem};

/// Somebody of a tenant was refused.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// The tenant that the verified credential names.
    pub tenant: &'a TenantName,
    /// Who, and how it was proved.
    pub actor: &'a str,
    /// The kind of credential.
    pub credential: &'a str,
    /// The operation that was refused.
    pub action: &'a str,
    /// What it was to be done to.
    pub target: Option<&'a str>,
    /// The problem's code.
    pub code: &'a str,
    /// The request's id.
    pub request_id: &'a str,
}

/// Somebody who proved nothing was refused.
#[derive(Debug, Clone, Copy)]
pub struct Stranger<'a> {
    /// The kind of credential that was shown; `none`.
    pub credential: &'a str,
    /// The operation that was refused.
    pub action: &'a str,
    /// Where it came from.
    pub address: Option<&'a str>,
    /// Why, finer than the answer said.
    pub code: &'a str,
    /// The request's id.
    pub request_id: &'a str,
    /// The so-manieth of its kind in its minute.
    pub nth: u32,
}

/// Whether the `nth` refusal of its kind in its minute is written: the 1st, 10th, 100th, …
pub fn is_sampled(nth: u32) -> bool {
    let mut power = 1_u32;
    loop {
        if nth <= power {
            return nth == power;
        }
        match power.checked_mul(10) {
            Some(next) => power = next,
            None => return false,
        }
    }
}

/// Writes that somebody of a tenant was refused, unless that was written 20 times in this minute. Answers whether it was.
///
/// # Errors
/// The database could not be asked.
pub async fn note(database: &Database, refused: Refused<'_>) -> Result<bool, Problem> {
    let statement = Statement::new(include_str!("sql/note_refusal.sql"))
        .bind(AuditId::new(database.clock()))
        .bind(refused.tenant.as_str())
        .bind(refused.actor)
        .bind(refused.credential)
        .bind(refused.action)
        .bind(refused.target)
        .bind(refused.code)
        .bind(refused.request_id)
        .bind(None::<u32>);
    database.outside(statement).await?.only(0)
}

/// Writes that a stranger was refused, if this one [`is_sampled`]. Answers whether it was written.
///
/// # Errors
/// The database could not be asked.
pub async fn note_stranger(database: &Database, stranger: Stranger<'_>) -> Result<bool, Problem> {
    if !is_sampled(stranger.nth) {
        return Ok(false);
    }
    let statement = Statement::new(include_str!("sql/note_refusal.sql"))
        .bind(AuditId::new(database.clock()))
        .bind(None::<&str>)
        .bind(None::<&str>)
        .bind(stranger.credential)
        .bind(stranger.action)
        .bind(stranger.address)
        .bind(stranger.code)
        .bind(stranger.request_id)
        .bind(stranger.nth);
    database.outside(statement).await?.only(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_ten_are_written() {
        let written: Vec<u32> = (0..20_000).filter(|nth| is_sampled(*nth)).collect();
        assert_eq!(written, [1, 10, 100, 1_000, 10_000]);
        assert!(is_sampled(1_000_000_000) && !is_sampled(u32::MAX));
    }
}
