//! Keys that an isolate remembers for a minute, so that a busy key is not looked up for every request. It rests on
//! Redis telling of what was revoked since: without it every key is looked up.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use super::{FoundKey, KeyHash, KeyState};

/// How long a key is remembered.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(60);
/// Keys that are remembered; about 500 bytes each.
const MOST: usize = 1_000;

/// The keys that were found active in the last minute.
#[derive(Debug, Default)]
pub struct RememberedKeys(Mutex<HashMap<KeyHash, (FoundKey, Timestamp)>>);

impl RememberedKeys {
    /// A key that was found within the last minute and has not expired since.
    pub fn get(&self, hash: &KeyHash, now: Timestamp) -> Option<FoundKey> {
        let mut keys = self.lock();
        let (key, since) = keys.get(hash)?;
        let is_fresh = now.duration_since(*since).unsigned_abs() < REMEMBERED_FOR;
        if is_fresh && key.expires_at.is_none_or(|at| now < at) {
            return Some(key.clone());
        }
        keys.remove(hash);
        None
    }

    /// Remembers what [`super::find`] found at `now`, if it opens anything.
    pub fn remember(&self, hash: KeyHash, key: FoundKey, now: Timestamp) {
        if key.state != KeyState::Active {
            return;
        }
        let mut keys = self.lock();
        if keys.len() >= MOST && !keys.contains_key(&hash) {
            keys.clear();
        }
        keys.insert(hash, (key, now));
    }

    /// Forgets a key that Redis says was revoked.
    pub fn forget(&self, hash: &KeyHash) {
        self.lock().remove(hash);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyHash, (FoundKey, Timestamp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api_keys::hash_of,
        auth::{Permission, PermissionSet},
        tenants::{Limits, Tier},
    };

    fn found(state: KeyState, expires_at: Option<Timestamp>) -> FoundKey {
        FoundKey {
            id: "key_018f0000000070008000000000000001".parse().unwrap(),
            tenant: "t".parse().unwrap(),
            scopes: PermissionSet::of(&[Permission::RunsRead]),
            expires_at,
            state,
            requests_per_minute: None,
            limits: Limits {
                id: "ten_018f0000000070008000000000000001".parse().unwrap(),
                tier: Tier::Free,
                requests_per_minute: None,
            },
        }
    }

    fn hash(n: usize) -> KeyHash {
        hash_of(format!("aos_{n:0>43}").as_bytes()).unwrap()
    }

    #[test]
    fn a_key_is_remembered_for_a_minute_and_never_past_its_end() {
        let (keys, now) = (RememberedKeys::default(), Timestamp::UNIX_EPOCH);
        let after = |seconds| now + Duration::from_secs(seconds);
        keys.remember(hash(1), found(KeyState::Active, None), now);
        assert!(keys.get(&hash(1), after(59)).is_some());
        assert!(keys.get(&hash(1), after(60)).is_none());
        keys.remember(hash(2), found(KeyState::Active, Some(after(10))), now);
        assert!(keys.get(&hash(2), after(9)).is_some());
        assert!(keys.get(&hash(2), after(10)).is_none());
        keys.remember(hash(3), found(KeyState::Active, None), now);
        keys.forget(&hash(3));
        assert!(keys.get(&hash(3), now).is_none());
        for state in [KeyState::Expired, KeyState::Revoked] {
            keys.remember(hash(4), found(state, None), now);
            assert!(keys.get(&hash(4), now).is_none());
        }
    }

    #[test]
    fn a_flood_of_keys_is_not_remembered_without_bound() {
        let (keys, now) = (RememberedKeys::default(), Timestamp::UNIX_EPOCH);
        for n in 0..MOST * 2 + 1 {
            keys.remember(hash(n), found(KeyState::Active, None), now);
        }
        assert!(keys.lock().len() <= MOST);
        assert!(keys.get(&hash(MOST * 2), now).is_some());
    }

    #[test]
    fn only_an_active_key_is_somebody() {
        let now = Timestamp::UNIX_EPOCH;
        let code = |key: FoundKey| key.principal(now).unwrap_err().code;
        assert_eq!(code(found(KeyState::Revoked, None)), "api_key_revoked");
        assert_eq!(code(found(KeyState::Expired, None)), "api_key_expired");
        assert_eq!(code(found(KeyState::Active, Some(now))), "api_key_expired");
        let principal = found(KeyState::Active, None).principal(now).unwrap();
        assert!(principal.may(Permission::RunsRead) && !principal.may(Permission::RunsCreate));
    }
}
