//! The sessions that are kept open between requests, by user, password and database, and the cap on all of them.
//! Must never hand out a session that another request left something in: who brings it back has emptied it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::PostgresAddr;
use super::backend::Backend;
use super::failure::Failure;
use super::login::Login;

/// How long a session may lie idle. A changed password is noticed after this time at the latest.
const IDLE: Duration = Duration::from_secs(60);

/// The sessions with one PostgreSQL.
#[derive(Debug)]
pub(super) struct Pool {
    postgres: PostgresAddr,
    cap: usize,
    places: Semaphore,
    /// The one that was used last comes last.
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    login: Login,
    backend: Backend,
    since: Instant,
}

/// A session for one request; it is closed unless it is given back.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    pub(super) backend: Backend,
    _place: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(postgres: PostgresAddr, cap: usize) -> Self {
        Self {
            postgres,
            cap,
            places: Semaphore::new(cap),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Waits for a place, then takes an idle session or opens one.
    pub(super) async fn lease(&self, login: &Login) -> Result<Lease<'_>, Failure> {
        // The semaphore is never closed.
        let place = self.places.acquire().await.map_err(|_| Failure::Away)?;
        let backend = match self.take_idle(login) {
            Some(backend) => backend,
            None => Backend::connect(&self.postgres, login).await?,
        };
        Ok(Lease { backend, _place: place })
    }

    pub(super) fn give_back(&self, login: Login, lease: Lease<'_>) {
        self.lock().push(Idle {
            login,
            backend: lease.backend,
            since: Instant::now(),
        });
    }

    /// Closes all idle sessions.
    pub(super) fn close(&self) {
        self.lock().clear();
    }

    fn take_idle(&self, login: &Login) -> Option<Backend> {
        let mut idle = self.lock();
        idle.retain(|idle| idle.since.elapsed() < IDLE && idle.backend.is_quiet());
        if let Some(index) = idle.iter().rposition(|idle| idle.login == *login) {
            return Some(idle.remove(index).backend);
        }
        // A new one will be opened: the oldest of other users make room for it under the cap.
        let busy = self.cap.saturating_sub(self.places.available_permits());
        let excess = (idle.len() + busy).saturating_sub(self.cap).min(idle.len());
        idle.drain(..excess);
        None
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
