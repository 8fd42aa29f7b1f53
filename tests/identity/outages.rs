//! Redis is away: requests go on, the isolate limits by itself, and what was revoked stays so where the database knows.

use std::time::Duration;

use serde_json::json;

use crate::{STAGE, who};

#[test]
fn without_redis_requests_go_on_and_a_revoked_key_is_refused_all_the_same() {
    STAGE.alone(async |world| {
        let person = world.person("admin");
        let (client, token) = (&person.client, world.mint(person.spec()));
        let kept = person.api_key(&token, &["identity:read"], json!({})).await;
        let gone = person.api_key(&token, &["identity:read"], json!({})).await;
        let key = |created: &serde_json::Value| created["key"].as_str().expect("the key is shown").to_owned();
        // Both are remembered by the isolate from now on.
        for created in [&kept, &gone] {
            who(client).api_key(&key(created)).send().await.expect(200);
        }
        world.cloud.redis().stop().await;
        let ready = client.stranger("GET", "/readyz").send().await.expect(503);
        assert_eq!(ready, json!({"ready": false, "database": "ok", "redis": "away"}));

        let began = std::time::Instant::now();
        who(client).bearer(&token).send().await.expect(200);
        person.with(&token, "GET", "/v1/agents").send().await.expect(200);
        let body = json!({"name": "meanwhile", "allowed_skills": []});
        person
            .with(&token, "POST", "/v1/agents")
            .json(&body)
            .send()
            .await
            .expect(201);
        who(client).api_key(&key(&kept)).send().await.expect(200);
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "requests wait for Redis: {:?}",
            began.elapsed()
        );

        // Ended in the database alone, as by another isolate whose word in Redis was lost.
        let id = gone["id"]
            .as_str()
            .expect("a key has an id")
            .trim_start_matches("key_")
            .to_owned();
        world
            .owner
            .execute(&format!("update api_keys set revoked_at = now() where id = '{id}'"))
            .await;
        who(client)
            .api_key(&key(&gone))
            .send()
            .await
            .refused(401, "api_key_revoked");
        who(client).api_key(&key(&kept)).send().await.expect(200);
        who(client).bearer("a.b.c").send().await.refused(401, "unauthenticated");

        // The isolate's own floor: half the tenant's limit.
        let mut answered = Vec::new();
        for _ in 0..40 {
            let reply = who(client).bearer(&token).send().await;
            answered.push(reply.status.as_u16());
            if reply.status == 429 {
                assert_eq!(reply.header("ratelimit-limit"), Some("30"), "{reply}");
                reply.refused(429, "rate_limited");
                break;
            }
        }
        assert!(answered.contains(&429) && answered.len() > 15, "{answered:?}");

        world.cloud.redis().restart().await.expect("Redis starts again");
        let together_again = async || {
            let reply = who(client).bearer(&token).send().await;
            reply.status == 200 && reply.header("ratelimit-limit") == Some("60")
        };
        world
            .until(
                "limits are held together again",
                Duration::from_secs(20),
                together_again,
            )
            .await;
        client.stranger("GET", "/readyz").send().await.expect(200);
    });
}

#[test]
fn a_redis_that_is_slow_holds_up_nobody_for_longer_than_its_patience() {
    STAGE.alone(async |world| {
        let person = world.person("admin");
        let token = world.mint(person.spec());
        who(&person.client).bearer(&token).send().await.expect(200);
        world
            .cloud
            .upstash()
            .faults()
            .add(aos_tests::Rule::new(aos_tests::Action::Delay { ms: 5_000 }));
        let began = std::time::Instant::now();
        for _ in 0..5 {
            who(&person.client).bearer(&token).send().await.expect(200);
        }
        assert!(began.elapsed() < Duration::from_millis(4_000), "{:?}", began.elapsed());
        world.clear_faults();
        let together_again = async || {
            let reply = who(&person.client).bearer(&token).send().await;
            reply.header("ratelimit-limit") == Some("60")
        };
        world
            .until(
                "limits are held together again",
                Duration::from_secs(20),
                together_again,
            )
            .await;
    });
}
