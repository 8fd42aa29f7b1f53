//! Where an issuer's keys come from: the issuer itself, and the copy that isolates share in Redis. A copy that cannot
//! be read or written is no error: there is always the issuer.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{FutureExt, LocalBoxFuture};

use super::key_set::UnusableKeys;
use crate::integrations::{
    Repeat,
    clerk::{self, Clerk},
    upstash::{Command, Key, Upstash},
};

/// How long Redis may take for the copy: requests wait for it, and the issuer has the keys too.
const COPY_TIMEOUT: Duration = Duration::from_millis(500);

/// Why an issuer's keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchKeysError {
    /// The issuer did not answer as it should.
    #[error(transparent)]
    Clerk(#[from] clerk::Error),
    /// It answered, and the answer cannot be used.
    #[error("the issuer's answer cannot be used: {0}")]
    Unusable(#[from] UnusableKeys),
}

/// Where the keys of one issuer come from.
pub trait KeySource: Send + Sync {
    /// The issuer's JSON Web Key Set, as it sent it.
    fn fetch(&self) -> LocalBoxFuture<'_, Result<Bytes, FetchKeysError>>;

    /// The copy that some isolate left, if there is one.
    fn kept(&self) -> LocalBoxFuture<'_, Option<String>>;

    /// Leaves a copy for other isolates.
    fn keep(&self, copy: String, ttl: Duration) -> LocalBoxFuture<'_, ()>;
}

/// Clerk's keys, with the copy in Redis.
pub struct ClerkKeys {
    clerk: Clerk,
    upstash: Upstash,
    copy: Key,
}

impl ClerkKeys {
    /// The keys of `issuer`, which `clerk` fetches.
    pub fn new(issuer: &str, clerk: Clerk, upstash: Upstash) -> Self {
        Self {
            clerk,
            upstash: upstash.with_timeout(COPY_TIMEOUT),
            copy: Key::jwks(issuer),
        }
    }
}

impl KeySource for ClerkKeys {
    fn fetch(&self) -> LocalBoxFuture<'_, Result<Bytes, FetchKeysError>> {
        async { Ok(self.clerk.jwks().await?) }.boxed_local()
    }

    fn kept(&self) -> LocalBoxFuture<'_, Option<String>> {
        let read = async {
            match self.upstash.command(Command::get(&self.copy), Repeat::Harmless).await {
                Ok(value) => value.as_str().map(str::to_owned),
                Err(error) => {
                    tracing::warn!(%error, "the shared copy of the issuer's keys could not be read");
                    None
                }
            }
        };
        read.boxed_local()
    }

    fn keep(&self, copy: String, ttl: Duration) -> LocalBoxFuture<'_, ()> {
        let write = async move {
            let command = Command::set_ex(&self.copy, &copy, ttl);
            if let Err(error) = self.upstash.command(command, Repeat::Harmless).await {
                tracing::warn!(%error, "the shared copy of the issuer's keys could not be written");
            }
        };
        write.boxed_local()
    }
}
