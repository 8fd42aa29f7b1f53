//! API keys: shown once, kept as a hash, never more than who made them, found by who has them.

use std::time::Duration;

use aos::api_keys::{self, KeyState, NewApiKey};
use aos::auth::{Permission, PermissionSet, Principal, Role};
use aos::platform::Clock;
use aos::tenants::Tier;
use serde_json::json;

use crate::world::{body, by, key, key_of, operator, places, secret_of, test, user};

#[test]
fn a_key_is_shown_by_the_answer_that_made_it_and_by_no_other_each_by_one_request() {
    test("keys-shown-once", async |test| {
        let new = json!({"name": "ci \"ü\"", "scopes": ["runs:read", "agents:read"], "requests_per_minute": 7,
                         "expires_at": "2099-01-01T00:00:00Z"});
        let (answer, requests) = test.requests(test.create_key(new)).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.replayed), (201, false));
        assert_eq!(requests, ["api_keys.create"]);
        let (made, secret) = (key_of(&answer), secret_of(&answer));
        assert_eq!(answer.location, format!("/v1/api-keys/{}", made.id));
        assert_eq!(made.scopes, ["agents:read", "runs:read"]);
        assert_eq!(made.created_by, "session:sess_1 user_1");
        assert!(secret.starts_with(&made.prefix) && secret.len() == 47);

        let (read, requests) = test
            .requests(api_keys::get(&test.database, &test.principal, made.id))
            .await;
        assert_eq!(requests, ["api_keys.get"]);
        assert_eq!(read.unwrap(), made);
        let (listed, requests) = test
            .requests(api_keys::list(&test.database, &test.principal, None))
            .await;
        assert_eq!(requests, ["api_keys.list"]);
        assert_eq!(listed.unwrap().items, [made]);
    });
}

#[test]
fn a_repeated_request_gets_its_key_but_not_the_secret() {
    test("keys-replayed", async |test| {
        let new = || body::<NewApiKey>(json!({"name": "ci", "scopes": ["runs:read"]}));
        let create = async || {
            api_keys::create(&test.database, by(&test.principal), Some(&key("k")), new())
                .await
                .unwrap()
        };
        let (first, twin) = futures::future::join(create(), create()).await;
        let (first, again) = if first.replayed { (twin, first) } else { (first, twin) };
        assert!(again.replayed && again.body["key"].is_null());
        assert_eq!(
            (key_of(&again), again.location),
            (key_of(&first), first.location.clone())
        );
        assert!(test.find(&secret_of(&first)).await.is_some());
        let rows = "select count(*) from api_keys k join tenants t on t.id = k.tenant_id \
                    where t.external_id = 'keys-replayed'";
        assert_eq!(test.count(rows).await, 1);
        assert_eq!(test.audit("action=api_keys.create").await.len(), 1);
        let other = body(json!({"name": "other", "scopes": ["runs:read"]}));
        let refused = api_keys::create(&test.database, by(&test.principal), Some(&key("k")), other).await;
        assert_eq!(refused.unwrap_err().code, "idempotency_conflict");
    });
}

#[test]
fn nothing_that_is_kept_opens_anything() {
    test("keys-leaked", async |test| {
        let answer = api_keys::create(
            &test.database,
            by(&test.principal),
            Some(&key("k")),
            body(json!({"name": "ci", "scopes": ["runs:read"]})),
        )
        .await
        .unwrap();
        let secret = secret_of(&answer);
        // Every row of every table, as whoever stole the whole database has it.
        let tables = "select table_name::text from information_schema.tables where table_schema = 'public'";
        let mut leaked = String::new();
        for table in test.owner.query(tables, &[]).await.unwrap() {
            let sql = format!(
                "select coalesce(string_agg(to_jsonb(x)::text, ''), '') from {} x",
                table.get::<_, String>(0)
            );
            leaked += &test.owner.query_one(&sql, &[]).await.unwrap().get::<_, String>(0);
        }
        let made = key_of(&answer);
        assert!(leaked.contains(&made.prefix), "the row is among them");
        assert!(!leaked.contains(&secret[12..]) && !leaked.contains(&secret));
        // What stands in the row is not a key, and shown as one it finds nothing.
        let hash: String = test
            .owner
            .query_one("select hash from api_keys where id = $1", &[&made.id.uuid()])
            .await
            .unwrap()
            .get(0);
        for shown in [hash.clone(), format!("aos_{}", &hash[..43]), made.prefix.clone()] {
            if let Some(hash) = api_keys::hash_of(shown.as_bytes()) {
                assert!(api_keys::find(&test.database, &hash).await.unwrap().is_none());
            }
        }
    });
}

