//! What `slack_send` takes, and what it says before anything is sent.

use secrecy::SecretString;

use super::*;
use crate::skills::{
    params::{INVALID_VALUE, REQUIRED, TOO_LONG, TOO_MANY, UNKNOWN_FIELD, WRONG_TYPE},
    testing::{Scene, assert_listed},
};

fn section(chars: usize) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": "ü".repeat(chars)}})
}

fn header(chars: usize) -> Value {
    json!({"type": "header", "text": {"type": "plain_text", "text": "x".repeat(chars)}})
}

fn field(chars: usize) -> Value {
    json!({"type": "plain_text", "text": "x".repeat(chars)})
}

#[test]
fn what_slack_would_refuse_is_refused_at_its_place() {
    for (params, pointer, code) in [
        (json!({}), "/text", REQUIRED),
        (json!({"text": ""}), "/text", REQUIRED),
        (json!({"blocks": []}), "/text", REQUIRED),
        (json!({"text": "x".repeat(40_001)}), "/text", TOO_LONG),
        (json!({"blocks": {}}), "/blocks", WRONG_TYPE),
        (json!({"blocks": vec![section(1); 51]}), "/blocks", TOO_MANY),
        (json!({"blocks": ["x"]}), "/blocks/0", WRONG_TYPE),
        (json!({"blocks": [{"text": "x"}]}), "/blocks/0/type", REQUIRED),
        (json!({"blocks": [section(3_001)]}), "/blocks/0/text/text", TOO_LONG),
        (json!({"blocks": [section(0)]}), "/blocks/0/text/text", TOO_LONG),
        (json!({"blocks": [{"type": "section"}]}), "/blocks/0/text", REQUIRED),
        (
            json!({"blocks": [{"type": "section", "text": "x"}]}),
            "/blocks/0/text",
            INVALID_VALUE,
        ),
        (
            json!({"blocks": [{"type": "section", "fields": vec![field(1); 11]}]}),
            "/blocks/0/fields",
            INVALID_VALUE,
        ),
        (
            json!({"blocks": [{"type": "section", "fields": [field(2_001)]}]}),
            "/blocks/0/fields/0/text",
            TOO_LONG,
        ),
        (
            json!({"blocks": [{"type": "divider"}, header(151)]}),
            "/blocks/1/text/text",
            TOO_LONG,
        ),
        (
            json!({"blocks": [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}]}),
            "/blocks/0/text",
            INVALID_VALUE,
        ),
        (json!({"text": "x", "thread": "yesterday"}), "/thread", INVALID_VALUE),
        (json!({"text": "x", "thread": "1764331200"}), "/thread", INVALID_VALUE),
        (json!({"text": "x", "channel": "#general"}), "/channel", UNKNOWN_FIELD),
    ] {
        let errors = SlackSend.check(&params).unwrap_err();
        assert!(
            errors
                .iter()
                .any(|error| error.pointer == pointer && error.code == code),
            "{pointer} {code}: {errors:?}"
        );
    }
}

#[test]
fn the_limits_themselves_are_within_and_references_leave_them_open() {
    for params in [
        json!({"text": "ü".repeat(40_000)}),
        json!({"text": "", "blocks": [section(3_000), header(150), {"type": "divider"}]}),
        json!({"blocks": vec![section(1); 50]}),
        json!({"blocks": [{"type": "section", "fields": vec![field(2_000); 10]}], "thread": "1764331200.000100"}),
        json!({"text": "{{input.x}}", "thread": "{{steps.a.output.ts}}"}),
        json!({"blocks": "{{steps.a.output.blocks}}"}),
        json!({"blocks": ["{{steps.a.output.block}}", {"type": "section", "text": "{{steps.a.output.text}}"}]}),
        json!({"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "{{input.x}}"}}]}),
    ] {
        assert_eq!(SlackSend.check(&params), Ok(()), "{params}");
    }
}

#[test]
fn a_webhook_that_does_not_lead_to_slack_is_not_called_and_not_shown() {
    let skill = SlackSend;
    let mut scene = Scene::default();
    let without = scene.run(&skill, &json!({"text": "x"}));
    assert_listed(&skill, &without);
    assert_eq!(without.error.unwrap().code, "integration_not_configured");

    let url = "https://hooks.slack.com.example.com/services/T0/B0/s3cret";
    scene
        .owner
        .values
        .insert(OwnSetting::SlackWebhookUrl, SecretString::from(url));
    let outcome = scene.run(&skill, &json!({"text": "x"}));
    assert_listed(&skill, &outcome);
    assert!(!serde_json::to_string(&outcome).unwrap().contains("s3cret"));
    assert!(outcome.calls.is_empty());
    assert_eq!(outcome.error.unwrap().code, "integration_not_configured");
}
