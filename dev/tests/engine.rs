//! The run engine against a real PostgreSQL and Redis through the gateways: counts, order, fences, faults.

#[path = "engine/counts.rs"]
mod counts;
#[path = "engine/crowds.rs"]
mod crowds;
#[path = "engine/effects.rs"]
mod effects;
#[path = "engine/endings.rs"]
mod endings;
#[path = "engine/lost.rs"]
mod lost;
#[path = "engine/outputs.rs"]
mod outputs;
#[path = "engine/poison.rs"]
mod poison;
#[path = "engine/secrets.rs"]
mod secrets;
#[path = "engine/usage.rs"]
mod usage;
#[path = "engine/world.rs"]
mod world;
