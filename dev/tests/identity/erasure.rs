//! The end of a tenant: nothing of it is left but the audit log, and nobody else loses anything.

use aos::api_keys;
use aos::auth::Role;
use aos::ids::TenantId;
use aos::integrations::Repeat;
use aos::integrations::upstash::{Command, Key};
use aos::problem::Problem;
use aos::sealing::Sealer;
use aos::secrets;
use aos::tenants::{self, Erasure};
use serde_json::json;

use crate::world::{Test, broken, by, key, operator, test, user};

async fn erase(test: &Test, id: TenantId) -> Result<Erasure, Problem> {
    let operator = operator("operator");
    tenants::erase(&test.database, &test.upstash, None, by(&operator), id).await
}

/// Rows of a tenant in every table that has tenants, by the names of the tables: a new one is looked at too.
async fn rows_of(test: &Test, tenant: TenantId) -> Vec<(String, i64)> {
    let tables = "select c.table_name::text from information_schema.columns c
        join information_schema.tables t using (table_schema, table_name)
        where c.table_schema = 'public' and c.column_name = 'tenant_id' and t.table_type = 'BASE TABLE'
        order by c.table_name";
    let mut rows = Vec::new();
    for table in test.owner.query(tables, &[]).await.unwrap() {
        let table: String = table.get(0);
        let sql = format!("select count(*) from {table} where tenant_id = '{}'", tenant.uuid());
        rows.push((table, test.count(&sql).await));
    }
    let own = format!("select count(*) from tenants where id = '{}'", tenant.uuid());
    rows.push(("tenants".into(), test.count(&own).await));
    rows
}

/// Fills every table with something of the tenant.
async fn fill(test: &Test) -> TenantId {
    let tenant = test.tenant().await;
    let (open, ended, failed) = (test.run().await, test.run().await, test.run().await);
    for (run, status) in [(ended, "succeeded"), (failed, "failed")] {
        let steps = format!(
            "update steps set status = '{status}', ended_at = now() where run_id = '{0}';
             update runs set status = '{status}', ended_at = now() where id = '{0}'",
            run.uuid()
        );
        test.owner.batch_execute(&steps).await.unwrap();
    }
    // What only the engine writes.
    let engine = format!(
        "insert into effects (step_id, tenant_id, run_id, claim_no, state, begun_at)
            select id, tenant_id, run_id, 1, 'begun', now() from steps where run_id in ('{0}', '{1}');
         insert into usage (step_id, claim_no, n, tenant_id, run_id, agent_id, skill, integration, own_key, requests,
                bytes_out, bytes_in, duration_ms, at)
            select s.id, 1, 0, s.tenant_id, r.id, r.agent_id, 's', 'i', false, 1, 0, 0, 0, now()
            from steps s join runs r on r.id = s.run_id where r.id = '{1}';
         insert into outbox (id, tenant_id, topic, payload) values (gen_random_uuid(), '{2}', 'x', '{{}}')",
        open.uuid(),
        ended.uuid(),
        tenant.uuid()
    );
    test.owner.batch_execute(&engine).await.unwrap();
    let new = crate::world::body(json!({"name": "k", "scopes": ["runs:read"]}));
    api_keys::create(&test.database, by(&test.principal), Some(&key("k")), new)
        .await
        .unwrap();
    let (sealer, secret) = (Sealer::new(&"a key".into(), None), json!({"value": "hush"}));
    secrets::put(
        &test.database,
        Some(&sealer),
        by(&test.principal),
        "s",
        crate::world::body(secret),
    )
    .await
    .unwrap();
    for (table, rows) in rows_of(test, tenant).await {
        assert!(rows > 0, "{table} is empty: this test would not see what is left in it");
    }
    tenant
}

#[test]
fn erasure_leaves_nothing_but_the_audit_log_and_touches_nobody_else() {
    test("erase-all", async |test| {
        let tenant = fill(test).await;
        let (key_id, secret) = test.key("found").await;
        // A neighbour, whose entry in Redis is named as if it were the tenant's.
        let other = user("erase-all-neighbour", Role::Owner);
        let new = crate::world::body(json!({"name": "k", "scopes": ["runs:read"]}));
        api_keys::create(&test.database, by(&other), Some(&key("k")), new)
            .await
            .unwrap();
        let neighbour = test.database.limits_of(&other.tenant).unwrap().id;
        let before = rows_of(test, neighbour).await;
        let mine = [
            Key::tenant_kv(tenant, "k:a"),
            Key::tenant_kv(tenant, "step:1"),
            Key::tenant_limit(&test.principal.tenant),
        ];
        let theirs = Key::tenant_kv(neighbour, &format!("aos:kv:{tenant}:x"));
        for key in mine.iter().chain([&theirs]) {
            let set = Command::new("SET").arg(key).arg("x");
            test.upstash.command(set, Repeat::Harmless).await.unwrap();
        }

        let (erased, requests) = test.requests(erase(test, tenant)).await;
        let erased = erased.unwrap();
        assert_eq!(requests, ["tenants.erase"]);
        assert_eq!((erased.id, erased.erased, erased.cache_keys), (tenant, true, 3));
        for (table, rows) in rows_of(test, tenant).await {
            assert_eq!(rows > 0, table == "audit_log", "{table}: {rows}");
        }
        assert_eq!(rows_of(test, neighbour).await, before);
        for (key, is_there) in mine.iter().map(|key| (key, false)).chain([(&theirs, true)]) {
            let value = test.upstash.command(Command::get(key), Repeat::Harmless).await.unwrap();
            assert_eq!(!value.is_null(), is_there, "{key}");
        }
        assert!(test.find(&secret).await.is_none());
        // The entry that says so is there, also for the operator who acts for the name.
        let listed = aos::audit::list(&test.database, &operator("erase-all"), Some("action=tenants.erase"))
            .await
            .unwrap();
        assert_eq!(listed.items.len(), 1);
        assert_eq!(listed.items[0].target, Some(tenant.to_string()));
        // Again finds nothing left, and is no error.
        assert_eq!(
            erase(test, tenant).await.unwrap(),
            Erasure {
                id: tenant,
                erased: true,
                cache_keys: 0,
                archived_objects: 0
            }
        );
        // Who comes back under the name is somebody new, with nothing, and sees nothing of the old one.
        let new = test.tenant().await;
        assert_ne!(new, tenant);
        assert!(test.audit("").await.is_empty());
        assert_eq!(
            api_keys::get(&test.database, &test.principal, key_id)
                .await
                .unwrap_err()
                .status,
            404
        );
    });
}

