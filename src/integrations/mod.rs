//! The outside services: one file or folder each, and nothing else in the project speaks that service's protocol.
//!
//! Every call has a timeout, a bounded answer and a retry rule that fits it. A client never prints its credentials and
//! never repeats blindly what may already have taken effect.

pub mod anthropic;
pub mod calendar;
pub mod clerk;
pub mod dns;
mod exchange;
pub mod model;
pub mod neon;
pub mod openai;
pub mod provider;
pub mod resend;
pub mod slack;
pub mod standard_webhooks;
mod stream;
mod tries;
pub mod upstash;
pub mod voyage;

/// What the clients here send through: it follows no redirect, so that a key goes to the host it is for and to no other. In
/// wasm that is the platform's to see to, which the Worker tells its fetch.
pub fn http_client() -> reqwest::Client {
    let client = reqwest::Client::builder();
    #[cfg(not(target_arch = "wasm32"))]
    let client = client.redirect(reqwest::redirect::Policy::none());
    // Where no client can be built, the default one, which would follow, panics.
    client.build().unwrap_or_default()
}

/// Whether a request may be sent again after its answer was lost, when nobody knows whether it took effect.
///
/// What is known to have had no effect (a rolled back transaction, a connection that was never made) is tried again
/// under either rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Doing it twice leaves the same state as doing it once: reads, and writes built to be repeated.
    Harmless,
    /// Doing it twice would count twice; the caller is told that the effect is unknown.
    Never,
}

/// Whether a failed request left something behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TookEffect {
    /// Nothing was sent, or everything was undone.
    No,
    /// It was sent and the answer was lost.
    Unknown,
}

/// Which of the two bodies was over its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// What we wanted to send. Nothing took effect.
    Request,
    /// What came back.
    Answer,
}

impl std::fmt::Display for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Answer => "answer",
        })
    }
}

/// What is wrong with a setting. Never holds its value, which may be a secret; who reads the settings adds the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingError(pub &'static str);
