//! What is sent, what chunks and errors mean. What becomes of whole calls is tested against a stand-in.

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

fn taken(chunks: &[Value]) -> Result<Draft, Reason> {
    let mut draft = Draft::default();
    for chunk in chunks {
        assert!(!Completions::take(&mut draft, &chunk.to_string())?);
    }
    assert!(Completions::take(&mut draft, "[DONE]")?);
    Ok(draft)
}

fn delta(delta: Value) -> Value {
    json!({"model": "gpt-x", "choices": [{"index": 0, "delta": delta, "finish_reason": null}], "usage": null})
}

fn finished(reason: &str) -> Value {
    json!({"model": "gpt-x", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

#[test]
fn nothing_is_sent_that_was_not_asked_for() {
    assert_eq!(
        body(&request("gpt-4o", None)),
        json!({
            "model": "gpt-4o", "max_completion_tokens": 10, "stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": "hi"}],
        })
    );
    let full = Request {
        system: Some("be short"),
        temperature: Some(0.5),
        stop: &["END"],
        ..request("gpt-4o", None)
    };
    let body = body(&full);
    assert_eq!(
        (&body["messages"][0], &body["temperature"], &body["stop"]),
        (
            &json!({"role": "system", "content": "be short"}),
            &json!(0.5),
            &json!(["END"])
        )
    );
}

#[test]
fn a_schema_is_strict_only_if_it_leaves_nothing_open() {
    let text = json!({"type": "string"});
    let object = |properties: Value, required: Value| json!({"type": "object", "additionalProperties": false, "properties": properties, "required": required});
    for (schema, is_strict) in [
        (object(json!({"a": text}), json!(["a"])), true),
        (
            object(json!({"a": {"type": "array", "items": {"$ref": "#"}}}), json!(["a"])),
            true,
        ),
        (object(json!({"a": text, "b": text}), json!(["a"])), false),
        (object(json!({"a": {"type": "array"}}), json!(["a"])), false),
        (object(json!({"a": {"type": "object"}}), json!(["a"])), false),
        (
            object(json!({"a": {"type": "string", "maxLength": 3}}), json!(["a"])),
            false,
        ),
        (object(json!({"a": {"oneOf": [text]}}), json!(["a"])), false),
        (json!({"type": "object", "properties": {"a": text}}), false),
    ] {
        let body = body(&request("gpt-4o", Some(&schema)));
        assert_eq!(
            body["response_format"],
            json!({
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": schema, "strict": is_strict},
            })
        );
    }
    let schema = object(json!({"a": text}), json!(["a"]));
    let body = body(&request("gpt-3.5-turbo", Some(&schema)));
    assert_eq!(body["tools"][0]["function"]["parameters"], schema);
    assert!(body.get("response_format").is_none());
}

#[test]
fn a_text_is_put_together_and_cached_tokens_are_counted_once() {
    let draft = taken(&[
        delta(json!({"role": "assistant", "content": "", "refusal": null})),
        delta(json!({"content": "he"})),
        delta(json!({"content": "llo"})),
        finished("stop"),
        json!({"choices": [], "usage": {
            "prompt_tokens": 12, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5},
        }}),
    ])
    .unwrap();
    assert_eq!((draft.text.as_str(), draft.model.as_deref()), ("hello", Some("gpt-x")));
    assert_eq!(
        draft.tokens,
        Some(Tokens {
            input: 7,
            cached_input: 5,
            cache_write: 0,
            output: 4,
        })
    );
    assert_eq!(Completions::end(&draft).unwrap(), End::Natural);
}

#[test]
fn the_arguments_of_the_forced_function_are_put_together() {
    let piece = |json: &str| delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": json}}]}));
    let draft = taken(&[piece(""), piece("{\"a\""), piece(":1}"), finished("stop")]).unwrap();
    assert_eq!(draft.tool.as_deref(), Some("{\"a\":1}"));
}

#[test]
fn every_finish_reason_has_a_meaning_and_others_are_no_answer() {
    for (reason, end) in [
        ("stop", Some(End::Natural)),
        ("tool_calls", Some(End::Natural)),
        ("length", Some(End::MaxTokens)),
        ("something_new", None),
    ] {
        assert_eq!(
            Completions::end(&taken(&[finished(reason)]).unwrap()).ok(),
            end,
            "{reason}"
        );
    }
    let filtered = taken(&[finished("content_filter")]).unwrap();
    assert!(matches!(Completions::end(&filtered), Ok(End::Refused(_))));
    let refused = taken(&[delta(json!({"refusal": "no"})), finished("stop")]).unwrap();
    assert_eq!(Completions::end(&refused).unwrap(), End::Refused("no".to_owned()));
    assert_eq!(
        Completions::end(&taken(&[]).unwrap()).unwrap_err().kind,
        ErrorKind::InvalidAnswer
    );
}

#[test]
fn every_documented_error_has_a_kind_in_answers_and_in_streams() {
    for (status, word, code, kind) in [
        (400, "invalid_request_error", Value::Null, ErrorKind::Rejected),
        (
            400,
            "invalid_request_error",
            json!("context_length_exceeded"),
            ErrorKind::Rejected,
        ),
        (
            401,
            "invalid_request_error",
            json!("invalid_api_key"),
            ErrorKind::Unauthorized,
        ),
        (401, "invalid_request_error", Value::Null, ErrorKind::Unauthorized),
        (
            403,
            "request_forbidden",
            json!("unsupported_country_region_territory"),
            ErrorKind::Forbidden,
        ),
        (
            404,
            "invalid_request_error",
            json!("model_not_found"),
            ErrorKind::NotFound,
        ),
        (409, "invalid_request_error", json!("conflict"), ErrorKind::Conflict),
        (422, "invalid_request_error", Value::Null, ErrorKind::Rejected),
        (429, "requests", json!("rate_limit_exceeded"), ErrorKind::RateLimited),
        (429, "tokens", Value::Null, ErrorKind::RateLimited),
        (429, "insufficient_quota", json!("insufficient_quota"), ErrorKind::Quota),
        (500, "server_error", Value::Null, ErrorKind::ServerError),
        (503, "service_unavailable", Value::Null, ErrorKind::Overloaded),
    ] {
        let body = json!({"error": {"message": "so it is", "type": word, "param": null, "code": code}});
        let reason = Completions::refusal(StatusCode::from_u16(status).unwrap(), body.to_string().as_bytes());
        assert_eq!(reason.kind, kind, "{body}");
        assert_eq!(reason.is_too_long, code == "context_length_exceeded");
        let in_stream = taken(std::slice::from_ref(&body)).unwrap_err().kind;
        // Without a status, what its words do not tell is the provider's own fault.
        let told = [ErrorKind::RateLimited, ErrorKind::Quota, ErrorKind::Overloaded];
        if told.contains(&kind) {
            assert_eq!(in_stream, kind, "{body}");
        }
    }
    let refusal = |status, body: &str| Completions::refusal(StatusCode::from_u16(status).unwrap(), body.as_bytes());
    assert_eq!(refusal(503, "<html>").kind, ErrorKind::Overloaded);
    assert_eq!(refusal(413, "").kind, ErrorKind::TooLarge);
}

#[test]
fn garbage_in_a_stream_is_an_invalid_answer() {
    for data in ["", "{", "[]", "DONE"] {
        let reason = Completions::take(&mut Draft::default(), data).unwrap_err();
        assert_eq!(reason.kind, ErrorKind::InvalidAnswer, "{data}");
    }
}
