//! Creating runs: what is stored, what is refused, and the limits of an agent.

use std::time::Duration;

use aos::agents::Agent;
use aos::runs::plan::Plan;
use aos::runs::read;
use aos::runs::status::RunStatus;
use aos::runs::wait;
use serde_json::{Value, json};

use crate::world::{agent_of, join_plan, nobody, places, run_of, small_plan, test};

#[test]
fn a_run_is_stored_with_its_steps_and_its_history_by_one_request() {
    test("run-create", async |test| {
        let agent = test.agent("a").await;
        let new = json!({"agent_id": agent.id, "plan": join_plan(), "labels": {"k": "v"},
                         "input": {"text": "line\nbreak\ttab \"quoted\" \\ \u{1f600}", "list": [], "none": null}});
        let (created, requests) = test.requests(test.create_run_with(None, new.clone())).await;
        let created = created.unwrap();
        assert_eq!(requests, ["runs.create"]);
        let id = run_of(&created.answer);
        assert_eq!((created.answer.status, created.answer.replayed), (202, false));
        assert_eq!(created.answer.location, format!("/v1/runs/{id}"));
        assert_eq!(created.answer.body["status"], "queued");

        let rows = test
            .owner
            .query(
                "select id, key, status, needs::text, refs::text, is_sink, ring_at - due_at = interval '60 s', \
                 due_at <= now() from steps where run_id = $1 order by idx",
                &[&id.uuid()],
            )
            .await
            .unwrap();
        let steps: Vec<(String, String, String, String, bool)> = rows
            .iter()
            .map(|row| (row.get(1), row.get(2), row.get(3), row.get(4), row.get(5)))
            .collect();
        let step = |key: &str, status: &str, needs: &str, is_sink| {
            (
                key.to_owned(),
                status.to_owned(),
                needs.to_owned(),
                needs.to_owned(),
                is_sink,
            )
        };
        assert_eq!(
            steps,
            [
                step("left", "queued", "{}", false),
                step("right", "queued", "{}", false),
                step("join", "pending", "{0,1}", true),
            ]
        );
        let due: Vec<(Option<bool>, Option<bool>)> = rows.iter().map(|row| (row.get(6), row.get(7))).collect();
        assert_eq!(due, [(Some(true), Some(true)), (Some(true), Some(true)), (None, None)]);
        let roots: Vec<uuid::Uuid> = rows.iter().take(2).map(|row| row.get(0)).collect();
        assert_eq!(
            created.to_ring.iter().map(|step| step.uuid()).collect::<Vec<_>>(),
            roots
        );

        let history = read::history(
            &test.database,
            &test.principal,
            id,
            read::GetHistory { after: 0, limit: 100 },
        );
        let entries: Vec<_> = history.await.unwrap().items;
        let entries: Vec<_> = entries
            .iter()
            .map(|entry| (entry.seq, entry.step_key.as_deref(), entry.to_status.as_str()))
            .collect();
        assert_eq!(
            entries,
            [
                (1, None, "queued"),
                (2, Some("left"), "queued"),
                (3, Some("right"), "queued")
            ]
        );

        let stored: String = test
            .owner
            .query_one("select plan::text from runs where id = $1", &[&id.uuid()])
            .await
            .unwrap()
            .get(0);
        let plan = Plan::from_stored(serde_json::from_str(&stored).unwrap()).unwrap();
        assert_eq!(plan.plan_hash(), created.answer.body["plan_hash"]);

        let (run, requests) = test.requests(read::get(&test.database, &test.principal, id)).await;
        assert_eq!(requests, ["runs.get"]);
        let run = serde_json::to_value(run.unwrap()).unwrap();
        assert_eq!(run["input"], new["input"]);
        assert_eq!(run["output"], Value::Null);
        assert_eq!(run["plan"]["steps"][2]["needs"], json!(["left", "right"]));
        for (field, value) in created.answer.body.as_object().unwrap() {
            assert_eq!(&run[field], value, "{field}");
        }
    });
}

#[test]
fn without_a_nudge_cron_may_ring_at_once() {
    test("run-no-nudge", async |test| {
        let agent = test.agent("a").await;
        let new = crate::world::body(json!({"agent_id": agent.id, "plan": small_plan()}));
        let skills = &test.skills;
        let created = aos::runs::create::create(&test.database, skills, &test.principal, None, new, 0)
            .await
            .unwrap();
        let sql = "select ring_at = due_at from steps where run_id = $1";
        let row = test
            .owner
            .query_one(sql, &[&run_of(&created.answer).uuid()])
            .await
            .unwrap();
        assert!(row.get::<_, bool>(0));
    });
}

