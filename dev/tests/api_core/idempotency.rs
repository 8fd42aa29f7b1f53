//! `Idempotency-Key`: replays, conflicts, twins, and what a lost answer leaves.

use aos_dev::faults::{Action, Rule};
use serde_json::json;

use crate::world::{agent_of, key, principal, run_of, small_plan, test};

#[test]
fn the_same_request_gives_the_first_answer_again() {
    test("idempotent-replay", async |test| {
        let new = json!({"name": "a", "allowed_skills": ["json_transform"], "labels": {"x": "1"}});
        let first = test.create_agent_with(Some(&key("k1")), new.clone()).await.unwrap();
        let reordered = json!({"labels": {"x": "1"}, "allowed_skills": ["json_transform"], "name": "a"});
        let again = test.create_agent_with(Some(&key("k1")), reordered).await.unwrap();
        assert!(!first.replayed && again.replayed);
        assert_eq!(
            (first.status, &first.location, first.body.to_string()),
            (again.status, &again.location, again.body.to_string())
        );
        // Its own state no longer matters: the agent is gone, the answer is not.
        aos::agents::delete(&test.database, &test.principal, agent_of(&first).id)
            .await
            .unwrap();
        assert_eq!(
            test.create_agent_with(Some(&key("k1")), new).await.unwrap().body,
            first.body
        );
    });
}

#[test]
fn the_same_key_with_another_body_is_a_conflict() {
    test("idempotent-conflict", async |test| {
        let agent = test.agent("a").await;
        let new = json!({"agent_id": agent.id, "plan": small_plan()});
        test.create_run_with(Some(&key("k")), new).await.unwrap();
        let other = json!({"agent_id": agent.id, "plan": small_plan(), "input": {"x": 1}});
        let (refused, requests) = test.requests(test.create_run_with(Some(&key("k")), other)).await;
        let problem = refused.unwrap_err();
        assert_eq!((problem.status, problem.code.as_ref()), (409, "idempotency_conflict"));
        assert_eq!(requests, ["runs.create"]);
        let runs = aos::runs::list::list(&test.database, &test.principal, None)
            .await
            .unwrap();
        assert_eq!(runs.items.len(), 1);
    });
}

#[test]
fn a_key_belongs_to_its_route_and_tenant() {
    test("idempotent-scope", async |test| {
        let same = key("same");
        let new = json!({"name": "a", "allowed_skills": ["json_transform"]});
        let agent = agent_of(&test.create_agent_with(Some(&same), new.clone()).await.unwrap());
        let run = json!({"agent_id": agent.id, "plan": small_plan()});
        assert!(!test.create_run_with(Some(&same), run).await.unwrap().answer.replayed);
        let (other, new) = (principal("idempotent-scope-2"), crate::world::body(new));
        let created = aos::agents::create(&test.database, &test.skills, &other, Some(&same), new).await;
        assert!(!created.unwrap().replayed);
    });
}

#[test]
fn concurrent_twins_create_one_run_and_get_one_answer() {
    test("idempotent-twins", async |test| {
        let agent = test.agent("a").await;
        for round in 0..5 {
            let key = key(&format!("twins-{round}"));
            let new = json!({"agent_id": agent.id, "plan": small_plan()});
            let twins = (0..8).map(|_| test.create_run_with(Some(&key), new.clone()));
            let created = futures::future::try_join_all(twins).await.unwrap();
            let first = created.iter().find(|created| !created.answer.replayed).unwrap();
            assert_eq!(created.iter().filter(|created| !created.answer.replayed).count(), 1);
            assert_eq!(first.to_ring.len(), 1);
            for twin in &created {
                assert_eq!((twin.answer.status, &twin.answer.body), (202, &first.answer.body));
                assert_eq!(twin.to_ring.is_empty(), twin.answer.replayed);
            }
        }
        let runs = aos::runs::list::list(&test.database, &test.principal, None)
            .await
            .unwrap();
        assert_eq!(runs.items.len(), 5);
    });
}

#[test]
fn a_twin_waits_for_the_first_ones_commit() {
    test("idempotent-wait", async |test| {
        let agent = test.agent("a").await;
        let mut blocker = test.second_owner().await;
        let lock = blocker.transaction().await.unwrap();
        lock.execute("select from agents where id = $1 for update", &[&agent.id.uuid()])
            .await
            .unwrap();
        let new = json!({"agent_id": agent.id, "plan": small_plan()});
        let key = key("wait");
        let first = test.create_run_with(Some(&key), new.clone());
        let twin = test.create_run_with(Some(&key), new);
        let release = async {
            // Both are in the database by now: one holds the key and waits for the agent, the other waits for the key.
            let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and state = 'active' \
                           and usename = 'aos_api_login'";
            while test.count(waiting).await < 2 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            lock.rollback().await.unwrap();
        };
        let (first, twin, ()) = futures::join!(first, twin, release);
        let (first, twin) = (first.unwrap().answer, twin.unwrap().answer);
        assert_eq!(first.body, twin.body);
        assert_ne!(first.replayed, twin.replayed);
    });
}

#[test]
fn a_refused_request_leaves_its_key_free() {
    test("idempotent-refused", async |test| {
        let agent = test.agent("taken").await;
        let taken = json!({"name": "taken", "allowed_skills": []});
        assert_eq!(
            test.create_agent_with(Some(&key("n")), taken).await.unwrap_err().code,
            "agent_name_taken"
        );
        let free = json!({"name": "free", "allowed_skills": ["json_transform"]});
        let created = test.create_agent_with(Some(&key("n")), free).await.unwrap();
        assert!(!created.replayed);

        let narrow = agent_of(&created);
        let plan = json!({"steps": [{"id": "a", "skill": "kv_store", "params": {"op": "get", "key": "k"}}]});
        let refused = json!({"agent_id": narrow.id, "plan": plan});
        assert_eq!(
            test.create_run_with(Some(&key("r")), refused).await.unwrap_err().status,
            422
        );
        let good = json!({"agent_id": agent.id, "plan": plan});
        assert!(
            !test
                .create_run_with(Some(&key("r")), good)
                .await
                .unwrap()
                .answer
                .replayed
        );
    });
}

#[test]
fn an_answer_that_is_lost_once_does_not_create_twice_even_without_a_key() {
    test("idempotent-lost", async |test| {
        for key in [None, Some(key("lost"))] {
            let name = if key.is_some() { "with" } else { "without" };
            test.gateway.faults().add(Rule::new(Action::DropAfter).times(1));
            let new = json!({"name": name, "allowed_skills": ["json_transform"]});
            let answer = test.create_agent_with(key.as_ref(), new).await.unwrap();
            assert!(!answer.replayed);
            test.gateway.faults().add(Rule::new(Action::DropAfter).times(1));
            let run = json!({"agent_id": agent_of(&answer).id, "plan": small_plan()});
            let created = test.create_run_with(key.as_ref(), run).await.unwrap();
            assert!(!created.answer.replayed && created.to_ring.len() == 1);
            let runs = aos::runs::list::list(&test.database, &test.principal, None)
                .await
                .unwrap()
                .items;
            assert_eq!(runs.iter().filter(|run| run.id == run_of(&created.answer)).count(), 1);
        }
        let runs = aos::runs::list::list(&test.database, &test.principal, None)
            .await
            .unwrap()
            .items;
        assert_eq!(runs.len(), 2);
    });
}
