//! What tenants hand over in confidence: one request each, sealed in the database, shown to nobody, audited.

use aos::auth::Role;
use aos::problem::Problem;
use aos::sealing::Sealer;
use aos::secrets::{self, Secret};
use aos::tenants::{self, Installation, OwnSetting, Source, TenantSettings};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::world::{Test, body, broken, by, places, test, user};

const VALUE: &str = "hush-77ab-never-shown";

fn sealer() -> Sealer {
    Sealer::new(&SecretString::from("a key for tests"), None)
}

async fn put(test: &Test, name: &str, json: Value) -> Result<Secret, Problem> {
    secrets::put(&test.database, Some(&sealer()), by(&test.principal), name, body(json)).await
}

async fn put_settings(test: &Test, json: Value) -> Result<TenantSettings, Problem> {
    let installation = Installation {
        values: [(OwnSetting::AnthropicApiKey, SecretString::from("the installation's"))].into(),
        ..Installation::default()
    };
    tenants::put_settings(
        &test.database,
        Some(&sealer()),
        &installation,
        by(&test.principal),
        body(json),
    )
    .await
}

fn source(settings: &TenantSettings, name: &str) -> (Source, Option<String>) {
    let setting = settings.items.iter().find(|setting| setting.name == name).unwrap();
    (setting.source, setting.value.clone())
}

#[test]
fn a_secret_is_kept_replaced_listed_and_deleted_by_one_request_each_and_never_shown() {
    test("secrets-life", async |test| {
        let (kept, requests) = test.requests(put(test, "shop_token", json!({"value": VALUE}))).await;
        assert_eq!(requests, ["secrets.put"]);
        let kept = kept.unwrap();
        assert_eq!((kept.name.as_str(), kept.created_at), ("shop_token", kept.updated_at));
        test.clock.advance(std::time::Duration::from_secs(5));
        let again = put(test, "shop_token", json!({"value": "another-77ab"})).await.unwrap();
        assert_eq!(again.created_at, kept.created_at);
        assert!(again.updated_at > kept.updated_at);

        let (listed, requests) = test.requests(secrets::list(&test.database, &test.principal)).await;
        assert_eq!(
            (requests.as_slice(), listed.unwrap().items),
            (["secrets.list".to_owned()].as_slice(), vec![again.clone()])
        );
        assert_eq!(
            secrets::get(&test.database, &test.principal, "shop_token")
                .await
                .unwrap(),
            again
        );
        let stored = test
            .owner
            .query("select sealed, v::text from sealed_values v", &[])
            .await
            .unwrap();
        for row in stored {
            let (sealed, whole): (String, String) = (row.get(0), row.get(1));
            assert!(sealed.starts_with("v1.") && !whole.contains("77ab"), "{whole}");
        }

        // The same name of another tenant is another secret, or none.
        let other = user("secrets-life-other", Role::Admin);
        assert_eq!(
            secrets::get(&test.database, &other, "shop_token")
                .await
                .unwrap_err()
                .code,
            "not_found"
        );
        assert_eq!(
            secrets::delete(&test.database, by(&other), "shop_token")
                .await
                .unwrap_err()
                .code,
            "not_found"
        );
        let (deleted, requests) = test
            .requests(secrets::delete(&test.database, by(&test.principal), "shop_token"))
            .await;
        assert_eq!(
            (deleted, requests.as_slice()),
            (Ok(()), ["secrets.delete".to_owned()].as_slice())
        );
        assert_eq!(
            secrets::delete(&test.database, by(&test.principal), "shop_token")
                .await
                .unwrap_err()
                .code,
            "not_found"
        );
        let audited: Vec<_> = test
            .audit("")
            .await
            .into_iter()
            .map(|entry| (entry.action, entry.target.unwrap_or_default()))
            .collect();
        let entry = |action: &str| (action.to_owned(), "shop_token".to_owned());
        assert_eq!(
            audited,
            [entry("secrets.delete"), entry("secrets.put"), entry("secrets.put")]
        );
    });
}

#[test]
fn what_could_not_be_referred_to_or_sent_is_refused_at_its_place() {
    test("secrets-bad", async |test| {
        for (name, value, place) in [
            ("", "x", " invalid_name"),
            ("1st", "x", " invalid_name"),
            ("a.b", "x", " invalid_name"),
            ("a b", "x", " invalid_name"),
            (&*"n".repeat(65), "x", " invalid_name"),
            ("ok", "", "/value out_of_range"),
            ("ok", &"x".repeat(4097), "/value out_of_range"),
            ("ok", "two\nlines", "/value invalid_value"),
            ("ok", "naïve", "/value invalid_value"),
        ] {
            let problem = put(test, name, json!({"value": value})).await.unwrap_err();
            assert_eq!(places(&problem), [place], "{name:?}");
            assert!(value.is_empty() || !problem.detail.contains("two"), "{problem:?}");
        }
        let problem = secrets::put(
            &test.database,
            None,
            by(&test.principal),
            "ok",
            body(json!({"value": "x"})),
        );
        assert_eq!(problem.await.unwrap_err().code, "sealing_not_configured");
    });
}

