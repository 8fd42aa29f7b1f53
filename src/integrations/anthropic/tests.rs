//! What is sent, what events and errors mean. What becomes of whole calls is tested against a stand-in.

use http::StatusCode;
use serde_json::json;

use super::*;
use crate::{
    costs::Tokens,
    integrations::{
        model::{End, Message, Reason, Role},
        provider::ErrorKind,
        stream::{Dialect, Draft},
    },
};

fn request<'a>(model: &'a str, schema: Option<&'a Value>) -> Request<'a> {
    Request {
        model,
        system: None,
        messages: &[Message {
            role: Role::User,
            content: "hi",
        }],
        max_tokens: 10,
        temperature: None,
        stop: &[],
        schema,
    }
}

fn taken(events: &[Value]) -> Result<Draft, Reason> {
    let mut draft = Draft::default();
    let mut is_last = false;
    for event in events {
        assert!(!is_last, "{event} comes after the end");
        is_last = Messages::take(&mut draft, &event.to_string())?;
    }
    Ok(draft)
}

#[test]
fn nothing_is_sent_that_was_not_asked_for() {
    assert_eq!(
        body(&request("claude-sonnet-5-5", None)),
        json!({
            "model": "claude-sonnet-5-5", "max_tokens": 10, "stream": true,
            "messages": [{"role": "user", "content": "hi"}],
        })
    );
    let full = Request {
        system: Some("be short"),
        temperature: Some(0.0),
        stop: &["END"],
        ..request("claude-haiku-4-5", None)
    };
    let body = body(&full);
    assert_eq!(
        (&body["system"], &body["temperature"], &body["stop_sequences"]),
        (&json!("be short"), &json!(0.0), &json!(["END"]))
    );
}

#[test]
fn a_schema_is_held_where_model_and_grammar_can_and_is_a_forced_tool_elsewhere() {
    let held = json!({
        "type": "object", "additionalProperties": false,
        "properties": {"when": {"type": "string", "format": "date"}},
    });
    let open = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let bounded = json!({
        "type": "object", "additionalProperties": false, "properties": {"a": {"type": "integer", "minimum": 1}},
    });
    for (model, schema, is_format) in [
        ("claude-sonnet-5-5", &held, true),
        ("claude-haiku-4-5-20251001", &held, true),
        ("claude-sonnet-5-5", &open, false),
        ("claude-sonnet-5-5", &bounded, false),
        ("claude-sonnet-4-20250514", &held, false),
    ] {
        let body = body(&request(model, Some(schema)));
        if is_format {
            assert_eq!(
                body["output_config"],
                json!({"format": {"type": "json_schema", "schema": schema}})
            );
            assert!(body.get("tools").is_none());
        } else {
            assert_eq!(body["tools"][0]["input_schema"], *schema, "{model}");
            assert_eq!(body["tool_choice"], json!({"type": "tool", "name": "answer"}));
            assert!(body.get("output_config").is_none());
        }
    }
}

