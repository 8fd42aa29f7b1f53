//! What the model behind a stand-in says: worked out from the request alone, so that a test can work it out too.
//! It echoes the last text of the user, which may begin with directives: `[refuse]`, `[truncate]`, `[not-json]`,
//! `[slow 20]`, `[tokens 500]`, `[cached 100]`. Must never say two things to the same request.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::Value;

use super::schema;

/// What a refusal says.
pub const REFUSAL: &str = "I can't help with that.";
/// The longest pause between two pieces.
const SLOWEST: Duration = Duration::from_secs(60);
/// The pieces of a streamed text have so many characters, or more if there would be more than [`PIECES`].
const PIECE: usize = 12;
const PIECES: usize = 64;

/// What the model is asked for.
pub(super) struct Ask<'a> {
    /// The last text of the user.
    pub(super) text: String,
    /// The schema of the JSON that is wanted, if any.
    pub(super) schema: Option<&'a Value>,
    /// The most output tokens.
    pub(super) limit: Option<u64>,
    /// What ends the answer when it is about to be said.
    pub(super) stops: Vec<String>,
    /// What a script makes it say.
    pub(super) said: Option<String>,
}

/// What the model says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// JSON if a schema was given, unless `end` or `[not-json]` is in the way.
    pub(super) text: String,
    pub(super) end: End,
    pub(super) tokens: u64,
    /// Input tokens that are to count as read from the cache.
    pub(super) cached: u64,
    /// Between two pieces.
    pub(super) pause: Duration,
}

/// Why the model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Natural,
    /// The answer is longer than it may be, or `[truncate]`: half of it is said.
    Length,
    /// Before this stop sequence.
    Stop(String),
    Refusal,
}

impl Reply {
    pub(super) fn to(ask: Ask<'_>) -> Self {
        let (manner, text) = Manner::of(&ask.text);
        let text = match (ask.said, ask.schema) {
            (Some(said), _) => said,
            (None, Some(schema)) if !manner.not_json => schema::fitting(schema, text).to_string(),
            (None, _) => format!("echo: {text}"),
        };
        let (text, end) = if manner.refuse {
            (REFUSAL.to_owned(), End::Refusal)
        } else {
            ended(text, manner.truncate, &ask.stops, ask.limit)
        };
        Self {
            tokens: manner.tokens.unwrap_or_else(|| tokens(text.len())),
            cached: manner.cached,
            pause: manner.pause,
            text,
            end,
        }
    }

    /// The text as it is streamed.
    pub(super) fn pieces(&self) -> Vec<String> {
        let characters: Vec<char> = self.text.chars().collect();
        let size = PIECE.max(characters.len().div_ceil(PIECES));
        characters.chunks(size).map(String::from_iter).collect()
    }

    /// How long it takes to say all of it, streamed or not.
    pub(super) fn duration(&self) -> Duration {
        let pieces = u32::try_from(self.pieces().len()).unwrap_or(u32::MAX);
        self.pause.saturating_mul(pieces)
    }
}

/// How many tokens there are in so many bytes: a quarter, rounded up, and never none.
pub(super) fn tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX).max(1)
}

/// The texts of a message's `content`: itself, or its blocks.
fn texts(content: &Value) -> Vec<&str> {
    match content {
        Value::String(text) => vec![text],
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).collect(),
        _ => Vec::new(),
    }
}

/// The bytes of the texts of a `content`.
pub(super) fn text_bytes(content: &Value) -> usize {
    texts(content).into_iter().map(str::len).sum()
}

/// The bytes of the texts of all messages.
pub(super) fn messages_bytes(messages: Option<&Value>) -> usize {
    let messages = messages.and_then(Value::as_array).into_iter().flatten();
    messages.map(|message| text_bytes(&message["content"])).sum()
}

/// The text of the last message of the user that has any; more than one block is joined by line ends.
pub(super) fn last_user_text(messages: Option<&Value>) -> String {
    let messages = messages.and_then(Value::as_array).into_iter().flatten();
    messages
        .filter(|message| message["role"] == "user")
        .map(|message| texts(&message["content"]).join("\n"))
        .rfind(|text| !text.is_empty())
        .unwrap_or_default()
}

/// What the directives at the beginning of a text ask for.
#[derive(Default)]
struct Manner {
    refuse: bool,
    truncate: bool,
    not_json: bool,
    pause: Duration,
    tokens: Option<u64>,
    cached: u64,
}

impl Manner {
    /// The directives, and the text without them.
    fn of(mut text: &str) -> (Self, &str) {
        let mut manner = Self::default();
        while let Some((directive, rest)) = text
            .trim_start()
            .strip_prefix('[')
            .and_then(|text| text.split_once(']'))
        {
            if !manner.take(directive) {
                break;
            }
            text = rest.trim_start();
        }
        (manner, text)
    }

