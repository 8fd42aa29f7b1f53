//! What stands in for the cloud on one machine: a real PostgreSQL behind Neon's protocol, a real Redis behind Upstash's,
//! stand-ins for the other services, and the Worker itself in workerd.
//!
//! Everything here is for development and tests. Nothing of it is part of what is deployed.

pub mod cloud;
pub mod counters;
mod cron;
pub mod faults;
pub mod migrate;
pub mod neon;
pub mod paths;
pub mod postgres;
mod postgres_binaries;
pub mod process;
mod process_table;
pub mod progress;
pub mod query_database;
pub mod redis;
pub mod scratch;
pub mod secrets;
pub mod serve;
pub mod standins;
pub mod tools;
pub mod upstash;
pub mod worker;
pub mod worker_build;
