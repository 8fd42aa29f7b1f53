//! The issuer's keys in one isolate: which of them are known, how old they are, and when the issuer may be asked again.
//!
//! - Keys are fresh for an hour. After that they are still served, for up to 24 hours, and who finds one is told
//!   to refresh them once the answer is out; likewise when there are new ones that other isolates have not been given.
//! - A key that is not known is asked for at most once in five minutes, however many tokens name one.
//! - Requests share what has been fetched, never the fetching: a future that belongs to another request may be
//!   cancelled with it. Who comes while another one asks waits for the result by looking.

mod key_set;
mod source;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use jsonwebtoken::DecodingKey;

use self::key_set::KeySet;
pub use self::{
    key_set::{Seal, UnusableKeys},
    source::{ClerkKeys, FetchKeysError, KeySource},
};
use super::refusal::Refusal;
use crate::platform::Clock;

/// For so long keys are not asked for again.
const TTL: Duration = Duration::from_secs(60 * 60);
/// For so long keys are served although nobody could confirm them.
pub(super) const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// The least time between two questions for keys that are not known.
const BETWEEN_UNKNOWN: Duration = Duration::from_secs(5 * 60);
/// The least time between two tries to refresh, or to get the first keys, after one failed.
const BETWEEN_FAILURES: Duration = Duration::from_secs(10);
/// A load that takes longer belonged to a request that is gone. More than a source's own patience.
const LONGEST_LOAD: Duration = Duration::from_secs(8);
/// How often a request looks whether another one's load is done.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// A key, and whether there is something to do for its set.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) key: DecodingKey,
    /// Changes whenever a key was taken back.
    pub(super) generation: u64,
    pub(super) due: bool,
}

/// The keys of one issuer.
pub struct Jwks {
    issuer: String,
    source: Box<dyn KeySource>,
    seal: Seal,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Option<KeySet>,
    generation: u64,
    /// The load that is under way: since when, and its number.
    loading: Option<(Timestamp, u64)>,
    loads: u64,
    /// Fetched keys that other isolates have not been given yet.
    unshared: Option<String>,
    failed_at: Option<Timestamp>,
    /// When the issuer was last asked for a key that was not known.
    asked_for_unknown_at: Option<Timestamp>,
}

/// What to do about a key.
enum Look {
    Found(Found),
    Unknown,
    Away,
    Wait,
    Load(u64, Load),
}

/// Why keys are loaded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    /// There are none that may be used.
    First,
    /// One is wanted that is not among them.
    Unknown,
    /// They are older than they should be.
    Refresh,
}

impl Jwks {
    /// The keys of `issuer`, which `source` brings. `seal` marks the copy that isolates share.
    pub fn new(issuer: impl Into<String>, source: Box<dyn KeySource>, seal: Seal) -> Self {
        Self {
            issuer: issuer.into(),
            source,
            seal,
            state: Mutex::default(),
        }
    }

    /// The issuer whose keys these are.
    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Changes whenever a key was taken back: what was verified before then must be verified anew.
    pub(super) fn generation(&self) -> u64 {
        self.state().generation
    }

    /// The key of this name.
    pub(super) async fn key(&self, kid: &str, clock: &dyn Clock) -> Result<Found, Refusal> {
        let mut waited = Duration::ZERO;
        loop {
            match self.look(kid, clock.now()) {
                Look::Found(found) => return Ok(found),
                Look::Unknown => return Err(Refusal::UnknownKey),
                Look::Away => return Err(Refusal::KeysUnavailable),
                Look::Load(number, load) => self.load(number, load, kid, clock).await,
                Look::Wait if waited < LONGEST_LOAD => {
                    clock.sleep(LOOK_AGAIN).await;
                    waited = waited.saturating_add(LOOK_AGAIN);
                }
                Look::Wait => return Err(Refusal::KeysUnavailable),
            }
        }
    }

    /// Asks for the keys again if they are too old, and leaves a copy for other isolates if these are new; to be called
    /// when [`Found::due`] said so, after the response.
    pub(super) async fn refresh(&self, clock: &dyn Clock) {
        if let Some(number) = self.begin_refresh(clock.now()) {
            self.load(number, Load::Refresh, "", clock).await;
        }
        let unshared = self.state().unshared.take();
        if let Some(copy) = unshared {
            self.source.keep(copy, STALE).await;
        }
    }

