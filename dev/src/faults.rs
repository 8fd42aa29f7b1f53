//! Faults that a gateway or stand-in can be told to commit: a status, a delay, a dropped connection, half a body.
//! Rules are shared by everything that [`crate::serve`] serves; a request may also carry its own in a header.
//! Must never act unasked: without a rule or header, requests pass untouched.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

/// The header that gives one request a fault of its own: a JSON [`Action`].
pub const FAULT_HEADER: &str = "x-aos-fault";

/// What goes wrong. As JSON: `"drop_after"`, `{"delay":{"ms":200}}`, `{"status":{"code":503,"body":"busy"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Answers with this status, without doing the work. A body that is JSON is sent as JSON, else as text.
    Status {
        code: u16,
        #[serde(default)]
        body: String,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
    },
    /// Waits before the work, then goes on; another rule may act on the same request.
    Delay { ms: u64 },
    /// Does the work, then waits before it answers.
    DelayAfter { ms: u64 },
    /// Closes the TCP connection before any work is done.
    DropBefore,
    /// Does the work (and commits it), then closes the TCP connection without an answer.
    DropAfter,
    /// Does the work, sends the headers and half of the body, then closes the TCP connection.
    HalfBody,
}

/// When an [`Action`] happens. With neither `times` nor `for_ms` it happens until the rules are cleared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What the request must contain in its body, its path and query, or a header (`name: value`); `None` fits all.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<String>,
    /// How many fitting requests pass before the first fault.
    #[serde(default)]
    pub skip: u64,
    /// How many requests are hit at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// How long the rule lives from when it was added, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    pub action: Action,
}

impl Rule {
    /// A rule that hits every request until it is cleared; narrow it with the methods below.
    pub fn new(action: Action) -> Self {
        Self {
            matching: None,
            skip: 0,
            times: None,
            for_ms: None,
            action,
        }
    }

    #[must_use]
    pub fn matching(mut self, text: impl Into<String>) -> Self {
        self.matching = Some(text.into());
        self
    }

    #[must_use]
    pub fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    #[must_use]
    pub fn times(mut self, requests: u64) -> Self {
        self.times = Some(requests);
        self
    }

    #[must_use]
    pub fn lasting(mut self, time: Duration) -> Self {
        self.for_ms = Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self
    }
}

/// A rule and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct RuleState {
    #[serde(flatten)]
    pub rule: Rule,
    /// Requests that fitted, the skipped ones included.
    pub fitted: u64,
    /// Requests that were hit.
    pub hits: u64,
    #[serde(skip)]
    until: Option<Instant>,
}

impl RuleState {
    /// Counts a fitting request and says whether it is to be hit.
    fn strike(&mut self, now: Instant) -> bool {
        if self.until.is_some_and(|until| now >= until) || self.rule.times.is_some_and(|times| self.hits >= times) {
            return false;
        }
        self.fitted += 1;
        if self.fitted <= self.rule.skip {
            return false;
        }
        self.hits += 1;
        true
    }
}

/// What [`Faults`] looks at to decide: the parts of a request that a rule may match.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    pub path_and_query: &'a str,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

impl Sight<'_> {
    /// Whether the text is anywhere in it.
    pub fn contains(&self, text: &str) -> bool {
        self.path_and_query.contains(text)
            || String::from_utf8_lossy(self.body).contains(text)
            || self
                .headers
                .iter()
                .any(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())).contains(text))
    }
}

/// What is to happen to one request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The time to wait before anything else.
    pub delay: Duration,
    /// What happens then, if anything; never [`Action::Delay`].
    pub action: Option<Action>,
}

/// The rules of one server. A clone is a handle on the same rules.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    rules: Arc<Mutex<Vec<RuleState>>>,
}

impl Faults {
    pub fn add(&self, rule: Rule) {
        let until = rule
            .for_ms
            .and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
        self.lock().push(RuleState {
            rule,
            fitted: 0,
            hits: 0,
            until,
        });
    }

    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The rules in the order they were added, spent ones included.
    pub fn rules(&self) -> Vec<RuleState> {
        self.lock().clone()
    }

    /// Whether a rule must see the body: only then need it be read before the request is handled.
    pub fn looks_inside(&self) -> bool {
        self.lock().iter().any(|state| state.rule.matching.is_some())
    }

