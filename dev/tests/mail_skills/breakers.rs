//! The breakers and lanes around the three providers, in a real Redis.

use std::time::Duration;

use aos::skills::{Outcome, OutcomeStatus};
use aos_dev::standins::script::Step;
use serde_json::{Value, json};

use crate::world::World;

const SKILLS: [&str; 3] = ["email_send", "slack_send", "voyage_embed"];

fn params(skill: &str) -> Value {
    match skill {
        "email_send" => json!({"to": "a@example.com", "subject": "s", "text": "t"}),
        "slack_send" => json!({"text": "t"}),
        _ => json!({"input": "t"}),
    }
}

fn script(world: &World, skill: &str, step: Step) {
    let standins = &world.standins;
    match skill {
        "email_send" => standins.resend().script([step]),
        "slack_send" => standins.slack().script([step]),
        _ => standins.voyage().script([step]),
    }
    .unwrap();
}

fn received(world: &World, skill: &str) -> u64 {
    let standins = &world.standins;
    match skill {
        "email_send" => standins.resend().received().count,
        "slack_send" => standins.slack().received().count,
        _ => standins.voyage().received().count,
    }
}

async fn call(world: &World, skill: &str, step: u32) -> Outcome {
    world.call(skill, step, &params(skill)).await
}

fn code(outcome: &Outcome) -> &str {
    outcome.error.as_ref().map_or("", |error| error.code.as_ref())
}

#[tokio::test]
async fn five_sick_answers_open_the_breaker_and_a_probe_closes_it() {
    let world = World::with_breakers().await;
    for skill in SKILLS {
        script(&world, skill, Step::status(502, "bad gateway").times(6));
        for step in 1..=5 {
            assert_ne!(code(&call(&world, skill, step).await), "circuit_open", "{skill} {step}");
        }
        let outcome = call(&world, skill, 6).await;
        let error = outcome.error.as_ref().unwrap();
        assert_eq!(
            (error.code.as_ref(), error.retryable),
            ("circuit_open", true),
            "{skill}"
        );
        let wait = error.retry_after_ms.unwrap();
        assert!((1..=10_000).contains(&wait), "{skill} {wait}");
        assert!(outcome.calls.is_empty() && outcome.effects.is_empty());
        assert_eq!(received(&world, skill), 5, "{skill} was asked all the same");

        // Half open: the probe fails, and the wait is doubled.
        world.clock.passes(Duration::from_secs(11));
        assert_ne!(code(&call(&world, skill, 7).await), "circuit_open", "{skill}");
        let outcome = call(&world, skill, 8).await;
        let wait = outcome.error.unwrap().retry_after_ms.unwrap();
        assert!((10_001..=20_000).contains(&wait), "{skill} {wait}");

        // The next probe is answered, and closes it.
        world.clock.passes(Duration::from_secs(21));
        for step in 9..=10 {
            let outcome = call(&world, skill, step).await;
            assert_eq!(outcome.status, OutcomeStatus::Succeeded, "{skill}: {:?}", outcome.error);
        }
        assert_eq!(received(&world, skill), 8, "{skill}");
    }
    world.end().await;
}

#[tokio::test]
async fn what_is_the_callers_fault_never_opens_the_breaker() {
    let world = World::with_breakers().await;
    for skill in SKILLS {
        for (step, status) in (1..).zip([400, 401, 403, 404, 409, 413, 422, 429, 429, 429]) {
            script(&world, skill, Step::status(status, ""));
            assert_ne!(
                code(&call(&world, skill, step).await),
                "circuit_open",
                "{skill} {status}"
            );
        }
        let outcome = call(&world, skill, 20).await;
        assert_eq!(outcome.status, OutcomeStatus::Succeeded, "{skill}: {:?}", outcome.error);
    }
    world.end().await;
}

#[tokio::test]
async fn without_a_lane_nothing_begins() {
    let mut world = World::with_breakers().await;
    world.services.breakers = world.services.breakers.map(|breakers| breakers.with_lanes(0));
    for skill in SKILLS {
        let outcome = call(&world, skill, 1).await;
        assert!(outcome.deferred.is_some_and(|wait| !wait.is_zero()), "{skill}");
        assert!(outcome.calls.is_empty() && outcome.effects.is_empty());
        assert_eq!(received(&world, skill), 0, "{skill}");
    }
    world.end().await;
}

#[tokio::test]
async fn the_providers_have_breakers_of_their_own() {
    let world = World::with_breakers().await;
    script(&world, "slack_send", Step::status(502, "").times(5));
    for step in 1..=5 {
        call(&world, "slack_send", step).await;
    }
    assert_eq!(code(&call(&world, "slack_send", 6).await), "circuit_open");
    for skill in ["email_send", "voyage_embed"] {
        assert_eq!(call(&world, skill, 7).await.status, OutcomeStatus::Succeeded, "{skill}");
    }
    world.end().await;
}
