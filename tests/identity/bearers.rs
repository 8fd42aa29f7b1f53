//! Clerk's session tokens: every way in which one can be wrong, and whom a good one stands for.

use aos_tests::{Org, TokenSpec, Wrong};
use serde_json::{Map, Value, json};

use crate::{STAGE, Table, granted, who};

#[test]
fn every_wrong_kind_of_session_token_is_refused_without_saying_how_it_is_wrong() {
    STAGE.together(async |world| {
        let person = world.person("admin");
        let mut table = Table::default();
        for wrong in Wrong::ALL.iter().copied() {
            // A node server before workerd refuses headers of this size; what reaches the Worker is the cookie's case.
            if wrong == Wrong::Huge {
                continue;
            }
            let token = world.mint(person.spec().wrong(wrong));
            let code = if wrong == Wrong::Expired {
                "token_expired"
            } else {
                "unauthenticated"
            };
            let name = format!("{wrong:?} as a bearer");
            table
                .refused(&name, who(&person.client).bearer(&token), 401, code)
                .await;
            let name = format!("{wrong:?} in the cookie");
            table
                .refused(&name, who(&person.client).cookie(&token), 401, code)
                .await;
        }
        table.holds(56);
        // None of them has let the tenant in by accident: it does not even exist.
        let tenants = format!("select count(*) from tenants where external_id = '{}'", person.tenant());
        assert_eq!(world.owner.number(&tenants).await, 0);
    });
}

#[test]
fn tokens_at_the_edges_of_form_and_time_are_judged_to_the_second() {
    STAGE.together(async |world| {
        let person = world.person("admin");
        let (client, spec) = (&person.client, person.spec());
        let mut table = Table::default();
        let known = json!({"tenant": person.tenant(), "subject": person.user});
        let with = |name: &str, value: Value| TokenSpec {
            claims: Map::from_iter([(name.to_owned(), value)]),
            ..spec.clone()
        };
        let headed = |name: &str, value: Value| TokenSpec {
            header: Map::from_iter([(name.to_owned(), value)]),
            ..spec.clone()
        };
        let late = TokenSpec {
            iat_offset_s: -62,
            lifetime_s: 60,
            ..spec.clone()
        };
        let early = TokenSpec {
            iat_offset_s: 3,
            nbf_offset_s: 0,
            ..spec.clone()
        };
        let party = TokenSpec {
            azp: Some("http://localhost:5173".to_owned()),
            ..spec.clone()
        };
        let pending = TokenSpec {
            pending: true,
            ..spec.clone()
        };
        let long_ago = TokenSpec {
            iat_offset_s: -90,
            lifetime_s: 60,
            ..spec.clone()
        };
        for (name, spec) in [
            ("expired two seconds ago, within the skew", late),
            ("issued in three seconds, within the skew", early),
            ("for the second authorised party", party),
            (
                "with a header nobody knows",
                headed("x5u", json!("https://keys.example.com")),
            ),
            (
                "with an address of keys in its header",
                headed("jku", json!("https://keys.example.com")),
            ),
        ] {
            table.known(name, who(client).bearer(&world.mint(spec)), &known).await;
        }
        for (name, spec, code) in [
            ("expired half a minute ago", long_ago, "token_expired"),
            ("of a session that is pending", pending, "unauthenticated"),
            ("of an unknown status", with("sts", json!("half")), "unauthenticated"),
            ("of an unknown version", with("v", json!(3)), "unauthenticated"),
            (
                "for somebody else",
                with("aud", json!("https://api.example.com")),
                "unauthenticated",
            ),
            (
                "with a party that is nearly ours",
                with("azp", json!("http://localhost:3000/")),
                "unauthenticated",
            ),
            (
                "with an issuer that is nearly ours",
                with("iss", json!(format!("{}/", world.setting("CLERK_ISSUER_URL")))),
                "unauthenticated",
            ),
            (
                "with a subject that is no user",
                with("sub", json!("org_1")),
                "unauthenticated",
            ),
            (
                "with a subject that breaks a line",
                with("sub", json!("user_1\n{}")),
                "unauthenticated",
            ),
            ("without a session", with("sid", Value::Null), "unauthenticated"),
            (
                "with an organisation that is none",
                with("o", json!({"id": "tenant-0", "rol": "admin"})),
                "unauthenticated",
            ),
            (
                "with a critical header",
                headed("crit", json!(["exp"])),
                "unauthenticated",
            ),
            ("of another type", headed("typ", json!("at+jwt")), "unauthenticated"),
            (
                "with a long kid",
                headed("kid", json!("k".repeat(300))),
                "unauthenticated",
            ),
        ] {
            table
                .refused(name, who(client).bearer(&world.mint(spec)), 401, code)
                .await;
        }
        let good = world.mint(spec.clone());
        let other = world
            .cloud
            .standins()
            .clerk_other()
            .mint(spec.clone())
            .expect("the other instance mints");
        for (name, header) in [
            ("of another instance", format!("Bearer {other}")),
            ("too long for a token", format!("Bearer {good}{}", "A".repeat(9_000))),
            ("cut off", format!("Bearer {}", &good[..good.len() - 1])),
            ("in capitals", format!("Bearer {}", good.to_uppercase())),
            ("twice", format!("Bearer {good} {good}")),
            ("under another scheme", format!("Basic {good}")),
            ("without a scheme", good.clone()),
            ("of nothing", "Bearer ".to_owned()),
            ("of dots", "Bearer ..".to_owned()),
            ("of no JSON", "Bearer YQ.YQ.YQ".to_owned()),
        ] {
            table
                .refused(
                    name,
                    who(client).header("Authorization", &header),
                    401,
                    "unauthenticated",
                )
                .await;
        }
        table
            .known(
                "in the scheme's small letters",
                who(client).header("Authorization", &format!("bearer {good}")),
                &known,
            )
            .await;
        table.holds(30);
    });
}

