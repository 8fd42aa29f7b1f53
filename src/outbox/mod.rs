//! The outbox: messages committed with the change that caused them, delivered at least once, then deleted.
//!
//! An event that says a run ended goes to the run's channel, where whoever waits for the run listens.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    ids::{ClaimId, OutboxId, RunId},
    integrations::{
        Repeat,
        neon::{self, Batch, Neon, Statement},
        upstash::{Command, Key, Upstash},
    },
    platform::Clock,
};

/// Events taken at once.
const BATCH: u32 = 100;
/// Rounds of one delivery; what is left is due for the next one.
const MAX_ROUNDS: usize = 10;
/// Deliveries tried before an event is kept for a person to look at.
const MAX_ATTEMPTS: i32 = 12;
/// While an event is being delivered nobody else takes it.
const LEASE: Duration = Duration::from_secs(60);

/// The outbox and where it delivers to.
pub(crate) struct Outbox<'a> {
    pub(crate) database: &'a Neon,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) upstash: Option<&'a Upstash>,
}

#[derive(Deserialize)]
struct Event {
    id: OutboxId,
    topic: String,
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    run_id: RunId,
}

impl Event {
    /// As the engine says it on the run's channel, `<number> <status>`; the number is not known here.
    fn news(&self) -> String {
        format!("? {}", self.topic.strip_prefix("run.").unwrap_or(&self.topic))
    }
}

impl Outbox<'_> {
    /// Delivers what is due; returns how many events were. Each round is two requests to the database and one to Redis.
    pub(crate) async fn deliver_due(&self) -> Result<usize, neon::Error> {
        let mut delivered = 0_usize;
        for _ in 0..MAX_ROUNDS {
            let events = self.take().await?;
            let taken = events.len();
            if taken == 0 {
                break;
            }
            let result = self.publish(&events).await;
            self.settle(&events, result.as_ref().err().map(String::as_str)).await?;
            if result.is_err() {
                break;
            }
            delivered = delivered.saturating_add(taken);
            if taken < usize::try_from(BATCH).unwrap_or(usize::MAX) {
                break;
            }
        }
        Ok(delivered)
    }

    async fn take(&self) -> Result<Vec<Event>, neon::Error> {
        let batch = Batch::write(Repeat::Harmless).push(
            Statement::new(include_str!("take.sql"))
                .bind(ClaimId::new(self.clock))
                .bind(BATCH)
                .bind(u32::try_from(LEASE.as_secs()).unwrap_or(u32::MAX))
                .bind(MAX_ATTEMPTS),
        );
        self.database.batch(&batch).await?.decode(0)
    }

    async fn publish(&self, events: &[Event]) -> Result<(), String> {
        let upstash = self.upstash.ok_or("Upstash is not configured")?;
        let commands: Vec<_> = events
            .iter()
            .map(|event| Command::publish(&Key::run_channel(event.payload.run_id), &event.news()))
            .collect();
        upstash
            .pipeline(&commands, Repeat::Harmless)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    }

    async fn settle(&self, events: &[Event], failure: Option<&str>) -> Result<(), neon::Error> {
        let ids: Value = events.iter().map(|event| event.id.uuid().to_string()).collect();
        let statement = match failure {
            None => Statement::new(include_str!("delete.sql")).bind_json(&ids),
            Some(reason) => Statement::new(include_str!("postpone.sql"))
                .bind_json(&ids)
                .bind(MAX_ATTEMPTS)
                .bind(reason),
        };
        self.database
            .batch(&Batch::write(Repeat::Harmless).push(statement))
            .await
            .map(drop)
    }
}