#[test]
fn a_plan_of_a_hundred_steps_is_one_request_and_all_of_it_is_read_back() {
    test("run-hundred", async |test| {
        let agent = test.agent("a").await;
        let steps: Vec<Value> = (0..100)
            .map(|n| {
                json!({"id": format!("s{n}"), "skill": "json_transform", "params": {"input": n, "expression": "@"},
                            "needs": if n < 10 { vec![] } else { vec![format!("s{}", n - 10)] }})
            })
            .collect();
        let (created, requests) = test.requests(test.create_run(agent.id, json!({"steps": steps}))).await;
        let created = created.unwrap();
        assert_eq!((requests.len(), created.to_ring.len()), (1, 10));
        let id = run_of(&created.answer);
        let (steps, requests) = test.requests(read::steps(&test.database, &test.principal, id)).await;
        assert_eq!(requests, ["runs.steps"]);
        let keys: Vec<String> = steps.unwrap().items.into_iter().map(|step| step.key).collect();
        assert_eq!(keys, (0..100).map(|n| format!("s{n}")).collect::<Vec<_>>());
    });
}

#[test]
fn what_is_wrong_with_a_request_is_named_with_its_place() {
    test("run-bad", async |test| {
        let agent = test.agent("a").await;
        let bad_plan = json!({"steps": [{"id": "a", "skill": "fly"}, {"id": "a", "skill": "json_transform", "x": 1}]});
        let (refused, requests) = test
            .requests(test.create_run_with(
                None,
                json!({"agent_id": agent.id, "plan": bad_plan, "goal": "reach it", "labels": {"": ""},
                       "input": {"big": "x".repeat(256 * 1024)}}),
            ))
            .await;
        let problem = refused.unwrap_err();
        let places = places(&problem);
        for place in [
            "/labels/ invalid_format",
            "/input too_large",
            "/goal not_supported",
            "/plan/steps/0/skill unknown_skill",
            "/plan/steps/1/x unknown_field",
        ] {
            assert!(
                places.iter().any(|found| found == place),
                "{place} is not among {places:?}"
            );
        }
        assert!(requests.is_empty());
        let nothing = test
            .create_run_with(None, json!({"agent_id": agent.id}))
            .await
            .unwrap_err();
        assert_eq!(crate::world::places(&nothing), ["/plan required"]);
        let goal = test.create_run_with(
            None,
            json!({"agent_id": agent.id, "goal": {"any": 1}, "plan": small_plan()}),
        );
        assert_eq!(crate::world::places(&goal.await.unwrap_err()), ["/goal not_supported"]);
        let input = json!({"agent_id": agent.id, "plan": small_plan(), "input": [1]});
        let refused = aos::body::parse::<aos::runs::create::NewRun>(input.to_string().as_bytes()).unwrap_err();
        assert_eq!(crate::world::places(&refused), ["/input wrong_type"]);
    });
}

#[test]
fn an_agents_skills_bind_its_plans() {
    test("run-skills", async |test| {
        let new = json!({"name": "narrow", "allowed_skills": ["json_transform"]});
        let agent = agent_of(&test.create_agent_with(None, new).await.unwrap());
        let kv = |id: &str| json!({"id": id, "skill": "kv_store", "params": {"op": "get", "key": "k"}});
        let fine = json!({"id": "fine", "skill": "json_transform", "params": {"input": 1, "expression": "@"}});
        let plan = json!({"steps": [kv("a"), fine, kv("b")]});
        let (refused, requests) = test.requests(test.create_run(agent.id, plan)).await;
        assert_eq!(requests, ["runs.create"]);
        assert_eq!(
            places(&refused.unwrap_err()),
            [
                "/plan/steps/0/skill skill_not_allowed",
                "/plan/steps/2/skill skill_not_allowed"
            ]
        );
        assert_nothing_stored(test, &agent).await;
    });
}

async fn assert_nothing_stored(test: &crate::world::Test, agent: &Agent) {
    let sql = "select count(*) from runs where agent_id = $1";
    assert_eq!(
        test.owner
            .query_one(sql, &[&agent.id.uuid()])
            .await
            .unwrap()
            .get::<_, i64>(0),
        0
    );
    let runs = aos::runs::list::list(&test.database, &test.principal, None)
        .await
        .unwrap();
    assert!(runs.items.is_empty());
    let sql = "select count(*) from idempotency_keys k join tenants t on t.id = k.tenant_id where t.external_id = $1";
    let tenant = test.principal.tenant.as_str();
    assert_eq!(test.owner.query_one(sql, &[&tenant]).await.unwrap().get::<_, i64>(0), 0);
}

