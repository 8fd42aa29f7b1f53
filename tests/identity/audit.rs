//! The audit log: privileged actions one by one, refusals up to a cap, strangers by samples; and nobody else's.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::{STAGE, who};

fn entries(page: &Value) -> Vec<(String, String)> {
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    let items = page["items"].as_array().expect("entries are a list");
    items
        .iter()
        .map(|entry| (text(entry, "action"), text(entry, "target")))
        .collect()
}

#[test]
fn each_privileged_action_leaves_one_entry_with_who_did_it_to_what() {
    STAGE.together(async |world| {
        let person = world.person("admin");
        let session = format!("sess_audited{}", world.number());
        let token = world.mint(person.spec().in_session(session.as_str()));
        let created = person.api_key(&token, &["identity:read"], json!({})).await;
        let id = created["id"].as_str().expect("a key has an id").to_owned();
        let rotated = person
            .with(&token, "POST", &format!("/v1/api-keys/{id}/rotate"))
            .json(&json!({}));
        let successor = rotated.send().await.expect(201)["id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let path = format!("/v1/api-keys/{successor}");
        for _ in 0..2 {
            person.with(&token, "DELETE", &path).send().await.expect(200);
        }
        // What is read, and what is no privilege, leaves none.
        person.with(&token, "GET", &path).send().await.expect(200);
        let agent = person
            .with(&token, "POST", "/v1/agents")
            .json(&json!({"name": "a", "allowed_skills": []}));
        agent.send().await.expect(201);
        let ended = format!("sess_ended{}", world.number());
        world.mint(person.spec().in_session(ended.as_str()));
        let revoke = person.with(&token, "POST", &format!("/v1/sessions/{ended}/revoke"));
        assert_eq!(revoke.send().await.status, 204);

        let page = person
            .with(&token, "GET", "/v1/audit?outcome=done")
            .send()
            .await
            .expect(200);
        let expected = [
            ("sessions.revoke", ended.as_str()),
            ("api_keys.revoke", &successor),
            ("api_keys.rotate", &id),
            ("api_keys.create", &id),
        ];
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(action, target)| ((*action).to_owned(), (*target).to_owned()))
            .collect();
        assert_eq!(entries(&page), expected, "{page:#}");
        for entry in page["items"].as_array().expect("entries are a list") {
            assert_eq!(
                entry["actor"],
                format!("session:{session} {}", person.user),
                "{entry:#}"
            );
            assert_eq!(
                (&entry["tenant"], &entry["credential"]),
                (&json!(person.tenant()), &json!("session"))
            );
            assert!(
                entry["request_id"].as_str().is_some_and(|id| id.starts_with("req_")),
                "{entry:#}"
            );
        }
        // Another tenant's log holds nothing of it.
        let stranger = world.person("admin");
        let page = stranger
            .with(&world.mint(stranger.spec()), "GET", "/v1/audit")
            .send()
            .await
            .expect(200);
        assert_eq!(page["items"], json!([]));
    });
}

#[test]
fn what_the_operator_does_to_a_tenant_is_in_that_tenants_log() {
    STAGE.together(async |world| {
        let person = world.person("admin");
        let token = world.mint(person.spec());
        who(&person.client).bearer(&token).send().await.expect(200);
        let name = format!("select id::text from tenants where external_id = '{}'", person.tenant());
        let id = format!("ten_{}", world.owner.value(&name).await.replace('-', ""));
        let operator = world.client();
        let path = format!("/v1/tenants/{id}");
        operator
            .call("PATCH", &path)
            .json(&json!({"tier": "pro"}))
            .send()
            .await
            .expect(200);
        let page = person.with(&token, "GET", "/v1/audit").send().await.expect(200);
        assert_eq!(entries(&page), [("tenants.update".to_owned(), id.clone())], "{page:#}");
        assert_eq!(page["items"][0]["actor"], "operator", "{page:#}");
        // The entry of an erasure outlives the tenant; the operator finds it by the name.
        let erased = async || operator.call("DELETE", &path).send().await.status == 200;
        let nudged = async || {
            world.cron(world.worker()).await;
            erased().await
        };
        world
            .until("the tenant is erased", Duration::from_secs(30), nudged)
            .await;
        let of_it = world.client_of(world.worker(), person.tenant());
        let page = of_it.get("/v1/audit?action=tenants.erase").await.expect(200);
        assert!(!entries(&page).is_empty(), "{page:#}");
    });
}

#[test]
fn a_tenants_refusals_are_written_up_to_twenty_a_minute() {
    STAGE.alone(async |world| {
        let person = world.person("readonly");
        let token = world.mint(person.spec());
        let body = json!({"name": "a", "allowed_skills": []});
        let refused = join_all((0..30).map(|_| person.with(&token, "POST", "/v1/agents").json(&body).send())).await;
        for reply in refused {
            reply.refused(403, "forbidden");
        }
        // They are written after the answers.
        world.settle_down().await;
        let reader = person.colleague(world, "reviewer");
        let page = reader
            .with(&world.mint(reader.spec()), "GET", "/v1/audit?limit=100")
            .send()
            .await
            .expect(200);
        let items = page["items"].as_array().expect("entries are a list");
        assert_eq!(items.len(), 20, "{page:#}");
        for entry in items {
            assert_eq!(
                (&entry["outcome"], &entry["code"]),
                (&json!("refused"), &json!("forbidden")),
                "{entry:#}"
            );
            assert_eq!(entry["action"], "post /v1/agents", "{entry:#}");
        }
    });
}

#[test]
fn of_strangers_the_first_the_tenth_and_the_hundredth_of_a_kind_are_written() {
    STAGE.alone(async |world| {
        world.redis(&["FLUSHALL"]).await;
        world.owner.execute("delete from audit_log").await;
        let before = crate::now().div_euclid(60);
        let client = world.client();
        for _ in 0..4 {
            join_all((0..30).map(|_| who(&client).bearer("a.b.c").send())).await;
        }
        let minutes = usize::try_from(crate::now().div_euclid(60) - before).expect("time goes on") + 1;
        world.settle_down().await;
        let page = client.get("/v1/audit?strangers=true&limit=100").await.expect(200);
        let items = page["items"].as_array().expect("entries are a list");
        let mut sampled: Vec<i64> = items.iter().filter_map(|entry| entry["sampled_of"].as_i64()).collect();
        sampled.sort_unstable();
        if minutes == 1 {
            assert_eq!(sampled, [1, 10, 100], "{page:#}");
        } else {
            assert!((2..=3 * minutes).contains(&sampled.len()), "{page:#}");
        }
        for entry in items {
            assert_eq!(
                (&entry["tenant"], &entry["actor"], &entry["code"]),
                (&Value::Null, &Value::Null, &json!("token_malformed")),
                "{entry:#}"
            );
            assert!(
                entry["target"]
                    .as_str()
                    .is_some_and(|address| address.starts_with("10.")),
                "{entry:#}"
            );
        }
        // No tenant sees them.
        let person = world.person("admin");
        let token = world.mint(person.spec());
        let page = person.with(&token, "GET", "/v1/audit").send().await.expect(200);
        assert_eq!(page["items"], json!([]));
        person
            .with(&token, "GET", "/v1/audit?strangers=true")
            .send()
            .await
            .refused(422, "invalid_request");
    });
}
