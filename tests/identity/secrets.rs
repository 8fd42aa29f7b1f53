//! Credentials that rest on a shared secret: the operator's key, the machines' token, service tokens; and what holds for
//! all kinds together.

use aos_tests::hs256;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use crate::{STAGE, Table, granted, now, who};

#[test]
fn service_tokens_need_the_secret_our_issuer_an_end_and_a_role_of_services() {
    STAGE.together(async |world| {
        let client = world.client();
        let secret = world.setting("JWT_SECRET").as_bytes().to_vec();
        let matrix = client.get("/v1/rbac/matrix").await.expect(200);
        let header = json!({"alg": "HS256", "typ": "JWT"});
        let claims = |more: Value| {
            let mut claims = json!({
                "iss": "aos", "sub": "billing", "tenant": client.tenant(), "roles": ["developer"], "exp": now() + 600,
            });
            for (name, value) in more.as_object().expect("claims are an object") {
                match value {
                    Value::Null => drop(claims.as_object_mut().map(|claims| claims.remove(name))),
                    value => claims[name] = value.clone(),
                }
            }
            claims
        };
        let mut table = Table::default();
        for role in ["developer", "reviewer", "readonly", "machine"] {
            let token = hs256(&secret, &header, &claims(json!({"roles": [role]})));
            let expected = json!({
                "tenant": client.tenant(), "subject": "billing", "credential": "service_token", "session_id": null,
                "roles": [role], "permissions": granted(&matrix, role),
            });
            table.known(role, who(&client).bearer(&token), &expected).await;
        }
        for (name, more, code) in [
            ("no exp", json!({"exp": null}), "unauthenticated"),
            ("exp as a string", json!({"exp": "soon"}), "unauthenticated"),
            ("expired", json!({"exp": now() - 60}), "token_expired"),
            ("not yet valid", json!({"nbf": now() + 60}), "unauthenticated"),
            ("from the future", json!({"iat": now() + 60}), "unauthenticated"),
            ("another issuer", json!({"iss": "somebody"}), "unauthenticated"),
            (
                "Clerk's issuer",
                json!({"iss": world.setting("CLERK_ISSUER_URL")}),
                "unauthenticated",
            ),
            ("no issuer", json!({"iss": null}), "unauthenticated"),
            ("an audience", json!({"aud": "aos"}), "unauthenticated"),
            ("no subject", json!({"sub": null}), "unauthenticated"),
            (
                "a subject that breaks a line",
                json!({"sub": "a\nb"}),
                "unauthenticated",
            ),
            ("no tenant", json!({"tenant": null}), "unauthenticated"),
            (
                "a tenant with a quote",
                json!({"tenant": "a' or true"}),
                "unauthenticated",
            ),
            ("no roles", json!({"roles": null}), "unauthenticated"),
            ("an empty list of roles", json!({"roles": []}), "unauthenticated"),
            ("the operator's role", json!({"roles": ["operator"]}), "unauthenticated"),
            (
                "the operator's role beside another",
                json!({"roles": ["developer", "operator"]}),
                "unauthenticated",
            ),
            ("the owner's role", json!({"roles": ["owner"]}), "unauthenticated"),
            ("the admin's role", json!({"roles": ["admin"]}), "unauthenticated"),
            ("an unknown role", json!({"roles": ["chief"]}), "unauthenticated"),
        ] {
            let token = hs256(&secret, &header, &claims(more));
            table.refused(name, who(&client).bearer(&token), 401, code).await;
        }
        let good = claims(json!({}));
        let (unsigned, _) = {
            let token = hs256(&secret, &json!({"alg": "none"}), &good);
            let (message, signature) = token
                .rsplit_once('.')
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .expect("three parts");
            (format!("{message}."), signature)
        };
        let clerks = world.mint(world.person("admin").spec());
        let rs256_header = json!({"alg": "RS256", "typ": "JWT", "kid": world.cloud.standins().clerk().kid()});
        for (name, token) in [
            (
                "another secret",
                hs256(b"another secret of thirty-two bytes", &header, &good),
            ),
            ("an empty secret", hs256(b"", &header, &good)),
            (
                "the operator's key as the secret",
                hs256(client.key().as_bytes(), &header, &good),
            ),
            ("alg none", unsigned),
            (
                "alg HS384 over an HS256 signature",
                hs256(&secret, &json!({"alg": "HS384"}), &good),
            ),
            (
                "alg RS256 over an HS256 signature",
                hs256(&secret, &rs256_header, &good),
            ),
            ("alg in small letters", hs256(&secret, &json!({"alg": "hs256"}), &good)),
            ("no alg", hs256(&secret, &json!({"typ": "JWT"}), &good)),
            (
                "another type",
                hs256(&secret, &json!({"alg": "HS256", "typ": "dpop+jwt"}), &good),
            ),
            (
                "a critical header",
                hs256(&secret, &json!({"alg": "HS256", "crit": ["exp"]}), &good),
            ),
            ("our issuer with Clerk's signature", {
                let mut parts: Vec<String> = clerks.split('.').map(str::to_owned).collect();
                parts[1] = URL_SAFE_NO_PAD.encode(good.to_string());
                parts.join(".")
            }),
        ] {
            table
                .refused(name, who(&client).bearer(&token), 401, "unauthenticated")
                .await;
        }
        table.holds(35);
    });
}

