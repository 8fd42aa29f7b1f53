//! Tokens with a good signature that identify nobody all the same, and what the caller is told.

use super::*;

#[tokio::test]
async fn a_token_is_refused_outside_its_time() {
    use Refusal::{Expired, Malformed, NotYetValid, WrongClaim};

    are_refused([
        ("expired", claiming(json!({"exp": NOW - 5})), Expired),
        ("expired long ago", claiming(json!({"exp": 0})), Expired),
        (
            "expired before there was time",
            claiming(json!({"exp": -1e300})),
            Expired,
        ),
        ("no exp", claiming(json!({"exp": null})), WrongClaim("exp")),
        (
            "exp as a text",
            claiming(json!({"exp": (NOW + 60).to_string()})),
            Malformed,
        ),
        ("exp as a list", claiming(json!({"exp": [NOW + 60]})), Malformed),
        ("exp twice", and(&format!("\"exp\":{}", NOW + 9_999)), Malformed),
        ("exp beyond all numbers", and("\"exp\":1e999"), Malformed),
        ("not yet", claiming(json!({"nbf": NOW + 6})), NotYetValid),
        ("from the future", claiming(json!({"iat": NOW + 6})), NotYetValid),
        ("nbf as a text", claiming(json!({"nbf": "0"})), Malformed),
        (
            "a service that expired",
            service(json!({}), json!({"exp": NOW - 5})),
            Expired,
        ),
        (
            "a service without exp",
            service(json!({}), json!({"exp": null})),
            WrongClaim("exp"),
        ),
        (
            "a service that is not yet",
            service(json!({}), json!({"nbf": NOW + 6})),
            NotYetValid,
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_token_for_somebody_else_or_of_nobody_is_refused() {
    use Refusal::{Malformed, PendingSession, WrongAudience, WrongClaim, WrongParty, WrongRole};

    let organisation_twice = and(r#""o":{"id":"org_1","rol":"member"},"o":{"id":"org_1","rol":"admin"}"#);
    let services = |claims: Value| service(json!({}), claims);
    are_refused([
        ("no azp", claiming(json!({"azp": null})), WrongParty),
        (
            "another azp",
            claiming(json!({"azp": "https://app.example.com.evil.example"})),
            WrongParty,
        ),
        ("an empty azp", claiming(json!({"azp": ""})), WrongParty),
        ("azp as a list", claiming(json!({"azp": [PARTY]})), Malformed),
        ("an audience", claiming(json!({"aud": "supabase"})), WrongAudience),
        ("audiences", claiming(json!({"aud": ["a", "b"]})), WrongAudience),
        ("pending", claiming(json!({"sts": "pending"})), PendingSession),
        (
            "an unknown status",
            claiming(json!({"sts": "paused"})),
            WrongClaim("sts"),
        ),
        ("no sub", claiming(json!({"sub": null})), WrongClaim("sub")),
        ("sub of a machine", claiming(json!({"sub": "mch_1"})), WrongClaim("sub")),
        (
            "sub of the operator",
            claiming(json!({"sub": "operator"})),
            WrongClaim("sub"),
        ),
        (
            "sub with a second line",
            claiming(json!({"sub": "user_1\nadmin"})),
            WrongClaim("sub"),
        ),
        ("sub twice", and("\"sub\":\"user_2\""), Malformed),
        ("no sid", claiming(json!({"sid": null})), WrongClaim("sid")),
        (
            "sid of something else",
            claiming(json!({"sid": "user_1"})),
            WrongClaim("sid"),
        ),
        (
            "an actor without a name",
            claiming(json!({"act": {}})),
            WrongClaim("act"),
        ),
        ("an unknown version", claiming(json!({"v": 3})), WrongClaim("v")),
        ("a version as a text", claiming(json!({"v": "2"})), Malformed),
        (
            "an organisation that is a user",
            claiming(json!({"o": {"id": "user_2", "rol": "admin"}})),
            WrongClaim("org_id"),
        ),
        (
            "an organisation without an id",
            claiming(json!({"o": {"rol": "admin"}})),
            Malformed,
        ),
        (
            "an organisation as a list",
            claiming(json!({"o": ["org_1"]})),
            Malformed,
        ),
        ("an organisation twice", organisation_twice, Malformed),
        (
            "a service without sub",
            services(json!({"sub": null})),
            WrongClaim("sub"),
        ),
        (
            "a service with a strange sub",
            services(json!({"sub": "a b"})),
            WrongClaim("sub"),
        ),
        (
            "a service without a tenant",
            services(json!({"tenant": null})),
            WrongClaim("tenant"),
        ),
        (
            "a service with a strange tenant",
            services(json!({"tenant": "a/b"})),
            WrongClaim("tenant"),
        ),
        (
            "a service without roles",
            services(json!({"roles": null})),
            WrongClaim("roles"),
        ),
        (
            "a service with no roles",
            services(json!({"roles": []})),
            WrongClaim("roles"),
        ),
        (
            "a service as operator",
            services(json!({"roles": ["developer", "operator"]})),
            WrongRole,
        ),
        ("a service as owner", services(json!({"roles": ["owner"]})), WrongRole),
        ("a service as admin", services(json!({"roles": ["admin"]})), WrongRole),
        (
            "a service as nobody known",
            services(json!({"roles": ["root"]})),
            WrongRole,
        ),
        (
            "a service with an audience",
            services(json!({"aud": "other"})),
            WrongAudience,
        ),
    ])
    .await;
}

#[tokio::test]
async fn where_nothing_is_set_nothing_is_accepted() {
    let nothing = Tokens::new(Arc::new(Hand::default()));
    for token in [claiming(json!({})), service(json!({}), json!({}))] {
        assert_eq!(nothing.verify(&token).await, Err(Refusal::NotConfigured));
    }
    let services = Tokens::new(Arc::new(Hand::default())).with_services(ServiceTokens::new(SERVICE_ISSUER, SECRET));
    assert_eq!(services.verify(&claiming(json!({}))).await, Err(Refusal::WrongIssuer));
    assert!(services.verify(&service(json!({}), json!({}))).await.is_ok());
}

#[tokio::test]
async fn with_the_issuer_away_from_the_start_a_session_cannot_be_judged() {
    let scene = Scene::new();
    scene.issuer.is_away();
    assert_eq!(
        scene.principal(&claiming(json!({}))).await,
        Err(Refusal::KeysUnavailable)
    );
    assert!(scene.principal(&service(json!({}), json!({}))).await.is_ok());
}

#[test]
fn a_refusal_tells_the_caller_only_what_the_holder_of_the_token_may_know() {
    use Refusal as R;

    let shown = |refusal: Refusal| {
        let problem = refusal.problem();
        (problem.status, problem.code.into_owned(), problem.detail)
    };
    let forgery = shown(R::WrongSignature);
    assert_eq!((forgery.0, forgery.1.as_str()), (401, "unauthenticated"));
    let alike = [
        R::Malformed,
        R::TooLong,
        R::WrongIssuer,
        R::WrongAlgorithm,
        R::WrongType,
        R::CriticalHeader,
        R::MachineToken,
        R::NoKey,
        R::UnknownKey,
        R::WrongClaim("sub"),
        R::WrongAudience,
        R::WrongParty,
        R::NotYetValid,
        R::PendingSession,
        R::WrongRole,
    ];
    for refusal in alike {
        assert_eq!(shown(refusal), forgery, "{refusal}");
    }
    assert_eq!(shown(R::Expired).1, "token_expired");
    assert_eq!((shown(R::NotConfigured).0, shown(R::KeysUnavailable).0), (401, 503));
}
