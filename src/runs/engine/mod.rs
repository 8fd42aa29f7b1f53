//! The run engine: claims due steps, executes them, settles what they came to, and goes on with what became due.
//!
//! State lives in the database and a message is a doorbell: losing every message loses no run, one too many does
//! nothing. It never holds state between two invocations.

mod archived;
mod budget;
mod drain;
mod execute;
mod owners;
mod refused;
mod settlement;
#[cfg(test)]
mod tests;
mod tick;
mod turn;

use std::sync::Arc;

use futures::{FutureExt, future::LocalBoxFuture};

pub use self::{budget::InvocationBudget, drain::DrainReport, tick::TickReport};
use self::{drain::Drain, turn::News};
use crate::{
    integrations::{
        Repeat, neon,
        upstash::{Command, Key, Upstash},
    },
    outbox::Outbox,
    platform::{Job, Platform},
    skills::{Registry, Services},
};

/// How the engine behaves here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineSettings {
    /// Whether the queue is rung. Without it the minute cron alone finds what is due.
    pub ring: bool,
}

/// What executes runs.
#[derive(Clone)]
pub struct Engine {
    /// The database, in the engine's role.
    pub database: neon::Neon,
    /// What steps can call.
    pub skills: Arc<Registry>,
    /// What skills call on.
    pub services: Services,
    /// Clock, queue, fetch.
    pub platform: Platform,
    /// Where watchers of a run are told that it went on.
    pub upstash: Option<Upstash>,
    /// How it behaves here.
    pub settings: EngineSettings,
}

/// Why the engine could not go on. Nothing is lost: what it held is taken back when its lease ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused or could not be asked.
    #[error(transparent)]
    Database(#[from] neon::Error),
    /// The database answered without the row that it always answers.
    #[error("the turn had no answer")]
    NoAnswer,
}

impl Error {
    /// Whether the database refused the data itself, so that sending it again would change nothing.
    fn is_data_error(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_data_error())
    }
}

impl Engine {
    /// Answers `rung` doorbells: executes what is due, in fair order, within the invocation's budget.
    ///
    /// # Errors
    /// The database could not be asked; the doorbells should be rung again.
    pub async fn drain(&self, rung: usize, budget: InvocationBudget) -> Result<DrainReport, Error> {
        let report = Drain::new(self, rung, budget).run().await?;
        if report.runs_ended > 0 {
            // The events are committed: if this fails, cron delivers them.
            if let Err(error) = self.outbox().deliver_due().await {
                tracing::warn!(%error, "the outbox could not be drained");
            }
        }
        Ok(report)
    }

    fn outbox(&self) -> Outbox<'_> {
        Outbox {
            database: &self.database,
            clock: &*self.platform.clock,
            upstash: self.upstash.as_ref(),
        }
    }

    /// Rings the queue, if this engine rings at all. What could not be sent is rung for by cron.
    fn ring(&self, jobs: Vec<Job>) -> LocalBoxFuture<'_, ()> {
        if !self.settings.ring {
            return futures::future::ready(()).boxed_local();
        }
        self.platform
            .jobs
            .ring(jobs)
            .map(|sent| {
                if let Err(error) = sent {
                    tracing::warn!(%error, "the queue could not be rung; cron will");
                }
            })
            .boxed_local()
    }

    /// Says on each run's channel up to which number its history has grown.
    async fn publish(&self, news: &[News]) {
        let Some(upstash) = &self.upstash else { return };
        let commands: Vec<_> = news
            .iter()
            .map(|news| Command::publish(&Key::run_channel(news.run_id), &format!("{} {}", news.seq, news.status)))
            .collect();
        if let Err(error) = upstash.pipeline(&commands, Repeat::Harmless).await {
            tracing::debug!(%error, "news of runs could not be published; watchers read for themselves");
        }
    }
}