#[test]
fn the_public_key_of_the_issuer_is_no_secret_to_sign_with() {
    STAGE.together(async |world| {
        let person = world.person("admin");
        let clerk = world.cloud.standins().clerk();
        let good = world.mint(person.spec());
        let claims = good.split('.').nth(1).expect("a token has claims");
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": clerk.kid()});
        let url = clerk.jwks_url();
        let jwks = reqwest::get(&url).await.unwrap().text().await.unwrap();
        let key: Value = serde_json::from_str::<Value>(&jwks).unwrap()["keys"][0].clone();
        let modulus = key["n"].as_str().expect("an RSA key has a modulus");
        let mut table = Table::default();
        for (name, secret) in [
            ("the whole document", jwks.clone().into_bytes()),
            ("the key as JSON", key.to_string().into_bytes()),
            ("the modulus as text", modulus.as_bytes().to_vec()),
            ("the modulus as bytes", URL_SAFE_NO_PAD.decode(modulus).unwrap()),
            (
                "the modulus as padded text",
                STANDARD.encode(URL_SAFE_NO_PAD.decode(modulus).unwrap()).into_bytes(),
            ),
            (
                "the service tokens' secret",
                world.setting("JWT_SECRET").as_bytes().to_vec(),
            ),
        ] {
            let token = hs256(&secret, &header, &claims);
            table
                .refused(name, who(&person.client).bearer(&token), 401, "unauthenticated")
                .await;
        }
        table.holds(6);
    });
}

#[test]
fn the_operators_key_and_the_machines_token_are_whole_or_worthless() {
    STAGE.together(async |world| {
        let client = world.client();
        let (key, machine) = (
            client.key().to_owned(),
            world.setting("MACHINE_SECRET_TOKEN").to_owned(),
        );
        let matrix = client.get("/v1/rbac/matrix").await.expect(200);
        let mut table = Table::default();
        let operator =
            json!({"credential": "operator", "roles": ["operator"], "permissions": granted(&matrix, "operator")});
        let is_in = |identity: &Value, tenant: &str| {
            let mut identity = identity.clone();
            identity["tenant"] = json!(tenant);
            identity
        };
        let machines =
            json!({"credential": "machine", "roles": ["machine"], "permissions": granted(&matrix, "machine")});
        table
            .known(
                "the operator",
                who(&client).api_key(&key),
                &is_in(&operator, "operator"),
            )
            .await;
        table
            .known(
                "the operator for a tenant",
                who(&client).api_key(&key).tenant(client.tenant()),
                &is_in(&operator, client.tenant()),
            )
            .await;
        table
            .known(
                "a machine",
                who(&client).machine(&machine),
                &is_in(&machines, "operator"),
            )
            .await;
        table
            .known(
                "a machine for a tenant",
                who(&client).machine(&machine).tenant(client.tenant()),
                &is_in(&machines, client.tenant()),
            )
            .await;
        for (name, good) in [("the operator's key", &key), ("the machines' token", &machine)] {
            let show = |value: &str| match good == &key {
                true => who(&client).api_key(value),
                false => who(&client).machine(value),
            };
            for (how, value) in [
                ("empty", String::new()),
                ("without its first letter", good[1..].to_owned()),
                ("without its last letter", good[..good.len() - 1].to_owned()),
                ("with one letter more", format!("{good}x")),
                ("twice", format!("{good}{good}")),
                ("in capitals", good.to_uppercase()),
                ("quoted", format!("\"{good}\"")),
            ] {
                table
                    .refused(&format!("{name}, {how}"), show(&value), 401, "unauthenticated")
                    .await;
            }
        }
        for (name, call) in [
            ("the operator's key as a machine's token", who(&client).machine(&key)),
            ("the machines' token as a key", who(&client).api_key(&machine)),
            ("the operator's key as a bearer", who(&client).bearer(&key)),
            ("the machines' token as a bearer", who(&client).bearer(&machine)),
            ("the operator's key in the cookie", who(&client).cookie(&key)),
            (
                "the secret of service tokens as a key",
                who(&client).api_key(world.setting("JWT_SECRET")),
            ),
            (
                "Clerk's secret key as a bearer",
                who(&client).bearer(world.setting("CLERK_SECRET_KEY")),
            ),
        ] {
            table.refused(name, call, 401, "unauthenticated").await;
        }
        for tenant in ["", "a b", "a/b", &"x".repeat(129)] {
            let call = who(&client).api_key(&key).tenant(tenant);
            table
                .refused(&format!("the tenant {tenant:?}"), call, 422, "invalid_request")
                .await;
        }
        table.holds(29);
        // What machines may do is fixed: they start runs, and nothing else is theirs.
        let agent = json!({"name": "a", "allowed_skills": []});
        for (method, path, body) in [
            ("POST", "/v1/agents", Some(&agent)),
            ("GET", "/v1/api-keys", None),
            ("GET", "/v1/audit", None),
            ("GET", "/v1/sessions", None),
            ("GET", "/v1/tenants", None),
            ("GET", "/v1/rbac/matrix", None),
        ] {
            let call = client.stranger(method, path).machine(&machine).tenant(client.tenant());
            let call = body.map_or(call, |_| client.stranger(method, path).machine(&machine).json(&agent));
            call.send().await.refused(403, "forbidden");
        }
        let call = client
            .stranger("GET", "/v1/runs")
            .machine(&machine)
            .tenant(client.tenant());
        call.send().await.expect(200);
    });
}

