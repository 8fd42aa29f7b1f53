//! The audit log: what was done that matters, and who was refused. Written once, never changed, outlives its tenant.
//!
//! What was done is written by the transaction that does it: either both are there, or neither. A refusal is written by
//! itself, and only so many a minute: a flood must not become a flood of rows. Nothing here holds a secret.

mod entry;
mod list;
mod refusal;

pub(crate) use self::entry::{bind_done, done_to};
pub use self::{
    entry::{Action, AuditEntry, AuditOutcome, By, UnknownOutcome, done},
    list::list,
    refusal::{Refused, Stranger, is_sampled, note, note_stranger},
};

/// For how many days entries are kept: a year and a month, so that a yearly review still sees all of its year.
pub const KEPT_FOR_DAYS: u32 = 400;
