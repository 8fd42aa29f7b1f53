//! An answer of a language model that comes as server-sent events, put together within bounds of time and size. Must
//! never lose what was known when a stream broke off: what it had used is billed.

use std::{
    cell::{Cell, RefCell},
    pin::pin,
    time::Duration,
};

use bytes::Bytes;
use futures::{
    Stream, StreamExt,
    future::{Either, select},
    stream,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use sse_stream::SseByteStream;

use super::{
    exchange::{self, Failure},
    model::{Answer, Billed, End, Failed, Patience, Reason},
    provider::{Answered, Endpoint, ErrorKind, ProviderError, Traffic, request_id},
};
use crate::{costs::Tokens, platform::Clock};

/// The longest text.
const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;
/// The longest stream: a piece of text comes in some hundred bytes.
const MAX_STREAM_BYTES: u64 = 24 * 1024 * 1024;
/// The longest refusal.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// How a vendor writes its stream.
pub(super) trait Dialect {
    /// Takes the data of one event in; says whether it was the last one.
    fn take(draft: &mut Draft, data: &str) -> Result<bool, Reason>;

    /// Why a finished answer ended.
    fn end(draft: &Draft) -> Result<End, Reason>;

    /// Why the vendor refuses the request.
    fn refusal(status: StatusCode, body: &[u8]) -> Reason;
}

/// An answer as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// The text.
    pub(super) text: String,
    /// The JSON that the tool was called with, if it was.
    pub(super) tool: Option<String>,
    /// Why the model refuses.
    pub(super) refusal: String,
    /// The vendor's word for why it ended.
    pub(super) end: Option<String>,
    /// The model that answers.
    pub(super) model: Option<String>,
    /// What it has used, as far as the vendor has said.
    pub(super) tokens: Option<Tokens>,
    /// Whether that is the vendor's last word, which counts the whole output.
    pub(super) is_counted: bool,
}

impl Draft {
    pub(super) fn add_text(&mut self, piece: &str) -> Result<(), Reason> {
        add(&mut self.text, piece)
    }

    pub(super) fn add_tool(&mut self, piece: &str) -> Result<(), Reason> {
        add(self.tool.get_or_insert_default(), piece)
    }

    pub(super) fn add_refusal(&mut self, piece: &str) -> Result<(), Reason> {
        add(&mut self.refusal, piece)
    }

    fn has_begun(&self) -> bool {
        !self.text.is_empty() || self.tool.is_some() || !self.refusal.is_empty()
    }

    /// What is billed if nothing more comes. `told`: the vendor itself says that it failed.
    fn billed(&self, kind: ErrorKind, told: bool) -> Billed {
        match self.tokens {
            // The failure is the vendor's own, and nothing had been written.
            Some(tokens) if self.is_counted || (told && !self.has_begun()) => Billed::Tokens(tokens),
            Some(tokens) => Billed::Input(tokens),
            None if kind == ErrorKind::NotSent || (told && !self.has_begun()) => Billed::Nothing,
            None => Billed::Unknown,
        }
    }

    /// What was said: the call of the tool that was asked for, or the text.
    fn into_text(self) -> String {
        match self.tool {
            // A call without arguments is streamed as nothing.
            Some(json) if json.is_empty() => "{}".to_owned(),
            Some(json) => json,
            None => self.text,
        }
    }
}

fn add(text: &mut String, piece: &str) -> Result<(), Reason> {
    if text.len().saturating_add(piece.len()) > MAX_TEXT_BYTES {
        let message = format!("the text is longer than {MAX_TEXT_BYTES} bytes");
        return Err(Reason::new(ErrorKind::InvalidAnswer, message));
    }
    text.push_str(piece);
    Ok(())
}

/// Posts `body` and puts the answer together. `headers` bring the key.
pub(super) async fn ask<D: Dialect>(
    endpoint: &Endpoint,
    headers: HeaderMap,
    body: Vec<u8>,
    patience: Patience,
) -> Result<Answer, Failed> {
    let bytes_out = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let request = endpoint
        .http
        .post(endpoint.url.clone())
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(header::ACCEPT, HeaderValue::from_static("text/event-stream"))
        .headers(headers)
        .body(body);
    let seen = Seen::default();
    let mut draft = Draft::default();
    let work = follow::<D>(endpoint, request, patience, &seen, &mut draft);
    let result = in_time(&*endpoint.clock, patience.total, work)
        .await
        .unwrap_or_else(|| {
            let message = format!("no complete answer within {} ms", millis(patience.total));
            Err(seen.late(endpoint, patience, message))
        });
    let result = match result {
        Ok(()) => D::end(&draft).map_err(Broken::because),
        Err(broken) => Err(broken),
    };
    let traffic = Traffic {
        bytes_out,
        bytes_in: seen.bytes.get(),
        request_id: seen.request_id.take(),
    };
    match result {
        Ok(end) => Ok(Answer {
            end,
            model: draft.model.take(),
            tokens: draft.tokens.filter(|_| draft.is_counted),
            text: draft.into_text(),
            traffic,
        }),
        Err(Broken::Refused(status, headers, body)) => {
            let reason = D::refusal(status, &body);
            let answered = Answered {
                status,
                headers,
                body,
                traffic,
            };
            Err(Failed {
                error: endpoint.refusal(answered, reason.kind, reason.message),
                billed: Billed::Nothing,
                is_too_long: reason.is_too_long,
            })
        }
        Err(Broken::Off { reason, told }) => Err(Failed {
            billed: draft.billed(reason.kind, told),
            is_too_long: reason.is_too_long,
            error: ProviderError {
                status: seen.status.get(),
                ..ProviderError::new(endpoint.provider, reason.kind, reason.message).with_traffic(traffic)
            },
        }),
    }
}

