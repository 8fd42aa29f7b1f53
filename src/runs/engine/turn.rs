//! One turn: a single transaction that settles what has finished, advances its runs, and claims what is due.
//!
//! A turn can be sent again after a lost answer and comes to the same: what it settles is fenced by claim numbers, what
//! it advances is read from the state, what it claimed is found by its id.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use super::{Engine, Error, owners::OwnerRow, settlement::Settlement};
use crate::{
    archive::OutputRef,
    ids::{ClaimId, RunId, StepId, TenantId},
    integrations::{
        Repeat,
        neon::{Batch, Statement},
    },
    skills::{EffectClass, OutcomeStatus},
};

/// Cron rings for a queued step that nobody has claimed this long after it was due, in seconds.
pub(super) const RING_AFTER_S: u32 = 60;
/// A lease outlasts the step's timeout by this, in seconds: time to wait for a lane and to settle.
const LEASE_SLACK_S: u32 = 30;
/// Params, inputs and referenced outputs that one claim carries at most, in bytes of the database's text. A step that has
/// more than this alone fails: the answer would not pass the gateway, and nobody else's claims with it.
pub(super) const MAX_CARRIED_BYTES: u32 = 4 * 1024 * 1024;

/// What a turn may claim.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Room {
    pub(super) lanes: usize,
    pub(super) places: usize,
    /// The longest timeout that may start, in ms.
    pub(super) longest_timeout_ms: u32,
}

/// A step this invocation holds. What others wrote is left as text: one value that cannot be read must not make the whole
/// answer unreadable.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Claimed {
    pub(super) step_id: StepId,
    pub(super) tenant_id: TenantId,
    pub(super) run_id: RunId,
    pub(super) key: String,
    pub(super) skill: String,
    pub(super) params: Box<RawValue>,
    pub(super) condition: Option<String>,
    /// Executions that began before this one.
    pub(super) attempt: u32,
    pub(super) claim_no: i32,
    pub(super) max_attempts: u32,
    pub(super) backoff_ms: u64,
    pub(super) timeout_ms: u32,
    pub(super) effect_class: EffectClass,
    pub(super) outside: bool,
    /// The steps that params or condition name, by key.
    pub(super) refs: BTreeMap<String, Referenced>,
    /// Params, input and referenced outputs are over [`MAX_CARRIED_BYTES`] and not here.
    pub(super) too_large: bool,
    pub(super) needs_all_skipped: bool,
    /// What was left of the lease when the database answered, in ms.
    pub(super) lease_ms: i64,
}

/// How a step that another one refers to ended.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Referenced {
    pub(super) output: Box<RawValue>,
    /// Where the output is instead, if it is not here.
    pub(super) archived: Option<OutputRef>,
    pub(super) status: OutcomeStatus,
}

/// A queued step that somebody should come for.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct ToRing {
    pub(super) step_id: StepId,
    pub(super) delay_ms: u64,
}

/// A step that is due and that its tenant has a place for.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct MoreDue {
    pub(super) step_id: StepId,
    pub(super) outside: bool,
    pub(super) timeout_ms: u32,
}

impl MoreDue {
    /// Whether a turn with this room could claim it.
    pub(super) fn fits(&self, room: Room) -> bool {
        self.timeout_ms <= room.longest_timeout_ms && if self.outside { room.lanes > 0 } else { room.places > 0 }
    }
}

/// A run whose history has grown.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct News {
    pub(super) run_id: RunId,
    pub(super) status: String,
    pub(super) seq: i64,
}

impl News {
    /// Whether the run has come to its own end (not to a cancellation, which the API tells).
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "succeeded" | "failed")
    }
}

/// What a turn came to.
#[derive(Debug, Default, Deserialize)]
pub(super) struct TurnAnswer {
    pub(super) claimed: Vec<Claimed>,
    /// The inputs of the claimed steps' runs, by bare UUID.
    pub(super) inputs: BTreeMap<RunId, Box<RawValue>>,
    /// The tenants of claimed steps that leave the Worker.
    pub(super) owners: BTreeMap<TenantId, OwnerRow>,
    /// What became queued in this turn and was not claimed by it.
    pub(super) to_ring: Vec<ToRing>,
    /// Steps that are due and that their tenants have places for; at most 100.
    pub(super) more_due: Vec<MoreDue>,
    pub(super) news: Vec<News>,
}

