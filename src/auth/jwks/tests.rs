use std::sync::Arc;

use futures::{FutureExt, future::join_all};

use super::*;
use crate::auth::testing::{Hand, ISSUER, Issuer, key};

const HOUR: Duration = Duration::from_secs(60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

/// An isolate, and the world around it.
struct Scene {
    issuer: Arc<Issuer>,
    clock: Arc<Hand>,
    jwks: Jwks,
}

impl Scene {
    /// An issuer that publishes `a`.
    fn new() -> Self {
        let issuer = Arc::new(Issuer::default());
        issuer.publishes(&[("a", key(0))]);
        let clock = Arc::new(Hand::default());
        Self {
            jwks: isolate(&issuer, "secret"),
            issuer,
            clock,
        }
    }

    async fn key(&self, kid: &str) -> Result<Found, Refusal> {
        self.jwks.key(kid, &*self.clock).await
    }

    /// `Ok(due)`, where what is only to be shared has been.
    async fn is_due(&self, kid: &str) -> Result<bool, Refusal> {
        self.key(kid).await?;
        self.share().await;
        self.key(kid).await.map(|found| found.due)
    }

    /// Gives the other isolates what is new, and refreshes nothing.
    async fn share(&self) {
        let unshared = self.jwks.state().unshared.take();
        if let Some(copy) = unshared {
            self.issuer.keep(copy, STALE).await;
        }
    }

    async fn refresh(&self) {
        self.jwks.refresh(&*self.clock).await;
    }

    /// Another isolate beside this one.
    fn neighbour(&self) -> Self {
        let (issuer, clock) = (Arc::clone(&self.issuer), Arc::clone(&self.clock));
        Self {
            jwks: isolate(&issuer, "secret"),
            issuer,
            clock,
        }
    }
}

fn isolate(issuer: &Arc<Issuer>, secret: &str) -> Jwks {
    Jwks::new(ISSUER, Box::new(Arc::clone(issuer)), Seal::new(&secret.into()))
}

#[tokio::test]
async fn many_requests_of_a_cold_isolate_ask_the_issuer_once() {
    let scene = Scene::new();
    let found = join_all((0..50).map(|_| scene.is_due("a"))).await;
    assert!(found.iter().all(|found| *found == Ok(false)), "{found:?}");
    assert_eq!(scene.issuer.fetches(), 1);
}

#[tokio::test]
async fn a_second_isolate_takes_the_copy_of_the_first() {
    let scene = Scene::new();
    assert_eq!(scene.is_due("a").await, Ok(false));
    assert_eq!(scene.neighbour().is_due("a").await, Ok(false));
    assert_eq!(scene.issuer.fetches(), 1);
}

#[tokio::test]
async fn the_copy_is_left_behind_the_answer() {
    let scene = Scene::new();
    assert!(scene.key("a").await.unwrap().due);
    assert!(scene.issuer.copy.lock().unwrap().is_none());
    scene.refresh().await;
    assert!(scene.issuer.copy.lock().unwrap().is_some());
    assert!(!scene.key("a").await.unwrap().due);
    assert_eq!(scene.issuer.fetches(), 1);
}

#[tokio::test]
async fn a_copy_that_is_not_ours_or_of_another_issuer_is_not_used() {
    let scene = Scene::new();
    for make in [
        isolate(&scene.issuer, "another secret"),
        Jwks::new(
            "https://other",
            Box::new(Arc::clone(&scene.issuer)),
            Seal::new(&"secret".into()),
        ),
    ] {
        assert!(make.key("a", &*scene.clock).await.is_ok());
        make.refresh(&*scene.clock).await;
        assert!(scene.issuer.copy.lock().unwrap().is_some());
        let fetches = scene.issuer.fetches();
        assert_eq!(scene.neighbour().is_due("a").await, Ok(false));
        assert_eq!(scene.issuer.fetches(), fetches + 1);
        *scene.issuer.copy.lock().unwrap() = None;
    }
    for garbage in ["", "x", "a.b", "null"] {
        *scene.issuer.copy.lock().unwrap() = Some(garbage.to_owned());
        assert_eq!(scene.neighbour().is_due("a").await, Ok(false));
    }
}

#[tokio::test]
async fn after_an_hour_the_keys_are_refreshed_behind_the_answer_and_once() {
    let scene = Scene::new();
    assert_eq!(scene.is_due("a").await, Ok(false));
    scene.clock.passes(HOUR - MINUTE);
    assert_eq!(scene.is_due("a").await, Ok(false));
    scene.refresh().await;
    assert_eq!(scene.issuer.fetches(), 1);
    scene.clock.passes(MINUTE);
    assert_eq!(scene.is_due("a").await, Ok(true));
    join_all((0..10).map(|_| scene.refresh())).await;
    assert_eq!(scene.issuer.fetches(), 2);
    assert_eq!(scene.is_due("a").await, Ok(false));
}

#[tokio::test]
async fn a_refresh_takes_a_newer_copy_of_another_isolate() {
    let scene = Scene::new();
    let neighbour = scene.neighbour();
    assert_eq!(neighbour.is_due("a").await, Ok(false));
    assert_eq!(scene.is_due("a").await, Ok(false));
    scene.clock.passes(HOUR);
    neighbour.refresh().await;
    assert_eq!(scene.issuer.fetches(), 2);
    scene.refresh().await;
    assert_eq!(scene.issuer.fetches(), 2);
    assert_eq!(scene.is_due("a").await, Ok(false));
}

#[tokio::test]
async fn with_the_issuer_away_known_keys_keep_working_for_a_day_and_not_longer() {
    let scene = Scene::new();
    assert_eq!(scene.is_due("a").await, Ok(false));
    scene.issuer.is_away();
    scene.clock.passes(2 * HOUR);
    assert_eq!(scene.is_due("a").await, Ok(true));
    scene.refresh().await;
    assert_eq!(
        scene.is_due("a").await,
        Ok(false),
        "a failed refresh is not repeated at once"
    );
    scene.clock.passes(BETWEEN_FAILURES);
    assert_eq!(scene.is_due("a").await, Ok(true));
    scene
        .clock
        .passes(22 * HOUR - BETWEEN_FAILURES - Duration::from_secs(1));
    assert!(scene.is_due("a").await.is_ok());
    scene.clock.passes(Duration::from_secs(1));
    assert_eq!(scene.is_due("a").await, Err(Refusal::KeysUnavailable));
    let fetches = scene.issuer.fetches();
    join_all((0..50).map(|_| scene.is_due("a"))).await;
    assert_eq!(scene.issuer.fetches(), fetches, "an issuer that is away is not flooded");
    scene.issuer.publishes(&[("a", key(0))]);
    scene.clock.passes(BETWEEN_FAILURES);
    assert_eq!(scene.is_due("a").await, Ok(false));
}

#[tokio::test]
async fn what_the_issuer_sends_instead_of_keys_takes_nothing_away() {
    let scene = Scene::new();
    assert_eq!(scene.is_due("a").await, Ok(false));
    *scene.issuer.document.lock().unwrap() = Some(serde_json::json!({"keys": []}));
    scene.clock.passes(HOUR);
    scene.refresh().await;
    assert!(scene.is_due("a").await.is_ok());
}

#[tokio::test]
async fn a_flood_of_unknown_keys_asks_the_issuer_once_in_five_minutes() {
    let scene = Scene::new();
    assert_eq!(scene.is_due("a").await, Ok(false));
    let flood = || async {
        let kids: Vec<_> = (0..300).map(|number| format!("unknown-{number}")).collect();
        let found = join_all(kids.iter().map(|kid| scene.is_due(kid))).await;
        assert!(
            found.iter().all(|found| *found == Err(Refusal::UnknownKey)),
            "{found:?}"
        );
    };
    flood().await;
    assert_eq!(scene.issuer.fetches(), 2);
    scene.clock.passes(5 * MINUTE - Duration::from_secs(1));
    flood().await;
    assert_eq!(scene.issuer.fetches(), 2);
    scene.clock.passes(Duration::from_secs(1));
    flood().await;
    assert_eq!(scene.issuer.fetches(), 3);
    assert_eq!(scene.is_due("a").await, Ok(false));
}

#[tokio::test]
async fn a_flood_of_unknown_keys_on_a_cold_isolate_asks_the_issuer_once() {
    let scene = Scene::new();
    let found = join_all((0..100).map(|_| scene.is_due("b"))).await;
    assert!(found.iter().all(|found| *found == Err(Refusal::UnknownKey)));
    assert_eq!(scene.issuer.fetches(), 1);
}

#[tokio::test]
async fn after_a_rotation_the_new_key_passes_within_one_fetch_and_the_old_one_stops() {
    let scene = Scene::new();
    let before = scene.key("a").await.unwrap().generation;
    scene.issuer.publishes(&[("b", key(1))]);
    let found = join_all((0..20).map(|_| scene.is_due("b"))).await;
    assert!(found.iter().all(|found| *found == Ok(false)), "{found:?}");
    assert_eq!(scene.issuer.fetches(), 2);
    assert_eq!(scene.is_due("a").await, Err(Refusal::UnknownKey));
    assert_ne!(
        scene.jwks.generation(),
        before,
        "what was verified with the old key must be forgotten"
    );
    assert_eq!(scene.issuer.fetches(), 2);
}

#[tokio::test]
async fn a_key_that_is_added_takes_nothing_back() {
    let scene = Scene::new();
    let before = scene.key("a").await.unwrap().generation;
    scene.issuer.publishes(&[("a", key(0)), ("b", key(1))]);
    assert_eq!(scene.is_due("b").await, Ok(false));
    assert_eq!(scene.jwks.generation(), before);
    // The same name with another key is another key.
    scene.issuer.publishes(&[("a", key(1)), ("b", key(1))]);
    scene.clock.passes(HOUR);
    scene.refresh().await;
    assert_ne!(scene.jwks.generation(), before);
}

#[tokio::test]
async fn a_cold_isolate_with_everything_away_says_so_and_recovers() {
    let scene = Scene::new();
    scene.issuer.is_away();
    let found = join_all((0..20).map(|_| scene.is_due("a"))).await;
    assert!(found.iter().all(|found| *found == Err(Refusal::KeysUnavailable)));
    assert_eq!(scene.issuer.fetches(), 1);
    scene.issuer.publishes(&[("a", key(0))]);
    scene.clock.passes(BETWEEN_FAILURES);
    assert_eq!(scene.is_due("a").await, Ok(false));
}

#[tokio::test]
async fn a_request_that_ends_in_the_middle_of_a_load_does_not_stop_the_others() {
    let scene = Scene::new();
    *scene.issuer.hangs.lock().unwrap() = true;
    let mut cancelled = Box::pin(scene.is_due("a"));
    for _ in 0..10 {
        assert!((&mut cancelled).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(cancelled);
    *scene.issuer.hangs.lock().unwrap() = false;
    assert_eq!(scene.is_due("a").await, Ok(false));
    assert_eq!(scene.issuer.fetches(), 2);
}

#[tokio::test]
async fn a_request_that_vanishes_in_the_middle_of_a_load_is_given_up_after_a_while() {
    let scene = Scene::new();
    *scene.issuer.hangs.lock().unwrap() = true;
    let mut vanished = Box::pin(scene.is_due("a"));
    while scene.issuer.fetches() == 0 {
        assert!((&mut vanished).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    // Neither polled nor dropped any more, as the platform leaves the work of a request that is gone.
    *scene.issuer.hangs.lock().unwrap() = false;
    assert_eq!(scene.is_due("a").await, Err(Refusal::KeysUnavailable));
    scene.clock.passes(LONGEST_LOAD);
    assert_eq!(scene.is_due("a").await, Ok(false));
    drop(vanished);
}
