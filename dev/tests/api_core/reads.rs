//! Reading a run, its steps and its history.

use aos::ids::RunId;
use aos::runs::read::{self, GetHistory};
use aos::runs::status::StepStatus;
use aos::runs::wait;
use serde_json::{Value, json};

use crate::world::{Test, join_plan, nobody, small_plan, test};

async fn set_output(test: &Test, run: RunId, key: &str, output: &Value) {
    let output = output.to_string();
    let sql = "update steps set status = 'succeeded', output = $3::text::jsonb, output_bytes = $4, ended_at = now() \
               where run_id = $1 and key = $2";
    let bytes = i32::try_from(output.len()).unwrap();
    test.owner
        .execute(sql, &[&run.uuid(), &key, &output, &bytes])
        .await
        .unwrap();
}

async fn end(test: &Test, run: RunId, status: &str) {
    let sql = "update runs set status = $2, started_at = now(), ended_at = now() where id = $1";
    test.owner.execute(sql, &[&run.uuid(), &status]).await.unwrap();
}

#[test]
fn the_output_of_a_run_is_that_of_its_sinks_once_it_has_succeeded() {
    test("read-output", async |test| {
        let agent = test.agent("a").await;
        let id = test.run(agent.id, join_plan()).await;
        for (key, output) in [("left", json!(1)), ("right", json!(2)), ("join", json!([1, 2]))] {
            set_output(test, id, key, &output).await;
        }
        let before = read::get(&test.database, &test.principal, id).await.unwrap();
        assert!(before.output.is_none());
        assert_eq!(
            (before.steps.total, before.steps.succeeded, before.steps.queued),
            (3, 3, 0)
        );
        end(test, id, "succeeded").await;
        let after = read::get(&test.database, &test.principal, id).await.unwrap();
        assert_eq!(serde_json::to_value(after.output).unwrap(), json!({"join": [1, 2]}));
        assert!(after.ended_at.is_some() && after.output_omitted.is_empty());
    });
}

#[test]
fn why_a_run_failed_is_part_of_it_and_of_its_step() {
    test("read-error", async |test| {
        let agent = test.agent("a").await;
        let id = test.run(agent.id, small_plan()).await;
        let step = json!({"category": "provider", "code": "http_status", "message": "500", "retryable": true,
                          "provider": "http", "provider_status": 500});
        let outcome = json!({"effects": [{"kind": "http_request", "target": "x/y", "idempotency_key": "k"}],
                             "usage": {"bytes_in": 5, "bytes_out": 6, "requests": 1}, "skill_version": "1.0.0"});
        let sql = "update steps set status = 'failed', attempt = 3, error = $2::text::jsonb, outcome = $3::text::jsonb, \
                   cost_microusd = null, duration_ms = 12, started_at = now(), ended_at = now() where run_id = $1";
        test.owner
            .execute(sql, &[&id.uuid(), &step.to_string(), &outcome.to_string()])
            .await
            .unwrap();
        let error = json!({"step": "only", "category": "provider", "code": "http_status", "message": "500"});
        let sql = "update runs set error = $2::text::jsonb where id = $1";
        test.owner
            .execute(sql, &[&id.uuid(), &error.to_string()])
            .await
            .unwrap();
        end(test, id, "failed").await;
        let run = read::get(&test.database, &test.principal, id).await.unwrap();
        assert_eq!(serde_json::to_value(&run.error).unwrap(), error);
        assert!(run.output.is_none());

        let (read, requests) = test
            .requests(read::step(&test.database, &test.principal, id, "only"))
            .await;
        assert_eq!(requests, ["runs.step"]);
        let read = read.unwrap();
        assert_eq!(
            (read.status, read.attempt, read.cost_microusd, read.duration_ms),
            (StepStatus::Failed, 3, None, Some(12))
        );
        assert_eq!(serde_json::to_value(read.error).unwrap(), step);
        let parts = read.outcome.unwrap();
        assert_eq!(
            (parts.effects.len(), parts.usage.bytes_in, parts.skill_version.as_str()),
            (1, 5, "1.0.0")
        );
    });
}

