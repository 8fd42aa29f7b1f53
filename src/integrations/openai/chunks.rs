//! The chunks of a streamed completion: <https://platform.openai.com/docs/api-reference/chat-streaming>. Must never count
//! cached tokens twice: the vendor's prompt tokens include them.

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

/// What ends a stream.
const DONE: &str = "[DONE]";

/// The dialect of `/v1/chat/completions`.
pub(super) struct Completions;

impl Dialect for Completions {
    fn take(draft: &mut Draft, data: &str) -> Result<bool, Reason> {
        if data.trim() == DONE {
            return Ok(true);
        }
        let chunk = serde_json::from_str::<Value>(data).unwrap_or_default();
        if !chunk.is_object() {
            let message = "a chunk of the stream is not a JSON object";
            return Err(Reason::new(ErrorKind::InvalidAnswer, message));
        }
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Err(error::of_chunk(&chunk));
        }
        let text = |pointer| chunk.pointer(pointer).and_then(Value::as_str);
        if draft.model.is_none() {
            draft.model = text("/model").map(str::to_owned);
        }
        draft.add_text(text("/choices/0/delta/content").unwrap_or_default())?;
        draft.add_refusal(text("/choices/0/delta/refusal").unwrap_or_default())?;
        if let Some(arguments) = text("/choices/0/delta/tool_calls/0/function/arguments") {
            draft.add_tool(arguments)?;
        }
        if let Some(reason) = text("/choices/0/finish_reason") {
            draft.end = Some(reason.to_owned());
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
            draft.tokens = Some(tokens(usage));
            draft.is_counted = true;
        }
        Ok(false)
    }

    fn end(draft: &Draft) -> Result<End, Reason> {
        match draft.end.as_deref() {
            _ if !draft.refusal.is_empty() => Ok(End::Refused(draft.refusal.clone())),
            // Also before a stop sequence: the vendor does not tell them apart.
            Some("stop" | "tool_calls" | "function_call") => Ok(End::Natural),
            Some("length") => Ok(End::MaxTokens),
            Some("content_filter") => Ok(End::Refused("the provider's filter withheld the content".to_owned())),
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

fn tokens(usage: &Value) -> Tokens {
    let count = |pointer| usage.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let cached_input = count("/prompt_tokens_details/cached_tokens");
    Tokens {
        input: count("/prompt_tokens").saturating_sub(cached_input),
        cached_input,
        cache_write: 0,
        output: count("/completion_tokens"),
    }
}
