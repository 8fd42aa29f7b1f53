//! Subscriptions as server-sent events: `data: subscribe,chat,1`, then `data: message,chat,hello` for each message.
//! Must never outlive its client: every stream holds a Redis connection.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::{Stream, StreamExt, stream};
use redis::Msg;

use super::database::Away;
use super::request;
use super::rest::Gateway;

/// How often a comment is sent, by which a client that has gone is noticed. The vendor's client skips comments.
const PULSE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Channels,
    Patterns,
}

impl Kind {
    /// The word in paths and confirmations.
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Channels => "subscribe",
            Self::Patterns => "psubscribe",
        }
    }
}

/// What `/subscribe/<channel>…` or `/psubscribe/<pattern>…` asks for; `None` for any other path.
pub(super) fn asked(path: &str) -> Option<(Kind, Vec<String>)> {
    let mut segments = request::segments(path)
        .into_iter()
        .map(|segment| String::from_utf8_lossy(&segment).into_owned());
    let kind = match segments.next()?.to_ascii_lowercase().as_str() {
        "subscribe" => Kind::Channels,
        "psubscribe" => Kind::Patterns,
        _ => return None,
    };
    let channels: Vec<_> = segments.collect();
    if channels.is_empty() {
        None
    } else {
        Some((kind, channels))
    }
}

/// Subscribes, and returns the stream of confirmations and messages.
///
/// # Errors
/// Redis is away.
pub(super) async fn stream(
    gateway: &Gateway,
    kind: Kind,
    channels: Vec<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, Away> {
    let mut subscriber = gateway.database.subscriber().await?;
    match kind {
        Kind::Channels => subscriber.subscribe(&channels).await?,
        Kind::Patterns => subscriber.psubscribe(&channels).await?,
    }
    let confirmations: Vec<_> = channels
        .iter()
        .enumerate()
        .map(|(index, channel)| format!("{},{channel},{}", kind.command(), index + 1))
        .collect();
    let messages = subscriber.into_on_message().map(move |message| told(kind, &message));
    let mut stopped = gateway.streams_stopped.clone();
    let events = stream::iter(confirmations)
        .chain(messages)
        .map(|line| Ok(Event::default().data(line)))
        .take_until(async move {
            // An error means that the gateway is gone, which ends the stream as well.
            let _ = stopped.wait_for(|stop| *stop).await;
        });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(PULSE)))
}

fn told(kind: Kind, message: &Msg) -> String {
    let channel = message.get_channel_name();
    let payload = String::from_utf8_lossy(message.get_payload_bytes());
    match (kind, message.get_pattern::<String>()) {
        (Kind::Patterns, Ok(pattern)) => format!("pmessage,{pattern},{channel},{payload}"),
        _ => format!("message,{channel},{payload}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_with_channels_is_a_subscription() {
        assert_eq!(
            asked("/subscribe/a/b%20c"),
            Some((Kind::Channels, vec!["a".to_owned(), "b c".to_owned()]))
        );
        assert_eq!(asked("/PSUBSCRIBE/a*"), Some((Kind::Patterns, vec!["a*".to_owned()])));
        assert_eq!(asked("/subscribe"), None);
        assert_eq!(asked("/get/subscribe"), None);
    }
}
