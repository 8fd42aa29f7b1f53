//! Upstash's REST protocol over a real Redis or Valkey: what the Worker and the vendor's own clients talk to locally.
//! Facts are Upstash's documentation and its clients; where they are silent, the nearest thing a client can live with.
//! Must never answer what Upstash would refuse: code that works here has to work there.

mod commands;
mod database;
mod reply;
mod request;
mod rest;
mod scripts;
mod subscribe;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::counters::Counters;
use crate::faults::Faults;
use crate::serve::{ServerHandle, serve};

use database::Database;

/// The largest request and the largest reply of one command, in bytes: 10 MB, as Upstash's free and usual plans.
pub const LIMIT_BYTES: usize = 10 * 1024 * 1024;

/// Where the gateway listens, which Redis it stands before, and the token it asks for.
#[derive(Debug, Clone)]
pub struct UpstashGatewayOptions {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// `redis://127.0.0.1:6379/0`, or `redis+unix:///path/to/socket`.
    pub redis: String,
    /// The bearer token (`UPSTASH_REDIS_REST_TOKEN`).
    pub token: String,
}

/// A running gateway. It stops when this is dropped.
#[derive(Debug)]
pub struct UpstashGateway {
    server: ServerHandle,
    token: String,
    faults: Faults,
    counters: Counters,
    stop_streams: watch::Sender<bool>,
}

impl UpstashGateway {
    /// Starts the gateway. Redis need not be there yet: it is connected to by the first command, and again whenever
    /// it was away.
    ///
    /// # Errors
    /// The Redis address cannot be read, or the port is taken.
    pub async fn start(options: UpstashGatewayOptions) -> anyhow::Result<Self> {
        let database = Database::new(&options.redis).with_context(|| format!("the Redis address {}", options.redis))?;
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("listening on {}", options.listen))?;
        let (stop_streams, streams_stopped) = watch::channel(false);
        let (faults, counters) = (Faults::default(), Counters::default());
        let state = rest::Gateway {
            database: Arc::new(database),
            token: options.token.clone(),
            answered: Arc::new(AtomicU64::new(0)),
            streams_stopped,
        };
        let server = serve(listener, rest::router(state), faults.clone(), counters.clone())?;
        Ok(Self {
            server,
            token: options.token,
            faults,
            counters,
            stop_streams,
        })
    }

    /// What `UPSTASH_REDIS_REST_URL` is to be.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.addr())
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// The rules by which the gateway misbehaves.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What it was asked, by label: `GET` for one command, `pipeline GET,EVAL`, `multi-exec SET,INCR`, `subscribe`.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Ends the subscriptions, lets open requests end, and returns when all is closed.
    pub async fn shutdown(self) {
        self.stop_streams.send_replace(true);
        self.server.shutdown().await;
    }
}
