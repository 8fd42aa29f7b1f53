//! DNS over HTTPS, in the JSON form that Cloudflare and Google share: which addresses a name has.
//! Must never take half an answer for a whole one: an address that was not seen is one that nobody has judged.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use futures::future::join;
use http::{HeaderValue, header};
use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use super::exchange::{Failure, exchange};
use crate::platform::Clock;

/// Who is asked, unless `DNS_OVER_HTTPS_URL` names another resolver.
pub const DEFAULT_URL: &str = "https://cloudflare-dns.com/dns-query";

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/dns-json");
/// How long one try may take: a call waits for it.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Tries per type of record.
const TRIES: u32 = 2;
/// The longest answer; one of a hundred addresses has about 10 KB.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The numbers that DNS has for what is read here.
const NO_ERROR: u16 = 0;
const NO_SUCH_NAME: u16 = 3;
const A: u16 = 1;
const AAAA: u16 = 28;

/// Why a name's addresses are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such name, or it has no address.
    #[error("the name has no address")]
    NoAddress,
    /// The resolver cannot be reached, or gives no answer that can be used; the same may succeed in a moment.
    #[error("the resolver gives no usable answer: {0}")]
    Unanswered(String),
}

/// What became of one look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookUp {
    /// Every address of the name, of both families; never none.
    pub addresses: Result<Vec<IpAddr>, Error>,
    /// Requests that it took.
    pub requests: u32,
}

/// A resolver that is asked over HTTPS.
#[derive(Clone)]
pub struct Resolver {
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    url: Url,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resolver at {}", self.url)
    }
}

/// An answer of DNS, as much of it as matters here.
#[derive(Deserialize)]
struct Message {
    #[serde(rename = "Status")]
    status: u16,
    /// The answer was cut off.
    #[serde(rename = "TC", default)]
    truncated: bool,
    #[serde(rename = "Answer", default)]
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "type")]
    kind: u16,
    data: String,
}

impl Resolver {
    /// The resolver at this address.
    pub fn new(http: reqwest::Client, clock: Arc<dyn Clock>, url: Url) -> Self {
        Self { http, clock, url }
    }

    /// All addresses of a name, within `time`. With one family unknown the other alone is no answer: whoever connects may
    /// use either.
    pub async fn look_up(&self, name: &str, time: Duration) -> LookUp {
        let ((v4, v4_requests), (v6, v6_requests)) =
            join(self.tried(name, "A", time), self.tried(name, "AAAA", time)).await;
        let addresses = match (v4, v6) {
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(v4), Ok(v6)) if v4.is_empty() && v6.is_empty() => Err(Error::NoAddress),
            (Ok(v4), Ok(v6)) => Ok([v4, v6].concat()),
        };
        LookUp {
            addresses,
            requests: v4_requests.saturating_add(v6_requests),
        }
    }

    /// The addresses of one family, and how many requests they took; none is an answer too.
    async fn tried(&self, name: &str, kind: &str, time: Duration) -> (Result<Vec<IpAddr>, Error>, u32) {
        let began = self.clock.now();
        let mut requests = 0_u32;
        loop {
            let timeout = time.saturating_sub(self.since(began)).min(TIMEOUT);
            requests = requests.saturating_add(1);
            match self.ask(name, kind, timeout).await {
                Err(_) if requests < TRIES && self.since(began) < time => {}
                result => return (result, requests),
            }
        }
    }

    async fn ask(&self, name: &str, kind: &str, timeout: Duration) -> Result<Vec<IpAddr>, Error> {
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("name", name)
            .append_pair("type", kind);
        let request = self.http.get(url).header(header::ACCEPT, MEDIA_TYPE);
        let answer = exchange(&*self.clock, request, timeout, MAX_ANSWER_BYTES)
            .await
            .map_err(|failure| {
                Error::Unanswered(match failure {
                    Failure::NotSent(reason) | Failure::Lost(reason) => reason,
                    Failure::Timeout => format!("nothing came within {} ms", timeout.as_millis()),
                    Failure::TooLong => "the answer is longer than it may be".to_owned(),
                })
            })?;
        if !answer.status.is_success() {
            return Err(Error::Unanswered(format!("it answers {}", answer.status)));
        }
        let message: Message = serde_json::from_slice(&answer.body)
            .map_err(|_| Error::Unanswered("the answer is not one of DNS in JSON".to_owned()))?;
        addresses(&message)
    }

    fn since(&self, began: Timestamp) -> Duration {
        Duration::try_from(self.clock.now().duration_since(began)).unwrap_or_default()
    }
}

/// The addresses in an answer. Aliases on the way to them stand beside them and say nothing more.
fn addresses(message: &Message) -> Result<Vec<IpAddr>, Error> {
    match message.status {
        NO_SUCH_NAME => return Ok(Vec::new()),
        NO_ERROR if message.truncated => return Err(Error::Unanswered("the answer is cut off".to_owned())),
        NO_ERROR => {}
        code => return Err(Error::Unanswered(format!("it answers with the code {code} of DNS"))),
    }
    let unreadable = || Error::Unanswered("the answer holds an address that is none".to_owned());
    message
        .records
        .iter()
        .filter_map(|record| match record.kind {
            A => Some(record.data.parse::<Ipv4Addr>().map(IpAddr::from)),
            AAAA => Some(record.data.parse::<Ipv6Addr>().map(IpAddr::from)),
            _ => None,
        })
        .map(|address| address.map_err(|_| unreadable()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<IpAddr>, Error> {
        addresses(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn the_whole_answer_counts_aliases_aside() {
        let answer = r#"{"Status":0,"TC":false,"RD":true,"Question":[{"name":"a.dev","type":1}],"Answer":[
            {"name":"a.dev","type":5,"TTL":60,"data":"b.dev."},
            {"name":"b.dev","type":1,"TTL":60,"data":"93.184.216.34"},
            {"name":"b.dev","type":28,"TTL":60,"data":"2606:4700::1111"},
            {"name":"b.dev","type":46,"TTL":60,"data":"A 13 2 300 …"},
            {"name":"b.dev","type":1,"TTL":60,"data":"10.0.0.1"}]}"#;
        let expected: Vec<IpAddr> = ["93.184.216.34", "2606:4700::1111", "10.0.0.1"]
            .map(|address| address.parse().unwrap())
            .to_vec();
        assert_eq!(read(answer), Ok(expected));
    }

    #[test]
    fn a_name_without_addresses_is_known_to_have_none_and_a_failure_is_not() {
        assert_eq!(read(r#"{"Status":0}"#), Ok(Vec::new()));
        assert_eq!(
            read(r#"{"Status":3,"Answer":[{"type":5,"data":"b."}]}"#),
            Ok(Vec::new())
        );
        for answer in [
            r#"{"Status":2}"#,
            r#"{"Status":5}"#,
            r#"{"Status":0,"TC":true,"Answer":[{"type":1,"data":"93.184.216.34"}]}"#,
            r#"{"Status":0,"Answer":[{"type":1,"data":"93.184.216.34"},{"type":1,"data":"2130706433"}]}"#,
            r#"{"Status":0,"Answer":[{"type":28,"data":"fe80::1%eth0"}]}"#,
        ] {
            assert!(matches!(read(answer), Err(Error::Unanswered(_))), "{answer}");
        }
    }
}
