//! What a request costs before its answer: one look into Redis, one into the database, and no third thing.

use aos_tests::{Call, World, hs256};
use serde_json::json;

use crate::{STAGE, now};

/// What one request asked of Redis and of the database, by name.
async fn asked(world: &World, call: Call, status: u16) -> (Vec<String>, Vec<String>) {
    // What earlier requests did after their answers is not this one's.
    world.settle_down().await;
    world.forget_requests();
    call.send().await.expect(status);
    let labels =
        |snapshot: aos_dev::counters::Snapshot| snapshot.requests.into_iter().map(|request| request.label).collect();
    (
        labels(world.cloud.upstash().counters().snapshot()),
        labels(world.cloud.neon().counters().snapshot()),
    )
}

#[test]
fn an_authenticated_read_asks_redis_once_and_the_database_once() {
    STAGE.alone(async |world| {
        let person = world.person("admin");
        let token = world.mint(person.spec());
        let created = person
            .api_key(&token, &["agents:read"], json!({"requests_per_minute": 50}))
            .await;
        let api_key = created["key"].as_str().expect("the key is shown").to_owned();
        let claims =
            json!({"iss": "aos", "sub": "s", "tenant": person.tenant(), "roles": ["readonly"], "exp": now() + 600});
        let service = hs256(
            world.setting("JWT_SECRET").as_bytes(),
            &json!({"alg": "HS256"}),
            &claims,
        );
        let read = || person.client.stranger("GET", "/v1/agents");
        for (kind, credential) in [
            ("session", 0),
            ("cookie", 1),
            ("API key", 2),
            ("service token", 3),
            ("machine", 4),
        ] {
            let call = || match credential {
                0 => read().bearer(&token),
                1 => read().cookie(&token),
                2 => read().api_key(&api_key),
                3 => read().bearer(&service),
                _ => read()
                    .machine(world.setting("MACHINE_SECRET_TOKEN"))
                    .tenant(person.tenant()),
            };
            call().send().await.expect(200);
            let (redis, database) = asked(world, call(), 200).await;
            let one_pipeline = redis.len() == 1 && redis[0].starts_with("pipeline ");
            assert!(one_pipeline && database.len() == 1, "{kind}: {redis:?} {database:?}");
        }
        let (redis, database) = asked(world, person.client.call("GET", "/v1/agents"), 200).await;
        assert!(
            redis.is_empty() && database.len() == 1,
            "the operator: {redis:?} {database:?}"
        );
        // A change asks them one after the other, and no more often.
        let body = json!({"name": "counted", "allowed_skills": []});
        let create = person.client.stranger("POST", "/v1/agents").bearer(&token).json(&body);
        let (redis, database) = asked(world, create, 201).await;
        assert_eq!(
            (redis.len(), database.len()),
            (1, 1),
            "a change: {redis:?} {database:?}"
        );
    });
}

#[test]
fn strangers_cost_the_database_no_more_than_their_sample() {
    STAGE.alone(async |world| {
        let person = world.person("admin");
        let token = world.mint(person.spec());
        who_refused(
            world,
            "a forged token",
            person.with(&format!("{token}x"), "GET", "/v1/agents"),
            401,
        )
        .await;
        who_refused(
            world,
            "a malformed key",
            person.client.stranger("GET", "/v1/agents").api_key("aos_x"),
            401,
        )
        .await;
        who_refused(world, "nobody", person.client.stranger("POST", "/v1/agents"), 401).await;
    });
}

/// One look into Redis, and at most the sampled entry of the audit log.
async fn who_refused(world: &World, name: &str, call: Call, status: u16) {
    let (redis, database) = asked(world, call, status).await;
    assert!(redis.len() == 1, "{name}: {redis:?}");
    let entries = database.iter().filter(|label| label.starts_with("audit.")).count();
    assert_eq!(entries, database.len(), "{name}: {database:?}");
}
