//! What an isolate remembers of the tokens that it has verified.

use std::time::Duration;

use super::*;
use crate::auth::testing::encode;

#[tokio::test]
async fn a_token_is_good_again_without_its_keys_until_it_expires() {
    let scene = Scene::new();
    let token = claiming(json!({}));
    let first = scene.principal(&token).await.unwrap();
    // Nothing that a second verification would need is there any more.
    scene.issuer.is_away();
    scene.clock.passes(Duration::from_secs(64));
    assert_eq!(scene.principal(&token).await, Ok(first));
    scene.clock.passes(Duration::from_secs(1));
    assert_eq!(scene.principal(&token).await, Err(Refusal::Expired));
    assert_eq!(scene.issuer.fetches(), 1);
}

#[tokio::test]
async fn a_token_that_was_refused_is_not_remembered() {
    let scene = Scene::new();
    let early = claiming(json!({"nbf": NOW + 10}));
    assert_eq!(scene.principal(&early).await, Err(Refusal::NotYetValid));
    scene.clock.passes(Duration::from_secs(10));
    assert!(scene.principal(&early).await.is_ok());
}

#[tokio::test]
async fn a_token_like_a_remembered_one_is_another_token() {
    let scene = Scene::new();
    let token = claiming(json!({}));
    assert!(scene.principal(&token).await.is_ok());
    let (message, _) = token.rsplit_once('.').unwrap();
    let others = [
        format!("{token}A"),
        format!("{token}."),
        token.to_lowercase(),
        token.replace('.', ".."),
        format!("{message}.{}", encode(b"x")),
    ];
    for other in others {
        assert!(scene.principal(&other).await.is_err(), "{other}");
    }
}

#[tokio::test]
async fn when_a_key_is_taken_back_what_it_signed_is_forgotten() {
    let scene = Scene::new();
    let old = claiming(json!({}));
    assert!(scene.principal(&old).await.is_ok());
    scene.issuer.publishes(&[("b", key(1))]);
    assert!(scene.principal(&old).await.is_ok(), "nobody knows of the rotation yet");
    let header = changed(session_header(), json!({"kid": "b"}));
    let new = write(
        &header.to_string(),
        &session_claims().to_string(),
        &key(1).signing,
        Algorithm::RS256,
    );
    assert!(scene.principal(&new).await.is_ok());
    assert_eq!(scene.principal(&old).await, Err(Refusal::UnknownKey));
    assert_eq!(scene.issuer.fetches(), 2);
}

#[tokio::test]
async fn who_should_refresh_the_keys_is_told_so() {
    let scene = Scene::new();
    let token = |number: u32| claiming(json!({"exp": NOW + 100_000, "jti": number.to_string()}));
    assert!(
        scene.tokens.verify(&token(0)).await.unwrap().keys_are_due,
        "other isolates have no copy yet"
    );
    scene.tokens.refresh_keys().await;
    assert!(!scene.tokens.verify(&token(1)).await.unwrap().keys_are_due);
    assert_eq!(scene.issuer.fetches(), 1);
    scene.clock.passes(Duration::from_secs(3_600));
    assert!(scene.tokens.verify(&token(2)).await.unwrap().keys_are_due);
    scene.tokens.refresh_keys().await;
    assert_eq!(scene.issuer.fetches(), 2);
    assert!(!scene.tokens.verify(&token(3)).await.unwrap().keys_are_due);
}
