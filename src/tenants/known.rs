//! What an isolate knows about tenants, so that the limit of a request is known before the database is asked. It may be
//! old by a request; nothing that must be right may rest on it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::Limits;
use crate::auth::TenantName;

/// Tenants that are remembered; about 300 bytes each.
const MOST: usize = 2_000;

/// The last that was heard of each tenant.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<HashMap<TenantName, Limits>>);

impl Known {
    pub(crate) fn get(&self, tenant: &TenantName) -> Option<Limits> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(tenant)
            .copied()
    }

    pub(crate) fn learn(&self, tenant: &TenantName, limits: Limits) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(tenant) {
            // Whoever is at work is learnt again by the next request.
            known.clear();
        }
        known.insert(tenant.clone(), limits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenants::Tier;

    #[test]
    fn what_is_known_is_the_last_that_was_heard_and_never_grows_without_bound() {
        let known = Known::default();
        let limits = |tier| Limits {
            id: "ten_018f0000000070008000000000000001".parse().unwrap(),
            tier,
            requests_per_minute: None,
        };
        let name = |n: usize| format!("t{n}").parse::<TenantName>().unwrap();
        assert_eq!(known.get(&name(0)), None);
        for n in 0..MOST * 3 / 2 {
            known.learn(&name(n), limits(Tier::Free));
        }
        known.learn(&name(MOST), limits(Tier::Pro));
        assert_eq!(known.get(&name(MOST)), Some(limits(Tier::Pro)));
        assert!(known.0.lock().unwrap().len() <= MOST);
    }
}
