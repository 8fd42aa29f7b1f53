//! Providers on a bad day: an outcome each, and no incident for anybody beside them.

use std::time::{Duration, Instant};

use aos_tests::{Action, Step, World};
use serde_json::{Value, json};

use crate::STAGE;

fn ask(id: &str) -> Value {
    json!({"id": id, "skill": "llm_invoke", "retry": {"attempts": 1},
        "params": {"messages": [{"role": "user", "content": format!("hello from {id}")}]}})
}

async fn forget_breakers(world: &World) {
    let forget = "for _, key in ipairs(redis.call('KEYS', 'aos:breaker:*')) do redis.call('DEL', key) end return 'OK'";
    world.redis(&["EVAL", forget, "0"]).await;
}

#[test]
fn an_overloaded_model_is_replaced_and_both_attempts_are_priced() {
    STAGE.alone(async |world| {
        let (client, standins) = (world.client(), world.cloud.standins());
        standins
            .anthropic()
            .script([Step::error("overloaded_error")])
            .expect("a documented error");
        let run = client.start(json!([ask("ask")])).await;
        let ended = client.ended_as(&run, "succeeded").await;
        let output = &ended["output"]["ask"];
        assert_eq!((&output["provider"], &output["text"]), (&json!("openai"), &json!("echo: hello from ask")));
        let attempts = output["attempts"].as_array().expect("attempts");
        assert_eq!(
            (&attempts[0]["provider"], &attempts[0]["ok"], &attempts[0]["cost_microusd"]),
            (&json!("anthropic"), &json!(false), &json!(0))
        );
        let cost = attempts[1]["cost_microusd"].as_i64().expect("a known cost");
        assert!(cost > 0);
        let rows = world
            .owner
            .column(&format!(
                "select integration || ' ' || coalesce(code, 'ok') || ' ' || cost_microusd from usage where run_id = '{}' order by n",
                run.trim_start_matches("run_")
            ))
            .await;
        assert_eq!(
            rows,
            ["anthropic provider_unavailable 0".to_owned(), format!("openai ok {cost}")]
        );
        let step = client.get(&format!("/v1/runs/{run}/steps/ask")).await.expect(200);
        assert_eq!(step["cost_microusd"], cost);
        forget_breakers(world).await;
    });
}

#[test]
fn a_request_that_is_wrong_is_not_sent_to_the_other_model() {
    STAGE.alone(async |world| {
        let (client, standins) = (world.client(), world.cloud.standins());
        standins.openai().forget_received();
        standins
            .anthropic()
            .script([Step::error("invalid_request_error")])
            .expect("a documented error");
        let run = client.start(json!([ask("ask")])).await;
        let ended = client.ended_as(&run, "failed").await;
        assert_eq!(ended["error"]["code"], "request_rejected", "{ended:#}");
        assert_eq!(standins.openai().received().count, 0);
    });
}

#[test]
fn an_open_circuit_sends_models_calls_to_the_other_one_without_asking_the_sick_one() {
    STAGE.alone(async |world| {
        let standins = world.cloud.standins();
        forget_breakers(world).await;
        standins
            .anthropic()
            .script([Step::error("api_error").times(5)])
            .expect("a documented error");
        // It takes two tenants to open the breaker for a third.
        for failures in [3, 2] {
            let client = world.client();
            for number in 0..failures {
                let run = client.start(json!([ask(&format!("ask{number}"))])).await;
                client.ended_as(&run, "succeeded").await;
            }
        }
        standins.anthropic().forget_received();
        let client = world.client();
        let run = client.start(json!([ask("open")])).await;
        let ended = client.ended_as(&run, "succeeded").await;
        assert_eq!(ended["output"]["open"]["provider"], "openai");
        assert_eq!(
            ended["output"]["open"]["attempts"][0]["code"], "circuit_open",
            "{ended:#}"
        );
        assert_eq!(standins.anthropic().received().count, 0);
        forget_breakers(world).await;
    });
}

#[test]
fn healthy_providers_are_not_kept_waiting_by_sick_ones() {
    STAGE.alone(async |world| {
        let (client, standins) = (world.client(), world.cloud.standins());
        world.equip(&client).await;
        let sick = Step::fault(Action::Delay { ms: 30_000 }).times(10);
        standins.voyage().script([sick]).expect("a fault");
        let embed = |id: &str| {
            json!({"id": id, "skill": "voyage_embed", "timeout_ms": 8_000, "retry": {"attempts": 1}, "on_error": "continue",
                "params": {"input": ["text"]}})
        };
        let began = Instant::now();
        let run = client
            .start(json!([
                embed("sick1"), embed("sick2"), embed("sick3"),
                ask("ask"),
                {"id": "mail", "skill": "email_send", "params": {"to": "healthy@example.com", "subject": "s", "text": "t"}},
                {"id": "chat", "skill": "slack_send", "params": {"text": "healthy"}},
                client.http("fetch", "GET", "/items?n=1", &[]),
                {"id": "stock", "skill": "postgres_query", "params": {"sql": "select 1 as one"}},
                {"id": "keep", "skill": "kv_store", "params": {"op": "set", "key": "k", "value": 1}},
            ]))
            .await;
        let mut steps = Vec::new();
        world
            .until("the healthy ones end", Duration::from_secs(7), async || {
                steps = client.steps(&run).await;
                steps.iter().filter(|step| step.contains(": succeeded")).count() == 6
            })
            .await;
        let took = began.elapsed();
        assert!(took < Duration::from_secs(6), "{took:?}");
        let open = steps
            .iter()
            .filter(|step| step.starts_with("sick") && !step.contains("failed"))
            .count();
        assert_eq!(open, 3, "{steps:#?}");
        client.ended(&run).await;
        let steps = client.steps(&run).await;
        let timed_out = steps
            .iter()
            .filter(|step| step.starts_with("sick") && step.ends_with(" timeout"))
            .count();
        assert_eq!(timed_out, 3, "{steps:#?}");
        forget_breakers(world).await;
    });
}
