//! What `email_send` takes, and what it says before anything is sent.

use secrecy::SecretString;

use super::*;
use crate::{
    skills::{
        params::{INVALID_VALUE, REQUIRED, TOO_LONG, TOO_MANY, UNKNOWN_FIELD, WRONG_TYPE},
        testing::{Scene, assert_listed},
    },
    tenants::Tier,
};

fn mail() -> Value {
    json!({"to": "b@example.com", "from": "a@example.com", "subject": "s", "text": "t"})
}

fn with(change: &Value) -> Value {
    let mut params = mail();
    for (name, value) in change.as_object().unwrap() {
        params[name] = value.clone();
    }
    params
}

fn run(scene: &Scene, params: &Value) -> (String, String) {
    let skill = EmailSend;
    let outcome = scene.run(&skill, params);
    assert_listed(&skill, &outcome);
    assert!(outcome.calls.is_empty() && outcome.effects.is_empty());
    let error = outcome.error.unwrap();
    (error.code.into_owned(), error.message)
}

#[test]
fn what_is_wrong_is_refused_at_its_place() {
    let many: Vec<_> = (0..49).map(|number| format!("a{number}@example.com")).collect();
    let attachment = |change: Value| {
        let mut attachment = json!({"filename": "a.txt", "content": "aGk="});
        for (name, value) in change.as_object().unwrap() {
            attachment[name] = value.clone();
        }
        json!({"attachments": [attachment]})
    };
    let tag = |name: &str, value: &str| json!({"tags": [{"name": name, "value": value}]});
    for (change, pointer, code) in [
        (json!({"to": []}), "/to", INVALID_VALUE),
        (json!({"to": 1}), "/to", WRONG_TYPE),
        (json!({"to": "nobody"}), "/to", INVALID_VALUE),
        (json!({"to": "a@example.com, b@example.com"}), "/to", INVALID_VALUE),
        (json!({"to": ["a@example.com", 1]}), "/to/1", WRONG_TYPE),
        (
            json!({"to": ["a@example.com\r\nBcc: x@example.com"]}),
            "/to/0",
            INVALID_VALUE,
        ),
        (json!({"cc": many, "bcc": "x@example.com"}), "/to", TOO_MANY),
        (json!({"bcc": vec!["x@example.com"; 51]}), "/bcc", TOO_MANY),
        (json!({"reply_to": vec!["x@example.com"; 11]}), "/reply_to", TOO_MANY),
        (json!({"from": "AOS"}), "/from", INVALID_VALUE),
        (json!({"from": "A\n<a@example.com>"}), "/from", INVALID_VALUE),
        (json!({"subject": ""}), "/subject", INVALID_VALUE),
        (json!({"subject": "a\r\nBcc: x@example.com"}), "/subject", INVALID_VALUE),
        (json!({"subject": "a\u{2028}b"}), "/subject", INVALID_VALUE),
        (json!({"subject": "x".repeat(999)}), "/subject", TOO_LONG),
        (json!({"text": ""}), "/text", REQUIRED),
        (json!({"html": "x".repeat(1024 * 1024 + 1)}), "/html", TOO_LONG),
        (
            attachment(json!({"filename": "../a.txt"})),
            "/attachments/0/filename",
            INVALID_VALUE,
        ),
        (
            attachment(json!({"filename": "a\\b"})),
            "/attachments/0/filename",
            INVALID_VALUE,
        ),
        (
            attachment(json!({"filename": ".."})),
            "/attachments/0/filename",
            INVALID_VALUE,
        ),
        (
            attachment(json!({"filename": "a\nb"})),
            "/attachments/0/filename",
            INVALID_VALUE,
        ),
        (
            attachment(json!({"content": "?"})),
            "/attachments/0/content",
            INVALID_VALUE,
        ),
        (
            attachment(json!({"content": "aGk"})),
            "/attachments/0/content",
            INVALID_VALUE,
        ),
        (
            attachment(json!({"content_type": "text"})),
            "/attachments/0/content_type",
            INVALID_VALUE,
        ),
        (
            attachment(json!({"path": "https://example.com/a"})),
            "/attachments/0/path",
            UNKNOWN_FIELD,
        ),
        (
            json!({"attachments": [{"filename": "a"}]}),
            "/attachments/0/content",
            REQUIRED,
        ),
        (
            attachment(json!({"content": "A".repeat(4 * 1024 * 1024 + 4)})),
            "/attachments",
            TOO_LONG,
        ),
        (json!({"attachments": ["x"]}), "/attachments/0", WRONG_TYPE),
        (json!({"attachments": vec![json!({}); 11]}), "/attachments", TOO_MANY),
        (tag("a b", "c"), "/tags/0/name", INVALID_VALUE),
        (tag("a", "ü"), "/tags/0/value", INVALID_VALUE),
        (tag("a", &"x".repeat(257)), "/tags/0/value", INVALID_VALUE),
        (json!({"tags": [{"name": "a"}]}), "/tags/0/value", REQUIRED),
        (json!({"headers": {"X-Other": "x"}}), "/headers", UNKNOWN_FIELD),
    ] {
        let errors = EmailSend.check(&with(&change)).unwrap_err();
        assert!(
            errors
                .iter()
                .any(|error| error.pointer == pointer && error.code == code),
            "{pointer} {code}: {errors:?}"
        );
    }
}