#[test]
fn a_tenant_has_a_hundred_secrets_and_may_still_replace_one() {
    test("secrets-many", async |test| {
        put(test, "first", json!({"value": VALUE})).await.unwrap();
        test.owner
            .batch_execute(
                "insert into sealed_values
                 select v.tenant_id, v.kind, 'more' || n, v.sealed, v.created_at, v.updated_at, v.updated_by
                 from sealed_values v, generate_series(1, 99) n
                 where v.name = 'first' and v.tenant_id = (select id from tenants where external_id = 'secrets-many')",
            )
            .await
            .unwrap();
        assert_eq!(
            put(test, "one_more", json!({"value": VALUE})).await.unwrap_err().code,
            "too_many_secrets"
        );
        put(test, "first", json!({"value": VALUE})).await.unwrap();
    });
}

#[test]
fn a_lost_answer_writes_a_secret_and_its_audit_entry_once() {
    test("secrets-lost", async |test| {
        test.neon
            .faults()
            .add(aos_dev::faults::Rule::new(aos_dev::faults::Action::DropAfter).times(1));
        put(test, "token", json!({"value": VALUE})).await.unwrap();
        assert_eq!(test.audit("action=secrets.put").await.len(), 1);
        test.neon.faults().add(broken(500, "Control plane request failed"));
        assert_eq!(
            put(test, "token", json!({"value": VALUE})).await.unwrap_err().code,
            "unavailable"
        );
        test.neon.faults().clear();
    });
}

#[test]
fn a_tenants_own_settings_come_before_the_installations_and_keys_are_never_shown() {
    test("settings-life", async |test| {
        let (set, requests) = test
            .requests(put_settings(
                test,
                json!({"anthropic_model": "claude-haiku-4-5", "openai_api_key": VALUE}),
            ))
            .await;
        assert_eq!(requests, ["settings.put"]);
        let set = set.unwrap();
        assert_eq!(
            source(&set, "anthropic_model"),
            (Source::Tenant, Some("claude-haiku-4-5".to_owned()))
        );
        assert_eq!(source(&set, "openai_api_key"), (Source::Tenant, None));
        assert_eq!(source(&set, "anthropic_api_key"), (Source::Installation, None));
        assert_eq!(source(&set, "voyage_api_key"), (Source::None, None));
        assert!(!serde_json::to_string(&set).unwrap().contains("77ab"));

        let unset = put_settings(test, json!({"openai_api_key": null})).await.unwrap();
        assert_eq!(source(&unset, "openai_api_key"), (Source::None, None));
        assert_eq!(source(&unset, "anthropic_model").0, Source::Tenant);
        assert_eq!(test.audit("action=settings.put").await.len(), 2);
        // A secret of the same name is another thing.
        assert_eq!(
            secrets::get(&test.database, &test.principal, "anthropic_model")
                .await
                .unwrap_err()
                .code,
            "not_found"
        );
    });
}

#[test]
fn one_bad_setting_changes_none() {
    test("settings-bad", async |test| {
        for (change, place) in [
            (json!({"no_such": "x"}), "/no_such unknown_field"),
            (json!({"webhook_secret": "hush"}), "/webhook_secret invalid_value"),
            (
                json!({"slack_webhook_url": "nonsense"}),
                "/slack_webhook_url invalid_value",
            ),
            (
                json!({"query_database_url": "https://example.com"}),
                "/query_database_url invalid_value",
            ),
            (json!({"openai_api_key": ""}), "/openai_api_key invalid_value"),
            (json!({"openai_api_key": "a\r\nb"}), "/openai_api_key invalid_value"),
        ] {
            let mut both = change.clone();
            both["anthropic_model"] = json!("claude-haiku-4-5");
            let problem = put_settings(test, both).await.unwrap_err();
            assert_eq!(places(&problem), [place]);
        }
        let nothing = tenants::settings(
            &test.database,
            Some(&sealer()),
            &Installation::default(),
            &test.principal,
        )
        .await;
        assert!(
            nothing
                .unwrap()
                .items
                .iter()
                .all(|setting| setting.source == Source::None)
        );
    });
}