/// What is known of an answer from outside, whatever becomes of it.
#[derive(Default)]
struct Seen {
    bytes: Cell<u64>,
    status: Cell<Option<u16>>,
    request_id: RefCell<Option<String>>,
    /// When the provider last sent something of an answer: the head of a stream, or a piece of it.
    heard: Cell<Option<Timestamp>>,
}

impl Seen {
    /// The caller's time is up. It says nothing about a provider whose answer was coming.
    fn late(&self, endpoint: &Endpoint, patience: Patience, message: String) -> Broken {
        let silence = self.heard.get().map(|heard| {
            let silence = heard.duration_until(endpoint.clock.now());
            Duration::try_from(silence).unwrap_or_default()
        });
        let kind = match silence {
            Some(silence) if silence < patience.idle => ErrorKind::CutOff,
            _ => ErrorKind::Timeout,
        };
        Broken::because(Reason::new(kind, message))
    }
}

/// Why there is no whole stream.
enum Broken {
    /// The vendor answered with an error in place of a stream.
    Refused(StatusCode, HeaderMap, Bytes),
    /// The stream broke off. `told`: by an error of the vendor's within it.
    Off { reason: Reason, told: bool },
}

impl Broken {
    fn because(reason: Reason) -> Self {
        Self::Off { reason, told: false }
    }

    fn of(failure: Failure) -> Self {
        Self::because(match failure {
            Failure::NotSent(message) => Reason::new(ErrorKind::NotSent, message),
            Failure::Lost(message) => Reason::new(ErrorKind::Lost, message),
            Failure::Timeout => Reason::new(ErrorKind::Timeout, "no complete answer in time"),
            Failure::TooLong => Reason::new(ErrorKind::InvalidAnswer, "the answer is longer than it may be"),
        })
    }
}

/// Reads the stream to its last event.
async fn follow<D: Dialect>(
    endpoint: &Endpoint,
    request: reqwest::RequestBuilder,
    patience: Patience,
    seen: &Seen,
    draft: &mut Draft,
) -> Result<(), Broken> {
    let clock = &*endpoint.clock;
    let first = async {
        let response = request
            .send()
            .await
            .map_err(|error| Broken::of(exchange::failure(error)))?;
        let (status, headers) = (response.status(), response.headers().clone());
        seen.status.set(Some(status.as_u16()));
        seen.request_id.replace(request_id(&headers));
        if !status.is_success() {
            let body = exchange::read(response, MAX_REFUSAL_BYTES)
                .await
                // The status says enough.
                .unwrap_or_default();
            seen.bytes.set(u64::try_from(body.len()).unwrap_or(u64::MAX));
            return Err(Broken::Refused(status, headers, body));
        }
        seen.heard.set(Some(clock.now()));
        let pieces = pieces(response, clock, patience.idle, seen);
        let mut events = Box::pin(SseByteStream::new(pieces));
        let event = events.next().await;
        Ok((event, events))
    };
    let Some(begun) = in_time(clock, patience.first_event, first).await else {
        let message = format!("the answer did not begin within {} ms", millis(patience.first_event));
        return Err(seen.late(endpoint, patience, message));
    };
    let (mut event, mut events) = begun?;
    loop {
        let Some(next) = event else {
            let message = "the stream ended before the end of the answer";
            return Err(Broken::because(Reason::new(ErrorKind::InvalidAnswer, message)));
        };
        if let Some(data) = next.map_err(unreadable)?.data
            && D::take(draft, &data).map_err(|reason| Broken::Off {
                told: reason.kind != ErrorKind::InvalidAnswer,
                reason,
            })?
        {
            return Ok(());
        }
        event = events.next().await;
    }
}

