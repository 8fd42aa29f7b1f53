//! How runs end, and what their callers get to know of it.

use std::time::{Duration, Instant};

use aos_tests::{chain, example, examples, pure, with};
use serde_json::{Value, json};

use crate::STAGE;

#[test]
fn every_example_ends_with_the_outputs_computed_by_hand() {
    STAGE.together(async |world| {
        let client = world.client();
        world.equip(&client).await;
        let names = examples();
        assert!(names.len() >= 4 && names.contains(&"sample".to_owned()), "{names:?}");
        for name in names {
            let (request, expected) = example(&name, client.agent().await, &world.standins());
            let created = client.post("/v1/runs", &request).await;
            let location = created.header("location").map(str::to_owned);
            let created = created.expect(202);
            let run = created["id"].as_str().unwrap();
            assert_eq!(location, Some(format!("/v1/runs/{run}")));
            assert_eq!(created["labels"], request["labels"]);
            let ended = client.ended_as(run, expected["status"].as_str().unwrap()).await;
            assert_eq!(ended["output"], expected["output"], "{name}");
            let steps = client.get(&format!("/v1/runs/{run}/steps")).await.expect(200);
            let steps = steps["items"].as_array().unwrap().iter();
            let statuses: serde_json::Map<String, Value> = steps
                .map(|step| (step["key"].as_str().unwrap().to_owned(), step["status"].clone()))
                .collect();
            assert_eq!(Value::Object(statuses), expected["steps"], "{name}");
        }
    });
}

#[test]
fn waiting_for_a_run_answers_when_it_has_ended_or_the_time_is_up() {
    STAGE.together(async |world| {
        let client = world.client();
        let run = client
            .start(json!([client.http("slow", "GET", "/slow?ms=2500", &[])]))
            .await;
        let began = Instant::now();
        let open = client.get(&format!("/v1/runs/{run}?wait=1")).await.expect(200);
        assert_eq!((&open["status"], &open["output"]), (&json!("running"), &Value::Null));
        assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
        let ended = client.get(&format!("/v1/runs/{run}?wait=30")).await.expect(200);
        assert_eq!(ended["status"], "succeeded");
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "the end is not told: {:?}",
            began.elapsed()
        );
        let began = Instant::now();
        assert_eq!(client.get(&format!("/v1/runs/{run}?wait=30")).await.expect(200), ended);
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "an ended run is not waited for"
        );
    });
}

