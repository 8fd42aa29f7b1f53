//! The events of a streamed message: <https://platform.claude.com/docs/en/build-with-claude/streaming>. Must never stop
//! at an event or block that it does not know: the vendor adds some.

use http::StatusCode;
use serde_json::Value;

use super::error;
use crate::{
    costs::Tokens,
    integrations::{
        model::{End, Reason},
        provider::ErrorKind,
        stream::{Dialect, Draft},
    },
};

/// The dialect of `/v1/messages`.
pub(super) struct Messages;

impl Dialect for Messages {
    fn take(draft: &mut Draft, data: &str) -> Result<bool, Reason> {
        let event = serde_json::from_str::<Value>(data).unwrap_or_default();
        let text = |pointer| event.pointer(pointer).and_then(Value::as_str);
        match text("/type") {
            Some("message_start") => {
                draft.model = text("/message/model").map(str::to_owned);
                count(draft, event.pointer("/message/usage"));
            }
            Some("content_block_start") => match text("/content_block/type") {
                Some("text") => draft.add_text(text("/content_block/text").unwrap_or_default())?,
                Some("tool_use") => draft.add_tool("")?,
                _ => {}
            },
            Some("content_block_delta") => match text("/delta/type") {
                Some("text_delta") => draft.add_text(text("/delta/text").unwrap_or_default())?,
                Some("input_json_delta") => draft.add_tool(text("/delta/partial_json").unwrap_or_default())?,
                _ => {}
            },
            Some("message_delta") => {
                if let Some(reason) = text("/delta/stop_reason") {
                    draft.end = Some(reason.to_owned());
                }
                if let Some(why) = text("/delta/stop_details/explanation") {
                    draft.add_refusal(why)?;
                }
                count(draft, event.get("usage"));
                draft.is_counted |= event.pointer("/usage/output_tokens").is_some_and(Value::is_u64);
            }
            Some("message_stop") => return Ok(true),
            Some("error") => return Err(error::of_event(&event)),
            Some(_) => {}
            None => {
                let message = "an event of the stream is not JSON with a type";
                return Err(Reason::new(ErrorKind::InvalidAnswer, message));
            }
        }
        Ok(false)
    }

    fn end(draft: &Draft) -> Result<End, Reason> {
        match draft.end.as_deref() {
            Some("end_turn" | "tool_use") => Ok(End::Natural),
            Some("stop_sequence") => Ok(End::StopSequence),
            Some("max_tokens") => Ok(End::MaxTokens),
            Some("model_context_window_exceeded") => Ok(End::ContextWindow),
            Some("refusal") => Ok(End::Refused(draft.refusal.clone())),
            other => {
                let message = format!("the answer ended for no known reason: {}", other.unwrap_or("none"));
                Err(Reason::new(ErrorKind::InvalidAnswer, message))
            }
        }
    }

    fn refusal(status: StatusCode, body: &[u8]) -> Reason {
        error::of_answer(status, body)
    }
}

/// Counts are cumulative: what an event says takes the place of what one before it said.
fn count(draft: &mut Draft, usage: Option<&Value>) {
    let Some(usage) = usage.and_then(Value::as_object) else {
        return;
    };
    let tokens = draft.tokens.get_or_insert_default();
    let Tokens {
        input,
        cached_input,
        cache_write,
        output,
    } = tokens;
    for (name, count) in [
        ("input_tokens", input),
        ("cache_read_input_tokens", cached_input),
        ("cache_creation_input_tokens", cache_write),
        ("output_tokens", output),
    ] {
        if let Some(number) = usage.get(name).and_then(Value::as_u64) {
            *count = number;
        }
    }
}
