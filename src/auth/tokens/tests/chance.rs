//! What chance makes is no token: properties over texts, parts, signatures and claims of any shape.

use proptest::prelude::*;

use super::*;
use crate::auth::testing::{encode, with_part};

/// Whose token it is, asked of a new isolate.
fn principal(token: &str) -> Result<Principal, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { Scene::new().principal(token).await })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_a_token_by_chance(text in any::<String>()) {
        prop_assert!(principal(&text).is_err());
    }

    #[test]
    fn no_three_parts_are_a_token_by_chance(
        header in "[ -~]{0,60}",
        payload in "[ -~]{0,60}",
        signature in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let token = format!("{}.{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()), encode(&signature));
        prop_assert!(principal(&token).is_err());
    }

    #[test]
    fn no_signature_is_right_by_chance(signature in prop::collection::vec(any::<u8>(), 0..300)) {
        for good in [claiming(json!({})), service(json!({}), json!({}))] {
            prop_assert!(principal(&with_part(&good, 2, |_| encode(&signature))).is_err());
        }
    }

    #[test]
    fn one_changed_character_makes_a_token_bad(place in any::<prop::sample::Index>(), character in "[A-Za-z0-9_.-]") {
        for good in [claiming(json!({})), service(json!({}), json!({}))] {
            let place = place.index(good.len());
            let mut other = good.clone();
            other.replace_range(place..=place, &character);
            prop_assert_eq!(principal(&other).is_ok(), other == good);
        }
    }

    #[test]
    fn claims_of_any_shape_never_lead_out_of_what_clerk_may_name(
        name in prop::sample::select(CLAIMS),
        value in any_json(),
    ) {
        if let Ok(principal) = principal(&claiming(json!({ name: value }))) {
            let tenant = principal.tenant.as_str();
            prop_assert!(tenant.starts_with("user_") || tenant.starts_with("org_"), "{tenant}");
            prop_assert!(principal.subject.starts_with("user_"));
        }
    }
}

const CLAIMS: &[&str] = &[
    "iss", "sub", "sid", "exp", "nbf", "iat", "azp", "aud", "act", "v", "o", "fea", "sts", "org_id", "org_role",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~]{0,20}".prop_map(Value::from),
        "(org|user|sess)_[a-z0-9]{1,5}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("id|rol|per|fpm|sub|slg", inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}
