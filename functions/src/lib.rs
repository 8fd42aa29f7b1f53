//! The Cloudflare Worker of AOS: its three entries, and nothing else.
//!
//! Thin by rule: an entry authenticates, decodes, calls one function of the core, and encodes. SQL and decisions are the
//! core's. It also compiles natively, for its unit tests and for [`openapi_json`].

mod agents;
mod answer;
mod api_keys;
mod bucket;
mod calendar;
mod caller;
mod consumer;
mod cron;
mod incoming;
mod log;
mod openapi;
mod operations;
mod platform;
mod redirects;
mod rights;
mod router;
mod runs;
mod secrets;
mod sessions;
mod settings;
mod skills;
mod state;
mod tenants;

use worker::{Context, Env, MessageBatch, ScheduleContext, ScheduledEvent, event, web_sys};

#[cfg(not(target_arch = "wasm32"))]
pub use crate::openapi::openapi_json;

/// An HTTPS request.
#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> worker::Result<worker::Response> {
    incoming::answer(request, env, context).await
}

/// Messages of the queues `skill-jobs` and `skill-jobs-dlq`.
#[event(queue)]
async fn queue(batch: MessageBatch<aos::platform::Job>, env: Env, _context: Context) -> worker::Result<()> {
    consumer::consume(&batch, env).await;
    Ok(())
}

/// The minute cron.
#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, env: Env, _context: ScheduleContext) {
    cron::tick(env).await;
}
