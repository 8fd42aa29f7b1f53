//! Scripts that carry `#!lua flags=allow-key-locking`, a flag of Upstash's own that Redis and Valkey refuse; the
//! vendor's rate limiter sets it. The flag is taken out, and the digest that the client knows stands for the rest.
//! Must never change a script beyond its first line. What Upstash does with the flag is not imitated: there, a script
//! that touches a key which is not among its KEYS fails.
//! Source: "Key-Based Locking" in Upstash's documentation.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use redis::{Script, Value};

use super::commands::Command;

const FLAG: &str = "allow-key-locking";
/// Digests that are remembered. With one more all are forgotten: a client that is answered NOSCRIPT sends the text.
const DIGESTS: usize = 10_000;

/// The digests of scripts that went to Redis without the flag.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    /// From the text's digest as the client has it to that of the text Redis has.
    digests: Mutex<HashMap<String, String>>,
}

impl Scripts {
    /// The command that Redis is to have in place of this one.
    pub(super) fn to_redis(&self, mut command: Command) -> Command {
        match (command.name().as_str(), command.subcommand().as_deref()) {
            ("EVAL" | "EVAL_RO", _) => self.take_flag(&mut command, 1),
            ("SCRIPT", Some("LOAD")) => self.take_flag(&mut command, 2),
            ("EVALSHA" | "EVALSHA_RO", _) => command.replace(1, |digest| self.digest_in_redis(digest)),
            ("SCRIPT", Some("EXISTS")) => {
                for place in 2..command.parts().len() {
                    command.replace(place, |digest| self.digest_in_redis(digest));
                }
            }
            _ => {}
        }
        command
    }

    /// The reply that the client is to have: `SCRIPT LOAD` answers the digest of the text it was sent.
    pub(super) fn from_redis(sent: &Command, reply: Value) -> Value {
        let loaded = sent.name() == "SCRIPT" && sent.subcommand().as_deref() == Some("LOAD");
        match (&reply, sent.parts().get(2)) {
            (Value::BulkString(_), Some(text)) if loaded && without_flag(text).is_some() => {
                Value::BulkString(digest(&String::from_utf8_lossy(text)).into_bytes())
            }
            _ => reply,
        }
    }

    fn take_flag(&self, command: &mut Command, place: usize) {
        command.replace(place, |text| {
            let rest = without_flag(text)?;
            let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
            if digests.len() >= DIGESTS {
                digests.clear();
            }
            digests.insert(digest(&String::from_utf8_lossy(text)), digest(&rest));
            Some(rest.into_bytes())
        });
    }

    fn digest_in_redis(&self, digest: &[u8]) -> Option<Vec<u8>> {
        let digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        digests
            .get(&String::from_utf8_lossy(digest).to_lowercase())
            .map(|digest| digest.clone().into_bytes())
    }
}

fn digest(text: &str) -> String {
    Script::new(text).get_hash().to_owned()
}

/// The script without the flag; `None` if it has none.
fn without_flag(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let (shebang, body) = text.split_once('\n')?;
    let mut words = shebang.split_whitespace();
    if words.next() != Some("#!lua") {
        return None;
    }
    let mut kept = vec!["#!lua".to_owned()];
    let mut found = false;
    for word in words {
        let Some(flags) = word.strip_prefix("flags=") else {
            kept.push(word.to_owned());
            continue;
        };
        let others: Vec<_> = flags.split(',').filter(|flag| *flag != FLAG).collect();
        found |= flags.split(',').any(|flag| flag == FLAG);
        if !others.is_empty() {
            kept.push(format!("flags={}", others.join(",")));
        }
    }
    found.then(|| format!("{}\n{body}", kept.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Option<String> {
        without_flag(text.as_bytes())
    }

    #[test]
    fn only_the_vendors_flag_is_taken_out() {
        assert_eq!(
            script("#!lua flags=allow-key-locking\nreturn 1").unwrap(),
            "#!lua\nreturn 1"
        );
        assert_eq!(
            script("#!lua flags=no-writes,allow-key-locking\nx").unwrap(),
            "#!lua flags=no-writes\nx"
        );
        assert_eq!(script("#!lua flags=no-writes\nreturn 1"), None);
        assert_eq!(script("return 'flags=allow-key-locking'\n"), None);
        assert_eq!(script("return 1"), None);
    }

    #[test]
    fn the_clients_digest_stands_for_the_script_that_redis_has() {
        let command = |parts: &[&str]| Command::from_json(&serde_json::to_string(parts).unwrap()).unwrap();
        let (theirs, ours) = ("#!lua flags=allow-key-locking\nreturn 1", "#!lua\nreturn 1");
        let scripts = Scripts::default();
        let by_digest = command(&["EVALSHA", &digest(theirs).to_uppercase(), "0"]);
        assert_eq!(scripts.to_redis(by_digest.clone()), by_digest, "not known yet");
        let load = command(&["script", "load", theirs]);
        assert_eq!(scripts.to_redis(load.clone()), command(&["script", "load", ours]));
        let reply = Scripts::from_redis(&load, Value::BulkString(digest(ours).into_bytes()));
        assert_eq!(reply, Value::BulkString(digest(theirs).into_bytes()));
        assert_eq!(scripts.to_redis(by_digest), command(&["EVALSHA", &digest(ours), "0"]));
        let exists = command(&["SCRIPT", "EXISTS", "other", &digest(theirs)]);
        assert_eq!(
            scripts.to_redis(exists),
            command(&["SCRIPT", "EXISTS", "other", &digest(ours)])
        );
    }
}
