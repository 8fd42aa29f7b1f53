//! The mails that were really sent, and the idempotency keys that keep a repeated request from sending again.
//! Must never send twice under one key.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::fault::Fault;
use super::mail::Mail;

/// How long a key is remembered, as with the vendor.
const KEY_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Mails that are kept, the latest; the count still has the older ones.
const MAILS: usize = 2_000;
/// Recipients that are counted, and keys that are remembered.
const COUNTED: usize = 20_000;

/// One mail that was sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sent {
    pub id: String,
    pub idempotency_key: Option<String>,
    /// In milliseconds of the Unix epoch.
    pub at_ms: u64,
    #[serde(flatten)]
    pub mail: Mail,
}

/// All that was sent since it was last told to forget.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SentMails {
    pub count: u64,
    /// How many mails each address got, in lower case.
    pub by_recipient: BTreeMap<String, u64>,
    /// How many mails were sent under each idempotency key.
    pub by_key: BTreeMap<String, u64>,
    /// The latest, oldest first.
    pub mails: VecDeque<Sent>,
}

#[derive(Debug)]
enum State {
    InFlight,
    Answered(Value),
}

#[derive(Debug)]
struct Entry {
    request: [u8; 32],
    since: Instant,
    state: State,
}

/// What is to be done with a request that has a key.
#[derive(Debug, PartialEq)]
pub(super) enum Claim {
    /// It is the first: send, then [`Outbox::settle`].
    Send,
    /// It was answered so before.
    Repeat(Value),
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    sent: SentMails,
    keys: HashMap<String, Entry>,
}

impl Outbox {
    pub(super) fn sent(&self) -> &SentMails {
        &self.sent
    }

    pub(super) fn find(&self, id: &str) -> Option<&Sent> {
        self.sent.mails.iter().find(|sent| sent.id == id)
    }

    pub(super) fn forget(&mut self) {
        self.sent = SentMails::default();
    }

    /// As if all keys were a day old.
    pub(super) fn expire_keys(&mut self) {
        self.keys.clear();
    }

    /// Takes a key for a request to `path` with this body.
    pub(super) fn claim(&mut self, key: &str, path: &str, body: &Value) -> Result<Claim, Fault> {
        // Written anew, so that what is the same to a reader of JSON is the same here.
        let request = Sha256::digest(format!("{path}\n{body}")).into();
        if let Some(entry) = self.keys.get(key).filter(|entry| entry.since.elapsed() < KEY_LIFETIME) {
            return match &entry.state {
                _ if entry.request != request => Err(Fault::documented("invalid_idempotent_request")),
                State::InFlight => Err(Fault::documented("concurrent_idempotent_requests")),
                State::Answered(answer) => Ok(Claim::Repeat(answer.clone())),
            };
        }
        if self.keys.len() >= COUNTED {
            self.keys.retain(|_, entry| matches!(entry.state, State::InFlight));
        }
        let entry = Entry {
            request,
            since: Instant::now(),
            state: State::InFlight,
        };
        self.keys.insert(key.to_owned(), entry);
        Ok(Claim::Send)
    }

    /// Gives a key its answer, or frees it again if nothing was sent.
    pub(super) fn settle(&mut self, key: &str, answer: Option<&Value>) {
        match answer {
            Some(answer) => {
                if let Some(entry) = self.keys.get_mut(key) {
                    entry.state = State::Answered(answer.clone());
                }
            }
            None => {
                self.keys.remove(key);
            }
        }
    }

    /// Sends, and returns the mail's id.
    pub(super) fn send(&mut self, mail: Mail, key: Option<&str>) -> String {
        let id = uuid::Uuid::now_v7().to_string();
        let count = |counts: &mut BTreeMap<String, u64>, name: String| {
            if counts.len() < COUNTED || counts.contains_key(&name) {
                *counts.entry(name).or_default() += 1;
            }
        };
        self.sent.count += 1;
        for recipient in mail.recipients() {
            count(&mut self.sent.by_recipient, recipient);
        }
        if let Some(key) = key {
            count(&mut self.sent.by_key, key.to_owned());
        }
        if self.sent.mails.len() == MAILS {
            self.sent.mails.pop_front();
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.sent.mails.push_back(Sent {
            id: id.clone(),
            idempotency_key: key.map(str::to_owned),
            at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            mail,
        });
        id
    }
}

impl Sent {
    /// As `GET /emails/{id}` shows it.
    pub(super) fn json(&self) -> Value {
        let list = |addresses: &[String]| {
            if addresses.is_empty() {
                Value::Null
            } else {
                json!(addresses)
            }
        };
        let mail = &self.mail;
        json!({
            "object": "email",
            "id": self.id,
            "message_id": format!("<{}@example.com>", self.id),
            "from": mail.from,
            "to": mail.to,
            "cc": list(&mail.cc),
            "bcc": list(&mail.bcc),
            "reply_to": list(&mail.reply_to),
            "subject": mail.subject,
            "html": mail.html,
            "text": mail.text,
            "tags": mail.tags,
            "created_at": jiff::Timestamp::from_millisecond(i64::try_from(self.at_ms).unwrap_or(i64::MAX))
                .unwrap_or(jiff::Timestamp::MAX)
                .to_string(),
            "scheduled_at": mail.scheduled_at,
            "last_event": if mail.scheduled_at.is_some() { "scheduled" } else { "delivered" },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_the_same_for_the_same_request_only() {
        let mut outbox = Outbox::default();
        let (one, other) = (json!({ "a": 1, "b": 2 }), json!({ "a": 2 }));
        let name = |result: Result<Claim, Fault>| result.unwrap_err().name;
        assert_eq!(outbox.claim("k", "/emails", &one), Ok(Claim::Send));
        assert_eq!(
            name(outbox.claim("k", "/emails", &one)),
            "concurrent_idempotent_requests"
        );
        outbox.settle("k", Some(&json!({ "id": "1" })));
        assert_eq!(
            outbox.claim("k", "/emails", &one),
            Ok(Claim::Repeat(json!({ "id": "1" })))
        );
        assert_eq!(name(outbox.claim("k", "/emails", &other)), "invalid_idempotent_request");
        assert_eq!(
            name(outbox.claim("k", "/emails/batch", &one)),
            "invalid_idempotent_request"
        );
        outbox.expire_keys();
        assert_eq!(outbox.claim("k", "/emails", &other), Ok(Claim::Send));
        outbox.settle("k", None);
        assert_eq!(outbox.claim("k", "/emails", &one), Ok(Claim::Send));
    }
}
