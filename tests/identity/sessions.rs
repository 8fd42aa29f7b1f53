//! People's sessions: the cookie and whose pages may use it; seeing one's own sessions and ending them.

use std::collections::BTreeSet;

use aos_tests::{TokenSpec, hs256};
use serde_json::json;

use crate::{STAGE, Table, now, who};

#[test]
fn the_cookie_reads_from_anywhere_and_changes_from_our_own_pages_alone() {
    STAGE.together(async |world| {
        let person = world.person("admin");
        let token = world.mint(person.spec());
        let body = json!({"name": "by cookie", "allowed_skills": []});
        let create = || person.client.stranger("POST", "/v1/agents").cookie(&token).json(&body);
        let mut table = Table::default();
        let known = json!({"tenant": person.tenant()});
        table.known("a read", who(&person.client).cookie(&token), &known).await;
        let foreign = who(&person.client)
            .cookie(&token)
            .header("Origin", "https://evil.example");
        let reply = foreign.send().await;
        assert_eq!(reply.header("access-control-allow-origin"), None, "{reply}");
        let beside = who(&person.client).header("Cookie", &format!("theme=dark; __session={token}; lang=de"));
        table.known("among other cookies", beside, &known).await;
        for (name, origin) in [
            ("a foreign page", "https://evil.example"),
            ("a page of no origin", "null"),
            ("an origin that begins like ours", "http://localhost:3000.evil.example"),
            ("another port", "http://localhost:3001"),
            ("another scheme", "https://localhost:3000"),
            ("a path after it", "http://localhost:3000/"),
            ("an empty one", ""),
        ] {
            table
                .refused(name, create().header("Origin", origin), 403, "origin_not_allowed")
                .await;
        }
        table.refused("no origin", create(), 403, "origin_not_allowed").await;
        let referred = create().header("Referer", "http://localhost:3000/app");
        table
            .refused("a referrer in place of the origin", referred, 403, "origin_not_allowed")
            .await;
        let agents = person.with(&token, "GET", "/v1/agents").send().await.expect(200);
        assert_eq!(agents["items"], json!([]), "a refused change did something");
        table
            .passed("our own page", create().header("Origin", "http://localhost:5173"), 201)
            .await;
        // A bearer token is sent by nobody's accident.
        let bearer = person
            .with(&token, "POST", "/v1/agents")
            .json(&json!({"name": "b", "allowed_skills": []}));
        table
            .passed(
                "a bearer from anywhere",
                bearer.header("Origin", "https://evil.example"),
                201,
            )
            .await;
        table.holds(13);
    });
}

#[test]
fn people_see_and_end_their_own_sessions_and_an_ended_one_is_refused_at_once() {
    STAGE.together(async |world| {
        let (person, other) = (world.person("member"), world.person("member"));
        let session = |of: &str| format!("sess_{of}{}", world.number());
        let (here, there, theirs) = (session("here"), session("there"), session("theirs"));
        let token = world.mint(person.spec().in_session(here.as_str()));
        let there_token = world.mint(person.spec().in_session(there.as_str()));
        // Another token of the same session: what ends is the session, not a token.
        let there_again = world.mint(
            TokenSpec {
                lifetime_s: 900,
                ..person.spec()
            }
            .in_session(there.as_str()),
        );
        let their_token = world.mint(other.spec().in_session(theirs.as_str()));
        for token in [&there_token, &their_token] {
            who(&person.client).bearer(token).send().await.expect(200);
        }

        let listed = person.with(&token, "GET", "/v1/sessions").send().await.expect(200);
        let items = listed["items"].as_array().expect("sessions are a list");
        let ids: BTreeSet<&str> = items.iter().filter_map(|session| session["id"].as_str()).collect();
        assert_eq!(ids, BTreeSet::from([here.as_str(), there.as_str()]), "{listed:#}");
        for session in items {
            assert_eq!(session["current"], session["id"] == here.as_str(), "{session:#}");
        }

        let revoke = |token: &str, id: &str| person.with(token, "POST", &format!("/v1/sessions/{id}/revoke"));
        for id in [theirs.as_str(), "sess_nobody", "user_1", "%2e%2e", "sess_1%2Frevoke"] {
            revoke(&token, id).send().await.refused(404, "not_found");
        }
        who(&other.client).bearer(&their_token).send().await.expect(200);

        assert_eq!(revoke(&token, &there).send().await.status, 204);
        let mut table = Table::default();
        for (name, token) in [
            ("the token in use", &there_token),
            ("one not seen before", &there_again),
        ] {
            table
                .refused(name, who(&person.client).bearer(token), 401, "session_revoked")
                .await;
            table
                .refused(name, who(&person.client).cookie(token), 401, "session_revoked")
                .await;
            let write = person
                .with(token, "POST", "/v1/agents")
                .json(&json!({"name": "late", "allowed_skills": []}));
            table.refused(name, write, 401, "session_revoked").await;
        }
        table
            .known(
                "the other session",
                who(&person.client).bearer(&token),
                &json!({"session_id": here}),
            )
            .await;
        table.holds(7);
        let agents = person.with(&token, "GET", "/v1/agents").send().await.expect(200);
        assert_eq!(
            agents["items"],
            json!([]),
            "a request in an ended session did something"
        );
        let listed = person.with(&token, "GET", "/v1/sessions").send().await.expect(200);
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed:#}");
        // The request may be sent again, and the session that is left may end itself.
        assert_eq!(revoke(&token, &there).send().await.status, 204);
        assert_eq!(revoke(&token, &here).send().await.status, 204);
        who(&person.client)
            .bearer(&token)
            .send()
            .await
            .refused(401, "session_revoked");
    });
}

#[test]
fn who_is_no_signed_in_person_has_no_sessions() {
    STAGE.together(async |world| {
        let client = world.client();
        let claims =
            json!({"iss": "aos", "sub": "s", "tenant": client.tenant(), "roles": ["developer"], "exp": now() + 600});
        let service = hs256(
            world.setting("JWT_SECRET").as_bytes(),
            &json!({"alg": "HS256"}),
            &claims,
        );
        for call in [
            client.call("GET", "/v1/sessions"),
            client.call("POST", "/v1/sessions/sess_1/revoke"),
            client.stranger("GET", "/v1/sessions").bearer(&service),
            client.stranger("POST", "/v1/sessions/sess_1/revoke").bearer(&service),
        ] {
            call.send().await.refused(409, "no_session");
        }
        let config = client.stranger("GET", "/v1/public-config").send().await.expect(200);
        let settings = ["CLERK_ISSUER_URL", "CLERK_PUBLISHABLE_KEY"].map(|name| world.setting(name));
        assert_eq!(config, json!({"issuer": settings[0], "publishable_key": settings[1]}));
    });
}
