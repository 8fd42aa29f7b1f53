//! What `voyage_embed` takes, and what it says before anything is asked.

use secrecy::SecretString;

use super::*;
use crate::{
    integrations::voyage::MODELS,
    skills::{
        params::{INVALID_VALUE, REQUIRED, TOO_LONG, TOO_MANY, WRONG_TYPE},
        testing::{Scene, assert_listed},
    },
};

#[test]
fn what_is_wrong_is_refused_at_its_place() {
    let long = "x".repeat(256 * 1024);
    for (params, pointer, code) in [
        (json!({}), "/input", REQUIRED),
        (json!({"input": 1}), "/input", WRONG_TYPE),
        (json!({"input": ""}), "/input", INVALID_VALUE),
        (json!({"input": []}), "/input", INVALID_VALUE),
        (json!({"input": vec!["x"; 1_001]}), "/input", TOO_MANY),
        (json!({"input": ["x", ""]}), "/input/1", INVALID_VALUE),
        (json!({"input": ["x", 1]}), "/input/1", WRONG_TYPE),
        (json!({"input": format!("{long}x")}), "/input", TOO_LONG),
        (json!({"input": vec![long.as_str(); 17]}), "/input", TOO_LONG),
        (json!({"input": "x", "model": "voyage-2"}), "/model", INVALID_VALUE),
        (
            json!({"input": "x", "input_type": "text"}),
            "/input_type",
            INVALID_VALUE,
        ),
    ] {
        let errors = VoyageEmbed.check(&params).unwrap_err();
        assert!(
            errors
                .iter()
                .any(|error| error.pointer == pointer && error.code == code),
            "{pointer} {code}: {errors:?}"
        );
    }
}

#[test]
fn the_limits_themselves_are_within_and_references_leave_them_open() {
    for params in [
        json!({"input": vec!["x"; 1_000]}),
        json!({"input": vec!["x".repeat(256 * 1024); 16]}),
        json!({"input": ["{{input.a}}", "b {{input.c}}"], "model": "{{input.model}}", "input_type": "{{input.kind}}"}),
    ] {
        assert_eq!(VoyageEmbed.check(&params), Ok(()));
    }
    for model in MODELS {
        let params = json!({"input": "x", "model": model.name, "input_type": "query"});
        assert_eq!(VoyageEmbed.check(&params), Ok(()), "{}", model.name);
    }
}

#[test]
fn what_could_be_kept_nowhere_is_not_asked_for() {
    let skill = VoyageEmbed;
    let mut scene = Scene::default();
    let without = scene.run(&skill, &json!({"input": "x"}));
    assert_listed(&skill, &without);
    assert_eq!(without.error.unwrap().code, "integration_not_configured");

    scene
        .owner
        .values
        .insert(OwnSetting::VoyageApiKey, SecretString::from("pa-x"));
    let outcome = scene.run(&skill, &json!({"input": vec!["x"; 100]}));
    assert_listed(&skill, &outcome);
    assert!(outcome.calls.is_empty());
    assert_eq!(outcome.error.unwrap().code, "output_too_large");
}