#[test]
fn an_agent_that_is_not_there_is_a_wrong_field() {
    test("run-no-agent", async |test| {
        let agent = aos::ids::AgentId::new(&*test.clock);
        let key = crate::world::key("k");
        let new = json!({"agent_id": agent, "plan": small_plan()});
        let problem = test.create_run_with(Some(&key), new).await.unwrap_err();
        assert_eq!(
            (problem.status, places(&problem)),
            (422, vec!["/agent_id not_found".to_owned()])
        );
        let keys = "select count(*) from idempotency_keys k join tenants t on t.id = k.tenant_id \
                    where t.external_id = 'run-no-agent'";
        assert_eq!(test.count(keys).await, 0);
    });
}

#[test]
fn open_runs_are_limited_even_when_many_are_created_at_once() {
    test("run-concurrency", async |test| {
        let new = json!({"name": "a", "allowed_skills": ["json_transform"], "max_concurrent_runs": 3});
        let agent = agent_of(&test.create_agent_with(None, new).await.unwrap());
        let created = futures::future::join_all((0..8).map(|_| test.create_run(agent.id, small_plan()))).await;
        let (good, bad): (Vec<_>, Vec<_>) = created.into_iter().partition(Result::is_ok);
        assert_eq!(good.len(), 3);
        for problem in bad.into_iter().map(Result::unwrap_err) {
            assert_eq!(
                (problem.status, problem.code.as_ref()),
                (429, "agent_concurrency_limit")
            );
            assert!(problem.retry_after_s.is_some());
        }
        let first = run_of(&good.into_iter().next().unwrap().unwrap().answer);
        test.succeed(first, &json!(1)).await;
        test.create_run(agent.id, small_plan()).await.unwrap();
        assert_eq!(test.create_run(agent.id, small_plan()).await.unwrap_err().status, 429);
    });
}

#[test]
fn runs_per_minute_are_limited_and_retry_after_says_when_there_is_room() {
    test("run-rate", async |test| {
        let new = json!({"name": "a", "allowed_skills": ["json_transform"], "max_runs_per_minute": 2});
        let agent = agent_of(&test.create_agent_with(None, new).await.unwrap());
        test.run(agent.id, small_plan()).await;
        test.clock.advance(Duration::from_secs(20));
        let second = test.run(agent.id, small_plan()).await;
        // Runs that have ended count as well.
        test.succeed(second, &json!(1)).await;
        let problem = test.create_run(agent.id, small_plan()).await.unwrap_err();
        assert_eq!((problem.status, problem.code.as_ref()), (429, "agent_rate_limit"));
        let wait = problem.retry_after_s.unwrap();
        assert!((35..=40).contains(&wait), "{wait}");
        test.clock.advance(Duration::from_secs(wait.into()));
        test.run(agent.id, small_plan()).await;
        let wait = test
            .create_run(agent.id, small_plan())
            .await
            .unwrap_err()
            .retry_after_s
            .unwrap();
        assert!((15..=20).contains(&wait), "{wait}");
    });
}

#[test]
fn a_run_waits_for_its_end_as_long_as_it_is_asked_to() {
    test("run-wait", async |test| {
        let agent = test.agent("a").await;
        let id = test.run(agent.id, small_plan()).await;
        let query = read::GetRun::parse(Some("wait=1")).unwrap();
        let begun = std::time::Instant::now();
        let (run, requests) = test
            .requests(wait::get(&test.database, &nobody(), &test.principal, id, query))
            .await;
        assert_eq!(run.unwrap().status, RunStatus::Queued);
        assert!(
            begun.elapsed() >= Duration::from_secs(1) && requests.len() < 8,
            "{requests:?}"
        );

        let query = read::GetRun::parse(Some("wait=30")).unwrap();
        let end = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            test.succeed(id, &json!({"done": true})).await;
        };
        let away = nobody();
        let (run, ()) = futures::join!(wait::get(&test.database, &away, &test.principal, id, query), end);
        let run = run.unwrap();
        assert_eq!(run.status, RunStatus::Succeeded);
        assert_eq!(
            serde_json::to_value(run.output).unwrap(),
            json!({"only": {"done": true}})
        );
        assert!(begun.elapsed() < Duration::from_secs(10));
        // An ended run is there at once.
        let (_, requests) = test
            .requests(wait::get(&test.database, &nobody(), &test.principal, id, query))
            .await;
        assert_eq!(requests.len(), 1);
        assert_eq!(
            places(&read::GetRun::parse(Some("wait=31")).unwrap_err()),
            ["?wait out_of_range"]
        );
    });
}
