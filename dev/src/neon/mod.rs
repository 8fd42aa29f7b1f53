//! The Neon gateway: Neon's SQL over HTTP in front of a PostgreSQL of our own, so that what talks to Neon in the
//! cloud talks to it here by the same words. It signs in with the user, password and database of the connection
//! string it is handed, and must never use an identity of its own.
//!
//! The protocol is Neon's proxy's, its traps included: lists of texts lose control characters on the way in, empty
//! lists come back wrong, object keys arrive sorted. A batch is one transaction; nothing outlives a request.

mod answer;
mod backend;
mod failure;
mod http;
mod login;
mod pool;
mod request;
mod run;
mod values;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::counters::Counters;
use crate::faults::Faults;
use crate::serve::{ServerHandle, serve};

use self::pool::Pool;

/// Where PostgreSQL listens (TCP, without TLS).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresAddr {
    pub host: String,
    pub port: u16,
}

/// How a gateway is set up.
#[derive(Debug, Clone)]
pub struct NeonGatewayOptions {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    pub postgres: PostgresAddr,
    /// How many sessions are open at most; requests beyond that wait. Less than PostgreSQL's `max_connections`.
    pub max_backends: usize,
}

impl NeonGatewayOptions {
    /// A free port on loopback, and 64 sessions.
    pub fn new(postgres: PostgresAddr) -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            postgres,
            max_backends: 64,
        }
    }
}

/// A gateway at work. It stops when this is dropped.
#[derive(Debug)]
pub struct NeonGateway {
    server: ServerHandle,
    pool: Arc<Pool>,
    faults: Faults,
    counters: Counters,
}

impl NeonGateway {
    /// Starts to listen. PostgreSQL need not be there yet: each request finds out for itself.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(options: NeonGatewayOptions) -> anyhow::Result<Self> {
        let NeonGatewayOptions {
            listen,
            postgres,
            max_backends,
        } = options;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("the Neon gateway cannot listen on {listen}"))?;
        let pool = Arc::new(Pool::new(postgres, max_backends));
        let (faults, counters) = (Faults::default(), Counters::default());
        let server = serve(
            listener,
            http::router(Arc::clone(&pool)),
            faults.clone(),
            counters.clone(),
        )?;
        Ok(Self {
            server,
            pool,
            faults,
            counters,
        })
    }

    /// What `NEON_HTTP_ENDPOINT` is set to: `http://127.0.0.1:PORT/sql`.
    pub fn endpoint(&self) -> String {
        format!("http://{}/sql", self.server.addr())
    }

    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Stops listening and closes the sessions.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
        self.pool.close();
    }
}
