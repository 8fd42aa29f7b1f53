//! The minute cron: it rings for what is due and unsent, and takes back what lost executors held.

use std::sync::Arc;

use tracing::Instrument;
use worker::Env;

use crate::{log, platform::WorkersQueue, state::Isolate};

/// One tick. It rings even where nothing else does (`AOS_RING=off`): somebody must.
pub(crate) async fn tick(env: Env) {
    let isolate = Isolate::get(&env);
    let Ok(configured) = &isolate.configured else { return };
    let engine = configured.app.engine(Arc::new(WorkersQueue(env)), true);
    let tick = async move {
        match engine.tick().await {
            Ok(report) => tracing::info!(
                expired = report.expired,
                rung = report.rung,
                forgotten = report.forgotten,
                delivered = report.delivered,
                "tick"
            ),
            Err(error) => tracing::error!(%error, "the tick failed; the next one does all of it"),
        }
    };
    tick.instrument(log::span(isolate.clock.as_ref(), "tick")).await;
}