    /// Decides about a request and uses up the rules that hit it. Delays add up; the first other action wins.
    /// The request's own header comes before the rules.
    ///
    /// # Errors
    /// The header is not a JSON [`Action`].
    pub fn judge(&self, request: Sight<'_>) -> Result<Verdict, String> {
        let mut verdict = Verdict::default();
        if let Some(value) = request.headers.get(FAULT_HEADER) {
            let action =
                serde_json::from_slice(value.as_bytes()).map_err(|error| format!("header {FAULT_HEADER}: {error}"))?;
            verdict.take(action);
        }
        let now = Instant::now();
        for state in self.lock().iter_mut() {
            if verdict.action.is_some() {
                break;
            }
            let fits = state.rule.matching.as_deref().is_none_or(|text| request.contains(text));
            if fits && state.strike(now) {
                verdict.take(state.rule.action.clone());
            }
        }
        Ok(verdict)
    }

    /// `GET`, `POST` (a rule or a list of rules) and `DELETE /_control/faults`.
    pub fn routes(&self) -> Router {
        Router::new()
            .route(
                "/_control/faults",
                get(|State(faults): State<Self>| async move { Json(faults.rules()) })
                    .post(add)
                    .delete(|State(faults): State<Self>| async move {
                        faults.clear();
                        StatusCode::NO_CONTENT
                    }),
            )
            .with_state(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<RuleState>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verdict {
    fn take(&mut self, action: Action) {
        match action {
            Action::Delay { ms } => self.delay = self.delay.saturating_add(Duration::from_millis(ms)),
            other => self.action = Some(other),
        }
    }
}

async fn add(State(faults): State<Faults>, body: bytes::Bytes) -> Response {
    // Told apart by the first byte, not by an untagged enum, so that the error names the field that is wrong.
    let rules = if body.trim_ascii_start().first() == Some(&b'[') {
        serde_json::from_slice::<Vec<Rule>>(&body)
    } else {
        serde_json::from_slice::<Rule>(&body).map(|rule| vec![rule])
    };
    match rules {
        Ok(rules) => {
            rules.into_iter().for_each(|rule| faults.add(rule));
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("not a fault rule: {error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight<'a>(headers: &'a HeaderMap, body: &'a str) -> Sight<'a> {
        Sight {
            path_and_query: "/sql",
            headers,
            body: body.as_bytes(),
        }
    }

    #[test]
    fn a_rule_skips_then_hits_then_is_spent() {
        let faults = Faults::default();
        faults.add(Rule::new(Action::DropAfter).matching("claim").skip(1).times(2));
        let headers = HeaderMap::new();
        let mut hits = Vec::new();
        for body in ["claim", "other", "claim", "claim", "claim"] {
            hits.push(faults.judge(sight(&headers, body)).unwrap().action.is_some());
        }
        assert_eq!(hits, [false, false, true, true, false]);
        assert_eq!(faults.rules()[0].hits, 2);
    }

    #[test]
    fn delays_add_up_and_the_first_other_action_wins() {
        let faults = Faults::default();
        faults.add(Rule::new(Action::Delay { ms: 20 }));
        faults.add(Rule::new(Action::HalfBody));
        faults.add(Rule::new(Action::DropBefore));
        let mut headers = HeaderMap::new();
        headers.insert(FAULT_HEADER, r#"{"delay":{"ms":5}}"#.parse().unwrap());
        let verdict = faults.judge(sight(&headers, "")).unwrap();
        assert_eq!(
            verdict,
            Verdict {
                delay: Duration::from_millis(25),
                action: Some(Action::HalfBody)
            }
        );
        assert_eq!(faults.rules()[2].hits, 0);
    }

    #[test]
    fn a_rule_ends_with_its_time() {
        let faults = Faults::default();
        faults.add(Rule::new(Action::DropBefore).lasting(Duration::ZERO));
        assert_eq!(faults.judge(sight(&HeaderMap::new(), "")).unwrap(), Verdict::default());
    }

    #[test]
    fn a_header_that_is_no_action_is_an_error() {
        let mut headers = HeaderMap::new();
        headers.insert(FAULT_HEADER, "explode".parse().unwrap());
        assert!(Faults::default().judge(sight(&headers, "")).is_err());
    }

    #[test]
    fn rules_are_read_from_json() {
        let rule: Rule =
            serde_json::from_str(r#"{"match":"x","times":1,"action":{"status":{"code":503,"body":"{}"}}}"#).unwrap();
        assert_eq!(rule.matching.as_deref(), Some("x"));
        assert!(serde_json::from_str::<Rule>(r#"{"action":"drop_after","time":1}"#).is_err());
    }
}
