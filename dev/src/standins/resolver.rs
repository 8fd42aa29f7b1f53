//! A DNS resolver over HTTPS, without the S: `GET /dns-query?name=&type=`, answering in JSON (`application/dns-json`)
//! in the shape of Cloudflare's. Names are set by hand, also such that point elsewhere the second time (rebinding).
//! Must never ask the real DNS: a name that was not set does not exist.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const MEDIA_TYPE: &str = "application/dns-json";
/// Seconds that an answer may be kept for, if nothing else is said.
const TTL: u32 = 60;
/// Aliases that are followed before the resolver gives up, as resolvers do.
const LONGEST_CHAIN: usize = 8;
/// Names there can be, and pairs of name and type whose queries are counted apart.
const NAMES: usize = 10_000;

/// The types of records that there are here, by their numbers in DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Type {
    A,
    Cname,
    Aaaa,
    /// Known to DNS, and never set here.
    Other(u16),
}

impl Type {
    /// As a name (`AAAA`) or number (`28`).
    fn read(text: &str) -> Option<Self> {
        match text.to_ascii_uppercase().as_str() {
            "A" => Some(Self::A),
            "CNAME" => Some(Self::Cname),
            "AAAA" => Some(Self::Aaaa),
            "NS" => Some(Self::Other(2)),
            "MX" => Some(Self::Other(15)),
            "TXT" => Some(Self::Other(16)),
            "HTTPS" => Some(Self::Other(65)),
            number => number.parse().ok().filter(|number| *number != 0).map(Self::numbered),
        }
    }

    fn numbered(number: u16) -> Self {
        match number {
            1 => Self::A,
            5 => Self::Cname,
            28 => Self::Aaaa,
            other => Self::Other(other),
        }
    }

    fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Cname => 5,
            Self::Aaaa => 28,
            Self::Other(number) => number,
        }
    }
}

/// How a query ends, by DNS's RCODE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rcode {
    #[default]
    NoError,
    ServFail,
    NxDomain,
    Refused,
}

impl Rcode {
    fn number(self) -> u8 {
        match self {
            Self::NoError => 0,
            Self::ServFail => 2,
            Self::NxDomain => 3,
            Self::Refused => 5,
        }
    }
}

fn ttl() -> u32 {
    TTL
}

/// What a name says. Without addresses and alias it exists and has no data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Records {
    #[serde(default)]
    pub rcode: Rcode,
    #[serde(default)]
    pub a: Vec<Ipv4Addr>,
    #[serde(default)]
    pub aaaa: Vec<Ipv6Addr>,
    /// The name is an alias of this one, whose records are answered too.
    #[serde(default)]
    pub cname: Option<String>,
    /// In seconds.
    #[serde(default = "ttl")]
    pub ttl: u32,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            rcode: Rcode::NoError,
            a: Vec::new(),
            aaaa: Vec::new(),
            cname: None,
            ttl: TTL,
        }
    }
}

impl Records {
    /// Addresses of both families.
    pub fn addresses(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut records = Self::default();
        for address in addresses {
            match address {
                IpAddr::V4(address) => records.a.push(address),
                IpAddr::V6(address) => records.aaaa.push(address),
            }
        }
        records
    }

    /// An alias of another name.
    pub fn alias(target: impl Into<String>) -> Self {
        Self {
            cname: Some(target.into()),
            ..Self::default()
        }
    }

    /// A name that cannot be resolved, for this reason.
    pub fn failing(rcode: Rcode) -> Self {
        Self {
            rcode,
            ..Self::default()
        }
    }
}

/// One name, as `POST /dns/_names` takes it.
#[derive(Debug, Deserialize)]
struct NameOrder {
    name: String,
    /// One after the other for each query of a type; the last stays.
    answers: Vec<Records>,
}

#[derive(Debug, Default)]
struct Zone {
    names: BTreeMap<String, Vec<Records>>,
    /// By name and type.
    asked: BTreeMap<(String, Type), u64>,
    total: u64,
}

/// The resolver. A clone is a handle on the same names and counts.
#[derive(Debug, Clone)]
pub struct Resolver {
    url: String,
    zone: Arc<Mutex<Zone>>,
}

