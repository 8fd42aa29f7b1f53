//! Fires the Worker's cron triggers when they are due, since `wrangler dev` never does.
//! It says nothing about a trigger that fails: the Worker's log does.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use croner::Cron;
use tokio::task::JoinHandle;

use crate::worker::WorkerProcess;

/// Looks once a minute. Stops on drop.
pub(crate) struct CronTicker {
    task: JoinHandle<()>,
}

impl CronTicker {
    /// Starts to fire these triggers (five columns, UTC).
    ///
    /// # Errors
    /// When one of them is not a cron expression.
    pub(crate) fn start(worker: Arc<WorkerProcess>, crons: &[String]) -> Result<Self> {
        let parse = |cron: &String| {
            Ok((
                cron.clone(),
                Cron::from_str(cron).with_context(|| format!("cron `{cron}`"))?,
            ))
        };
        let crons = crons.iter().map(parse).collect::<Result<Vec<_>>>()?;
        let task = tokio::spawn(async move {
            loop {
                let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
                let into_the_minute = u64::try_from(now.second()).unwrap_or(0);
                tokio::time::sleep(Duration::from_secs(60_u64.saturating_sub(into_the_minute).max(1))).await;
                let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
                let Ok(minute) = now.with().second(0).subsec_nanosecond(0).build() else {
                    continue;
                };
                for (text, cron) in &crons {
                    if cron.is_time_matching(&minute).unwrap_or(false) {
                        // A slow trigger must not hold up the next minute's, as it does not on Cloudflare.
                        let (worker, text) = (Arc::clone(&worker), text.clone());
                        tokio::spawn(async move { worker.fire_cron(&text).await });
                    }
                }
            }
        });
        Ok(Self { task })
    }
}

impl Drop for CronTicker {
    fn drop(&mut self) {
        self.task.abort();
    }
}
