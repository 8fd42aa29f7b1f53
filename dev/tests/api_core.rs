//! The operations behind the endpoints, on a real PostgreSQL through the Neon gateway: what they answer, what they
//! leave in the database, and that each of them is one request.

#[path = "api_core/world.rs"]
mod world;

#[path = "api_core/agents.rs"]
mod agents;
#[path = "api_core/cancel.rs"]
mod cancel;
#[path = "api_core/idempotency.rs"]
mod idempotency;
#[path = "api_core/lists.rs"]
mod lists;
#[path = "api_core/reads.rs"]
mod reads;
#[path = "api_core/runs.rs"]
mod runs;
#[path = "api_core/tenants.rs"]
mod tenants;
