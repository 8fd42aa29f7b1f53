use secrecy::SecretString;

use super::*;
use crate::skills::testing::{Scene, assert_listed};

fn run(url: Option<&str>, params: Value) -> Outcome {
    let mut scene = Scene::default();
    if let Some(url) = url {
        scene
            .owner
            .values
            .insert(OwnSetting::QueryDatabaseUrl, SecretString::from(url));
    }
    let skill = PostgresQuery;
    let outcome = scene.run(&skill, &params);
    assert_listed(&skill, &outcome);
    outcome
}

#[test]
fn without_a_database_of_its_own_a_tenant_gets_an_outcome_and_no_request() {
    let error = run(None, json!({"sql": "select 1"})).error.unwrap();
    assert_eq!(error.code, "integration_not_configured");
    let url = "postgresql://u:p@ep-x.neon.tech/db";
    let error = run(Some(url), json!({"sql": "select 1"})).error.unwrap();
    assert_eq!(error.code, "integration_not_configured");
}

#[test]
fn params_are_checked_again_once_references_are_filled_in() {
    for params in [
        json!({}),
        json!({"sql": ""}),
        json!({"sql": "select 1", "max_rows": 1001}),
    ] {
        assert_eq!(run(None, params).error.unwrap().code, "invalid_params");
    }
}

#[test]
fn the_database_gives_up_before_the_step_does() {
    for (left, expected) in [(60_000, 30_000), (30_000, 29_000), (5_000, 4_500), (100, 90), (0, 0)] {
        assert_eq!(
            statement_timeout(Duration::from_millis(left)),
            Duration::from_millis(expected)
        );
    }
}
