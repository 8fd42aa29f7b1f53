//! The skill `postgres_query` against a real PostgreSQL through the Neon gateway: what it reads, what it refuses, that
//! nothing it is told to do changes anything, and what it makes of a database that fails.

#[path = "postgres_query/world.rs"]
mod world;

#[path = "postgres_query/attacks.rs"]
mod attacks;
#[path = "postgres_query/faults.rs"]
mod faults;
#[path = "postgres_query/local_cloud.rs"]
mod local_cloud;
#[path = "postgres_query/reading.rs"]
mod reading;