    fn begin_refresh(&self, now: Timestamp) -> Option<u64> {
        let mut state = self.state();
        state.is_stale(now).then(|| state.begin_load(now))
    }

    fn look(&self, kid: &str, now: Timestamp) -> Look {
        let mut state = self.state();
        let is_loading = state.is_loading(now);
        let load = match &state.keys {
            Some(keys) if keys.age(now) < STALE => match keys.get(kid) {
                Some(key) => {
                    return Look::Found(Found {
                        key: key.clone(),
                        generation: state.generation,
                        due: state.is_stale(now) || state.unshared.is_some(),
                    });
                }
                None if is_loading => return Look::Wait,
                None if within(state.asked_for_unknown_at, BETWEEN_UNKNOWN, now) => return Look::Unknown,
                None => {
                    state.asked_for_unknown_at = Some(now);
                    Load::Unknown
                }
            },
            _ if is_loading => return Look::Wait,
            _ if within(state.failed_at, BETWEEN_FAILURES, now) => return Look::Away,
            _ => Load::First,
        };
        Look::Load(state.begin_load(now), load)
    }

    /// Brings keys: the copy of another isolate if that is enough, else the issuer's own.
    async fn load(&self, number: u64, load: Load, kid: &str, clock: &dyn Clock) {
        let _ended = LoadEnds {
            state: &self.state,
            number,
        };
        if load != Load::Unknown && self.load_copy(load, clock).await {
            return;
        }
        let fetched = match self.source.fetch().await {
            Ok(document) => KeySet::from_document(&self.issuer, &document, clock.now()).map_err(FetchKeysError::from),
            Err(error) => Err(error),
        };
        match fetched {
            Ok(keys) => {
                let mut state = self.state();
                state.failed_at = None;
                // The issuer has just said that it has no such key.
                if load == Load::First && keys.get(kid).is_none() {
                    state.asked_for_unknown_at = Some(clock.now());
                }
                state.unshared = Some(keys.sealed(&self.seal));
                state.install(keys);
            }
            Err(error) => {
                tracing::warn!(issuer = self.issuer, %error, "the issuer's keys could not be fetched");
                self.state().failed_at = Some(clock.now());
            }
        }
    }

    /// Takes over the copy that isolates share; `false` where it is missing, forged, or no newer than it must be.
    async fn load_copy(&self, load: Load, clock: &dyn Clock) -> bool {
        let Some(copy) = self.source.kept().await else {
            return false;
        };
        let now = clock.now();
        let keys = match KeySet::from_sealed(&self.issuer, &copy, &self.seal) {
            Ok(keys) => keys,
            Err(error) => {
                tracing::warn!(issuer = self.issuer, %error, "the shared copy of the issuer's keys cannot be used");
                return false;
            }
        };
        let wanted = if load == Load::First { STALE } else { TTL };
        let usable = keys.age(now) < wanted;
        if usable {
            self.state().install(keys);
        }
        usable
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_loading(&self, now: Timestamp) -> bool {
        within(self.loading.map(|(since, _)| since), LONGEST_LOAD, now)
    }

    fn is_stale(&self, now: Timestamp) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.age(now) >= TTL)
            && !self.is_loading(now)
            && !within(self.failed_at, BETWEEN_FAILURES, now)
    }

    fn begin_load(&mut self, now: Timestamp) -> u64 {
        self.loads = self.loads.saturating_add(1);
        self.loading = Some((now, self.loads));
        self.loads
    }

    /// Puts newer keys in the place of older ones, never the other way round.
    fn install(&mut self, keys: KeySet) {
        if let Some(old) = &self.keys {
            if keys.fetched_at() < old.fetched_at() {
                return;
            }
            if !keys.keeps_all_of(old) {
                self.generation = self.generation.saturating_add(1);
            }
        }
        self.keys = Some(keys);
    }
}

/// Whether `since` is less than `duration` ago.
fn within(since: Option<Timestamp>, duration: Duration, now: Timestamp) -> bool {
    since.is_some_and(|since| elapsed(since, now) < duration)
}

/// The time from `since` to `now`; none at all, should the clock have been put back.
fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

/// Says that a load has ended, also where its request was dropped in the middle.
struct LoadEnds<'a> {
    state: &'a Mutex<State>,
    number: u64,
}

impl Drop for LoadEnds<'_> {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.loading.is_some_and(|(_, number)| number == self.number) {
            state.loading = None;
        }
    }
}

#[cfg(test)]
mod tests;
