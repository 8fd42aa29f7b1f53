//! No secret comes out: not in the log, not in an answer, not in the description, not in the tables.

use aos_dev::paths::repository;
use aos_tests::{Reply, Stage, World, Wrong, hs256};
use serde_json::{Value, json};

static STAGE: Stage = Stage::new(1);

/// A secret of a caller's own, in a header that a step sends.
const CALLERS: &str = "callers-own-secret-7f3a9c1e";

/// What was shown and answered in a session, to be searched.
#[derive(Default)]
struct Session {
    /// Credentials, by what they are.
    secrets: Vec<(String, String)>,
    /// Bodies of refusals.
    refusals: Vec<String>,
}

impl Session {
    fn secret(&mut self, name: &str, value: &str) {
        assert!(value.len() >= 16, "{name} is no secret: {value:?}");
        self.secrets.push((name.to_owned(), value.to_owned()));
    }

    fn refused(&mut self, reply: &Reply) {
        assert!(reply.status.as_u16() >= 400, "{reply}");
        let headers: String = reply
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value:?}\n"))
            .collect();
        self.refusals
            .push(format!("{headers}{}", String::from_utf8_lossy(&reply.body)));
    }

    /// Which of the secrets are in a text.
    fn found_in(&self, text: &str) -> Vec<&str> {
        let found = self.secrets.iter().filter(|(_, secret)| text.contains(secret.as_str()));
        found.map(|(name, _)| name.as_str()).collect()
    }
}

/// The secrets of the installation itself.
fn settings(world: &World, session: &mut Session) {
    for name in [
        "AOS_API_KEY",
        "MACHINE_SECRET_TOKEN",
        "JWT_SECRET",
        "CLERK_SECRET_KEY",
        "UPSTASH_REDIS_REST_TOKEN",
    ] {
        session.secret(name, world.setting(name));
    }
    for name in ["DATABASE_URL", "ENGINE_DATABASE_URL"] {
        let url = reqwest::Url::parse(world.setting(name)).expect("a connection string is a URL");
        session.secret(name, url.password().expect("a connection string has a password"));
    }
}

/// The part of a token that nobody else can make.
fn signature(token: &str) -> &str {
    token.rsplit_once('.').map_or(token, |(_, signature)| signature)
}

