//! What every skill's contract must keep to.

use std::collections::{BTreeSet, HashMap};

use serde_json::json;

use super::*;
use crate::skills::{EffectClass, params};

fn contract_of(skill: &dyn Skill) -> Contract {
    contract(skill.identity().name).unwrap()
}

#[test]
fn a_skill_is_found_by_its_name_and_only_by_it() {
    let registry = Registry::default();
    for name in [
        "calendar_write",
        "email_send",
        "http_call",
        "json_transform",
        "kv_store",
        "llm_invoke",
        "postgres_query",
        "slack_send",
        "voyage_embed",
        "webhook_send",
    ] {
        assert_eq!(registry.get(name).map(|skill| skill.identity().name), Some(name));
    }
    assert!(registry.get("nonsense").is_none());
    let names: Vec<_> = registry.iter().map(|skill| skill.identity().name).collect();
    assert!(names.is_sorted(), "{names:?}");
}

#[test]
fn every_skill_has_one_contract_in_the_same_order() {
    let of_skills: Vec<_> = Registry::default().iter().map(Skill::identity).collect();
    let of_contracts: Vec<_> = contracts().iter().map(|contract| contract.identity).collect();
    assert_eq!(of_contracts, of_skills);
}

#[test]
fn the_committed_contracts_are_what_the_code_says() {
    let committed = include_str!("../../../contracts.json");
    assert!(
        committed == contracts_json(),
        "contracts.json is out of date: write it anew with `cargo xtask openapi`"
    );
}

#[test]
fn every_example_passes_its_own_check() {
    for skill in Registry::default().iter() {
        let contract = contract_of(skill);
        assert_eq!(skill.check(&contract.example), Ok(()), "{}", skill.identity().name);
        assert!(
            contract.effects.contains(&skill.effect_class(&contract.example)),
            "{}",
            skill.identity().name
        );
    }
}

#[test]
fn schema_and_types_know_the_same_fields() {
    for skill in Registry::default().iter() {
        let contract = contract_of(skill);
        let schema = &contract.input_schema;
        assert_eq!(schema["additionalProperties"], false, "{}", skill.identity().name);

        // The types name every field they know when they refuse one that they do not.
        let errors = skill.check(&json!({"no/such": 1})).unwrap_err();
        let unknown = errors.iter().find(|error| error.code == params::UNKNOWN_FIELD).unwrap();
        assert_eq!(unknown.pointer, "/no~1such");
        let (_, known) = unknown.detail.split_once("there are ").unwrap();
        let known: BTreeSet<_> = known.split(", ").collect();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(
            properties.keys().map(String::as_str).collect::<BTreeSet<_>>(),
            known,
            "{}",
            skill.identity().name
        );

        let errors = skill.check(&json!({})).unwrap_err();
        let missing: BTreeSet<_> = errors
            .iter()
            .filter(|error| error.code == params::REQUIRED)
            .map(|error| error.pointer.as_str())
            .collect();
        for required in schema["required"].as_array().unwrap() {
            assert!(
                missing.contains(format!("/{}", required.as_str().unwrap()).as_str()),
                "{} {required}",
                skill.identity().name
            );
        }
    }
}

#[test]
fn a_value_of_the_wrong_type_is_refused_at_its_place_in_every_field() {
    for skill in Registry::default().iter() {
        let contract = contract_of(skill);
        for (name, schema) in contract.input_schema["properties"].as_object().unwrap() {
            let Some(kind) = schema["type"].as_str() else { continue };
            let wrong = if kind == "boolean" { json!(1) } else { json!(true) };
            let mut params = contract.example.clone();
            params[name] = wrong;
            let errors = skill.check(&params).unwrap_err();
            let pointer = format!("/{name}");
            assert!(
                errors
                    .iter()
                    .any(|error| error.pointer == pointer && error.code == params::WRONG_TYPE),
                "{} {name}: {errors:?}",
                skill.identity().name
            );
        }
        for params in [json!(null), json!([]), json!("text"), json!(1)] {
            assert!(skill.check(&params).is_err(), "{}", skill.identity().name);
        }
    }
}

#[test]
fn a_whole_reference_may_stand_for_any_field() {
    for skill in Registry::default().iter() {
        let contract = contract_of(skill);
        for (name, _) in contract.example.as_object().unwrap() {
            let mut params = contract.example.clone();
            params[name] = json!("{{steps.before.output.x}}");
            assert_eq!(skill.check(&params), Ok(()), "{} {name}", skill.identity().name);
        }
    }
}

#[test]
fn a_failure_code_means_the_same_in_every_contract() {
    let mut known = HashMap::new();
    for skill in Registry::default().iter() {
        let modes = contract_of(skill).failure_modes;
        let codes: BTreeSet<_> = modes.iter().map(|mode| mode.code).collect();
        assert_eq!(codes.len(), modes.len(), "{} lists a code twice", skill.identity().name);
        for mode in modes {
            let meaning = known.entry(mode.code).or_insert((mode.category, mode.retryable));
            assert_eq!(*meaning, (mode.category, mode.retryable), "{}", mode.code);
        }
    }
}

#[test]
fn a_skill_that_needs_an_integration_says_what_happens_without_it() {
    for skill in Registry::default().iter() {
        let contract = contract_of(skill);
        let lists = contract
            .failure_modes
            .iter()
            .any(|mode| mode.code == "integration_not_configured");
        assert_eq!(
            lists,
            !skill.identity().integrations.is_empty(),
            "{}",
            skill.identity().name
        );
    }
}

#[test]
fn a_reference_that_decides_the_effect_is_taken_for_the_worst() {
    let registry = Registry::default();
    let class = |name: &str, params| registry.get(name).unwrap().effect_class(&params);
    for (params, expected) in [
        (json!({"url": "https://example.com"}), EffectClass::Read),
        (json!({"method": "HEAD"}), EffectClass::Read),
        (json!({"method": "OPTIONS"}), EffectClass::Read),
        (json!({"method": "PUT"}), EffectClass::Repeatable),
        (json!({"method": "DELETE"}), EffectClass::Repeatable),
        (json!({"method": "POST"}), EffectClass::Once),
        (json!({"method": "PATCH", "idempotent": false}), EffectClass::Once),
        (json!({"method": "POST", "idempotent": true}), EffectClass::Repeatable),
        (
            json!({"method": "POST", "idempotent": "{{input.x}}"}),
            EffectClass::Once,
        ),
        (json!({"method": "{{input.method}}"}), EffectClass::Once),
        (
            json!({"method": "{{input.method}}", "idempotent": true}),
            EffectClass::Repeatable,
        ),
        (json!({"method": 5}), EffectClass::Once),
    ] {
        assert_eq!(class("http_call", params.clone()), expected, "{params}");
    }
    for (op, expected) in [
        ("get", EffectClass::Read),
        ("exists", EffectClass::Read),
        ("ttl", EffectClass::Read),
        ("set", EffectClass::Repeatable),
        ("incr", EffectClass::Repeatable),
        ("delete", EffectClass::Repeatable),
        ("{{input.op}}", EffectClass::Repeatable),
    ] {
        assert_eq!(class("kv_store", json!({"op": op, "key": "k"})), expected, "{op}");
    }
    assert_eq!(class("json_transform", json!({})), EffectClass::Pure);
}
