//! What a stand-in is told to answer next, in place of what it would say by itself: steps, used up in their order.
//! As JSON: `{"error":"overloaded_error","times":2,"retry_after":"1"}`, `{"fault":"drop_after","match":"some text"}`,
//! `{"say":"…"}`, `{"garbage":true}`, `{"stream":{"after":3,"then":{"stall":{"ms":200}}}}`.
//! Must never touch a request that fits no step.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::faults::{Action, Sight};

/// What is to happen to the next requests that fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Step {
    /// What the request must contain in its body, its path and query, or a header (`name: value`); `None` fits all.
    pub matching: Option<String>,
    /// How many requests it is for.
    pub times: u64,
    /// Header `retry-after` of the answer.
    pub retry_after: Option<String>,
    pub answer: Answer,
}

/// How a request is answered. One of these to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// With one of the vendor's documented errors, by the vendor's name for it.
    Error(String),
    /// As every server here can be told to. A delay goes on to the next step.
    Fault(Action),
    /// As usual, but in these words: for stand-ins whose model says something.
    Say(String),
    /// With a 200 that is called JSON, and is neither JSON nor UTF-8.
    Garbage,
    /// As usual at first, and then not.
    Stream(Breach),
}

/// How an answer goes wrong after its head and some of its pieces; each event of a stream is one piece.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breach {
    /// Pieces that pass before.
    pub after: usize,
    pub then: Then,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Then {
    /// Says nothing for that long, then goes on.
    Stall { ms: u64 },
    /// Closes the TCP connection.
    Drop,
    /// Says one of the vendor's errors as an event of the stream, and ends.
    Error(String),
}

impl Step {
    pub fn new(answer: Answer) -> Self {
        Self {
            matching: None,
            times: 1,
            retry_after: None,
            answer,
        }
    }

    /// One of the vendor's documented errors.
    pub fn error(name: impl Into<String>) -> Self {
        Self::new(Answer::Error(name.into()))
    }

    pub fn fault(action: Action) -> Self {
        Self::new(Answer::Fault(action))
    }

    /// A status with any body.
    pub fn status(code: u16, body: impl Into<String>) -> Self {
        Self::fault(Action::Status {
            code,
            body: body.into(),
            headers: Default::default(),
        })
    }

    /// The usual answer, in these words.
    pub fn say(text: impl Into<String>) -> Self {
        Self::new(Answer::Say(text.into()))
    }

    pub fn garbage() -> Self {
        Self::new(Answer::Garbage)
    }

    /// The usual answer, whose stream goes wrong after some pieces.
    pub fn stream(after: usize, then: Then) -> Self {
        Self::new(Answer::Stream(Breach { after, then }))
    }

    #[must_use]
    pub fn matching(mut self, text: impl Into<String>) -> Self {
        self.matching = Some(text.into());
        self
    }

    #[must_use]
    pub fn times(mut self, requests: u64) -> Self {
        self.times = requests;
        self
    }

    #[must_use]
    pub fn retry_after(mut self, value: impl Into<String>) -> Self {
        self.retry_after = Some(value.into());
        self
    }

    /// The vendor's name of the error that it answers with, if it does.
    pub fn names_error(&self) -> Option<&str> {
        match &self.answer {
            Answer::Error(name)
            | Answer::Stream(Breach {
                then: Then::Error(name),
                ..
            }) => Some(name),
            _ => None,
        }
    }
}

/// A step as JSON: exactly one of `error`, `fault`, `say`, `garbage` and `stream`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    matching: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Action>,
    #[serde(skip_serializing_if = "Option::is_none")]
    say: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    garbage: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<Breach>,
}

impl TryFrom<Written> for Step {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let mut answers = [
            written.error.map(Answer::Error),
            written.fault.map(Answer::Fault),
            written.say.map(Answer::Say),
            written.garbage.then_some(Answer::Garbage),
            written.stream.map(Answer::Stream),
        ]
        .into_iter()
        .flatten();
        let (Some(answer), None) = (answers.next(), answers.next()) else {
            return Err("a step has exactly one of error, fault, say, garbage and stream");
        };
        Ok(Self {
            matching: written.matching,
            times: written.times.unwrap_or(1),
            retry_after: written.retry_after,
            answer,
        })
    }
}

