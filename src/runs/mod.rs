//! Runs: one goal, or one given plan, being carried out.

pub mod cancel;
pub mod create;
pub mod engine;
pub mod list;
mod outputs;
pub mod plan;
pub mod read;
pub mod references;
pub mod retry;
pub mod status;
pub mod view;
pub mod wait;