#[test]
fn a_busy_session_leaves_no_secret_behind() {
    STAGE.alone(async |world| {
        let mut session = Session::default();
        settings(world, &mut session);
        let person = world.person("admin");
        let token = world.mint(person.spec());
        session.secret("a session token", signature(&token));
        let created = person.api_key(&token, &["runs:read", "runs:create"], json!({})).await;
        let api_key = created["key"].as_str().expect("the key is shown").to_owned();
        session.secret("an API key", &api_key);
        session.secret("what is not shown of an API key", &api_key[12..]);
        let rotated = person.with(&token, "POST", &format!("/v1/api-keys/{}/rotate", created["id"].as_str().expect("an id")));
        let rotated = rotated.key("once").json(&json!({"overlap_s": 600})).send().await.expect(201);
        let successor = rotated["key"].as_str().expect("the key is shown").to_owned();
        session.secret("a rotated API key", &successor);
        let client = &person.client;

        // Shown where they do not belong, and with a letter wrong.
        let shown: Vec<String> = session.secrets.iter().map(|(_, secret)| secret.clone()).collect();
        for secret in &shown {
            for call in [
                client.stranger("GET", "/v1/agents").bearer(secret),
                client.stranger("GET", "/v1/agents").cookie(secret),
                client.stranger("GET", "/v1/agents").api_key(&format!("{secret}x")),
                client.stranger("POST", "/v1/agents").machine(&format!("{secret}x")),
            ] {
                session.refused(&call.send().await);
            }
        }
        for wrong in Wrong::ALL.iter().copied().filter(|wrong| *wrong != Wrong::Huge) {
            let token = world.mint(person.spec().wrong(wrong));
            if signature(&token).len() >= 16 {
                session.secret(&format!("a token, {wrong:?}"), signature(&token));
            }
            session.refused(&client.stranger("GET", "/v1/agents").bearer(&token).send().await);
        }
        let service = hs256(world.setting("JWT_SECRET").as_bytes(), &json!({"alg": "HS256"}), &json!({"iss": "aos"}));
        session.secret("a service token", signature(&service));
        session.refused(&client.stranger("GET", "/v1/agents").bearer(&service).send().await);
        // Bodies and paths that the Worker complains about.
        for body in [json!({"name": CALLERS, "scopes": "no list"}), json!({CALLERS: 1}), json!([CALLERS])] {
            session.refused(&person.with(&token, "POST", "/v1/api-keys").json(&body).send().await);
        }

        // Calls that fail in every way, with a secret in their headers.
        session.secret("a caller's own secret", CALLERS);
        let agent = json!({"name": "caller", "allowed_skills": ["http_call"]});
        let agent = person.with(&token, "POST", "/v1/agents").json(&agent).send().await.expect(201);
        let steps: Vec<Value> = ["/status/500", "/status/401", "/nothing-here", "/slow?ms=3000"]
            .iter()
            .enumerate()
            .map(|(n, path)| {
                let params = json!({
                    "method": "GET", "url": format!("{}{path}", world.standins()), "timeout_ms": 1_000,
                    "headers": {"Authorization": format!("Bearer {CALLERS}"), "X-Key": CALLERS},
                });
                json!({"id": format!("s{n}"), "skill": "http_call", "on_error": "continue", "retry": {"attempts": 1}, "params": params})
            })
            .collect();
        let body = json!({"agent_id": agent["id"], "plan": {"steps": steps}});
        let run = client.stranger("POST", "/v1/runs").api_key(&api_key).json(&body).send().await.expect(202);
        let path = format!("/v1/runs/{}?wait=20", run["id"].as_str().expect("an id"));
        client.stranger("GET", &path).api_key(&api_key).send().await.expect(200);

        // And when what is behind the Worker breaks.
        world.cloud.redis().stop().await;
        person.with(&token, "GET", "/v1/agents").send().await.expect(200);
        world.cloud.postgres().stop().await;
        session.refused(&person.with(&token, "GET", "/v1/agents").send().await);
        session.refused(&client.stranger("GET", "/v1/agents").api_key(&successor).send().await);
        session.refused(&client.call("GET", "/v1/agents").send().await);
        world.cloud.postgres().restart().await.expect("PostgreSQL starts again");
        world.cloud.redis().restart().await.expect("Redis starts again");
        let ready = async || client.stranger("GET", "/readyz").send().await.status == 200;
        world.until("the Worker is ready again", std::time::Duration::from_secs(20), ready).await;
        world.settle_down().await;

        let log = std::fs::read_to_string(world.worker().log()).expect("the Worker has a log");
        assert!(log.contains(r#""route":"/v1/agents""#), "the log tells of requests");
        assert_eq!(session.found_in(&log), [""; 0], "in the log");
        let description = std::fs::read_to_string(repository().join("openapi.json")).expect("the description is there");
        assert_eq!(session.found_in(&description), [""; 0], "in the description");
        assert!(session.refusals.len() >= 60, "{} refusals", session.refusals.len());
        // A field's name comes back to whoever sent it: that is how they find it.
        let own = |name: &&str| *name != "a caller's own secret";
        for refusal in &session.refusals {
            let found: Vec<&str> = session.found_in(refusal).into_iter().filter(own).collect();
            assert!(found.is_empty(), "{found:?} in {refusal}");
        }
        let tables = world
            .owner
            .column("select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'")
            .await;
        assert!(tables.len() >= 10, "{tables:?}");
        for table in tables {
            let rows = world.owner.column(&format!("select t::text from {table} t")).await.join("\n");
            // What a step is to send is kept with its plan until there is a store for secrets.
            let found: Vec<&str> = session.found_in(&rows).into_iter().filter(own).collect();
            assert!(found.is_empty(), "{found:?} in {table}");
        }
        let redis = world.redis(&["KEYS", "*"]).await.to_string();
        assert_eq!(session.found_in(&redis), [""; 0], "in the names of what is in Redis");
    });
}
