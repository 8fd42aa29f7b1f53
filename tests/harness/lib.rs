//! What end-to-end tests are made of: a local cloud per test binary, a client, plans, assertions.
//!
//! Black box: everything goes through HTTP to the Worker in workerd, what happened is read at the gateways, at the
//! stand-ins and, as the database's owner, in the tables. Nothing here calls the code under test.
//!
//! The functions panic when the world is not as they say, since they are called from tests only.

mod client;
mod counting;
mod credentials;
mod owner;
mod plans;
mod random;
mod raw;
mod sender;
mod stage;
mod world;

pub use client::{Call, Client, Reply, TERMINAL, any_address};
pub use counting::Requests;
pub use credentials::{Person, hs256};
pub use owner::Owner;
pub use plans::{chain, example, examples, pure, with};
pub use random::{Random, seed_from_environment};
pub use raw::{RawReply, raw};
pub use sender::Sender;
pub use stage::Stage;
pub use world::World;

pub use aos_dev::{
    faults::{Action, Rule},
    standins::clerk::{ClaimVersion, Org, Rotation, TokenSpec, Wrong},
    standins::script::Step,
};
