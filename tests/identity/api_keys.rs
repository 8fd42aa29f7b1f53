//! Tenants' own API keys, from their making to their end.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{STAGE, Table, who};

fn shown(created: &Value) -> String {
    created["key"]
        .as_str()
        .unwrap_or_else(|| panic!("the key is shown in {created}"))
        .to_owned()
}

fn path_of(created: &Value, more: &str) -> String {
    format!(
        "/v1/api-keys/{}{more}",
        created["id"].as_str().expect("a key has an id")
    )
}

#[test]
fn a_key_opens_what_its_scopes_say_until_it_ends() {
    STAGE.together(async |world| {
        let person = world.person("admin");
        let (client, token) = (&person.client, world.mint(person.spec()));
        let created = person.api_key(&token, &["runs:read", "identity:read"], json!({})).await;
        let key = shown(&created);
        let mut table = Table::default();
        let expected = json!({
            "tenant": person.tenant(), "subject": created["id"], "credential": "api_key", "roles": [],
            "permissions": ["identity:read", "runs:read"],
        });
        table.known("a good key", who(client).api_key(&key), &expected).await;
        table
            .passed("a scope it has", client.stranger("GET", "/v1/runs").api_key(&key), 200)
            .await;
        let agent = json!({"name": "a", "allowed_skills": []});
        for (name, call) in [
            ("agents:write", client.stranger("POST", "/v1/agents").json(&agent)),
            ("agents:read", client.stranger("GET", "/v1/agents")),
            ("api_keys:read", client.stranger("GET", "/v1/api-keys")),
            ("audit:read", client.stranger("GET", "/v1/audit")),
            ("tenants:read", client.stranger("GET", "/v1/tenants")),
        ] {
            table.refused(name, call.api_key(&key), 403, "forbidden").await;
        }
        for (name, key) in [
            ("an unknown key", format!("aos_{}", "A".repeat(43))),
            ("one letter less", key[..key.len() - 1].to_owned()),
            ("one letter more", format!("{key}A")),
            ("no prefix", key[4..].to_owned()),
            ("another prefix", format!("sk_{}", &key[4..])),
            (
                "the prefix that is shown",
                created["prefix"].as_str().expect("a key has a prefix").to_owned(),
            ),
            ("the id", created["id"].as_str().expect("a key has an id").to_owned()),
            ("letters of no key", format!("aos_{}!", "A".repeat(42))),
        ] {
            table
                .refused(name, who(client).api_key(&key), 401, "unauthenticated")
                .await;
        }
        // Whoever reads the table has nothing that opens anything.
        let id = created["id"]
            .as_str()
            .expect("a key has an id")
            .trim_start_matches("key_")
            .to_owned();
        let stored = world
            .owner
            .value(&format!("select hash from api_keys where id = '{id}'"))
            .await;
        for stored in [
            stored.clone(),
            format!("aos_{}", &stored[..43]),
            format!("aos_{stored}"),
        ] {
            table
                .refused(
                    "what the table holds",
                    who(client).api_key(&stored),
                    401,
                    "unauthenticated",
                )
                .await;
        }

        let revoked = person
            .with(&token, "DELETE", &path_of(&created, ""))
            .send()
            .await
            .expect(200);
        assert!(revoked["revoked_at"].is_string(), "{revoked:#}");
        table
            .refused("a revoked key", who(client).api_key(&key), 401, "api_key_revoked")
            .await;
        table
            .refused("a revoked key again", who(client).api_key(&key), 401, "api_key_revoked")
            .await;

        let ends = person
            .api_key(
                &token,
                &["identity:read"],
                json!({"expires_at": (Timestamp::now() + Duration::from_secs(2)).to_string()}),
            )
            .await;
        table
            .known(
                "a key that ends soon",
                who(client).api_key(&shown(&ends)),
                &json!({"subject": ends["id"]}),
            )
            .await;
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        table
            .refused(
                "an expired key",
                who(client).api_key(&shown(&ends)),
                401,
                "api_key_expired",
            )
            .await;
        table.holds(22);
        // It is told what became of them, and nobody is shown the key again.
        let listed = person.with(&token, "GET", "/v1/api-keys").send().await;
        assert!(!String::from_utf8_lossy(&listed.body).contains(&key[12..]), "{listed}");
        let listed = listed.expect(200);
        assert!(listed["items"][1]["last_used_at"].is_string(), "{listed:#}");
    });
}