#[test]
fn exactly_one_credential_is_shown_and_only_some_name_a_tenant() {
    STAGE.together(async |world| {
        let person = world.person("admin");
        let client = &person.client;
        let token = world.mint(person.spec());
        let created = person.api_key(&token, &["identity:read"], json!({})).await;
        let api_key = created["key"].as_str().expect("the key is shown").to_owned();
        let (operator, machine) = (client.key(), world.setting("MACHINE_SECRET_TOKEN"));
        let service = hs256(
            world.setting("JWT_SECRET").as_bytes(),
            &json!({"alg": "HS256"}),
            &json!({"iss": "aos", "sub": "s", "tenant": person.tenant(), "roles": ["readonly"], "exp": now() + 600}),
        );
        let mut table = Table::default();
        for (name, call) in [
            ("key and bearer", who(client).api_key(operator).bearer(&token)),
            ("key and machine", who(client).api_key(operator).machine(machine)),
            ("key and cookie", who(client).api_key(&api_key).cookie(&token)),
            ("bearer and cookie", who(client).bearer(&token).cookie(&token)),
            ("machine and bearer", who(client).machine(machine).bearer(&token)),
            ("a good one and a bad one", who(client).bearer(&token).api_key("wrong")),
            (
                "two cookies",
                who(client).header("Cookie", &format!("__session={token}; __session={token}")),
            ),
        ] {
            table.refused(name, call, 400, "several_credentials").await;
        }
        for (name, call) in [
            ("nothing", who(client)),
            ("a tenant alone", who(client).tenant(person.tenant())),
            ("an empty cookie", who(client).header("Cookie", "__session=")),
            (
                "another cookie",
                who(client).header("Cookie", &format!("session={token}")),
            ),
            (
                "the token in the query",
                client.stranger("GET", &format!("/v1/session?token={token}")),
            ),
        ] {
            table.refused(name, call, 401, "unauthenticated").await;
        }
        for (name, call) in [
            ("a session", who(client).bearer(&token)),
            ("a session in the cookie", who(client).cookie(&token)),
            ("an API key", who(client).api_key(&api_key)),
            ("a service token", who(client).bearer(&service)),
        ] {
            table
                .refused(
                    &format!("{name} that names a tenant"),
                    call.tenant("tenant-0"),
                    403,
                    "tenant_not_selectable",
                )
                .await;
        }
        for (name, call) in [
            ("a session", who(client).bearer(&token)),
            ("an API key", who(client).api_key(&api_key)),
            ("a service token", who(client).bearer(&service)),
        ] {
            table.known(name, call, &json!({"tenant": person.tenant()})).await;
        }
        table.holds(19);
    });
}