/// One row of the ledger to settle; no state: take it back.
#[derive(Serialize)]
struct LedgerEntry<'a> {
    step_id: uuid::Uuid,
    claim_no: i32,
    state: Option<&'static str>,
    /// Whether it may have happened although the attempt failed, and whether it did happen.
    lost: bool,
    succeeded: bool,
    effects: &'a [crate::skills::outcome::Effect],
}

impl Engine {
    /// Sends one turn. `turn` is its id; `unseen` are earlier turns of this invocation whose answers were lost: what
    /// they claimed is answered too.
    pub(super) async fn turn(
        &self,
        turn: ClaimId,
        unseen: &[ClaimId],
        settlements: &[Settlement],
        room: Room,
    ) -> Result<TurnAnswer, Error> {
        let batch = self.turn_batch(turn, unseen, settlements, room);
        let last = batch.statements().saturating_sub(1);
        let answers = self.database.batch(&batch).await?;
        answers.one(last)?.ok_or(Error::NoAnswer)
    }

    fn turn_batch(&self, turn: ClaimId, unseen: &[ClaimId], settlements: &[Settlement], room: Room) -> Batch {
        let ring_after = if self.settings.ring { RING_AFTER_S } else { 0 };
        let settled: Vec<_> = settlements.iter().map(|settlement| settlement.step_id.uuid()).collect();
        let turns: Vec<_> = unseen.iter().chain([&turn]).map(|id| id.uuid()).collect();
        let lanes = u32::try_from(room.lanes).unwrap_or(u32::MAX);
        let places = u32::try_from(room.places).unwrap_or(u32::MAX);

        let mut batch = Batch::write(Repeat::Harmless)
            .push(
                Statement::new(include_str!("sql/pick.sql"))
                    .bind(turn)
                    .bind_json(&settled)
                    .bind(lanes)
                    .bind(places)
                    .bind(room.longest_timeout_ms),
            )
            .push(Statement::new(include_str!("sql/lock_tenants.sql")))
            .push(Statement::new(include_str!("sql/lock_runs.sql")));
        if !settlements.is_empty() {
            let ledger: Vec<_> = settlements
                .iter()
                .filter(|settlement| settlement.has_effect)
                .map(|settlement| LedgerEntry {
                    step_id: settlement.step_id.uuid(),
                    claim_no: settlement.claim_no,
                    state: settlement.ledger_state(),
                    lost: settlement.is_lost(),
                    succeeded: settlement.has_succeeded(),
                    effects: &settlement.effects,
                })
                .collect();
            let rows: Vec<_> = settlements.iter().map(Settlement::row).collect();
            batch = batch.push(
                Statement::new(include_str!("sql/settle.sql"))
                    .bind(turn)
                    .bind_json(&rows)
                    .bind(ring_after),
            );
            let calls: Vec<_> = settlements.iter().flat_map(Settlement::usage_rows).collect();
            if !calls.is_empty() {
                batch = batch.push(Statement::new(include_str!("sql/settle_usage.sql")).bind_json(&calls));
            }
            if !ledger.is_empty() {
                batch = batch
                    .push(Statement::new(include_str!("sql/settle_effects.sql")).bind_json(&ledger))
                    .push(Statement::new(include_str!("sql/release_effects.sql")).bind_json(&ledger));
            }
            batch = advance(batch, turn, ring_after);
        }
        if room.lanes > 0 || room.places > 0 {
            batch = batch
                .push(
                    Statement::new(include_str!("sql/claim.sql"))
                        .bind(turn)
                        .bind(lanes)
                        .bind(places)
                        .bind(room.longest_timeout_ms)
                        .bind(MAX_CARRIED_BYTES)
                        .bind(LEASE_SLACK_S),
                )
                .push(Statement::new(include_str!("sql/begin_effects.sql")).bind(turn))
                .push(Statement::new(include_str!("sql/start_runs.sql")).bind(turn))
                .push(Statement::new(include_str!("sql/take_turns.sql")).bind(turn));
        }
        batch.push(
            Statement::new(include_str!("sql/answer.sql"))
                .bind_json(&json!(turns))
                .bind(MAX_CARRIED_BYTES),
        )
    }
}

/// What follows from settled steps: runs that fail, what must not start any more, what is due now, runs that end.
pub(super) fn advance(batch: Batch, turn: ClaimId, ring_after_s: u32) -> Batch {
    batch
        .push(Statement::new(include_str!("sql/fail_runs.sql")))
        .push(Statement::new(include_str!("sql/stop_failing.sql")))
        .push(
            Statement::new(include_str!("sql/advance.sql"))
                .bind(turn)
                .bind(ring_after_s),
        )
        .push(Statement::new(include_str!("sql/end_runs.sql")))
}
