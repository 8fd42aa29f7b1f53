//! A Redis command as a request carries it, and which commands Upstash's REST API takes.
//! Must never let a command through that changes the state of a shared connection, blocks it, or runs the server itself.

use serde_json::value::RawValue;

/// Refused in the words Upstash has for commands that need a connection of their own.
/// Source: "REST - Redis API Compatibility" in Upstash's REST documentation.
const NEEDS_A_CONNECTION: &str = "
    AUTH CLIENT HELLO MONITOR QUIT RESET SELECT MULTI EXEC DISCARD WATCH UNWATCH SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE
    PUNSUBSCRIBE SSUBSCRIBE SUNSUBSCRIBE BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN
";

/// What Upstash lists as supported, without the module-like commands of its own (`SEARCH.*`, `VECTOR.*`, `AR*`) and
/// without `ACL`, which manages users that this gateway does not have. `JSON.*` passes too.
/// Source: "Redis API Compatibility" in Upstash's documentation and the commands of @upstash/redis 1.39.
const SUPPORTED: &str = "
    APPEND DECR DECRBY GET GETDEL GETEX GETRANGE GETSET INCR INCRBY INCRBYFLOAT MGET MSET MSETNX PSETEX SET SETEX
    SETNX SETRANGE STRLEN BITCOUNT BITFIELD BITFIELD_RO BITOP BITPOS GETBIT SETBIT
    HDEL HEXISTS HEXPIRE HEXPIREAT HEXPIRETIME HGET HGETALL HGETDEL HGETEX HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET
    HMSET HPERSIST HPEXPIRE HPEXPIREAT HPEXPIRETIME HPTTL HRANDFIELD HSCAN HSET HSETEX HSETNX HSTRLEN HTTL HVALS
    LINDEX LINSERT LLEN LMOVE LMPOP LPOP LPOS LPUSH LPUSHX LRANGE LREM LSET LTRIM RPOP RPOPLPUSH RPUSH RPUSHX
    SADD SCARD SDIFF SDIFFSTORE SINTER SINTERCARD SINTERSTORE SISMEMBER SMEMBERS SMISMEMBER SMOVE SPOP SRANDMEMBER
    SREM SSCAN SUNION SUNIONSTORE
    ZADD ZCARD ZCOUNT ZDIFF ZDIFFSTORE ZINCRBY ZINTER ZINTERSTORE ZLEXCOUNT ZMSCORE ZPOPMAX ZPOPMIN ZRANDMEMBER
    ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANGESTORE ZRANK ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE
    ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION ZUNIONSTORE
    GEOADD GEODIST GEOHASH GEOPOS GEORADIUS GEORADIUS_RO GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO GEOSEARCH
    GEOSEARCHSTORE PFADD PFCOUNT PFMERGE
    EVAL EVAL_RO EVALSHA EVALSHA_RO FCALL FCALL_RO FUNCTION SCRIPT
    COPY DEL EXISTS EXPIRE EXPIREAT EXPIRETIME KEYS PERSIST PEXPIRE PEXPIREAT PEXPIRETIME PTTL RANDOMKEY RENAME
    RENAMENX SCAN TOUCH TTL TYPE UNLINK
    XACK XACKDEL XADD XAUTOCLAIM XCLAIM XDEL XDELEX XGROUP XINFO XLEN XPENDING XRANGE XREAD XREADGROUP XREVRANGE
    XTRIM
    PUBLISH PUBSUB ECHO PING DBSIZE FLUSHALL FLUSHDB INFO TIME
";

/// The subcommands that are served where not all are.
/// Source: "Redis API Compatibility" in Upstash's documentation; `FUNCTION` by @upstash/redis 1.39.
const SUBCOMMANDS: &[(&str, &str)] = &[
    ("SCRIPT", "EXISTS LOAD FLUSH"),
    ("FUNCTION", "LOAD LIST DELETE FLUSH STATS"),
];

/// A command and its arguments, at least the command's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    parts: Vec<Vec<u8>>,
}

impl Command {
    /// Reads `["SET", "k", 1, true]`: numbers and booleans become their JSON text.
    ///
    /// # Errors
    /// What Upstash answers: the JSON is no flat array of strings, numbers and booleans, or it is empty.
    pub(super) fn from_json(json: &str) -> Result<Self, String> {
        let values: Vec<&RawValue> =
            serde_json::from_str(json).map_err(|_| "ERR failed to parse command".to_owned())?;
        if values.is_empty() {
            return Err("ERR empty command".to_owned());
        }
        let parts = values
            .into_iter()
            .map(|value| argument(value.get()))
            .collect::<Result<_, _>>()?;
        Ok(Self { parts })
    }

    /// From a path's segments; `None` if there are none.
    pub(super) fn from_parts(parts: Vec<Vec<u8>>) -> Option<Self> {
        if parts.is_empty() { None } else { Some(Self { parts }) }
    }

