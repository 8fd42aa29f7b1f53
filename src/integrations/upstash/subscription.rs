//! A channel of Redis as a stream of messages, over server-sent events whose data is `message,<channel>,<payload>`.
//! Must never hold more of one event than Redis may send in one answer.

use bytes::Bytes;
use futures::{Stream, StreamExt};
use sse_stream::SseByteStream;

use super::{Error, MAX_BYTES};
use crate::integrations::{
    Body, TookEffect,
    exchange::{self, Failure},
};

/// What the events of a subscription say.
pub(super) enum Event {
    /// The subscription stands: what is published from now on will come.
    Subscribed,
    /// Something was published.
    Message(String),
}

/// The events of one channel. Comments, heartbeats and what belongs to other channels are left out.
pub(super) fn events(response: reqwest::Response, channel: &str) -> impl Stream<Item = Result<Event, Error>> + use<> {
    let subscribed = format!("subscribe,{channel},");
    let message = format!("message,{channel},");
    let mut size = EventSize::default();
    let pieces = response.bytes_stream().map(move |piece| {
        let piece: Bytes = piece.map_err(broken)?;
        if size.after(&piece) > MAX_BYTES {
            Err(Error::TooLarge(Body::Answer))
        } else {
            Ok(piece)
        }
    });
    SseByteStream::new(pieces).filter_map(move |event| {
        let event = match event {
            Err(error) => Some(Err(unreadable(error))),
            Ok(event) => event.data.and_then(|data| {
                if let Some(payload) = data.strip_prefix(&message) {
                    Some(Ok(Event::Message(payload.to_owned())))
                } else {
                    data.starts_with(&subscribed).then_some(Ok(Event::Subscribed))
                }
            }),
        };
        std::future::ready(event)
    })
}

fn broken(error: reqwest::Error) -> Error {
    let (Failure::NotSent(reason) | Failure::Lost(reason)) = exchange::failure(error) else {
        return Error::TooLarge(Body::Answer);
    };
    Error::Unreachable {
        took_effect: TookEffect::Unknown,
        reason,
    }
}

fn unreadable(error: sse_stream::Error) -> Error {
    match error {
        sse_stream::Error::Body(cause) => match cause.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(cause) => Error::Protocol(cause.to_string()),
        },
        other => Error::Protocol(other.to_string()),
    }
}

/// How long the event is that is being received; the parser itself has no limit.
#[derive(Default)]
struct EventSize {
    event: usize,
    line: usize,
}

impl EventSize {
    /// The size of the unfinished event after `piece`, or of the largest one inside it.
    fn after(&mut self, piece: &[u8]) -> usize {
        let mut largest = 0;
        for byte in piece {
            self.event = self.event.saturating_add(1);
            largest = largest.max(self.event);
            match byte {
                b'\n' if self.line == 0 => self.event = 0,
                b'\n' => self.line = 0,
                b'\r' => {}
                _ => self.line = self.line.saturating_add(1),
            }
        }
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_an_event_is_counted_across_pieces_and_ends_with_its_blank_line() {
        let mut size = EventSize::default();
        assert_eq!(size.after(b"data: 12345"), 11);
        assert_eq!(size.after(b"678\n"), 15);
        assert_eq!(size.after(b"\r\ndata"), 17);
        assert_eq!(size.after(b": 1\n\n: beat\n\n"), 9);
        assert_eq!(size.after(b"x"), 1);
    }
}