#[test]
fn nobody_gives_a_key_what_he_has_not() {
    test("keys-scopes", async |test| {
        let give = async |principal: &Principal, scopes: &[&str]| {
            let new = body(json!({"name": "k", "scopes": scopes}));
            api_keys::create(&test.database, by(principal), None, new).await
        };
        let narrow = Principal::api_key(
            "keys-scopes".parse().unwrap(),
            "key_018f0000000070008000000000000001".parse().unwrap(),
            PermissionSet::of(&[Permission::ApiKeysManage, Permission::RunsRead]),
        );
        let refused = give(&narrow, &["runs:read", "runs:create", "api_keys:manage"])
            .await
            .unwrap_err();
        assert_eq!(places(&refused), ["/scopes/1 not_allowed"]);
        assert!(give(&narrow, &["api_keys:manage", "runs:read"]).await.is_ok());
        // Not even the operator makes a key that is the operator's.
        let operator = operator("keys-scopes");
        let refused = give(&operator, &["tenants:manage", "runs:create", "tenants:read"])
            .await
            .unwrap_err();
        assert_eq!(places(&refused), ["/scopes/0 not_allowed", "/scopes/2 not_allowed"]);
        assert!(give(&operator, &["runs:create"]).await.is_ok());
        assert!(
            give(&user("keys-scopes", Role::Readonly), &["runs:create"])
                .await
                .is_err()
        );
    });
}

