//! Tokens that identify somebody, and whom.

use super::*;
use crate::auth::{Credential, Permission, Role};

/// `tenant subject role,role`
fn summary(principal: &Principal) -> String {
    let roles: Vec<_> = principal.roles.iter().map(|role| role.as_str()).collect();
    format!("{} {} {}", principal.tenant, principal.subject, roles.join(","))
}

#[tokio::test]
async fn good_tokens_identify_their_users() {
    let organisation = |role: &str| claiming(json!({"o": {"id": "org_1", "slg": "one", "rol": role}}));
    let first = |claims: Value| claiming(changed(json!({"v": null, "sts": null, "jti": null}), claims));
    let time = |claims: Value| claiming(claims);
    let cases = [
        ("a user alone", claiming(json!({})), "user_1 user_1 owner"),
        ("version 1, alone", first(json!({})), "user_1 user_1 owner"),
        (
            "version 1 by its number",
            claiming(json!({"v": 1})),
            "user_1 user_1 owner",
        ),
        ("an admin", organisation("admin"), "org_1 user_1 admin"),
        ("a member", organisation("member"), "org_1 user_1 developer"),
        ("a custom owner", organisation("owner"), "org_1 user_1 owner"),
        (
            "a custom developer",
            organisation("developer"),
            "org_1 user_1 developer",
        ),
        ("a custom reviewer", organisation("reviewer"), "org_1 user_1 reviewer"),
        ("a custom readonly", organisation("readonly"), "org_1 user_1 readonly"),
        (
            "a custom role of no meaning here",
            organisation("billing"),
            "org_1 user_1 readonly",
        ),
        (
            "a role called operator",
            organisation("operator"),
            "org_1 user_1 readonly",
        ),
        (
            "a role called machine",
            organisation("machine"),
            "org_1 user_1 readonly",
        ),
        (
            "no role at all",
            claiming(json!({"o": {"id": "org_1"}})),
            "org_1 user_1 readonly",
        ),
        (
            "version 1 and an admin",
            first(json!({"org_id": "org_1", "org_slug": "one", "org_role": "org:admin", "org_permissions": []})),
            "org_1 user_1 admin",
        ),
        (
            "version 1 and a member",
            first(json!({"org_id": "org_1", "org_role": "org:member"})),
            "org_1 user_1 developer",
        ),
        (
            "version 1 as it once was",
            first(json!({"org_id": "org_1", "org_role": "admin"})),
            "org_1 user_1 admin",
        ),
        (
            "the organisation of the other version",
            claiming(json!({"org_id": "org_2", "org_role": "org:admin"})),
            "user_1 user_1 owner",
        ),
        (
            "no typ",
            session(json!({"typ": null}), json!({})),
            "user_1 user_1 owner",
        ),
        (
            "no cat",
            session(json!({"cat": null}), json!({})),
            "user_1 user_1 owner",
        ),
        (
            "unknown entries of the header",
            session(json!({"x": {"y": []}, "jku": "https://evil.example"}), json!({})),
            "user_1 user_1 owner",
        ),
        (
            "unknown claims",
            claiming(json!({"role": "operator", "roles": ["owner"], "tenant": "org_2", "x": [{}]})),
            "user_1 user_1 owner",
        ),
        (
            "no nbf and no iat",
            time(json!({"nbf": null, "iat": null})),
            "user_1 user_1 owner",
        ),
        (
            "expired within the skew",
            time(json!({"exp": NOW - 4})),
            "user_1 user_1 owner",
        ),
        (
            "ahead within the skew",
            time(json!({"nbf": NOW + 5, "iat": NOW + 5})),
            "user_1 user_1 owner",
        ),
        (
            "times with a fraction",
            time(json!({"exp": 1_800_000_000.5, "nbf": 1_799_999_999.5})),
            "user_1 user_1 owner",
        ),
        (
            "a time beyond the calendar",
            time(json!({"exp": u64::MAX})),
            "user_1 user_1 owner",
        ),
        ("a service", service(json!({}), json!({})), "acme billing developer"),
        (
            "a service without typ",
            service(json!({"typ": null}), json!({})),
            "acme billing developer",
        ),
        (
            "a service with a kid",
            service(json!({"kid": "a"}), json!({})),
            "acme billing developer",
        ),
        (
            "a service with roles",
            service(json!({}), json!({"roles": ["machine", "reviewer", "machine"]})),
            "acme billing reviewer,machine",
        ),
        (
            "a service for a user's tenant",
            service(json!({}), json!({"tenant": "user_1", "sub": "a@b.example"})),
            "user_1 a@b.example developer",
        ),
        (
            "a service expired within the skew",
            service(json!({}), json!({"exp": NOW - 4})),
            "acme billing developer",
        ),
    ];
    let scene = Scene::new();
    for (name, token, expected) in cases {
        let principal = scene.principal(&token).await;
        assert_eq!(principal.as_ref().map(summary), Ok(expected.to_owned()), "{name}");
        let principal = principal.unwrap();
        assert!(
            !principal.may(Permission::TenantsManage) && !principal.may(Permission::TenantsRead),
            "{name}"
        );
        assert!(
            !principal.is_operator() && !principal.roles.contains(&Role::Operator),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_session_is_known_by_its_id_and_its_end_and_by_who_acts_in_it() {
    let scene = Scene::new();
    let principal = scene
        .principal(&claiming(json!({"act": {"sub": "user_support"}})))
        .await
        .unwrap();
    let expected = Credential::Session {
        id: "sess_1".to_owned(),
        expires: jiff::Timestamp::from_second(NOW + 60).unwrap(),
        actor: Some("user_support".to_owned()),
    };
    assert_eq!(principal.credential, expected);
    assert_eq!(principal.label().to_string(), "session:sess_1 user_1 by user_support");
}

#[tokio::test]
async fn permissions_of_an_organisation_widen_a_role_but_never_to_the_operators() {
    let scene = Scene::new();
    let second = json!({
        "fea": "u:x,o:aos,o:other",
        "o": {"id": "org_1", "rol": "billing", "per": "runs_create,tenants_manage", "fpm": "3,3"},
    });
    let first = json!({
        "v": null, "org_id": "org_1", "org_role": "org:billing",
        "org_permissions": ["org:aos:runs_create", "org:aos:tenants_manage"],
    });
    for claims in [second, first] {
        let principal = scene.principal(&claiming(claims)).await.unwrap();
        assert_eq!(principal.roles, [Role::Readonly]);
        let added = principal.permissions.without(Role::Readonly.permissions());
        assert_eq!(added.iter().collect::<Vec<_>>(), [Permission::RunsCreate]);
    }
}

#[tokio::test]
async fn without_a_list_of_parties_any_application_is_one() {
    let scene = Scene::with(&[]);
    for party in [json!(null), json!("https://other.example.com")] {
        assert!(scene.principal(&claiming(json!({"azp": party}))).await.is_ok());
    }
}
