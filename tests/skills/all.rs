//! One plan with all ten skills, as it is and with each integration missing in turn.

use aos_tests::{Client, World, example};
use serde_json::{Value, json};

use crate::STAGE;

/// Runs the plan and gives its run and its steps, by their keys.
async fn run(client: &Client, world: &World) -> (Value, Value) {
    let (request, _) = example("all-skills", client.agent().await, &world.standins());
    let run = client.start_from(&request).await;
    let ended = client.ended(&run).await;
    let steps = client.get(&format!("/v1/runs/{run}/steps")).await.expect(200);
    let steps = steps["items"].as_array().expect("steps").iter();
    let by_key = steps.map(|step| (step["key"].as_str().expect("a key").to_owned(), step.clone()));
    (ended, by_key.collect::<serde_json::Map<_, _>>().into())
}

#[test]
fn one_plan_uses_all_ten_skills_and_each_provider_hears_of_it_once() {
    STAGE.alone(async |world| {
        let client = world.client();
        world.equip(&client).await;
        let standins = world.cloud.standins();
        standins.anthropic().forget_received();
        standins.slack().forget_posted();
        let mails = standins.resend().sent_to("ada@example.com");
        let hooks = standins.webhooks().tally("all-skills").delivered;

        let (ended, steps) = run(&client, world).await;
        assert_eq!(ended["status"], "succeeded", "{ended:#}");
        let used: std::collections::BTreeSet<_> = steps
            .as_object()
            .expect("steps")
            .values()
            .map(|step| step["skill"].to_string())
            .collect();
        assert_eq!(used.len(), 10, "{used:?}");
        assert_eq!(standins.anthropic().received().count, 1);
        assert_eq!(standins.slack().posted().count, 1);
        assert_eq!(standins.resend().sent_to("ada@example.com") - mails, 1);
        let tally = standins.webhooks().tally("all-skills");
        assert_eq!((tally.delivered - hooks, tally.duplicates, tally.invalid), (1, 0, 0));

        // What it cost is the model's and the embeddings' price, and every call has its row.
        let id = ended["id"].as_str().expect("an id").trim_start_matches("run_");
        let rows = world
            .owner
            .column(&format!(
                "select u.integration || ' ' || coalesce(u.model, '-') || ' ' || coalesce((u.cost_microusd > 0)::text, 'unknown')
                 from usage u join steps s on s.id = u.step_id where u.run_id = '{id}' order by s.idx"
            ))
            .await;
        assert_eq!(
            rows,
            [
                "http - false",
                "anthropic claude-sonnet-5-5 true",
                "voyage voyage-3-lite true",
                "neon - false",
                "upstash - false",
                "resend - false",
                "slack - false",
                "r2 - false",
                "webhooks - false",
            ]
        );

        // The event is behind its link, for whoever has it.
        let link = steps["review"]["output"]["link"].as_str().expect("a link");
        let file = client.plain("GET", link).send().await;
        assert_eq!(file.header("content-type"), Some("text/calendar; charset=utf-8"));
        let text = String::from_utf8_lossy(&file.body).into_owned();
        assert!(text.starts_with("BEGIN:VCALENDAR\r\n") && text.contains("Look at 12 items"), "{text}");
        let forged = link.replace("tenant=ten_0", "tenant=ten_1");
        client.plain("GET", &forged).send().await.refused(403, "link_invalid");
    });
}

#[test]
fn a_missing_integration_fails_its_own_step_and_nothing_else() {
    STAGE.alone(async |world| {
        let no = |names: &[&'static str]| names.iter().map(|name| (*name, "")).collect::<Vec<_>>();
        let missing = [
            (
                "summary",
                "llm_invoke",
                no(&["ANTHROPIC_API_KEY", "OPENAI_API_KEY"]),
                vec![],
            ),
            ("vectors", "voyage_embed", no(&["VOYAGE_API_KEY"]), vec![]),
            ("mail", "email_send", no(&["RESEND_API_KEY"]), vec![]),
            ("chat", "slack_send", no(&["SLACK_WEBHOOK_URL"]), vec![]),
            ("review", "calendar_write", no(&["SIGNED_URL_SECRET"]), vec![]),
            ("review", "calendar_write", vec![], vec!["r2_buckets"]),
        ];
        for (number, (step, skill, vars, tables)) in missing.into_iter().enumerate() {
            let worker = world.worker_without(&format!("missing-{number}"), &vars, &tables).await;
            let client = world.client_of(&worker, &format!("missing-{number}"));
            world.equip(&client).await;
            assert_only_this_fails(&client, world, step).await;
            let served = client.get(&format!("/v1/skills/{skill}")).await.expect(200);
            assert_eq!(served["configured"], false, "{skill}");
            client.get("/readyz").await.expect(200);
            worker.stop().await;
        }

        // What only the tenant can bring along.
        for (step, setting) in [("stock", "query_database_url"), ("hook", "webhook_secret")] {
            let client = world.client();
            world.equip(&client).await;
            let unset = json!({setting: null});
            client.call("PUT", "/v1/settings").json(&unset).send().await.expect(200);
            assert_only_this_fails(&client, world, step).await;
        }

        // One model is enough.
        let worker = world.worker_with("one-model", &no(&["ANTHROPIC_API_KEY"])).await;
        let client = world.client_of(&worker, "one-model");
        world.equip(&client).await;
        let (ended, _) = run(&client, world).await;
        assert_eq!(ended["output"]["join"]["answered_by"], "openai", "{ended:#}");
        worker.stop().await;
    });
}

async fn assert_only_this_fails(client: &Client, world: &World, missing: &str) {
    let (ended, steps) = run(client, world).await;
    assert_eq!(ended["status"], "succeeded", "without {missing}: {ended:#}");
    for (key, step) in steps.as_object().expect("steps") {
        if key == missing {
            assert_eq!(
                (&step["status"], &step["error"]["code"], &step["error"]["category"]),
                (
                    &json!("failed"),
                    &json!("integration_not_configured"),
                    &json!("configuration")
                ),
                "{step:#}"
            );
        } else {
            assert_eq!(step["status"], "succeeded", "without {missing}: {step:#}");
        }
    }
}

#[test]
fn a_tier_that_may_not_use_the_installations_keys_needs_its_own() {
    STAGE.alone(async |world| {
        let worker = world.worker_with("paying", &[("PLATFORM_KEYS_FOR", "pro")]).await;
        let client = world.client_of(&worker, "paying");
        let ask =
            json!([{"id": "ask", "skill": "llm_invoke", "params": {"messages": [{"role": "user", "content": "hi"}]}}]);
        let refused = client.ended_as(&client.start(ask.clone()).await, "failed").await;
        assert_eq!(refused["error"]["code"], "integration_not_configured", "{refused:#}");
        assert!(
            refused["error"]["message"]
                .as_str()
                .is_some_and(|text| text.contains("tier")),
            "{refused:#}"
        );
        let own = json!({"anthropic_api_key": world.setting("ANTHROPIC_API_KEY")});
        client.call("PUT", "/v1/settings").json(&own).send().await.expect(200);
        let run = client.start(ask).await;
        client.ended_as(&run, "succeeded").await;
        let own_key = format!(
            "select own_key::text from usage where run_id = '{}'",
            run.trim_start_matches("run_")
        );
        assert_eq!(world.owner.value(&own_key).await, "true");
        worker.stop().await;
    });
}