#[test]
fn a_text_is_put_together_and_its_counts_are_cumulative() {
    let draft = taken(&[
        json!({"type": "message_start", "message": {
            "model": "claude-x", "usage": {
                "input_tokens": 7, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 3, "output_tokens": 1,
            },
        }}),
        json!({"type": "content_block_start", "content_block": {"type": "thinking", "thinking": "hm"}}),
        json!({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm"}}),
        json!({"type": "content_block_start", "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "he"}}),
        json!({"type": "something_new"}),
        json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "llo"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {
            "input_tokens": null, "output_tokens": 4,
        }}),
        json!({"type": "message_stop"}),
    ])
    .unwrap();
    assert_eq!(
        (draft.text.as_str(), draft.model.as_deref(), draft.tool.as_ref()),
        ("hello", Some("claude-x"), None)
    );
    assert_eq!(
        draft.tokens,
        Some(Tokens {
            input: 7,
            cached_input: 5,
            cache_write: 3,
            output: 4,
        })
    );
    assert_eq!(Messages::end(&draft).unwrap(), End::Natural);
}

#[test]
fn the_input_of_the_forced_tool_is_put_together() {
    let begun = json!({"type": "content_block_start", "content_block": {"type": "tool_use", "input": {}}});
    let piece = |json: &str| json!({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": json}});
    let draft = taken(&[begun.clone(), piece(""), piece("{\"a\""), piece(":1}")]).unwrap();
    assert_eq!(draft.tool.as_deref(), Some("{\"a\":1}"));
    assert_eq!(taken(&[begun]).unwrap().tool.as_deref(), Some(""));
}

#[test]
fn every_stop_reason_has_a_meaning_and_others_are_no_answer() {
    for (reason, end) in [
        ("end_turn", Some(End::Natural)),
        ("tool_use", Some(End::Natural)),
        ("stop_sequence", Some(End::StopSequence)),
        ("max_tokens", Some(End::MaxTokens)),
        ("model_context_window_exceeded", Some(End::ContextWindow)),
        ("refusal", Some(End::Refused("no".to_owned()))),
        ("pause_turn", None),
        ("something_new", None),
    ] {
        let draft = Draft {
            end: Some(reason.to_owned()),
            refusal: "no".to_owned(),
            ..Draft::default()
        };
        assert_eq!(Messages::end(&draft).ok(), end, "{reason}");
    }
    assert_eq!(
        Messages::end(&Draft::default()).unwrap_err().kind,
        ErrorKind::InvalidAnswer
    );
}

#[test]
fn every_documented_error_has_a_kind_in_answers_and_in_streams() {
    for (status, word, kind) in [
        (400, "invalid_request_error", ErrorKind::Rejected),
        (401, "authentication_error", ErrorKind::Unauthorized),
        (402, "billing_error", ErrorKind::Quota),
        (403, "permission_error", ErrorKind::Forbidden),
        (404, "not_found_error", ErrorKind::NotFound),
        (409, "conflict_error", ErrorKind::Conflict),
        (413, "request_too_large", ErrorKind::TooLarge),
        (429, "rate_limit_error", ErrorKind::RateLimited),
        (500, "api_error", ErrorKind::ServerError),
        (504, "timeout_error", ErrorKind::Timeout),
        (529, "overloaded_error", ErrorKind::Overloaded),
    ] {
        let body = json!({"type": "error", "error": {"type": word, "message": "so it is"}});
        let reason = Messages::refusal(StatusCode::from_u16(status).unwrap(), body.to_string().as_bytes());
        assert_eq!((reason.kind, reason.message.as_str()), (kind, "so it is"), "{word}");
        assert_eq!(taken(&[body]).unwrap_err().kind, kind, "{word}");
    }
}

#[test]
fn what_the_status_or_the_words_alone_tell_counts_too() {
    let refusal = |status, body: &str| Messages::refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes());
    assert_eq!(refusal(500, "<html>").kind, ErrorKind::ServerError);
    assert_eq!(refusal(502, "").kind, ErrorKind::Gateway);
    assert_eq!(refusal(429, "slow").kind, ErrorKind::RateLimited);
    let invalid = |message: &str| {
        let body = json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}});
        let reason = refusal(400, &body.to_string());
        (reason.kind, reason.is_too_long)
    };
    assert_eq!(
        invalid("prompt is too long: 200001 tokens > 200000 maximum"),
        (ErrorKind::Rejected, true)
    );
    assert_eq!(
        invalid("input length and `max_tokens` exceed context limit: 1 + 2 > 2"),
        (ErrorKind::Rejected, true)
    );
    assert_eq!(
        invalid("Your credit balance is too low to access the Anthropic API."),
        (ErrorKind::Quota, false)
    );
    assert_eq!(invalid("max_tokens: Field required"), (ErrorKind::Rejected, false));
}

#[test]
fn garbage_in_a_stream_is_an_invalid_answer() {
    for data in ["", "{", "[]", "{\"a\":1}", "[DONE]"] {
        let reason = Messages::take(&mut Draft::default(), data).unwrap_err();
        assert_eq!(reason.kind, ErrorKind::InvalidAnswer, "{data}");
    }
}
