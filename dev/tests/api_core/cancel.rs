//! Cancelling, and what races with it; what has ended cannot change.

use aos::ids::RunId;
use aos::runs::cancel::cancel;
use aos::runs::read::{self, GetHistory};
use aos::runs::status::{RunStatus, StepStatus};
use serde_json::json;

use crate::world::{Test, join_plan, small_plan, test};

async fn events(test: &Test, run: RunId) -> i64 {
    let sql = "select count(*) from outbox where topic = 'run.cancelled' and payload ->> 'run_id' = $1";
    test.owner
        .query_one(sql, &[&run.uuid().to_string()])
        .await
        .unwrap()
        .get(0)
}

#[test]
fn cancelling_ends_what_has_not_ended_once_by_one_request() {
    test("cancel", async |test| {
        let agent = test.agent("a").await;
        let id = test.run(agent.id, join_plan()).await;
        let sql = "update steps set status = $3, ended_at = case when $3 = 'succeeded' then now() end \
                   where run_id = $1 and key = $2";
        test.owner
            .execute(sql, &[&id.uuid(), &"left", &"succeeded"])
            .await
            .unwrap();
        test.owner
            .execute(sql, &[&id.uuid(), &"right", &"running"])
            .await
            .unwrap();
        let (run, requests) = test.requests(cancel(&test.database, &test.principal, id)).await;
        assert_eq!(requests, ["runs.cancel"]);
        let run = run.unwrap();
        assert_eq!(run.status, RunStatus::Cancelled);
        assert!(run.ended_at.is_some());
        assert_eq!((run.steps.succeeded, run.steps.cancelled, run.steps.total), (1, 2, 3));
        let steps = read::steps(&test.database, &test.principal, id).await.unwrap().items;
        let statuses: Vec<StepStatus> = steps.iter().map(|step| step.status).collect();
        assert_eq!(
            statuses,
            [StepStatus::Succeeded, StepStatus::Cancelled, StepStatus::Cancelled]
        );
        assert!(steps.iter().all(|step| step.ended_at.is_some()));
        assert_eq!(events(test, id).await, 1);

        let again = cancel(&test.database, &test.principal, id).await.unwrap();
        assert_eq!(
            serde_json::to_value(&again).unwrap(),
            serde_json::to_value(&run).unwrap()
        );
        assert_eq!(events(test, id).await, 1);
        let history = read::history(&test.database, &test.principal, id, GetHistory::parse(None).unwrap()).await;
        let ends: Vec<_> = history
            .unwrap()
            .items
            .into_iter()
            .filter(|entry| entry.to_status == "cancelled")
            .collect();
        assert_eq!(ends.len(), 3);
        assert_eq!(ends[2].step_key, None);
    });
}

#[test]
fn a_run_that_ended_otherwise_is_not_cancelled() {
    test("cancel-ended", async |test| {
        let agent = test.agent("a").await;
        let id = test.run(agent.id, small_plan()).await;
        test.succeed(id, &json!(1)).await;
        let problem = cancel(&test.database, &test.principal, id).await.unwrap_err();
        assert_eq!((problem.status, problem.code.as_ref()), (409, "run_ended"));
        assert_eq!(events(test, id).await, 0);
        let missing = cancel(&test.database, &test.principal, RunId::new(&*test.clock))
            .await
            .unwrap_err();
        assert_eq!(missing.status, 404);
    });
}

#[test]
fn a_cancel_waits_for_a_completion_that_is_at_work_and_then_comes_too_late() {
    test("cancel-race", async |test| {
        let agent = test.agent("a").await;
        let id = test.run(agent.id, small_plan()).await;
        let mut engine = test.second_owner().await;
        let turn = engine.transaction().await.unwrap();
        let tenants =
            "select t.id from tenants t join runs r on r.tenant_id = t.id where r.id = $1 for no key update of t";
        turn.execute(tenants, &[&id.uuid()]).await.unwrap();
        turn.execute("select id from runs where id = $1 for no key update", &[&id.uuid()])
            .await
            .unwrap();
        let completion = async {
            let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and state = 'active' \
                           and query like '%runs.lock%' and usename = 'aos_api_login'";
            while test.count(waiting).await == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            let sql = "update steps set status = 'succeeded', output = '1', ended_at = now() where run_id = $1";
            turn.execute(sql, &[&id.uuid()]).await.unwrap();
            let sql = "update runs set status = 'succeeded', ended_at = now() where id = $1";
            turn.execute(sql, &[&id.uuid()]).await.unwrap();
            turn.commit().await.unwrap();
        };
        let (cancelled, ()) = futures::join!(cancel(&test.database, &test.principal, id), completion);
        assert_eq!(cancelled.unwrap_err().code, "run_ended");
        assert_eq!(events(test, id).await, 0);
    });
}

#[test]
fn cancels_at_the_same_time_are_one_cancel() {
    test("cancel-twins", async |test| {
        let agent = test.agent("a").await;
        let id = test.run(agent.id, join_plan()).await;
        let all = futures::future::join_all((0..8).map(|_| cancel(&test.database, &test.principal, id))).await;
        let mut ends: Vec<_> = all.into_iter().map(|run| run.unwrap().ended_at).collect();
        ends.dedup();
        assert_eq!(ends.len(), 1);
        assert_eq!(events(test, id).await, 1);
    });
}

#[test]
fn what_has_ended_cannot_change_for_any_role() {
    test("cancel-immutable", async |test| {
        let agent = test.agent("a").await;
        let id = test.run(agent.id, small_plan()).await;
        cancel(&test.database, &test.principal, id).await.unwrap();
        let api = test.as_api().await;
        let enter = "select enter_tenant('cancel-immutable', gen_random_uuid())";
        let engine = test.second_owner().await;
        engine.batch_execute("set role aos_engine").await.unwrap();
        let owner = test.second_owner().await;
        for sql in [
            format!(
                "update runs set status = 'running', ended_at = null where id = '{}'",
                id.uuid()
            ),
            format!(
                "update steps set status = 'queued', ended_at = null where run_id = '{}'",
                id.uuid()
            ),
        ] {
            for client in [&api, &engine, &owner] {
                let refused = client.batch_execute(&format!("begin; {enter}; {sql}")).await;
                let refused = match refused {
                    // The engine need not enter a tenant, and may not.
                    Err(error) if error.code().unwrap().code() == "42501" => {
                        client.batch_execute("rollback").await.unwrap();
                        client.batch_execute(&sql).await
                    }
                    other => other,
                };
                assert_eq!(refused.unwrap_err().code().unwrap().code(), "AOS01", "{sql}");
                client.batch_execute("rollback").await.unwrap();
            }
        }
        // What is not a status or an end is not the API's to write at all.
        for sql in [
            "update runs set plan = '{}'",
            "update steps set output = '1'",
            "delete from runs",
            "delete from steps",
            "delete from status_history",
            "insert into status_history select * from status_history",
            "update tenants set tier = 'pro'",
            "select * from outbox",
            "insert into effects select * from effects",
        ] {
            let refused = api.batch_execute(&format!("begin; {enter}; {sql}")).await;
            assert_eq!(refused.unwrap_err().code().unwrap().code(), "42501", "{sql}");
            api.batch_execute("rollback").await.unwrap();
        }
    });
}