#[test]
fn a_good_session_token_stands_for_its_organisation_its_role_and_its_added_permissions() {
    STAGE.together(async |world| {
        let client = world.client();
        let matrix = client.get("/v1/rbac/matrix").await.expect(200);
        let mut table = Table::default();
        for first_version in [false, true] {
            for (clerks, ours) in [
                ("admin", "admin"),
                ("member", "developer"),
                ("owner", "owner"),
                ("developer", "developer"),
                ("reviewer", "reviewer"),
                ("readonly", "readonly"),
                ("billing_manager", "readonly"),
                // What is no role of people is no role of theirs.
                ("operator", "readonly"),
                ("machine", "readonly"),
            ] {
                let person = world.person(clerks);
                let spec = if first_version {
                    person.spec().v1()
                } else {
                    person.spec()
                };
                let expected = json!({
                    "tenant": person.tenant(), "subject": person.user, "credential": "session",
                    "roles": [ours], "permissions": granted(&matrix, ours),
                });
                let token = world.mint(spec);
                let name = format!("{clerks}, first version: {first_version}");
                table.known(&name, who(&client).bearer(&token), &expected).await;
            }
            // Features of the user's own and of others come before ours: the bits must be counted past them.
            let mut person = world.person("readonly");
            person.org = Org {
                features: vec!["reports".to_owned()],
                ..person.org.permissions(&[
                    "dashboard:read",
                    "aos:runs_create",
                    "aos:tenants_manage",
                    "other:agents_write",
                ])
            };
            let mut spec = TokenSpec {
                user_features: vec!["themes".to_owned(), "dashboard".to_owned()],
                ..person.spec()
            };
            if first_version {
                spec = spec.v1();
            }
            let all = matrix["permissions"].as_array().expect("the matrix has permissions");
            let readonly = granted(&matrix, "readonly");
            let with_one_more: Vec<&Value> = all
                .iter()
                .filter(|word| **word == "runs:create" || readonly.iter().any(|granted| *word == granted))
                .collect();
            let expected = json!({"tenant": person.tenant(), "roles": ["readonly"], "permissions": with_one_more});
            table
                .known("added permissions", who(&client).bearer(&world.mint(spec)), &expected)
                .await;
            // Without an organisation everybody owns what is theirs.
            let user = format!("user_{}", world.number());
            let spec = TokenSpec::of(user.as_str()).lasting(600);
            let spec = if first_version { spec.v1() } else { spec };
            let expected = json!({
                "tenant": user, "subject": user, "roles": ["owner"], "permissions": granted(&matrix, "owner"),
            });
            table
                .known("no organisation", who(&client).bearer(&world.mint(spec)), &expected)
                .await;
        }
        table.holds(22);
    });
}

#[test]
fn what_users_can_write_themselves_gives_nobody_a_tenant_or_a_role() {
    STAGE.together(async |world| {
        let person = world.person("readonly");
        let claims = json!({
            "tenant": "org_victim", "roles": ["operator"], "role": "operator", "permissions": ["tenants:manage"],
            "org_id": "org_victim", "org_role": "org:admin", "org_permissions": ["org:aos:api_keys_manage"],
            "metadata": {"role": "admin"},
        });
        let Value::Object(claims) = claims else {
            unreachable!("an object")
        };
        let token = world.mint(TokenSpec {
            claims,
            ..person.spec()
        });
        let known = person.with(&token, "GET", "/v1/session").send().await.expect(200);
        assert_eq!(
            (&known["tenant"], &known["roles"]),
            (&json!(person.tenant()), &json!(["readonly"])),
            "{known:#}"
        );
        person
            .with(&token, "GET", "/v1/tenants")
            .send()
            .await
            .refused(403, "forbidden");
    });
}
