//! Commands and keys of Redis, as AOS uses them. Every key of the project is made here and nowhere else.

use std::{fmt, time::Duration};

use serde::Serialize;
use serde_json::Value;

use crate::{
    auth::TenantName,
    ids::{ApiKeyId, RunId, TenantId},
    integrations::provider::Provider,
};

/// The name of something in Redis: a key or a channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    /// The entry `key` of a tenant's `kv_store`.
    pub fn tenant_kv(tenant: TenantId, key: &str) -> Self {
        Self(format!("aos:kv:{tenant}:{key}"))
    }

    /// Every entry that a tenant keeps under its id, as a pattern for `SCAN`. Ids hold no character that means something
    /// in a pattern, and nothing stands open before the id: what others chose to call their entries is not found.
    pub fn all_of_tenant(tenant: TenantId) -> Self {
        Self(format!("aos:kv:{tenant}:*"))
    }

    /// How many requests a minute a tenant has.
    pub fn tenant_limit(tenant: &TenantName) -> Self {
        Self(format!("aos:limit:{tenant}"))
    }

    /// The requests of a tenant in this minute and the last.
    pub fn tenant_rate(tenant: &TenantName) -> Self {
        Self(format!("aos:rate:tenant:{tenant}"))
    }

    /// The requests made with an API key that has a limit of its own.
    pub fn api_key_rate(key: ApiKeyId) -> Self {
        Self(format!("aos:rate:key:{key}"))
    }

    /// The requests without a valid credential from one network.
    pub fn address_rate(network: &str) -> Self {
        Self(format!("aos:rate:address:{network}"))
    }

    /// From when on (seconds since 1970) an API key is refused, for isolates that still remember it.
    pub fn revoked_api_key(key: ApiKeyId) -> Self {
        Self(format!("aos:revoked:key:{key}"))
    }

    /// How many strangers were refused for one reason in one minute (minutes since 1970).
    pub fn refused_strangers(code: &str, minute: i64) -> Self {
        Self(format!("aos:refused:{code}:{minute}"))
    }

    /// The channel that says which events of a run exist.
    pub fn run_channel(run: RunId) -> Self {
        Self(format!("aos:run:{run}"))
    }

    /// The copy of an issuer's public keys that isolates share.
    pub fn jwks(issuer: &str) -> Self {
        Self(format!("aos:jwks:{issuer}"))
    }

    /// The entry that says that a session of Clerk's was revoked; kept until its tokens have expired.
    pub fn revoked_session(session_id: &str) -> Self {
        Self(format!("aos:revoked:session:{session_id}"))
    }

    /// The breaker of a provider for one tenant's calls, or (`None`) for all that are made with the installation's key.
    pub fn breaker(provider: Provider, tenant: Option<TenantId>) -> Self {
        Self(format!("aos:breaker:{provider}:{}", gate(tenant)))
    }

    /// The calls of a provider that are under way, of the same.
    pub fn provider_lanes(provider: Provider, tenant: Option<TenantId>) -> Self {
        Self(format!("aos:lanes:{provider}:{}", gate(tenant)))
    }

    /// The name as Redis knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn gate(tenant: Option<TenantId>) -> String {
    tenant.map_or_else(|| "installation".to_owned(), |tenant| tenant.to_string())
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Key> for Value {
    fn from(key: Key) -> Self {
        Self::String(key.0)
    }
}

impl From<&Key> for Value {
    fn from(key: &Key) -> Self {
        Self::String(key.0.clone())
    }
}

/// One command: its name and its arguments. Redis knows only strings; numbers go as their decimal digits.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Command(Vec<Value>);

impl Command {
    /// A command that has no constructor of its own.
    pub fn new(name: &'static str) -> Self {
        Self(vec![Value::from(name)])
    }

    /// The next argument: a [`Key`], a text or a whole number.
    #[must_use]
    pub fn arg(mut self, value: impl Into<Value>) -> Self {
        self.0.push(value.into());
        self
    }

    /// `GET`: the value, or null.
    pub fn get(key: &Key) -> Self {
        Self::new("GET").arg(key)
    }

    /// `SET … PX`: `"OK"`. The time to live is in milliseconds to Redis and at least one.
    pub fn set_ex(key: &Key, value: &str, ttl: Duration) -> Self {
        let milliseconds = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        Self::new("SET").arg(key).arg(value).arg("PX").arg(milliseconds)
    }

    /// `DEL`: how many of the keys existed.
    pub fn del(key: &Key) -> Self {
        Self::new("DEL").arg(key)
    }

    /// `INCRBY`: the value after it. Counts twice when it is repeated.
    pub fn incr_by(key: &Key, by: i64) -> Self {
        Self::new("INCRBY").arg(key).arg(by)
    }

    /// `EVAL`: what the script returns. A script is atomic.
    pub fn eval(script: &'static str, keys: &[Key], args: impl IntoIterator<Item = Value>) -> Self {
        let mut command = Self::new("EVAL").arg(script).arg(keys.len());
        command.0.extend(keys.iter().map(Value::from));
        command.0.extend(args);
        command
    }

    /// `PUBLISH`: how many subscribers received the message.
    pub fn publish(channel: &Key, message: &str) -> Self {
        Self::new("PUBLISH").arg(channel).arg(message)
    }

    /// The command's name, for logs: arguments may be anybody's data.
    pub(super) fn name(&self) -> &str {
        self.0.first().and_then(Value::as_str).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_are_arrays_of_their_words() {
        let tenant: TenantId = "ten_018f0000000070008000000000000001".parse().unwrap();
        let key = Key::tenant_kv(tenant, "a:b");
        assert_eq!(key.as_str(), "aos:kv:ten_018f0000000070008000000000000001:a:b");
        let words = |command: Command| serde_json::to_value(command).unwrap();
        assert_eq!(
            words(Command::set_ex(&key, "1", Duration::from_micros(5))),
            json!(["SET", key.as_str(), "1", "PX", 1])
        );
        assert_eq!(
            words(Command::eval(
                "return 1",
                std::slice::from_ref(&key),
                [json!("x"), json!(2)]
            )),
            json!(["EVAL", "return 1", 1, key.as_str(), "x", 2])
        );
        assert_eq!(
            words(Command::new("EXPIRE").arg(&key).arg(60)),
            json!(["EXPIRE", key.as_str(), 60])
        );
    }
}