/// The pieces of a body, none of them longer awaited than `idle` after the one before it.
fn pieces<'a>(
    response: reqwest::Response,
    clock: &'a dyn Clock,
    idle: Duration,
    seen: &'a Seen,
) -> impl Stream<Item = Result<Bytes, Cut>> + use<'a> {
    // How long the first one may take is for the caller to say.
    let begun = (Box::pin(response.bytes_stream()), None);
    stream::unfold(Some(begun), move |state| async move {
        let (mut pieces, limit) = state?;
        let piece = match limit {
            None => Some(pieces.next().await),
            Some(limit) => in_time(clock, limit, pieces.next()).await,
        };
        let piece = match piece {
            None => return Some((Err(Cut::Idle(idle)), None)),
            Some(None) => return None,
            Some(Some(Err(error))) => return Some((Err(lost(error)), None)),
            Some(Some(Ok(piece))) => piece,
        };
        let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        seen.bytes.set(seen.bytes.get().saturating_add(bytes));
        seen.heard.set(Some(clock.now()));
        if seen.bytes.get() > MAX_STREAM_BYTES {
            return Some((Err(Cut::TooLong), None));
        }
        Some((Ok(piece), Some((pieces, Some(idle)))))
    })
}

/// Why the pieces of a stream end before their time.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("nothing more came for {} ms", millis(*.0))]
    Idle(Duration),
    #[error("{0}")]
    Lost(String),
    #[error("the answer is longer than {MAX_STREAM_BYTES} bytes")]
    TooLong,
}

fn lost(error: reqwest::Error) -> Cut {
    match exchange::failure(error) {
        Failure::NotSent(reason) | Failure::Lost(reason) => Cut::Lost(reason),
        Failure::Timeout | Failure::TooLong => Cut::TooLong,
    }
}

fn unreadable(error: sse_stream::Error) -> Broken {
    let message = error.to_string();
    let cut = match error {
        sse_stream::Error::Body(cause) => cause.downcast::<Cut>().ok(),
        _ => None,
    };
    let kind = match cut.as_deref() {
        Some(Cut::Idle(_)) => ErrorKind::Timeout,
        Some(Cut::Lost(_)) => ErrorKind::Lost,
        Some(Cut::TooLong) | None => ErrorKind::InvalidAnswer,
    };
    Broken::because(Reason::new(kind, cut.map_or(message, |cut| cut.to_string())))
}

/// What `work` gives, unless it takes longer than `limit`; then it is dropped.
async fn in_time<T>(clock: &dyn Clock, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    match select(pin!(work), clock.sleep(limit)).await {
        Either::Left((result, _)) => Some(result),
        Either::Right(_) => None,
    }
}

fn millis(duration: Duration) -> u128 {
    duration.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broken_answer_is_billed_is_what_was_counted_or_unknown() {
        let tokens = Tokens {
            input: 3,
            ..Tokens::default()
        };
        let fresh = Draft::default();
        let begun = Draft {
            tokens: Some(tokens),
            ..Draft::default()
        };
        let written = Draft {
            text: "he".to_owned(),
            tokens: Some(tokens),
            ..Draft::default()
        };
        let counted = Draft {
            text: "he".to_owned(),
            tokens: Some(tokens),
            is_counted: true,
            ..Draft::default()
        };
        let said = Draft {
            text: "he".to_owned(),
            ..Draft::default()
        };
        for (draft, kind, told, billed) in [
            (&fresh, ErrorKind::NotSent, false, Billed::Nothing),
            (&fresh, ErrorKind::Timeout, false, Billed::Unknown),
            (&fresh, ErrorKind::Overloaded, true, Billed::Nothing),
            (&said, ErrorKind::Overloaded, true, Billed::Unknown),
            (&said, ErrorKind::Lost, false, Billed::Unknown),
            (&begun, ErrorKind::Overloaded, true, Billed::Tokens(tokens)),
            (&begun, ErrorKind::Lost, false, Billed::Input(tokens)),
            (&written, ErrorKind::Overloaded, true, Billed::Input(tokens)),
            (&written, ErrorKind::CutOff, false, Billed::Input(tokens)),
            (&counted, ErrorKind::Lost, false, Billed::Tokens(tokens)),
            (&counted, ErrorKind::Overloaded, true, Billed::Tokens(tokens)),
        ] {
            assert_eq!(draft.billed(kind, told), billed, "{kind:?} {told}");
        }
    }

    #[test]
    fn a_text_is_never_longer_than_it_may_be() {
        let mut draft = Draft::default();
        draft.add_text(&"x".repeat(MAX_TEXT_BYTES)).unwrap();
        assert_eq!(draft.add_text("x").unwrap_err().kind, ErrorKind::InvalidAnswer);
        assert_eq!(draft.text.len(), MAX_TEXT_BYTES);
    }

    #[test]
    fn a_call_without_arguments_is_an_empty_object() {
        let mut draft = Draft::default();
        draft.add_text("thinking aloud").unwrap();
        draft.add_tool("").unwrap();
        assert_eq!(draft.into_text(), "{}");
    }
}
