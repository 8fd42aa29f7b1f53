//! The portable core of AOS: everything that does not know it runs on Cloudflare.
//!
//! What it needs from the platform comes through the small traits of [`platform`]; what it needs from the outside
//! world through one file per service in [`integrations`]. It never panics, never reads the system clock, and holds
//! no state between calls.

#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        reason = "a test that overflows fails, as it should"
    )
)]

pub mod agents;
pub mod api_keys;
pub mod archive;
pub mod audit;
pub mod auth;
pub mod body;
pub mod breakers;
pub mod config;
pub mod costs;
pub mod database;
mod digest;
pub mod idempotency;
pub mod ids;
pub mod integrations;
pub mod labels;
pub mod limits;
pub mod links;
mod outbox;
pub mod paging;
pub mod platform;
pub mod problem;
pub mod readiness;
pub mod runs;
pub mod sealing;
pub mod secrets;
pub mod sessions;
pub mod skills;
pub mod tenants;