#[test]
fn outputs_that_do_not_fit_together_are_left_out_and_can_be_read_alone() {
    test("read-large", async |test| {
        let agent = test.agent("a").await;
        let steps: Vec<Value> = (0..12)
            .map(|n| json!({"id": format!("s{n}"), "skill": "json_transform", "params": {"input": 1, "expression": "@"}}))
            .collect();
        let id = test.run(agent.id, json!({"steps": steps})).await;
        for n in 0..12 {
            // Two small ones, ten of a megabyte: of those only three fit into 4 MiB.
            let size = if n < 2 { 10 } else { 1_050_000 };
            set_output(test, id, &format!("s{n}"), &json!("x".repeat(size))).await;
        }
        end(test, id, "succeeded").await;
        let steps = read::steps(&test.database, &test.principal, id).await.unwrap().items;
        let omitted: Vec<bool> = steps.iter().map(|step| step.output_omitted).collect();
        assert_eq!(omitted, [[false; 5].as_slice(), &[true; 7]].concat());
        assert!(steps.iter().all(|step| step.output.is_some() != step.output_omitted));
        let run = read::get(&test.database, &test.principal, id).await.unwrap();
        assert_eq!(run.output.unwrap().len(), 5);
        assert_eq!(run.output_omitted, ["s5", "s6", "s7", "s8", "s9", "s10", "s11"]);
        let alone = read::step(&test.database, &test.principal, id, "s11").await.unwrap();
        assert_eq!(alone.output.unwrap().get().len(), 1_050_002);
        assert!(!alone.output_omitted);
    });
}

#[test]
fn what_is_not_there_is_not_found() {
    test("read-missing", async |test| {
        let id = RunId::new(&*test.clock);
        let (database, principal) = (&test.database, &test.principal);
        let all = GetHistory::parse(None).unwrap();
        let agent = test.agent("a").await;
        let run = test.run(agent.id, small_plan()).await;
        for problem in [
            read::get(database, principal, id).await.unwrap_err(),
            wait::get(database, &nobody(), principal, id, read::GetRun { wait: 30 })
                .await
                .unwrap_err(),
            read::steps(database, principal, id).await.unwrap_err(),
            read::step(database, principal, id, "only").await.unwrap_err(),
            read::step(database, principal, run, "other").await.unwrap_err(),
            read::step(database, principal, run, "only\0").await.unwrap_err(),
            read::step(database, principal, run, "\u{1f600}' or true --")
                .await
                .unwrap_err(),
            read::history(database, principal, id, all).await.unwrap_err(),
        ] {
            assert_eq!((problem.status, problem.code.as_ref()), (404, "not_found"));
        }
    });
}

#[test]
fn a_history_is_read_in_parts_without_gaps() {
    test("read-history", async |test| {
        let agent = test.agent("a").await;
        let id = test.run(agent.id, join_plan()).await;
        test.succeed(id, &json!(1)).await;
        let mut seen = Vec::new();
        let mut query = GetHistory::parse(Some("limit=2")).unwrap();
        loop {
            let (part, requests) = test
                .requests(read::history(&test.database, &test.principal, id, query))
                .await;
            assert_eq!(requests, ["runs.history"]);
            let part = part.unwrap();
            seen.extend(part.items.iter().map(|entry| entry.seq));
            match part.next_after {
                Some(after) => query.after = after,
                None => break,
            }
        }
        // The run and two roots queued; three steps and the run succeeded.
        assert_eq!(seen, (1..=7).collect::<Vec<u32>>());
        assert!(GetHistory::parse(Some("after=2147483648")).is_err());
    });
}

#[test]
fn a_database_that_is_away_is_a_503_and_one_that_breaks_a_500_without_its_words() {
    test("read-faults", async |test| {
        use aos_dev::faults::{Action, Rule};
        let id = RunId::new(&*test.clock);
        let get = || read::get(&test.database, &test.principal, id);
        let status = |code, body: &str| Action::Status {
            code,
            body: body.to_owned(),
            headers: Default::default(),
        };
        test.gateway.faults().add(Rule::new(status(
            500,
            r#"{"message":"Control plane request failed","code":""}"#,
        )));
        let problem = get().await.unwrap_err();
        assert_eq!((problem.status, problem.retry_after_s.is_some()), (503, true));
        assert!(problem.detail.contains("nothing was carried out"), "{}", problem.detail);
        test.gateway.faults().clear();
        test.gateway
            .faults()
            .add(Rule::new(status(400, r#"{"message":"secret words","code":"42P01"}"#)));
        let problem = get().await.unwrap_err();
        assert_eq!(problem.status, 500);
        assert!(!format!("{problem:?}").contains("secret"));
        test.gateway.faults().clear();
        assert_eq!(get().await.unwrap_err().status, 404);
    });
}
