//! The commands of one request's look-ups, and how their replies are read.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

use super::{RateLimit, STRANGERS_PER_MINUTE, Verdict};
use crate::{
    auth::TenantName,
    ids::ApiKeyId,
    integrations::upstash::{Command, CommandError, Key},
    tenants::{Limits, Tier},
};

/// The script is one atomic step: it is short, and whoever waits for it waits microseconds.
const WINDOW: &str = include_str!("window.lua");
/// The width of a window in milliseconds.
const WIDTH_MS: u32 = 60_000;
/// Counts of strangers are looked at within their minute.
const COUNT_TTL: Duration = Duration::from_secs(120);

/// The verified caller of a request, as far as its limits go.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The tenant.
    pub tenant: &'a TenantName,
    /// What this isolate knows about it ([`crate::database::Database::limits_of`]). What Redis says goes before it.
    pub known: Option<Limits>,
    /// The API key, if it has a limit of its own within the tenant's.
    pub api_key: Option<(ApiKeyId, u32)>,
    /// The entry that is there if the session or the API key was revoked. It holds the seconds since 1970 from which
    /// on it is, or anything else for: now.
    pub revocation: Option<&'a Key>,
}

/// One bucket of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) key: Key,
    pub(super) limit: u32,
}

/// What is asked of Redis before a request is answered, in one pipeline.
#[derive(Clone)]
pub struct Lookups {
    pub(super) commands: Vec<Command>,
    pub(super) buckets: Vec<Bucket>,
    now: Timestamp,
    revocation: Option<usize>,
    strangers: Option<usize>,
}

impl Lookups {
    /// Of a verified caller.
    pub fn of(subject: &Subject<'_>, now: Timestamp) -> Self {
        let known = subject
            .known
            .map_or(Tier::default().requests_per_minute(), |limits| limits.per_minute());
        let mut buckets = vec![Bucket {
            key: Key::tenant_rate(subject.tenant),
            limit: known,
        }];
        if let Some((id, limit)) = subject.api_key {
            buckets.push(Bucket {
                key: Key::api_key_rate(id),
                limit,
            });
        }
        let mut lookups = Self::new(Some(Key::tenant_limit(subject.tenant)), buckets, now);
        lookups.revocation = subject.revocation.map(|key| lookups.push(Command::get(key)));
        lookups
    }

    /// Of somebody who proved nothing: `address` is where the request comes from, `code` why it is refused.
    pub fn of_stranger(address: &str, code: &str, now: Timestamp) -> Self {
        let buckets = vec![Bucket {
            key: Key::address_rate(&network(address)),
            limit: STRANGERS_PER_MINUTE,
        }];
        let mut lookups = Self::new(None, buckets, now);
        let count = Key::refused_strangers(code, now.as_second().div_euclid(60));
        lookups.strangers = Some(lookups.push(Command::incr_by(&count, 1)));
        let ttl = u64::try_from(COUNT_TTL.as_millis()).unwrap_or(u64::MAX);
        lookups.push(Command::new("PEXPIRE").arg(&count).arg(ttl));
        lookups
    }

    fn new(entry: Option<Key>, buckets: Vec<Bucket>, now: Timestamp) -> Self {
        let keys: Vec<Key> = entry
            .into_iter()
            .chain(buckets.iter().map(|bucket| bucket.key.clone()))
            .collect();
        let args = [Value::from(now.as_millisecond()), Value::from(WIDTH_MS)]
            .into_iter()
            .chain(buckets.iter().map(|bucket| Value::from(bucket.limit)));
        Self {
            commands: vec![Command::eval(WINDOW, &keys, args)],
            buckets,
            now,
            revocation: None,
            strangers: None,
        }
    }

    fn push(&mut self, command: Command) -> usize {
        self.commands.push(command);
        self.commands.len().saturating_sub(1)
    }

    /// The pipeline. It counts: it is never sent twice.
    pub fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// Reads the replies; `None` if they are not what the commands answer, as when Redis refused one.
    pub fn read(&self, replies: &[Result<Value, CommandError>]) -> Option<Verdict> {
        let reply = |index: usize| replies.get(index)?.as_ref().ok();
        let numbers: Vec<i64> = reply(0)?.as_array()?.iter().map(Value::as_i64).collect::<Option<_>>()?;
        let (entry, buckets) = numbers.split_first()?;
        let (buckets, rest) = buckets.as_chunks::<4>();
        if buckets.len() != self.buckets.len() || !rest.is_empty() {
            return None;
        }
        let number = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        // Of those without room the one that has none for longest; else the one with the least.
        let [fits, limit, remaining, reset_ms] = *buckets.iter().min_by_key(|[fits, _, remaining, reset_ms]| {
            (
                *fits,
                if *fits == 0 {
                    reset_ms.saturating_neg()
                } else {
                    *remaining
                },
            )
        })?;
        let revoked = match self.revocation {
            None => false,
            Some(index) => is_revoked(reply(index)?, self.now),
        };
        let nth = match self.strangers {
            None => None,
            Some(index) => Some(number(reply(index)?.as_i64()?)),
        };
        Some(Verdict {
            allowed: fits == 1,
            rate: RateLimit {
                limit: number(limit),
                remaining: number(remaining),
                reset_s: number(
                    u64::try_from(reset_ms)
                        .unwrap_or_default()
                        .div_ceil(1_000)
                        .try_into()
                        .unwrap_or(i64::MAX),
                ),
            },
            revoked,
            degraded: false,
            entry: u32::try_from(*entry).ok(),
            nth,
        })
    }
}

fn is_revoked(entry: &Value, now: Timestamp) -> bool {
    match entry {
        Value::Null => false,
        Value::String(text) => text.parse::<i64>().map_or(true, |from| from <= now.as_second()),
        other => other.as_i64().is_none_or(|from| from <= now.as_second()),
    }
}

/// What counts as one stranger: an IPv4 address, or the /64 network that an IPv6 address is in, since whoever has one
/// of its addresses has all of them. What is no address is one stranger together.
fn network(address: &str) -> String {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.to_string(),
        Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(address) => address.to_string(),
            None => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).to_string(),
        },
        Err(_) => "unknown".to_owned(),
    }
}
