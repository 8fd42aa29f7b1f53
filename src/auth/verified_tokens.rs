//! Tokens that were verified before: a bounded memory of one isolate, so that a token costs its RSA once. Must never
//! hold a token, only its SHA-256, and never outlive what made it good.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::principal::Principal;

/// Tokens that are remembered at most: some hundred kilobytes.
const CAPACITY: usize = 1_000;

/// What a token is remembered by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

struct Remembered {
    principal: Principal,
    /// From then on the token is not accepted.
    until: Timestamp,
    /// The generation of keys under which it was verified.
    generation: u64,
    /// When it was put in, as a count.
    number: u64,
}

/// The memory.
pub(super) struct VerifiedTokens {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tokens: HashMap<Fingerprint, Remembered>,
    /// How many were ever put in.
    put: u64,
}

impl VerifiedTokens {
    pub(super) fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::default(),
        }
    }

    /// Whose token it is, if it was verified under this generation of keys and is still good.
    pub(super) fn get(&self, token: Fingerprint, generation: u64, now: Timestamp) -> Option<Principal> {
        let state = self.state();
        let known = state.tokens.get(&token)?;
        (known.generation == generation && now < known.until).then(|| known.principal.clone())
    }

    /// Remembers a token that was verified just now.
    pub(super) fn put(
        &self,
        token: Fingerprint,
        principal: Principal,
        generation: u64,
        until: Timestamp,
        now: Timestamp,
    ) {
        let mut state = self.state();
        state.put = state.put.saturating_add(1);
        let number = state.put;
        let tokens = &mut state.tokens;
        if tokens.len() >= self.capacity && !tokens.contains_key(&token) {
            tokens.retain(|_, known| known.generation == generation && now < known.until);
        }
        if tokens.len() >= self.capacity && !tokens.contains_key(&token) {
            let oldest = tokens
                .iter()
                .min_by_key(|(_, known)| known.number)
                .map(|(token, _)| *token);
            if let Some(oldest) = oldest {
                tokens.remove(&oldest);
            }
        }
        tokens.insert(
            token,
            Remembered {
                principal,
                until,
                generation,
                number,
            },
        );
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn principal(name: &str) -> Principal {
        Principal::machine(name.parse().unwrap())
    }

    #[test]
    fn a_token_is_known_until_it_expires_and_only_under_its_keys() {
        let memory = VerifiedTokens::new();
        let token = Fingerprint::of("a");
        memory.put(token, principal("t"), 1, at(60), at(0));
        assert_eq!(memory.get(token, 1, at(59)), Some(principal("t")));
        assert_eq!(memory.get(token, 1, at(60)), None);
        assert_eq!(memory.get(token, 2, at(1)), None);
        assert_eq!(memory.get(Fingerprint::of("b"), 1, at(1)), None);
    }

    #[test]
    fn when_it_is_full_what_has_expired_goes_first_and_then_the_oldest() {
        let memory = VerifiedTokens::with_capacity(3);
        let known = |now| ["a", "b", "c", "d", "e"].map(|name| memory.get(Fingerprint::of(name), 0, at(now)).is_some());
        let put = |name: &str, until, now| memory.put(Fingerprint::of(name), principal(name), 0, at(until), at(now));
        put("a", 100, 0);
        put("b", 10, 0);
        put("c", 100, 0);
        put("d", 100, 20);
        assert_eq!(known(20), [true, false, true, true, false]);
        put("e", 100, 20);
        assert_eq!(known(20), [false, false, true, true, true]);
        put("e", 100, 21);
        assert_eq!(known(21), [false, false, true, true, true]);
    }
}