#[test]
fn every_bad_field_is_named_before_anything_is_asked_of_the_database() {
    test("keys-bad-fields", async |test| {
        let bad = json!({"name": " ", "scopes": ["runs:read", "runs:read"], "requests_per_minute": 0,
                         "expires_at": "2020-01-01T00:00:00Z"});
        let (refused, requests) = test.requests(test.create_key(bad)).await;
        assert_eq!(
            places(&refused.unwrap_err()),
            [
                "/name invalid_format",
                "/expires_at out_of_range",
                "/requests_per_minute out_of_range",
                "/scopes/1 duplicate",
            ]
        );
        assert!(requests.is_empty());
        let none = test.create_key(json!({"name": "k", "scopes": []})).await.unwrap_err();
        assert_eq!(places(&none), ["/scopes required"]);
        let unknown = aos::body::parse::<NewApiKey>(br#"{"name":"k","scopes":["runs:fly"]}"#).unwrap_err();
        assert_eq!(places(&unknown), ["/scopes/0 unknown_value"]);
    });
}

#[test]
fn a_key_is_found_with_its_tenant_scopes_and_limits_by_one_request() {
    test("keys-found", async |test| {
        let new = json!({"name": "ci", "scopes": ["runs:read"], "requests_per_minute": 5});
        let answer = test.create_key(new).await.unwrap();
        test.owner
            .execute("update tenants set tier = 'pro' where external_id = 'keys-found'", &[])
            .await
            .unwrap();
        let isolate = test.second_isolate();
        let hash = api_keys::hash_of(secret_of(&answer).as_bytes()).unwrap();
        let (found, requests) = test.requests(api_keys::find(&isolate, &hash)).await;
        let found = found.unwrap().unwrap();
        assert_eq!(requests, ["api_keys.find"]);
        assert_eq!((found.id, found.tenant.as_str()), (key_of(&answer).id, "keys-found"));
        assert_eq!(found.scopes, PermissionSet::of(&[Permission::RunsRead]));
        assert_eq!((found.state, found.requests_per_minute), (KeyState::Active, Some(5)));
        assert_eq!((found.limits.tier, found.limits.per_minute()), (Tier::Pro, 1_200));
        assert_eq!(isolate.limits_of(&found.tenant), Some(found.limits));
        assert!(test.find(&format!("aos_{}", "x".repeat(43))).await.is_none());
    });
}

#[test]
fn use_is_noted_at_most_once_a_minute() {
    test("keys-last-used", async |test| {
        let (id, secret) = test.key("ci").await;
        let last_used = async || {
            api_keys::get(&test.database, &test.principal, id)
                .await
                .unwrap()
                .last_used_at
        };
        assert_eq!(last_used().await, None);
        let all = (0..8).map(|_| test.find(&secret));
        assert!(futures::future::join_all(all).await.iter().all(Option::is_some));
        let first = last_used().await.unwrap();
        test.find(&secret).await.unwrap();
        assert_eq!(last_used().await, Some(first));
        let back = "update api_keys set last_used_at = last_used_at - interval '61 seconds' where id = $1";
        test.owner.execute(back, &[&id.uuid()]).await.unwrap();
        test.find(&secret).await.unwrap();
        assert!(last_used().await.unwrap() > first);
    });
}

#[test]
fn a_key_ends_at_its_time_and_says_so_to_who_has_it() {
    test("keys-expire", async |test| {
        let soon = test.clock.now() + Duration::from_millis(400);
        let new = json!({"name": "ci", "scopes": ["runs:read"], "expires_at": soon});
        let answer = test.create_key(new).await.unwrap();
        let secret = secret_of(&answer);
        assert_eq!(test.find(&secret).await.unwrap().state, KeyState::Active);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let found = test.find(&secret).await.unwrap();
        assert_eq!(found.state, KeyState::Expired);
        assert_eq!(found.principal(test.clock.now()).unwrap_err().code, "api_key_expired");
    });
}

#[test]
fn a_revoked_key_opens_nothing_and_isolates_that_remember_it_are_told() {
    test("keys-revoked", async |test| {
        let (id, secret) = test.key("ci").await;
        let revoke = || api_keys::revoke(&test.database, &test.upstash, by(&test.principal), id);
        let (revoked, requests) = test.requests(revoke()).await;
        let revoked = revoked.unwrap();
        assert_eq!(requests, ["api_keys.revoke"]);
        assert!(revoked.revoked_at.is_some());
        assert_eq!(test.find(&secret).await.unwrap().state, KeyState::Revoked);
        // Again changes nothing, and is not audited as if it had.
        test.clock.advance(Duration::from_secs(5));
        assert_eq!(revoke().await.unwrap(), revoked);
        let audited = test.audit("action=api_keys.revoke").await;
        assert_eq!(audited.len(), 1);
        assert_eq!(audited[0].target, Some(id.to_string()));
        assert!(crate::limits::is_revoked(test, id).await);
    });
}

#[test]
fn keys_are_the_tenants_own() {
    test("keys-foreign", async |test| {
        let (id, secret) = test.key("ci").await;
        let other = user("keys-foreign-other", Role::Owner);
        let rotation = body(json!({}));
        for problem in [
            api_keys::get(&test.database, &other, id).await.unwrap_err(),
            api_keys::revoke(&test.database, &test.upstash, by(&other), id)
                .await
                .unwrap_err(),
            api_keys::rotate(&test.database, &test.upstash, by(&other), id, None, rotation)
                .await
                .unwrap_err(),
        ] {
            assert_eq!((problem.status, problem.code.as_ref()), (404, "not_found"));
        }
        assert!(
            api_keys::list(&test.database, &other, None)
                .await
                .unwrap()
                .items
                .is_empty()
        );
        assert_eq!(test.find(&secret).await.unwrap().state, KeyState::Active);
        assert!(!crate::limits::is_revoked(test, id).await);
    });
}

#[test]
fn a_tenant_has_a_hundred_keys_at_most_however_many_are_asked_for_at_once() {
    test("keys-many", async |test| {
        for n in 0..97 {
            test.key(&n.to_string()).await;
        }
        let more = (0..8).map(|n| test.create_key(json!({"name": format!("m{n}"), "scopes": ["runs:read"]})));
        let more = futures::future::join_all(more).await;
        let made: Vec<_> = more.iter().flatten().collect();
        assert_eq!(made.len(), 3);
        for refused in more.iter().filter_map(|answer| answer.as_ref().err()) {
            assert_eq!(refused.code, "too_many_api_keys");
        }
        assert_eq!(test.audit("action=api_keys.create&limit=100").await.len(), 100);
        // A revoked one makes room.
        let id = key_of(made[0]).id;
        api_keys::revoke(&test.database, &test.upstash, by(&test.principal), id)
            .await
            .unwrap();
        assert!(
            test.create_key(json!({"name": "last", "scopes": ["runs:read"]}))
                .await
                .is_ok()
        );
    });
}