    /// Whether this is a directive.
    fn take(&mut self, directive: &str) -> bool {
        let (name, number) = directive.split_once(' ').unwrap_or((directive, ""));
        match (name, number.parse::<u64>()) {
            ("refuse", _) => self.refuse = true,
            ("truncate", _) => self.truncate = true,
            ("not-json", _) => self.not_json = true,
            ("slow", Ok(ms)) => self.pause = Duration::from_millis(ms).min(SLOWEST),
            ("tokens", Ok(tokens)) => self.tokens = Some(tokens),
            ("cached", Ok(tokens)) => self.cached = tokens,
            _ => return false,
        }
        true
    }
}

/// As much of the text as may be said, and what ended it.
fn ended(mut text: String, truncate: bool, stops: &[String], limit: Option<u64>) -> (String, End) {
    let mut end = End::Natural;
    let first = stops
        .iter()
        .filter_map(|stop| text.find(stop.as_str()).map(|at| (at, stop)))
        .min();
    if let Some((at, stop)) = first {
        text.truncate(at);
        end = End::Stop(stop.clone());
    }
    let most = limit.map_or(usize::MAX, |tokens| {
        usize::try_from(tokens.saturating_mul(4)).unwrap_or(usize::MAX)
    });
    let most = if truncate { most.min(text.len() / 2) } else { most };
    if truncate || most < text.len() {
        text.truncate(text.floor_char_boundary(most));
        end = End::Length;
    }
    (text, end)
}

/// A stream of server-sent events, with a pause between each two.
pub(super) fn event_stream(events: Vec<Bytes>, pause: Duration) -> Response {
    let events = stream::unfold((events.into_iter(), false), move |(mut events, begun)| async move {
        let event = events.next()?;
        if begun && !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Some((Ok::<_, std::io::Error>(event), (events, true)))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Body::from_stream(events)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ask(text: &str) -> Ask<'static> {
        Ask {
            text: text.to_owned(),
            schema: None,
            limit: None,
            stops: Vec::new(),
            said: None,
        }
    }

    #[test]
    fn directives_steer_and_are_not_echoed() {
        let reply = Reply::to(ask("[slow 5] [tokens 500][cached 7] [note] hi"));
        assert_eq!(reply.text, "echo: [note] hi");
        assert_eq!(
            (reply.tokens, reply.cached, reply.pause),
            (500, 7, Duration::from_millis(5))
        );
        assert_eq!(Reply::to(ask("[refuse] hi")).end, End::Refusal);
        assert_eq!(Reply::to(ask("[slow]")).text, "echo: [slow]");
    }

    #[test]
    fn an_answer_ends_at_its_limit_or_before_a_stop_sequence() {
        let half = Reply::to(ask("[truncate] hello"));
        assert_eq!((half.text.as_str(), half.end, half.tokens), ("echo:", End::Length, 2));
        let limited = Reply::to(Ask {
            limit: Some(2),
            ..ask("hello")
        });
        assert_eq!((limited.text.as_str(), limited.end), ("echo: he", End::Length));
        let enough = Reply::to(Ask {
            limit: Some(3),
            ..ask("hello")
        });
        assert_eq!(
            (enough.text.as_str(), enough.end, enough.tokens),
            ("echo: hello", End::Natural, 3)
        );
        let stops = vec!["lo".to_owned(), "el".to_owned()];
        let stopped = Reply::to(Ask { stops, ..ask("hello") });
        assert_eq!(
            (stopped.text.as_str(), stopped.end),
            ("echo: h", End::Stop("el".to_owned()))
        );
    }

    #[test]
    fn a_schema_is_answered_with_json_unless_told_otherwise() {
        let schema = json!({ "type": "object", "properties": { "name": { "type": "string" } } });
        let with = |text| Ask {
            schema: Some(&schema),
            ..ask(text)
        };
        assert_eq!(Reply::to(with("hi")).text, r#"{"name":"hi"}"#);
        assert_eq!(Reply::to(with("[not-json] hi")).text, "echo: hi");
        let said = Some("said".to_owned());
        assert_eq!(Reply::to(Ask { said, ..with("hi") }).text, "said");
    }

    #[test]
    fn the_pieces_are_the_text_and_not_too_many() {
        for length in [0, 11, 12, 13, 100_000] {
            let reply = Reply::to(ask(&"é".repeat(length)));
            let pieces = reply.pieces();
            assert_eq!(pieces.concat(), reply.text);
            assert!(pieces.len() <= PIECES);
        }
    }
}
