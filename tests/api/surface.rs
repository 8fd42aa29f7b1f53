//! What every answer and every route has in common: the description, headers, methods.

use std::collections::{BTreeMap, BTreeSet};

use aos_dev::paths::repository;
use serde_json::json;

use crate::{NOBODY, STAGE, filled, operations};

#[test]
fn the_description_is_the_committed_one_and_every_operation_in_it_is_there() {
    STAGE.together(async |world| {
        let client = world.client();
        let committed = std::fs::read(repository().join("openapi.json")).unwrap();
        let served = client.stranger("GET", "/openapi.json").send().await;
        assert_eq!(served.header("content-type"), Some("application/json"));
        // Without the white space that is for people.
        let read = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
        assert!(
            read(&served.body) == read(&committed) && served.body.len() < committed.len(),
            "the Worker serves another description than the committed one"
        );
        let operations = operations();
        assert!(operations.len() >= 18, "{operations:?}");
        for (method, path) in operations {
            let reply = client
                .call(&method, &filled(&path, NOBODY[1].1, NOBODY[0].1))
                .send()
                .await;
            let detail = reply.json["detail"].as_str().unwrap_or_default();
            assert!(!detail.starts_with("there is nothing at"), "{reply}");
            assert!(reply.status != 405 && reply.status.as_u16() < 500, "{reply}");
        }
    });
}

#[test]
fn every_answer_carries_its_headers() {
    STAGE.together(async |world| {
        let client = world.client();
        let agent = format!("/v1/agents/{}", client.agent().await);
        let replies = [
            (200, client.get(&agent).await),
            (200, client.stranger("GET", "/healthz").send().await),
            (200, client.stranger("GET", "/openapi.json").send().await),
            (
                201,
                client
                    .post("/v1/agents", &json!({"name": "b", "allowed_skills": []}))
                    .await,
            ),
            (400, client.call("POST", "/v1/agents").body("{").send().await),
            (401, client.stranger("GET", "/v1/agents").send().await),
            (404, client.get("/nothing").await),
            (404, client.get(&format!("/v1/agents/{}", NOBODY[0].1)).await),
            (405, client.call("PUT", &agent).send().await),
            (422, client.post("/v1/agents", &json!({})).await),
            (204, client.call("DELETE", &agent).send().await),
        ];
        let mut seen = BTreeSet::new();
        for (status, reply) in &replies {
            assert_eq!(reply.status, *status, "{reply}");
            for (name, value) in [
                ("cache-control", "no-store"),
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
            ] {
                assert_eq!(reply.header(name), Some(value), "{name} of {reply}");
            }
            assert_eq!(
                reply.header("access-control-allow-origin"),
                None,
                "CORS is closed: {reply}"
            );
            let request_id = reply
                .header("x-request-id")
                .unwrap_or_else(|| panic!("no id of {reply}"));
            assert!(
                request_id.starts_with("req_") && seen.insert(request_id.to_owned()),
                "{request_id}"
            );
        }
    });
}

#[test]
fn a_wrong_method_is_told_which_ones_are_possible() {
    STAGE.together(async |world| {
        let client = world.client();
        let mut possible = BTreeMap::<String, BTreeSet<String>>::new();
        for (method, path) in operations() {
            possible
                .entry(filled(&path, NOBODY[1].1, NOBODY[0].1))
                .or_default()
                .insert(method);
        }
        for (path, methods) in possible {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                if methods.contains(method) {
                    continue;
                }
                let reply = client.call(method, &path).send().await;
                let allow = reply.header("allow").unwrap_or_else(|| panic!("no Allow: {reply}"));
                let allow: BTreeSet<String> = allow.split(',').map(|method| method.trim().to_owned()).collect();
                let mut expected = methods.clone();
                if methods.contains("GET") {
                    expected.insert("HEAD".to_owned());
                }
                assert_eq!(allow, expected, "{method} {path}");
                reply.refused(405, "method_not_allowed");
            }
        }
    });
}