#[test]
fn a_rotated_key_opens_for_its_overlap_and_no_longer() {
    STAGE.together(async |world| {
        let person = world.person("admin");
        let (client, token) = (&person.client, world.mint(person.spec()));
        let rotate = async |created: &Value, overlap: u32| {
            let call = person.with(&token, "POST", &path_of(created, "/rotate"));
            call.json(&json!({"overlap_s": overlap})).send().await.expect(201)
        };
        let old = person.api_key(&token, &["identity:read"], json!({})).await;
        // Remembered by the isolate: its end must be heard of all the same.
        who(client).api_key(&shown(&old)).send().await.expect(200);
        let new = rotate(&old, 2).await;
        let mut table = Table::default();
        assert_eq!(new["rotated_from"], old["id"], "{new:#}");
        table
            .known(
                "the successor",
                who(client).api_key(&shown(&new)),
                &json!({"permissions": ["identity:read"]}),
            )
            .await;
        table
            .known(
                "within the overlap",
                who(client).api_key(&shown(&old)),
                &json!({"subject": old["id"]}),
            )
            .await;
        tokio::time::sleep(Duration::from_millis(3_100)).await;
        let reply = who(client).api_key(&shown(&old)).send().await;
        assert_eq!(reply.status, 401, "after the overlap: {reply}");
        let last = rotate(&new, 0).await;
        let reply = who(client).api_key(&shown(&new)).send().await;
        assert_eq!(reply.status, 401, "without an overlap: {reply}");
        table
            .known(
                "the last one",
                who(client).api_key(&shown(&last)),
                &json!({"subject": last["id"]}),
            )
            .await;
        table.holds(3);
        let ended = person
            .with(&token, "POST", &path_of(&old, "/rotate"))
            .json(&json!({}))
            .send()
            .await;
        ended.refused(409, "api_key_ended");
    });
}

#[test]
fn nobody_makes_a_key_that_may_do_more_than_they_may() {
    STAGE.together(async |world| {
        let person = world.person("admin");
        let token = world.mint(person.spec());
        let create = |call: aos_tests::Call, scopes: &[&str]| call.json(&json!({"name": "key", "scopes": scopes}));
        for (scopes, errors) in [
            (&["tenants:manage"][..], &["/scopes/0 not_allowed"][..]),
            (&["runs:read", "tenants:read"], &["/scopes/1 not_allowed"]),
            (&["runs:read", "runs:read"], &["/scopes/1 duplicate"]),
            (&[], &["/scopes required"]),
        ] {
            let call = person.with(&token, "POST", "/v1/api-keys");
            create(call, scopes).send().await.points_at(errors);
        }
        // A key that may make keys makes none that may do what it may not.
        let narrow = person
            .api_key(&token, &["api_keys:manage", "runs:read"], json!({}))
            .await;
        let by_key = || {
            person
                .client
                .stranger("POST", "/v1/api-keys")
                .api_key(narrow["key"].as_str().expect("shown"))
        };
        create(by_key(), &["runs:create"])
            .send()
            .await
            .points_at(&["/scopes/0 not_allowed"]);
        create(by_key(), &["runs:read"]).send().await.expect(201);
        // Nor does it get there by a successor of a wider one.
        let wide = person.api_key(&token, &["agents:write"], json!({})).await;
        let rotate = person.client.stranger("POST", &path_of(&wide, "/rotate"));
        let rotate = rotate.api_key(narrow["key"].as_str().expect("shown")).json(&json!({}));
        rotate.send().await.refused(403, "forbidden");
        // Nor do those whose role makes none.
        let colleague = person.colleague(world, "member");
        let call = colleague.with(&world.mint(colleague.spec()), "POST", "/v1/api-keys");
        create(call, &["runs:read"]).send().await.refused(403, "forbidden");
    });
}

#[test]
fn a_repeated_request_for_a_key_is_answered_without_the_key() {
    STAGE.together(async |world| {
        let person = world.person("admin");
        let token = world.mint(person.spec());
        let body = json!({"name": "once", "scopes": ["identity:read"]});
        let send = || {
            person
                .with(&token, "POST", "/v1/api-keys")
                .key("one")
                .json(&body)
                .send()
        };
        let first = send().await.expect(201);
        let again = send().await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{again}");
        let again = again.expect(201);
        assert_eq!((&again["id"], &again["key"]), (&first["id"], &Value::Null), "{again:#}");
        who(&person.client).api_key(&shown(&first)).send().await.expect(200);
        let rotate = || {
            let call = person.with(&token, "POST", &path_of(&first, "/rotate"));
            call.key("two").json(&json!({"overlap_s": 60})).send()
        };
        let successor = rotate().await.expect(201);
        who(&person.client).api_key(&shown(&successor)).send().await.expect(200);
        let again = rotate().await.expect(201);
        assert_eq!(
            (&again["id"], &again["key"]),
            (&successor["id"], &Value::Null),
            "{again:#}"
        );
    });
}
