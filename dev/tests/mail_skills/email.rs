//! `email_send` against the stand-in of Resend.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aos::skills::{Category, OutcomeStatus};
use aos::tenants::{Installation, OwnSetting, Tier};
use aos_dev::faults::Action;
use aos_dev::standins::received::Key;
use aos_dev::standins::script::Step;
use serde_json::{Value, json};

use crate::world::{Meaning, SENDER, World, assert_means, step_id};

fn mail() -> Value {
    json!({"to": "Ada <ada@example.com>", "subject": "Hello", "text": "What it says."})
}

#[tokio::test]
async fn a_mail_goes_out_as_the_params_say() {
    let world = World::start().await;
    let params = json!({
        "to": ["Ada <ada@example.com>", "b@example.org"], "cc": "c@example.com", "bcc": ["d@example.com"],
        "from": "Reports <reports@example.com>", "reply_to": "e@example.com", "subject": "Ünïcode ✓",
        "text": "plain", "html": "<p>rich</p>",
        "attachments": [{"filename": "a.txt", "content": "aGk=", "content_type": "text/plain"}],
        "tags": [{"name": "kind", "value": "report"}]
    });
    let outcome = world.call("email_send", 1, &params).await;
    assert_eq!(outcome.status, OutcomeStatus::Succeeded, "{:?}", outcome.error);

    let resend = world.standins.resend();
    let sent = resend.sent();
    let mail = serde_json::to_value(&sent.mails[0]).unwrap();
    assert_eq!(sent.count, 1);
    for (field, value) in [
        ("from", json!("Reports <reports@example.com>")),
        ("to", json!(["Ada <ada@example.com>", "b@example.org"])),
        ("cc", json!(["c@example.com"])),
        ("bcc", json!(["d@example.com"])),
        ("reply_to", json!(["e@example.com"])),
        ("subject", json!("Ünïcode ✓")),
        ("text", json!("plain")),
        ("html", json!("<p>rich</p>")),
        ("tags", json!([{"name": "kind", "value": "report"}])),
        ("idempotency_key", json!(step_id(1).to_string())),
    ] {
        assert_eq!(mail[field], value, "{field}");
    }
    assert_eq!(mail["attachments"][0]["bytes"], 2);

    let received = resend.received();
    let request = &received.requests[0];
    assert_eq!((received.count, request.key), (1, Key::Right));
    assert!(request.headers["user-agent"].starts_with("AOS/"));

    assert_eq!(
        outcome.output,
        Some(json!({
            "id": sent.mails[0].id, "from": "Reports <reports@example.com>",
            "recipients": {"to": 2, "cc": 1, "bcc": 1}
        }))
    );
    let effect = &outcome.effects[0];
    assert_eq!(
        (effect.kind.as_ref(), effect.target.as_str()),
        ("email", "4 recipients at example.com, example.org")
    );
    assert_eq!(effect.idempotency_key, step_id(1).to_string());
    let call = &outcome.calls[0];
    assert_eq!(
        (call.integration.as_ref(), call.own_key, call.requests),
        ("resend", true, 1)
    );
    assert!(call.bytes_out > 0 && call.bytes_in > 0);
    assert_eq!((outcome.cost_microusd, outcome.usage.requests), (Some(0), 1));
    world.end().await;
}

#[tokio::test]
async fn the_sender_of_the_settings_is_the_default() {
    let mut world = World::start().await;
    assert_eq!(
        world.call("email_send", 1, &mail()).await.status,
        OutcomeStatus::Succeeded
    );
    assert_eq!(world.standins.resend().sent().mails[0].mail.from, SENDER);

    world.owner.values.remove(&OwnSetting::ResendFromAddress);
    let error = world.call("email_send", 2, &mail()).await.error.unwrap();
    assert_eq!(
        (error.category, error.code.as_ref()),
        (Category::Validation, "invalid_params")
    );
    assert!(error.message.contains("resend_from_address"), "{}", error.message);
    assert_eq!(world.standins.resend().sent().count, 1);
    world.end().await;
}

