//! Who may call, and whose data they see.

use aos_tests::Reply;
use serde_json::json;

use crate::{NOBODY, STAGE, attempt, filled, operations};

#[test]
fn another_tenants_ids_are_not_found_at_any_endpoint_and_nothing_of_them_changes() {
    STAGE.together(async |world| {
        let (owner, stranger) = (world.client(), world.client());
        let agent = owner.agent().await.to_owned();
        let run = owner
            .start(json!([owner.http("s0", "GET", "/slow?ms=1200", &[])]))
            .await;
        stranger.agent().await;
        let mut tried = 0;
        // Those of the other things are in isolation.rs.
        let of_these = |path: &str| path.starts_with("/v1/agents/{id}") || path.starts_with("/v1/runs/{id}");
        for (method, path) in operations().into_iter().filter(|(_, path)| of_these(path)) {
            let path = filled(&path, &run, &agent);
            attempt(&stranger, &method, &path, &agent)
                .await
                .refused(404, "not_found");
            tried += 1;
        }
        assert!(tried >= 8, "{tried} endpoints");
        attempt(&stranger, "POST", "/v1/runs", &agent)
            .await
            .points_at(&["/agent_id not_found"]);
        for (path, of) in [("/v1/agents", "worker"), ("/v1/runs", "")] {
            let listed = stranger.get(path).await.expect(200);
            let items = listed["items"].as_array().unwrap();
            assert!(
                items.iter().all(|item| item["id"] != agent && item["id"] != run),
                "{listed:#}"
            );
            assert_eq!(items.len(), usize::from(!of.is_empty()), "{listed:#}");
        }
        let filtered = stranger.get(&format!("/v1/runs?agent_id={agent}")).await.expect(200);
        assert_eq!(filtered["items"], json!([]));
        assert_eq!(
            owner.get(&format!("/v1/agents/{agent}")).await.expect(200)["name"],
            "worker"
        );
        owner.ended_as(&run, "succeeded").await;
    });
}

#[test]
fn every_closed_endpoint_asks_for_exactly_one_valid_credential() {
    STAGE.together(async |world| {
        let client = world.client();
        let (key, agent) = (client.key().to_owned(), client.agent().await.to_owned());
        let closed: Vec<_> = operations()
            .into_iter()
            .filter(|(_, path)| path.starts_with("/v1/") && path != "/v1/public-config" && path != "/v1/calendar/{id}")
            .collect();
        assert!(closed.len() >= 28, "{closed:?}");
        for (method, path) in &closed {
            let path = filled(path, NOBODY[1].1, &agent);
            let call = || client.stranger(method, &path).header("X-AOS-Tenant", client.tenant());
            let refused = async |reply: Reply| {
                assert!(reply.header("www-authenticate").is_some(), "{reply}");
                reply.refused(401, "unauthenticated");
            };
            refused(call().send().await).await;
            refused(call().header("X-API-Key", "").send().await).await;
            refused(call().header("X-API-Key", &key[1..]).send().await).await;
            refused(call().header("X-API-Key", &format!("{key}x")).send().await).await;
            refused(call().header("X-API-Key", &key.to_uppercase()).send().await).await;
            refused(call().header("Authorization", &format!("Bearer {key}")).send().await).await;
            refused(call().header("Cookie", &format!("__session={key}")).send().await).await;
            let two = call()
                .header("X-API-Key", &key)
                .header("Authorization", &format!("Bearer {key}"));
            two.send().await.refused(400, "several_credentials");
            // The platform hands headers of one name over as one: two keys are no key.
            let twice = call().header("X-API-Key", &key).header("X-API-Key", &key).send().await;
            assert!([400, 401].contains(&twice.status.as_u16()), "{twice}");
            let bad_tenant = client
                .stranger(method, &path)
                .header("X-API-Key", &key)
                .header("X-AOS-Tenant", "a b");
            bad_tenant.send().await.points_at(&["X-AOS-Tenant: invalid_format"]);
        }
        // A path that does not exist tells a stranger no more than one that does.
        client
            .stranger("GET", "/v1/agents/")
            .send()
            .await
            .refused(404, "not_found");
        for path in ["/healthz", "/readyz", "/version", "/openapi.json"] {
            client.stranger("GET", path).send().await.expect(200);
            client
                .stranger("GET", path)
                .header("X-API-Key", "wrong")
                .send()
                .await
                .expect(200);
        }
        // Without a name the operator acts for its own tenant.
        let own = client
            .stranger("GET", "/v1/agents")
            .header("X-API-Key", &key)
            .send()
            .await
            .expect(200);
        assert_eq!(own["items"], json!([]));
    });
}