impl From<Step> for Written {
    fn from(step: Step) -> Self {
        let mut written = Self {
            matching: step.matching,
            times: Some(step.times),
            retry_after: step.retry_after,
            ..Self::default()
        };
        match step.answer {
            Answer::Error(name) => written.error = Some(name),
            Answer::Fault(action) => written.fault = Some(action),
            Answer::Say(text) => written.say = Some(text),
            Answer::Garbage => written.garbage = true,
            Answer::Stream(breach) => written.stream = Some(breach),
        }
        written
    }
}

/// What a script makes of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    /// The time to wait before anything else.
    pub(super) delay: Duration,
    pub(super) retry_after: Option<String>,
    /// What happens then, if anything; never [`Action::Delay`].
    pub(super) answer: Option<Answer>,
}

/// The steps that are left of one stand-in. A clone is a handle on the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Script(Arc<Mutex<Vec<Step>>>);

impl Script {
    pub(super) fn add(&self, step: Step) {
        self.lock().push(step);
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// What is left, the next first.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.lock().clone()
    }

    /// Uses up what fits the request: delays add up, the first other answer wins.
    pub(super) fn turn(&self, request: Sight<'_>) -> Turn {
        let mut turn = Turn::default();
        let mut steps = self.lock();
        for step in steps.iter_mut() {
            let fits = step.matching.as_deref().is_none_or(|text| request.contains(text));
            if !fits || step.times == 0 {
                continue;
            }
            step.times -= 1;
            if step.retry_after.is_some() {
                turn.retry_after.clone_from(&step.retry_after);
            }
            if let Answer::Fault(Action::Delay { ms }) = step.answer {
                turn.delay = turn.delay.saturating_add(Duration::from_millis(ms));
            } else {
                turn.answer = Some(step.answer.clone());
                break;
            }
        }
        steps.retain(|step| step.times > 0);
        turn
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Step>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;

    fn turn(script: &Script, body: &str) -> Turn {
        script.turn(Sight {
            path_and_query: "/v1/messages",
            headers: &HeaderMap::new(),
            body: body.as_bytes(),
        })
    }

    #[test]
    fn steps_are_used_up_in_their_order_by_the_requests_that_fit() {
        let script = Script::default();
        script.add(
            Step::error("overloaded_error")
                .matching("plan")
                .times(2)
                .retry_after("1"),
        );
        script.add(Step::fault(Action::Delay { ms: 20 }));
        script.add(Step::garbage());
        assert_eq!(
            turn(&script, "a plan"),
            Turn {
                delay: Duration::ZERO,
                retry_after: Some("1".to_owned()),
                answer: Some(Answer::Error("overloaded_error".to_owned())),
            }
        );
        let other = turn(&script, "something");
        assert_eq!(
            (other.delay, other.answer),
            (Duration::from_millis(20), Some(Answer::Garbage))
        );
        assert_eq!(script.steps().len(), 1);
        assert!(turn(&script, "a plan").answer.is_some());
        assert_eq!(turn(&script, "a plan"), Turn::default());
    }

    #[test]
    fn a_step_is_read_from_json_and_written_back() {
        for text in [
            r#"{"match":"x","times":2,"retry_after":"1","error":"overloaded_error"}"#,
            r#"{"times":1,"fault":{"status":{"code":503,"body":"busy"}}}"#,
            r#"{"times":1,"say":"hello"}"#,
            r#"{"times":1,"garbage":true}"#,
            r#"{"times":1,"stream":{"after":3,"then":{"stall":{"ms":200}}}}"#,
            r#"{"times":1,"stream":{"after":0,"then":"drop"}}"#,
        ] {
            let step: Step = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&step).unwrap(), text);
        }
        for wrong in ["{}", r#"{"error":"a","garbage":true}"#, r#"{"error":"a","time":1}"#] {
            assert!(serde_json::from_str::<Step>(wrong).is_err(), "{wrong}");
        }
    }
}
