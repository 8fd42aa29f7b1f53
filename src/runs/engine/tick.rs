//! What the minute cron does: it takes steps back from lost executors, rings for what nobody came for, and lets go of
//! what is out of date. It executes nothing itself.

use uuid::Uuid;

use super::{Engine, Error, turn};
use crate::{
    audit,
    ids::{ClaimId, StepId},
    integrations::{
        Repeat,
        neon::{Batch, Statement},
    },
    platform::Job,
};

/// Expired leases taken back by one tick.
const MAX_EXPIRED: u32 = 500;
/// Doorbells rung by one tick.
const MAX_RINGS: u32 = 1_000;
/// Idempotency keys deleted by one tick, and entries of the audit log.
const MAX_FORGOTTEN: u32 = 5_000;
/// Runs of an erased tenant that one tick deletes, and about how many steps.
const MAX_ERASED_RUNS: u32 = 500;
const MAX_ERASED_STEPS: u32 = 5_000;
/// A step claimed this often without a word from any executor fails as `executor_lost`.
const MAX_CLAIMS_LOST: i32 = 5;

/// What a tick did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct TickReport {
    /// Steps taken back from lost executors.
    pub expired: u64,
    /// Doorbells rung.
    pub rung: usize,
    /// Idempotency keys forgotten.
    pub forgotten: u64,
    /// Outbox events delivered.
    pub delivered: usize,
}

impl Engine {
    /// One tick: one request to the database, one to the queue, one for erasing, and the outbox.
    ///
    /// # Errors
    /// The database could not be asked; the next tick does all of it.
    pub async fn tick(&self) -> Result<TickReport, Error> {
        let mut report = self.expire_and_ring().await?;
        self.go_on_erasing().await;
        report.delivered = self.outbox().deliver_due().await?;
        Ok(report)
    }

    /// Apart from the rest of the tick: whatever keeps a tenant's rows from going must not keep leases from expiring.
    async fn go_on_erasing(&self) {
        let batch = Batch::write(Repeat::Harmless).push(
            Statement::new(include_str!("sql/go_on_erasing.sql"))
                .bind(MAX_ERASED_RUNS)
                .bind(MAX_ERASED_STEPS),
        );
        if let Err(error) = self.database.batch(&batch).await {
            tracing::error!(%error, "a tenant's rows could not be erased; the next tick tries again");
        }
    }

    async fn expire_and_ring(&self) -> Result<TickReport, Error> {
        let id = ClaimId::new(&*self.platform.clock);
        let batch = Batch::write(Repeat::Harmless)
            .push(Statement::new(include_str!("sql/pick_expired.sql")).bind(MAX_EXPIRED))
            .push(Statement::new(include_str!("sql/lock_tenants.sql")))
            .push(Statement::new(include_str!("sql/lock_runs.sql")));
        let expire = batch.statements();
        let batch = batch
            .push(
                Statement::new(include_str!("sql/expire.sql"))
                    .bind(MAX_CLAIMS_LOST)
                    .bind(0_u32)
                    .bind(id),
            )
            .push(Statement::new(include_str!("sql/expire_effects.sql")).bind(id));
        // Due for the bell at once: what was taken back and what it made ready is rung for below.
        let batch = turn::advance(batch, id, 0);
        let ring = batch.statements();
        let batch = batch
            .push(
                Statement::new(include_str!("sql/ring.sql"))
                    .bind(MAX_RINGS)
                    .bind(turn::RING_AFTER_S),
            )
            .push(Statement::new(include_str!("sql/forget_keys.sql")).bind(MAX_FORGOTTEN))
            .push(Statement::new(include_str!("sql/expire_cancelled_effects.sql")).bind(MAX_EXPIRED))
            .push(
                Statement::new(include_str!("sql/forget_audit.sql"))
                    .bind(audit::KEPT_FOR_DAYS)
                    .bind(MAX_FORGOTTEN),
            );
        let answers = self.database.batch(&batch).await?;

        let silent: Vec<Uuid> = answers.decode(ring)?;
        let report = TickReport {
            expired: answers.affected(expire),
            rung: silent.len(),
            forgotten: answers.affected(ring.saturating_add(1)),
            delivered: 0,
        };
        let jobs: Vec<_> = silent
            .into_iter()
            .map(|id| Job {
                step_id: StepId(id),
                delay_s: 0,
            })
            .collect();
        if !jobs.is_empty() {
            self.ring(jobs).await;
        }
        Ok(report)
    }
}