    /// The command's name in upper case.
    pub(super) fn name(&self) -> String {
        self.parts.first().map(|name| upper(name)).unwrap_or_default()
    }

    /// The first argument in upper case.
    pub(super) fn subcommand(&self) -> Option<String> {
        self.parts.get(1).map(|part| upper(part))
    }

    /// Puts something else in the place of an argument, if there is one and `change` has something.
    pub(super) fn replace(&mut self, place: usize, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) {
        if let Some(part) = self.parts.get_mut(place)
            && let Some(changed) = change(part)
        {
            *part = changed;
        }
    }

    /// The name and the arguments, as the client sent them.
    pub(super) fn parts(&self) -> &[Vec<u8>] {
        &self.parts
    }

    /// Why Upstash would not run this command, in its words; `None` if it would.
    pub(super) fn refusal(&self) -> Option<String> {
        let name = self.name();
        if listed(NEEDS_A_CONNECTION, &name) {
            return Some(format!(
                "ERR Command \"{name}\" is not allowed in REST or it has a special context path"
            ));
        }
        if !listed(SUPPORTED, &name) && !name.starts_with("JSON.") {
            return Some(not_available(&name));
        }
        if let (Some((_, served)), Some(subcommand)) =
            (SUBCOMMANDS.iter().find(|(of, _)| *of == name), self.subcommand())
            && !listed(served, &subcommand)
        {
            return Some(not_available(&format!("{name} {subcommand}")));
        }
        if matches!(name.as_str(), "XREAD" | "XREADGROUP") && self.blocks() {
            return Some(not_available(&format!("{name} BLOCK")));
        }
        None
    }

    /// Whether a stream is to be waited for: the options end where the keys begin.
    fn blocks(&self) -> bool {
        self.parts
            .iter()
            .map(|part| upper(part))
            .take_while(|part| part != "STREAMS")
            .any(|part| part == "BLOCK")
    }
}

/// Whether a name is one of the words of a list.
fn listed(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|word| word == name)
}

fn upper(part: &[u8]) -> String {
    String::from_utf8_lossy(part).to_uppercase()
}

fn not_available(what: &str) -> String {
    format!(
        "ERR Command is not available: '{what}'. See https://upstash.com/docs/redis/overall/rediscompatibility for details"
    )
}

/// One JSON value as an argument. Numbers keep the digits they were sent with, however many.
fn argument(json: &str) -> Result<Vec<u8>, String> {
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(json)
            .map(String::into_bytes)
            .map_err(|_| "ERR failed to parse command".to_owned()),
        Some(b'n') => Err("ERR null args are not supported".to_owned()),
        Some(b'[') => Err("ERR unsupported arg type: \"[\": json.Delim".to_owned()),
        Some(b'{') => Err("ERR unsupported arg type: \"{\": json.Delim".to_owned()),
        _ => Ok(json.as_bytes().to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_booleans_are_sent_as_their_text() {
        let command = Command::from_json(r#"["set", "k", 12345678901234567890, 1.50, true]"#).unwrap();
        assert_eq!(command.name(), "SET");
        let parts: Vec<_> = command
            .parts()
            .iter()
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect();
        assert_eq!(parts, ["set", "k", "12345678901234567890", "1.50", "true"]);
    }

    #[test]
    fn what_is_no_flat_array_is_refused() {
        for (json, error) in [
            ("[]", "ERR empty command"),
            ("{}", "ERR failed to parse command"),
            (r#"["GET", null]"#, "ERR null args are not supported"),
            (r#"[["GET", "k"]]"#, "ERR unsupported arg type: \"[\": json.Delim"),
            (
                r#"["SET", "k", {"a": 1}]"#,
                "ERR unsupported arg type: \"{\": json.Delim",
            ),
        ] {
            assert_eq!(Command::from_json(json).unwrap_err(), error, "{json}");
        }
    }

    #[test]
    fn connection_state_administration_and_waiting_are_refused() {
        for refused in [
            r#"["watch","k"]"#,
            r#"["SUBSCRIBE","c"]"#,
            r#"["BLPOP","k",0]"#,
            r#"["SHUTDOWN"]"#,
            r#"["CONFIG","GET","*"]"#,
            r#"["SCRIPT","KILL"]"#,
            r#"["XREAD","COUNT",1,"block",0,"STREAMS","s","$"]"#,
            r#"["NOSUCH"]"#,
        ] {
            assert!(Command::from_json(refused).unwrap().refusal().is_some(), "{refused}");
        }
        for served in [
            r#"["xread","STREAMS","block","0"]"#,
            r#"["script","load","return 1"]"#,
            r#"["JSON.GET","k"]"#,
        ] {
            assert_eq!(Command::from_json(served).unwrap().refusal(), None, "{served}");
        }
    }
}
