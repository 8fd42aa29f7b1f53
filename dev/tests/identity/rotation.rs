//! Rotating a key: a successor that may do the same, an end for the old one, and no way up.

use std::time::Duration;

use aos::api_keys::{self, KeyState, Rotation};
use aos::auth::{Permission, PermissionSet, Principal};
use aos::idempotency::{Answer, IdempotencyKey};
use aos::ids::ApiKeyId;
use aos::platform::Clock;
use aos::problem::Problem;
use serde_json::{Value, json};

use crate::world::{Test, by, key, key_of, places, secret_of, test};

async fn rotate_with(test: &Test, id: ApiKeyId, key: Option<&IdempotencyKey>, json: Value) -> Result<Answer, Problem> {
    let body = aos::body::parse::<Rotation>(json.to_string().as_bytes())?;
    api_keys::rotate(&test.database, &test.upstash, by(&test.principal), id, key, body).await
}

async fn rotate(test: &Test, id: ApiKeyId, json: Value) -> Result<Answer, Problem> {
    rotate_with(test, id, None, json).await
}

#[test]
fn a_successor_may_do_the_same_and_the_old_key_ends_after_the_overlap() {
    test("rotate-overlap", async |test| {
        let new = json!({"name": "ci", "scopes": ["runs:read", "runs:create"], "requests_per_minute": 9});
        let answer = test.create_key(new).await.unwrap();
        let (old, old_secret) = (key_of(&answer), secret_of(&answer));
        let (answer, requests) = test.requests(rotate(test, old.id, json!({}))).await;
        let answer = answer.unwrap();
        assert_eq!(requests, ["api_keys.rotate"]);
        let successor = key_of(&answer);
        assert_eq!(
            (answer.status, answer.location.clone()),
            (201, format!("/v1/api-keys/{}", successor.id))
        );
        assert_eq!((&successor.name, &successor.scopes), (&old.name, &old.scopes));
        assert_eq!(
            (
                successor.requests_per_minute,
                successor.rotated_from,
                successor.expires_at
            ),
            (Some(9), Some(old.id), None)
        );
        assert_ne!(secret_of(&answer), old_secret);
        assert_eq!(test.find(&secret_of(&answer)).await.unwrap().state, KeyState::Active);

        // A day, unless somebody says otherwise.
        let found = test.find(&old_secret).await.unwrap();
        assert_eq!(found.state, KeyState::Active);
        let left = found.expires_at.unwrap().duration_since(successor.created_at);
        assert_eq!(left.as_secs(), 24 * 60 * 60);
        assert!(!crate::limits::is_revoked(test, old.id).await);
        test.clock.advance(Duration::from_secs(24 * 60 * 60));
        assert!(
            crate::limits::is_revoked(test, old.id).await,
            "isolates that remember it know its end"
        );
        let audited = test.audit("action=api_keys.rotate").await;
        assert_eq!(audited.len(), 1);
        assert_eq!(audited[0].target, Some(old.id.to_string()));
    });
}

#[test]
fn without_an_overlap_the_old_key_ends_at_once_and_a_later_end_is_never_given() {
    test("rotate-at-once", async |test| {
        let (id, secret) = test.key("ci").await;
        rotate(test, id, json!({"overlap_s": 0})).await.unwrap();
        assert_eq!(test.find(&secret).await.unwrap().state, KeyState::Expired);
        assert!(crate::limits::is_revoked(test, id).await);
        assert_eq!(rotate(test, id, json!({})).await.unwrap_err().code, "api_key_ended");

        let soon = test.clock.now() + Duration::from_secs(60);
        let answer = test
            .create_key(json!({"name": "soon", "scopes": ["runs:read"], "expires_at": soon}))
            .await
            .unwrap();
        let old = key_of(&answer);
        let successor = key_of(&rotate(test, old.id, json!({"overlap_s": 3600})).await.unwrap());
        let after = api_keys::get(&test.database, &test.principal, old.id).await.unwrap();
        assert_eq!(after.expires_at, old.expires_at);
        // It lives as long as the old one was to live.
        let lifetime = |key: &api_keys::ApiKey| key.expires_at.unwrap().duration_since(key.created_at);
        assert_eq!(lifetime(&successor), lifetime(&old));
    });
}

#[test]
fn rotating_is_no_way_to_more_rights() {
    test("rotate-rights", async |test| {
        let answer = test
            .create_key(json!({"name": "strong", "scopes": ["runs:read", "runs:create"]}))
            .await
            .unwrap();
        let id = key_of(&answer).id;
        let narrow = Principal::api_key(
            "rotate-rights".parse().unwrap(),
            "key_018f0000000070008000000000000001".parse().unwrap(),
            PermissionSet::of(&[Permission::ApiKeysManage, Permission::RunsRead]),
        );
        let body = aos::body::parse::<Rotation>(b"{}").unwrap();
        let refused = api_keys::rotate(&test.database, &test.upstash, by(&narrow), id, None, body).await;
        assert_eq!(refused.unwrap_err().code, "forbidden");
        let old = test.find(&secret_of(&answer)).await.unwrap();
        assert_eq!((old.state, old.expires_at), (KeyState::Active, None));
        assert!(test.audit("action=api_keys.rotate").await.is_empty());
    });
}

#[test]
fn a_repeated_rotation_gets_the_first_answer_without_the_key() {
    test("rotate-replayed", async |test| {
        let (id, _) = test.key("ci").await;
        let (other, _) = test.key("other").await;
        let key = key("k");
        let rotate = |id, json| rotate_with(test, id, Some(&key), json);
        let first = rotate(id, json!({"overlap_s": 60})).await.unwrap();
        let again = rotate(id, json!({"overlap_s": 60})).await.unwrap();
        assert!(again.replayed && again.body["key"].is_null());
        let mut expected = first.body.clone();
        expected["key"] = Value::Null;
        assert_eq!(
            (again.body, again.location, again.status),
            (expected, first.location, 201)
        );
        // Another key, or other words, is another request.
        for (id, json) in [(other, json!({"overlap_s": 60})), (id, json!({"overlap_s": 61}))] {
            assert_eq!(rotate(id, json).await.unwrap_err().code, "idempotency_conflict");
        }
        assert_eq!(test.audit("action=api_keys.rotate").await.len(), 1);
    });
}

#[test]
fn a_refused_rotation_leaves_its_idempotency_key_free() {
    test("rotate-refused", async |test| {
        let (id, _) = test.key("ci").await;
        api_keys::revoke(&test.database, &test.upstash, by(&test.principal), id)
            .await
            .unwrap();
        let refused = rotate_with(test, id, Some(&key("k")), json!({})).await.unwrap_err();
        assert_eq!(refused.code, "api_key_ended");
        let (live, _) = test.key("live").await;
        assert!(rotate_with(test, live, Some(&key("k")), json!({})).await.is_ok());
    });
}

#[test]
fn an_overlap_is_a_week_at_most() {
    test("rotate-week", async |test| {
        let (id, _) = test.key("ci").await;
        let bad = json!({"overlap_s": 604_801, "expires_at": "2020-01-01T00:00:00Z"});
        let (refused, requests) = test.requests(rotate(test, id, bad)).await;
        assert_eq!(
            places(&refused.unwrap_err()),
            ["/overlap_s out_of_range", "/expires_at out_of_range"]
        );
        assert!(requests.is_empty());
        assert!(rotate(test, id, json!({"overlap_s": 604_800})).await.is_ok());
    });
}