#[test]
fn a_tenant_that_never_was_cannot_be_erased_and_leaves_no_entry() {
    test("erase-nobody", async |test| {
        let nobody: TenantId = "ten_018f0000000070008000000000000bad".parse().unwrap();
        assert_eq!(erase(test, nobody).await.unwrap_err().status, 404);
        let entries = format!("select count(*) from audit_log where target = '{nobody}'");
        assert_eq!(test.count(&entries).await, 0);
    });
}

#[test]
fn a_large_tenant_is_closed_at_once_and_goes_in_parts() {
    test("erase-parts", async |test| {
        let tenant = test.tenant().await;
        let (_, secret) = test.key("ci").await;
        for _ in 0..3 {
            test.run().await;
        }
        // As large as two parts: the request erases 2,000 runs, the tick 500.
        let many = format!(
            "insert into runs select uuid_v7(), tenant_id, agent_id, 'succeeded', plan, plan_hash, input, labels, null,
                created_at, now(), now()
             from (select * from runs where tenant_id = '{}' limit 1) r, generate_series(1, 2400)",
            tenant.uuid()
        );
        test.owner.batch_execute(&many).await.unwrap();
        let erased = erase(test, tenant).await.unwrap();
        assert!(!erased.erased);
        let left = format!("select count(*) from runs where tenant_id = '{}'", tenant.uuid());
        assert_eq!(test.count(&left).await, 403);
        let open = format!(
            "select count(*) from runs where tenant_id = '{}' and ended_at is null",
            tenant.uuid()
        );
        assert_eq!(test.count(&open).await, 0, "what was open is cancelled");
        assert!(test.find(&secret).await.is_none());
        let refused = api_keys::list(&test.database, &test.principal, None).await.unwrap_err();
        assert_eq!((refused.status, refused.code.as_ref()), (410, "tenant_erased"));
        let read = tenants::get(&test.database, &operator("operator"), tenant)
            .await
            .unwrap();
        assert!(read.erasing_since.is_some());

        for _ in 0..20 {
            test.engine().tick().await.unwrap();
            if test.count(&left).await == 0 {
                break;
            }
        }
        for (table, rows) in rows_of(test, tenant).await {
            assert_eq!(rows > 0, table == "audit_log", "{table}: {rows}");
        }
        assert!(erase(test, tenant).await.unwrap().erased);
    });
}

#[test]
fn with_redis_away_the_rows_go_and_the_request_says_that_it_must_come_again() {
    test("erase-redis-away", async |test| {
        let tenant = fill(test).await;
        let entry = Key::tenant_kv(tenant, "k:a");
        let set = Command::new("SET").arg(&entry).arg("x");
        test.upstash.command(set, Repeat::Harmless).await.unwrap();
        test.redis.faults().add(broken(500, "{}"));
        assert_eq!(erase(test, tenant).await.unwrap_err().code, "unavailable");
        assert_eq!(
            rows_of(test, tenant).await.iter().filter(|(_, rows)| *rows > 0).count(),
            1
        );
        test.redis.faults().clear();
        let erased = erase(test, tenant).await.unwrap();
        assert_eq!((erased.erased, erased.cache_keys), (true, 1));
    });
}

#[test]
fn requests_that_write_while_their_tenant_is_erased_leave_nothing_behind() {
    test("erase-race", async |test| {
        let tenant = test.tenant().await;
        let writers = futures::future::join_all((0..12).map(|n| async move {
            // Each may succeed, be refused, or find itself in the tenant that came after.
            let _ = test
                .create_key(json!({"name": n.to_string(), "scopes": ["runs:read"]}))
                .await;
        }));
        let (erased, _) = futures::future::join(erase(test, tenant), writers).await;
        assert!(erased.unwrap().erased);
        for (table, rows) in rows_of(test, tenant).await {
            assert!(rows == 0 || table == "audit_log", "{table}: {rows}");
        }
    });
}
