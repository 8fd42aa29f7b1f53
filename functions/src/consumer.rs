//! The queue consumer. A message is a doorbell: it is counted and acknowledged, and the engine finds out what is due.
//! One bad message must never fail its batch.

use std::sync::Arc;

use aos::{platform::Job, runs::engine::InvocationBudget};
use tracing::Instrument;
use worker::{Env, Message, MessageBatch, MessageExt, QueueRetryOptionsBuilder};

use crate::{log, platform::WorkersQueue, state::Isolate};

/// Where messages end that were retried too often.
const DEAD_LETTERS: &str = "skill-jobs-dlq";
/// Seconds until doorbells are rung again that the engine could not answer.
const RETRY_S: u32 = 10;
/// Characters that are logged of what is wrong with a message.
const MAX_REASON_CHARS: usize = 200;
/// Seconds until doorbells are rung again under settings that may be mended by then.
const MISCONFIGURED_RETRY_S: u32 = 60;

/// Answers a batch of either queue.
pub(crate) async fn consume(batch: &MessageBatch<Job>, env: Env) {
    let isolate = Isolate::get(&env);
    let span = log::span(isolate.clock.as_ref(), "batch");
    answer(batch, env, isolate).instrument(span).await;
}

async fn answer(batch: &MessageBatch<Job>, env: Env, isolate: &Isolate) {
    if batch.queue() == DEAD_LETTERS {
        // The truth is in the database: what these messages rang for was or will be rung for again.
        for message in batch.raw_iter() {
            tracing::error!(message_id = message.id(), "a doorbell went unanswered too often");
        }
        batch.ack_all();
        return;
    }
    let Ok(configured) = &isolate.configured else {
        batch.retry_all_with_options(
            &QueueRetryOptionsBuilder::new()
                .with_delay_seconds(MISCONFIGURED_RETRY_S)
                .build(),
        );
        return;
    };
    let doorbells = doorbells(batch);
    if doorbells.is_empty() {
        return;
    }
    let app = &configured.app;
    let engine = app.engine(Arc::new(WorkersQueue(env)), app.settings.ring);
    match engine
        .drain(doorbells.len(), InvocationBudget::workers_paid(app.clock.as_ref()))
        .await
    {
        Ok(report) => {
            tracing::info!(
                doorbells = doorbells.len(),
                turns = report.turns,
                executed = report.executed,
                rung = report.rung,
                runs_ended = report.runs_ended,
                "batch answered"
            );
            doorbells.iter().for_each(MessageExt::ack);
        }
        Err(error) => {
            tracing::error!(%error, doorbells = doorbells.len(), "the engine could not go on");
            let later = QueueRetryOptionsBuilder::new().with_delay_seconds(RETRY_S).build();
            doorbells.iter().for_each(|message| message.retry_with_options(&later));
        }
    }
}

/// The messages that are doorbells. The others are acknowledged here: they will not become doorbells by a repeat.
fn doorbells(batch: &MessageBatch<Job>) -> Vec<Message<Job>> {
    let mut doorbells = Vec::new();
    for (raw, parsed) in batch.raw_iter().zip(batch.iter()) {
        match parsed {
            Ok(message) => doorbells.push(message),
            Err(error) => {
                // The reason may quote the message, which nobody has looked at.
                let reason: String = error.to_string().chars().take(MAX_REASON_CHARS).collect();
                tracing::error!(message_id = raw.id(), reason, "a message is no doorbell");
                raw.ack();
            }
        }
    }
    doorbells
}