#[test]
fn the_history_of_a_run_is_numbered_without_gaps_and_tells_what_happened() {
    STAGE.together(async |world| {
        let client = world.client();
        let steps = json!([
            pure("a", &[]),
            with(
                client.http("b", "GET", "/flaky/history?fail=1&status=503", &["a"]),
                json!({"retry": {"backoff_ms": 100}})
            ),
            pure("c", &["a"]),
            with(pure("d", &["b", "c"]), json!({"when": "steps.c.output == `2`"})),
        ]);
        let run = client.start(steps).await;
        client.ended_as(&run, "succeeded").await;
        let (mut entries, mut after) = (Vec::new(), 0);
        loop {
            let page = client
                .get(&format!("/v1/runs/{run}/history?limit=5&after={after}"))
                .await
                .expect(200);
            entries.extend(page["items"].as_array().unwrap().clone());
            match page["next_after"].as_u64() {
                Some(next) => after = next,
                None => break,
            }
        }
        let numbers: Vec<u64> = entries.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        let of = |key: Option<&str>| -> Vec<String> {
            let mine = entries.iter().filter(|entry| entry["step_key"].as_str() == key);
            mine.map(|entry| entry["to_status"].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(of(None), ["queued", "running", "succeeded"]);
        assert_eq!(of(Some("a")), ["queued", "running", "succeeded"]);
        assert_eq!(of(Some("b")), ["queued", "running", "queued", "running", "succeeded"]);
        assert_eq!(of(Some("d")), ["queued", "running", "skipped"]);
        let retried = entries
            .iter()
            .find(|entry| entry["step_key"] == "b" && entry["from_status"] == "running");
        assert_eq!(retried.unwrap()["error"]["code"], "provider_unavailable");
        let id = run.trim_start_matches("run_");
        let backwards = format!(
            "select count(*) from status_history h join status_history n on n.run_id = h.run_id and n.seq = h.seq + 1
             where h.run_id = '{id}' and n.at < h.at"
        );
        assert_eq!(world.owner.number(&backwards).await, 0);
    });
}

#[test]
fn a_step_that_keeps_failing_ends_the_run_as_failed_and_the_run_says_which_and_why() {
    STAGE.together(async |world| {
        let client = world.client();
        let steps = json!([
            pure("before", &[]),
            with(
                client.http("broken", "GET", "/status/503", &["before"]),
                json!({"retry": {"attempts": 3, "backoff_ms": 100}})
            ),
            pure("after", &["broken"]),
        ]);
        let run = client.start(steps).await;
        let ended = client.ended_as(&run, "failed").await;
        assert_eq!(
            client.steps(&run).await,
            [
                "before: succeeded 1",
                "broken: failed 3 provider_unavailable",
                "after: cancelled 0"
            ]
        );
        let error = &ended["error"];
        assert_eq!(
            (&error["step"], &error["code"]),
            (&json!("broken"), &json!("provider_unavailable"))
        );
        assert!(error["message"].as_str().unwrap().contains("503"), "{error}");
        assert_eq!((&ended["output"], &ended["steps"]["failed"]), (&Value::Null, &json!(1)));
        let history = client.get(&format!("/v1/runs/{run}/history")).await.expect(200);
        let attempts = history["items"].as_array().unwrap().iter();
        let attempts = attempts.filter(|entry| entry["step_key"] == "broken" && entry["from_status"] == "running");
        assert_eq!(
            attempts
                .filter(|entry| entry["error"]["code"] == "provider_unavailable")
                .count(),
            3
        );
    });
}

#[test]
fn a_cancelled_run_stops_and_a_late_result_changes_nothing() {
    STAGE.together(async |world| {
        let client = world.client();
        let run = client
            .start(json!([
                client.http("slow", "GET", "/slow?ms=1500", &[]),
                client.http("after", "POST", "/effects/after-cancel", &["slow"]),
            ]))
            .await;
        world
            .until("it runs", Duration::from_secs(10), async || {
                client.steps(&run).await[0] == "slow: running 0"
            })
            .await;
        let cancelled = client
            .call("POST", &format!("/v1/runs/{run}/cancel"))
            .send()
            .await
            .expect(200);
        assert_eq!(cancelled["status"], "cancelled");
        assert!(cancelled["ended_at"].is_string());
        let again = client
            .call("POST", &format!("/v1/runs/{run}/cancel"))
            .send()
            .await
            .expect(200);
        assert_eq!(again, cancelled);
        tokio::time::sleep(Duration::from_millis(2000)).await;
        assert_eq!(client.get(&format!("/v1/runs/{run}")).await.expect(200), cancelled);
        assert_eq!(client.steps(&run).await, ["slow: cancelled 0", "after: cancelled 0"]);
        assert_eq!(world.effects("after-cancel"), 0);

        let done = client.start(chain(1)).await;
        client.ended_as(&done, "succeeded").await;
        client
            .call("POST", &format!("/v1/runs/{done}/cancel"))
            .send()
            .await
            .refused(409, "run_ended");
        assert_eq!(
            client.get(&format!("/v1/runs/{done}")).await.expect(200)["status"],
            "succeeded"
        );
    });
}

#[test]
fn what_references_bring_in_passes_the_address_guard_too() {
    STAGE.together(async |world| {
        let client = world.client();
        let call = |id: &str, url: &str| {
            json!({"id": id, "skill": "http_call", "params": {"url": url}, "on_error": "continue"})
        };
        let steps = json!([
            call("metadata", "http://{{input.host}}/latest/meta-data"),
            call("decimal", "http://{{input.number}}/"),
            call("other_port", "{{input.other}}"),
            call("redirected", &format!("{}/redirect?to=http%3A%2F%2F169.254.169.254%2F", world.standins())),
            call("file", "{{input.file}}"),
        ]);
        let mut body = client.run_of(steps).await;
        body["input"] = json!({
            "host": "169.254.169.254", "number": "2130706433", "other": "http://127.0.0.1:1/", "file": "file:///etc/passwd",
        });
        let run = client.start_from(&body).await;
        client.ended_as(&run, "succeeded").await;
        let refused = |id: &str| format!("{id}: failed 1 forbidden_address");
        assert_eq!(
            client.steps(&run).await,
            ["metadata", "decimal", "other_port", "redirected", "file"].map(refused)
        );
    });
}

#[test]
fn what_one_tenant_stores_another_one_does_not_find() {
    STAGE.together(async |world| {
        let (one, other) = (world.client(), world.client());
        let kv = |id: &str, params: Value, needs: Value| json!({"id": id, "skill": "kv_store", "params": params, "needs": needs});
        let run = one.start(json!([
            kv("set", json!({"op": "set", "key": "shared", "value": {"secret": 1}}), json!([])),
            kv("get", json!({"op": "get", "key": "shared"}), json!(["set"])),
        ])).await;
        let ended = one.ended_as(&run, "succeeded").await;
        assert_eq!(ended["output"]["get"]["value"], json!({"secret": 1}));
        let run = other.start(json!([kv("get", json!({"op": "get", "key": "shared"}), json!([]))])).await;
        let ended = other.ended_as(&run, "succeeded").await;
        assert_eq!(ended["output"]["get"]["value"], Value::Null);
    });
}