#[tokio::test]
async fn every_documented_error_has_its_meaning() {
    let world = World::start().await;
    let rejected: Meaning = ("validation", "request_rejected", false, None);
    let unauthorized: Meaning = ("configuration", "integration_unauthorized", false, None);
    let forbidden: Meaning = ("permission", "permission_denied", false, None);
    let quota: Meaning = ("rate_limit", "quota_exhausted", false, None);
    let broken: Meaning = ("provider", "provider_unavailable", true, None);
    let mut step = 0;
    for (name, status, meaning) in [
        ("invalid_idempotency_key", 400, rejected),
        ("validation_error", 400, rejected),
        ("missing_api_key", 401, unauthorized),
        ("restricted_api_key", 401, forbidden),
        ("validation_error_401", 401, unauthorized),
        ("invalid_api_key", 403, unauthorized),
        ("validation_error_403", 403, forbidden),
        ("not_found", 404, ("not_found", "target_not_found", false, None)),
        ("method_not_allowed", 405, rejected),
        (
            "invalid_idempotent_request",
            409,
            ("conflict", "target_conflict", false, None),
        ),
        (
            "concurrent_idempotent_requests",
            409,
            ("conflict", "request_in_flight", true, None),
        ),
        ("invalid_attachment", 422, rejected),
        ("invalid_from_address", 422, rejected),
        ("invalid_parameter", 422, rejected),
        ("missing_required_field", 422, rejected),
        ("validation_error_422", 422, rejected),
        (
            "rate_limit_exceeded",
            429,
            ("rate_limit", "rate_limited", true, Some(1_000)),
        ),
        ("daily_quota_exceeded", 429, quota),
        ("monthly_quota_exceeded", 429, quota),
        ("application_error", 500, broken),
        ("internal_server_error", 500, broken),
    ] {
        step += 1;
        world.standins.resend().script([Step::error(name)]).unwrap();
        let outcome = world.call("email_send", step, &mail()).await;
        let error = outcome.error.unwrap();
        assert_means(&error, meaning, name);
        assert_eq!(error.provider_status, Some(status), "{name}");
        assert_eq!(error.provider.as_deref(), Some("resend"));
        assert!(outcome.effects.is_empty(), "{name}");
        let call = &outcome.calls[0];
        assert_eq!(
            (call.code.as_deref(), call.provider_status),
            (Some(meaning.1), Some(status))
        );
    }
    // What Resend does not document: its proxies', and a name that is new.
    for (status, body, meaning) in [
        (403, r#"{"error":"error code: 1010"}"#, forbidden),
        (402, "", quota),
        (
            413,
            "<p>too large</p>",
            ("validation", "request_too_large", false, None),
        ),
        (
            451,
            r#"{"statusCode":451,"name":"security_error","message":"m"}"#,
            forbidden,
        ),
        (418, r#"{"statusCode":418,"name":"teapot","message":"m"}"#, rejected),
        (502, "<p>bad gateway</p>", broken),
        (503, "busy", broken),
        (504, "", broken),
        (200, "{}", ("provider", "invalid_answer", true, None)),
        (302, "", ("provider", "invalid_answer", true, None)),
    ] {
        step += 1;
        world.standins.resend().script([Step::status(status, body)]).unwrap();
        let outcome = world.call("email_send", step, &mail()).await;
        assert_means(&outcome.error.unwrap(), meaning, &format!("{status} {body}"));
    }
    // A redirect is not followed.
    let to = world.standins.webhooks().url("elsewhere");
    let redirect = Action::Status {
        code: 307,
        body: String::new(),
        headers: [("location".to_owned(), to)].into(),
    };
    world.standins.resend().script([Step::fault(redirect)]).unwrap();
    let outcome = world.call("email_send", 99, &mail()).await;
    assert_means(
        &outcome.error.unwrap(),
        ("provider", "invalid_answer", true, None),
        "redirect",
    );
    assert_eq!(world.standins.webhooks().received().count, 0);

    let limited = Step::error("rate_limit_exceeded").retry_after("7");
    world.standins.resend().script([limited]).unwrap();
    let outcome = world.call("email_send", 100, &mail()).await;
    assert_eq!(outcome.error.unwrap().retry_after_ms, Some(7_000));
    assert_eq!(world.standins.resend().sent().count, 0);
    world.end().await;
}

#[tokio::test]
async fn a_mail_whose_answer_was_lost_is_sent_once() {
    let world = World::start().await;
    let patience = Duration::from_millis(400);
    let lost: Meaning = ("network", "network", true, None);
    for (step, (action, meaning)) in (1..).zip([
        (Action::DropAfter, lost),
        (Action::HalfBody, lost),
        (Action::DropBefore, lost),
        (Action::DelayAfter { ms: 1_000 }, ("timeout", "timeout", true, None)),
    ]) {
        world.next(action.clone());
        let outcome = world.call_within(patience, "email_send", step, &mail()).await;
        assert_means(&outcome.error.unwrap(), meaning, &format!("{action:?}"));
        assert!(outcome.effects.is_empty() && outcome.calls.len() == 1);
        // The same step again, as the engine does it.
        let outcome = world.call("email_send", step, &mail()).await;
        assert_eq!(
            outcome.status,
            OutcomeStatus::Succeeded,
            "{action:?}: {:?}",
            outcome.error
        );
        let sent = world.standins.resend().sent_with_key(&step_id(step).to_string());
        assert_eq!(sent, 1, "{action:?}");
    }
    world.standins.resend().script([Step::garbage()]).unwrap();
    let outcome = world.call("email_send", 9, &mail()).await;
    let garbage: Meaning = ("provider", "invalid_answer", true, None);
    assert_means(&outcome.error.unwrap(), garbage, "garbage");
    world.end().await;
}

#[tokio::test]
async fn the_same_mail_in_flight_is_waited_for_and_another_one_is_a_conflict() {
    let world = World::start().await;
    let resend = world.standins.resend();
    resend.take_time(Duration::from_millis(500));
    let params = mail();
    let later = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        world.call("email_send", 1, &params).await
    };
    let (first, second) = tokio::join!(world.call("email_send", 1, &params), later);
    assert_eq!(first.status, OutcomeStatus::Succeeded);
    let in_flight: Meaning = ("conflict", "request_in_flight", true, None);
    assert_means(&second.error.unwrap(), in_flight, "in flight");

    let again = world.call("email_send", 1, &params).await;
    assert_eq!(again.output, first.output);
    let other = json!({"to": "ada@example.com", "subject": "Another", "text": "t"});
    let conflict: Meaning = ("conflict", "target_conflict", false, None);
    assert_means(
        &world.call("email_send", 1, &other).await.error.unwrap(),
        conflict,
        "another mail",
    );
    assert_eq!(resend.sent().count, 1);
    world.end().await;
}

#[tokio::test]
async fn what_was_never_sent_may_be_tried_again() {
    let mut world = World::start().await;
    world.close_the_providers();
    let outcome = world.call("email_send", 1, &mail()).await;
    assert_means(
        &outcome.error.unwrap(),
        ("network", "network", true, None),
        "nobody listens",
    );
    world.end().await;
}

#[tokio::test]
async fn the_installations_key_is_for_the_tiers_that_may_use_it() {
    let mut world = World::start().await;
    let values = std::mem::take(&mut world.owner.values);
    world.services.installation = Arc::new(Installation {
        values,
        open_to: vec![Tier::Pro],
        operator_tenant: None,
    });
    let error = world.call("email_send", 1, &mail()).await.error.unwrap();
    let not_configured: Meaning = ("configuration", "integration_not_configured", false, None);
    assert_means(&error, not_configured, "free");
    assert!(error.message.contains("tier (free) may not"), "{}", error.message);

    world.owner.tier = Tier::Pro;
    let outcome = world.call("email_send", 1, &mail()).await;
    assert_eq!(outcome.status, OutcomeStatus::Succeeded, "{:?}", outcome.error);
    assert!(!outcome.calls[0].own_key);
    world.end().await;
}

#[tokio::test]
async fn with_the_installations_key_mail_comes_from_its_address_alone() {
    let mut world = World::start().await;
    let own_key = world.owner.values.remove(&OwnSetting::ResendApiKey).unwrap();
    world.owner.values.clear();
    let mut values = BTreeMap::from([
        (OwnSetting::ResendApiKey, own_key.clone()),
        (OwnSetting::ResendFromAddress, SENDER.into()),
    ]);
    let installation = |values: &BTreeMap<_, _>| {
        Arc::new(Installation {
            values: values.clone(),
            open_to: vec![Tier::Free],
            operator_tenant: None,
        })
    };
    world.services.installation = installation(&values);
    let from = |from: &str| {
        let mut mail = mail();
        mail["from"] = from.into();
        mail["reply_to"] = "ada@corp.example".into();
        mail
    };
    let denied: Meaning = ("permission", "permission_denied", false, None);
    for other in [
        "ceo@example.com",
        "AOS <ceo@example.com>",
        "aos@mail.example.com",
        "AOS@example.com",
        "\"aos@example.com\" <ceo@example.com>",
    ] {
        let error = world.call("email_send", 1, &from(other)).await.error.unwrap();
        assert_means(&error, denied, other);
        assert!(error.message.contains("aos@example.com alone"), "{}", error.message);
    }
    // Nor by the tenant's own setting, while the key is not its own.
    let setting = OwnSetting::ResendFromAddress;
    world.owner.values.insert(setting, "ceo@example.com".into());
    assert_means(
        &world.call("email_send", 1, &mail()).await.error.unwrap(),
        denied,
        "setting",
    );
    assert_eq!(world.standins.resend().received().count, 0);

    world.owner.values.clear();
    for (step, own) in (2..).zip(["Reports <aos@example.com>", "aos@EXAMPLE.com"]) {
        let outcome = world.call("email_send", step, &from(own)).await;
        assert_eq!(outcome.status, OutcomeStatus::Succeeded, "{:?}", outcome.error);
    }
    // With a key of its own a tenant sends from where it likes.
    world.owner.values.insert(OwnSetting::ResendApiKey, own_key);
    let outcome = world.call("email_send", 4, &from("ceo@example.com")).await;
    assert_eq!(outcome.status, OutcomeStatus::Succeeded, "{:?}", outcome.error);

    world.owner.values.clear();
    values.remove(&setting);
    world.services.installation = installation(&values);
    let missing: Meaning = ("configuration", "integration_not_configured", false, None);
    let outcome = world.call("email_send", 5, &from("aos@example.com")).await;
    assert_means(&outcome.error.unwrap(), missing, "no address");
    world.end().await;
}