impl Resolver {
    /// A resolver that the server at `url` serves.
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: format!("{url}/dns-query"),
            zone: Arc::default(),
        }
    }

    /// Where to ask.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sets what a name says, in place of what it said, and counts its queries from the beginning.
    pub fn set(&self, name: &str, records: Records) {
        self.set_in_turn(name, vec![records]);
    }

    /// A name that says something else at each query of a type; what comes last stays. Nothing at all removes the name.
    pub fn set_in_turn(&self, name: &str, answers: Vec<Records>) {
        let name = plain(name);
        let mut zone = self.lock();
        zone.asked.retain(|(asked, _), _| *asked != name);
        if answers.is_empty() {
            zone.names.remove(&name);
        } else if zone.names.len() < NAMES || zone.names.contains_key(&name) {
            zone.names.insert(name, answers);
        }
    }

    /// Forgets all names and counts.
    pub fn clear(&self) {
        *self.lock() = Zone::default();
    }

    /// How many queries there were.
    pub fn queries(&self) -> u64 {
        self.lock().total
    }

    /// How many queries there were for this name, of any type. Aliases that were followed on the way do not count.
    pub fn queries_for(&self, name: &str) -> u64 {
        let name = plain(name);
        let zone = self.lock();
        let of_name = zone.asked.iter().filter(|((asked, _), _)| *asked == name);
        of_name.map(|(_, count)| count).sum()
    }

    pub(super) fn routes(&self) -> Router {
        Router::new()
            .route("/dns-query", get(query))
            .route("/dns/_names", get(read_names).post(set_names).delete(forget))
            .with_state(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names are compared in lower case, without the dot of the root.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl Zone {
    /// Counts the query, and answers it with the whole chain of aliases, as resolvers do.
    fn resolve(&mut self, name: &str, kind: Type) -> (Rcode, Vec<Value>) {
        self.total += 1;
        let mut answer = Vec::new();
        let mut name = plain(name);
        let turn = self.count(&name, kind);
        for _ in 0..LONGEST_CHAIN {
            // An alias's target is in the same turn as the name that was asked for.
            let Some(records) = self.names.get(&name).and_then(|all| all.get(turn).or(all.last())) else {
                return (Rcode::NxDomain, answer);
            };
            if records.rcode != Rcode::NoError {
                return (records.rcode, answer);
            }
            let mut put = |kind: Type, data: String| {
                answer.push(json!({ "name": name, "type": kind.number(), "TTL": records.ttl, "data": data }));
            };
            if let Some(target) = &records.cname {
                let target = plain(target);
                put(Type::Cname, format!("{target}."));
                if kind == Type::Cname {
                    return (Rcode::NoError, answer);
                }
                name = target;
                continue;
            }
            match kind {
                Type::A => records.a.iter().for_each(|address| put(kind, address.to_string())),
                Type::Aaaa => records.aaaa.iter().for_each(|address| put(kind, address.to_string())),
                Type::Cname | Type::Other(_) => {}
            }
            return (Rcode::NoError, answer);
        }
        (Rcode::ServFail, Vec::new())
    }

    /// How many queries of this type there were for this name before this one.
    fn count(&mut self, name: &str, kind: Type) -> usize {
        let key = (name.to_owned(), kind);
        if self.asked.len() >= NAMES && !self.asked.contains_key(&key) {
            self.asked.clear();
        }
        let asked = self.asked.entry(key).or_insert(0);
        let before = usize::try_from(*asked).unwrap_or(usize::MAX);
        *asked += 1;
        before
    }
}

#[derive(Debug, Deserialize)]
struct Question {
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    /// The other way to ask for JSON.
    ct: Option<String>,
}

async fn query(State(resolver): State<Resolver>, Query(question): Query<Question>, headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let wants_json = [accepts, question.ct.as_deref()]
        .into_iter()
        .flatten()
        .any(|text| text.contains(MEDIA_TYPE));
    let refused = |reason: &str| (StatusCode::BAD_REQUEST, reason.to_owned()).into_response();
    if !wants_json {
        return refused("only application/dns-json is answered here");
    }
    let Some(name) = question.name.filter(|name| well_formed(name)) else {
        return refused("the name is missing or none of DNS");
    };
    let Some(kind) = Type::read(question.kind.as_deref().unwrap_or("A")) else {
        return refused("the type is none of DNS");
    };
    let (rcode, answer) = resolver.lock().resolve(&name, kind);
    let mut body = json!({
        "Status": rcode.number(),
        "TC": false, "RD": true, "RA": true, "AD": false, "CD": false,
        "Question": [{ "name": plain(&name), "type": kind.number() }],
    });
    if !answer.is_empty() {
        body["Answer"] = json!(answer);
    }
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], body.to_string()).into_response()
}

/// Whether a name fits into a question of DNS.
fn well_formed(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253 && name.is_ascii() && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

async fn read_names(State(resolver): State<Resolver>) -> Json<Value> {
    let zone = resolver.lock();
    let mut asked: BTreeMap<&str, u64> = BTreeMap::new();
    for ((name, _), count) in &zone.asked {
        *asked.entry(name).or_default() += count;
    }
    Json(json!({ "names": zone.names, "queries": zone.total, "asked": asked }))
}

async fn set_names(State(resolver): State<Resolver>, Json(order): Json<NameOrder>) -> StatusCode {
    resolver.set_in_turn(&order.name, order.answers);
    StatusCode::NO_CONTENT
}

async fn forget(State(resolver): State<Resolver>) -> StatusCode {
    resolver.clear();
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_of_aliases_ends_in_servfail() {
        let mut zone = Zone::default();
        zone.names.insert("a.test".to_owned(), vec![Records::alias("b.test")]);
        zone.names.insert("b.test".to_owned(), vec![Records::alias("A.test.")]);
        assert_eq!(zone.resolve("a.test", Type::A), (Rcode::ServFail, Vec::new()));
    }

    #[test]
    fn a_chain_that_leads_nowhere_shows_how_far_it_came() {
        let mut zone = Zone::default();
        zone.names
            .insert("a.test".to_owned(), vec![Records::alias("gone.test")]);
        let (rcode, answer) = zone.resolve("a.test", Type::A);
        assert_eq!((rcode, answer.len()), (Rcode::NxDomain, 1));
    }

    #[test]
    fn types_have_names_and_numbers() {
        assert_eq!(Type::read("aaaa"), Some(Type::Aaaa));
        assert_eq!(Type::read("1"), Some(Type::A));
        assert_eq!(Type::read("16"), Type::read("TXT"));
        assert_eq!(Type::read("0"), None);
        assert_eq!(Type::read("purple"), None);
    }
}