#[test]
fn the_limits_themselves_are_within() {
    let attached = "A".repeat(4 * 1024 * 1024);
    for change in [
        json!({"to": vec!["b@example.com"; 20], "cc": vec!["c@example.com"; 20], "bcc": vec!["d@example.com"; 10]}),
        json!({"subject": "x".repeat(998)}),
        json!({"attachments": [{"filename": "a b (1).txt", "content": attached}]}),
        json!({"attachments": [{"filename": "empty", "content": ""}]}),
        json!({"text": null, "html": "<p>"}),
    ] {
        let mut params = with(&change);
        if params["text"].is_null() {
            params.as_object_mut().unwrap().remove("text");
        }
        assert_eq!(EmailSend.check(&params), Ok(()));
    }
}

#[test]
fn a_reference_may_stand_inside_of_lists_and_texts() {
    let params = json!({
        "to": ["{{input.user}}@example.com", "{{steps.a.output.address}}"],
        "cc": "{{input.name}} <x@example.com>",
        "subject": "Hello {{input.name}}",
        "html": "{{steps.a.output.html}}",
        "attachments": ["{{steps.a.output.file}}", {"filename": "{{input.name}}.txt", "content": "{{steps.a.output.base64}}"}],
        "tags": [{"name": "run", "value": "{{input.tag}}"}]
    });
    assert_eq!(EmailSend.check(&params), Ok(()));
}

#[test]
fn what_a_reference_brought_in_is_checked_again() {
    let mut scene = Scene::default();
    scene
        .owner
        .values
        .insert(OwnSetting::ResendApiKey, SecretString::from("re_x"));
    let (code, message) = run(&scene, &with(&json!({"subject": "a\nBcc: x@example.com"})));
    assert_eq!(code, "invalid_params");
    assert!(message.starts_with("/subject"), "{message}");
    // A brace that is only text now is an address no more.
    let (code, _) = run(&scene, &with(&json!({"to": "{{input.x}}"})));
    assert_eq!(code, "invalid_params");
}

#[test]
fn without_a_key_or_a_sender_the_setting_is_named() {
    let mut scene = Scene::default();
    scene.owner.tier = Tier::Free;
    let (code, message) = run(&scene, &mail());
    assert_eq!(code, "integration_not_configured");
    assert!(message.contains("resend_api_key"), "{message}");

    let own = &mut scene.owner.values;
    own.insert(OwnSetting::ResendApiKey, SecretString::from("re_x"));
    let mut params = mail();
    params.as_object_mut().unwrap().remove("from");
    assert_eq!(EmailSend.check(&params), Ok(()));
    let (code, message) = run(&scene, &params);
    assert_eq!(code, "invalid_params");
    assert!(message.contains("resend_from_address"), "{message}");

    let own = &mut scene.owner.values;
    own.insert(OwnSetting::ResendFromAddress, SecretString::from("a@b"));
    let (code, message) = run(&scene, &params);
    assert_eq!(code, "invalid_params");
    assert!(message.contains("resend_from_address"), "{message}");
}

#[test]
fn an_effect_tells_how_many_and_where_and_not_who() {
    let params = with(&json!({
        "to": ["Ada <ada@Example.com>", "b@example.org"], "cc": "c@example.com", "bcc": "d@example.com"
    }));
    let read = read(&params, Stage::Resolved).unwrap();
    let mail = |to: Vec<&'static str>| Mail {
        from: "a@example.com",
        to,
        cc: Vec::new(),
        bcc: Vec::new(),
        reply_to: Vec::new(),
        subject: "secret",
        text: Some("secret"),
        html: None,
        attachments: Vec::new(),
        tags: Vec::new(),
    };
    let all = Mail {
        cc: texts(&read.cc),
        bcc: texts(&read.bcc),
        to: texts(&read.to),
        ..mail(Vec::new())
    };
    assert_eq!(target(&all), "4 recipients at example.com, example.org");
    assert_eq!(target(&mail(vec!["x@example.com"])), "1 recipient at example.com");
    let many = vec!["x@a.de", "x@b.de", "x@c.de", "x@d.de", "x@e.de", "x@f.de", "x@g.de"];
    assert_eq!(
        target(&mail(many)),
        "7 recipients at a.de, b.de, c.de, d.de, e.de and 2 more domains"
    );
}
