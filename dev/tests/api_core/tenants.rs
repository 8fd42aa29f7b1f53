//! Tenants: created on first sight, and blind to each other, by the queries and by row-level security.

use aos::database::Database;
use aos::runs::read::{self, GetHistory};
use aos::{agents, runs};
use serde_json::json;

use crate::world::{Test, body, key, places, principal, small_plan, test};

#[test]
fn a_tenant_is_created_once_however_many_requests_come_first() {
    test("tenant-first", async |test| {
        let all = (0..8).map(|_| agents::list(&test.database, &test.principal, None));
        for page in futures::future::join_all(all).await {
            assert!(page.unwrap().items.is_empty());
        }
        assert_eq!(
            test.count("select count(*) from tenants where external_id = 'tenant-first'")
                .await,
            1
        );
    });
}

#[test]
fn another_tenants_things_are_not_found() {
    test("tenant-bound", async |test| {
        refuses_strangers(test, &test.database).await
    });
}

#[test]
fn the_queries_alone_keep_tenants_apart_without_row_level_security() {
    test("tenant-unbound", async |test| {
        refuses_strangers(test, &test.unbound_database()).await
    });
}

/// Does with another tenant's things whatever can be done, through `database`.
async fn refuses_strangers(test: &Test, database: &Database) {
    let agent = test.agent("a").await;
    let run = test.run(agent.id, small_plan()).await;
    let other = principal(&format!("{}-other", test.principal.tenant));
    let patch = body(json!({"name": "mine"}));
    let all = GetHistory::parse(None).unwrap();
    for problem in [
        agents::get(database, &other, agent.id).await.unwrap_err(),
        agents::patch(database, &test.skills, &other, agent.id, patch)
            .await
            .unwrap_err(),
        agents::delete(database, &other, agent.id).await.unwrap_err(),
        read::get(database, &other, run).await.unwrap_err(),
        read::steps(database, &other, run).await.unwrap_err(),
        read::step(database, &other, run, "only").await.unwrap_err(),
        read::history(database, &other, run, all).await.unwrap_err(),
        runs::cancel::cancel(database, &other, run).await.unwrap_err(),
    ] {
        assert_eq!((problem.status, problem.code.as_ref()), (404, "not_found"));
    }
    let new = body(json!({"agent_id": agent.id, "plan": small_plan()}));
    let refused = runs::create::create(database, &test.skills, &other, None, new, 60)
        .await
        .unwrap_err();
    assert_eq!(places(&refused), ["/agent_id not_found"]);
    assert!(agents::list(database, &other, None).await.unwrap().items.is_empty());
    assert!(runs::list::list(database, &other, None).await.unwrap().items.is_empty());
    let filtered = format!("agent_id={}", agent.id);
    assert!(
        runs::list::list(database, &other, Some(&filtered))
            .await
            .unwrap()
            .items
            .is_empty()
    );
    // Names and keys are each tenant's own.
    let same = body(json!({"name": "a", "allowed_skills": []}));
    let created = agents::create(database, &test.skills, &other, Some(&key("k")), same)
        .await
        .unwrap();
    assert!(!created.replayed);
    let mine = json!({"name": "b", "allowed_skills": []});
    assert!(!test.create_agent_with(Some(&key("k")), mine).await.unwrap().replayed);
    // Nothing of it changed.
    assert_eq!(agents::get(database, &test.principal, agent.id).await.unwrap(), agent);
    let mine = read::get(database, &test.principal, run).await.unwrap();
    assert_eq!((mine.steps.cancelled, mine.ended_at), (0, None));
}

#[test]
fn row_level_security_hides_other_tenants_from_queries_that_forget_them() {
    test("tenant-rls", async |test| {
        let agent = test.agent("a").await;
        let run = test.run(agent.id, small_plan()).await;
        test.create_agent_with(Some(&key("k")), json!({"name": "b", "allowed_skills": []}))
            .await
            .unwrap();
        let api = test.as_api().await;
        let tables = [
            "agents",
            "runs",
            "steps",
            "status_history",
            "idempotency_keys",
            "tenants",
        ];
        // No tenant entered: nothing to see.
        for table in tables {
            let rows = api.query(&format!("select 1 from {table}"), &[]).await.unwrap();
            assert!(rows.is_empty(), "{table}");
        }
        api.batch_execute("begin; select enter_tenant('tenant-rls-other', gen_random_uuid())")
            .await
            .unwrap();
        for table in tables {
            let sql = format!("select count(*) from {table}");
            let seen: i64 = api.query_one(&sql, &[]).await.unwrap().get(0);
            assert_eq!(seen, i64::from(table == "tenants"), "{table}");
        }
        let cancel = "update runs set status = 'cancelled' where id = $1";
        assert_eq!(api.execute(cancel, &[&run.uuid()]).await.unwrap(), 0);
        assert_eq!(api.execute("update agents set name = 'x'", &[]).await.unwrap(), 0);
        let steal = "insert into agents select gen_random_uuid(), t.id, 'x', '', null, '[]', 1, 1, '{}', now(), now() \
                     from (select tenant_id as id from (values ($1::uuid)) v (tenant_id)) t";
        let mine = test
            .owner
            .query_one("select tenant_id from agents where id = $1", &[&agent.id.uuid()])
            .await
            .unwrap();
        let refused = api.execute(steal, &[&mine.get::<_, uuid::Uuid>(0)]).await.unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501");
        api.batch_execute("rollback").await.unwrap();
        // The tenant left with the transaction.
        assert!(api.query("select 1 from agents", &[]).await.unwrap().is_empty());
    });
}
