//! Who may call and how often, on a real PostgreSQL and a real Redis through the gateways: API keys, the audit log,
//! tenants and their end, rate limits.

#[path = "identity/world.rs"]
mod world;

#[path = "identity/api_keys.rs"]
mod api_keys;
#[path = "identity/audit.rs"]
mod audit;
#[path = "identity/erasure.rs"]
mod erasure;
#[path = "identity/limits.rs"]
mod limits;
#[path = "identity/rotation.rs"]
mod rotation;
#[path = "identity/secrets.rs"]
mod secrets;
#[path = "identity/tenants.rs"]
mod tenants;
#[path = "identity/walls.rs"]
mod walls;
