//! The core's clients of Neon and Upstash, through the gateways, against a real PostgreSQL and a real Redis: what they
//! send and read, and what they make of gateways that misbehave.

#[path = "clients/world.rs"]
mod world;

#[path = "clients/neon.rs"]
mod neon;
#[path = "clients/neon_faults.rs"]
mod neon_faults;
#[path = "clients/redirects.rs"]
mod redirects;
#[path = "clients/upstash.rs"]
mod upstash;
#[path = "clients/upstash_faults.rs"]
mod upstash_faults;
