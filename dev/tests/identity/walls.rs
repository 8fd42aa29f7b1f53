//! What the database itself refuses to the API's role, whatever the queries forget.

use tokio_postgres::Client;

use crate::world::{Test, test};

async fn refused(client: &Client, sql: &str, state: &str) {
    client.batch_execute("savepoint before").await.unwrap();
    let error = client.batch_execute(sql).await.expect_err(sql);
    let said = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
    assert_eq!(said.code().code(), state, "{sql}: {said}");
    client.batch_execute("rollback to savepoint before").await.unwrap();
}

async fn entered(test: &Test) -> Client {
    let api = test.as_api().await;
    let enter = format!(
        "begin; select enter_tenant('{}', gen_random_uuid())",
        test.principal.tenant
    );
    api.batch_execute(&enter).await.unwrap();
    api
}

async fn seen(api: &Client, table: &str) -> i64 {
    api.query_one(&format!("select count(*) from {table}"), &[])
        .await
        .unwrap()
        .get(0)
}

const DENIED: &str = "42501";

#[test]
fn a_tenant_sees_its_own_keys_and_entries_and_the_operator_no_keys() {
    test("walls-rls", async |test| {
        test.key("ci").await;
        let api = test.as_api().await;
        for table in ["api_keys", "audit_log", "tenants"] {
            let select = if table == "api_keys" {
                "(select id from api_keys) k"
            } else {
                table
            };
            assert_eq!(seen(&api, select).await, 0, "{table} without a tenant");
        }
        let api = entered(test).await;
        assert_eq!(seen(&api, "(select id from api_keys) k").await, 1);
        assert_eq!(seen(&api, "audit_log").await, 1);
        assert_eq!(seen(&api, "tenants").await, 1);
        api.batch_execute("select enter_operator()").await.unwrap();
        assert_eq!(seen(&api, "(select id from api_keys) k").await, 0);
        assert!(seen(&api, "tenants").await >= 1);
        // Entering a tenant takes the operator's sight away again.
        api.batch_execute("select enter_tenant('walls-rls-other', gen_random_uuid())")
            .await
            .unwrap();
        assert_eq!(seen(&api, "tenants").await, 1);
        assert_eq!(seen(&api, "audit_log").await, 0);
    });
}

#[test]
fn the_apis_role_never_reads_a_hash_and_changes_nothing_of_a_key_but_its_end() {
    test("walls-keys", async |test| {
        test.key("ci").await;
        let api = entered(test).await;
        for sql in [
            "select hash from api_keys",
            "select * from api_keys",
            "update api_keys set hash = repeat('0', 64)",
            "update api_keys set scopes = '[\"tenants:manage\"]'",
            "update api_keys set requests_per_minute = null",
            "update api_keys set tenant_id = gen_random_uuid()",
            "update api_keys set last_used_at = now()",
            "delete from api_keys",
        ] {
            refused(&api, sql, DENIED).await;
        }
        // Its end only comes nearer.
        api.batch_execute("update api_keys set expires_at = now() + interval '1 hour'")
            .await
            .unwrap();
        refused(
            &api,
            "update api_keys set expires_at = now() + interval '2 hours'",
            "AOS03",
        )
        .await;
        refused(&api, "update api_keys set expires_at = null", "AOS03").await;
        api.batch_execute("update api_keys set revoked_at = now()")
            .await
            .unwrap();
        refused(&api, "update api_keys set revoked_at = null", "AOS03").await;
        // Another tenant's id cannot be written either.
        let foreign = "insert into api_keys (id, tenant_id, name, hash, prefix, scopes, created_by, created_at)
            values (gen_random_uuid(), (select gen_random_uuid()), 'x', repeat('0', 64), 'aos_', '[]', 'x', now())";
        refused(&api, foreign, DENIED).await;
    });
}

#[test]
fn the_audit_log_cannot_be_rewritten_or_written_for_another() {
    test("walls-audit", async |test| {
        test.key("ci").await;
        let api = entered(test).await;
        let entry = |tenant: &str, outcome: &str| {
            format!(
                "insert into audit_log (id, tenant_id, credential, action, outcome, request_id)
                 values (gen_random_uuid(), {tenant}, 'x', 'x', '{outcome}', 'x')"
            )
        };
        for sql in [
            "update audit_log set actor = 'nobody'".to_owned(),
            "delete from audit_log".to_owned(),
            "truncate audit_log".to_owned(),
            entry("gen_random_uuid()", "done"),
            entry("null", "done"),
            // Refusals go through the function that caps them.
            entry("current_tenant()", "refused"),
        ] {
            refused(&api, &sql, DENIED).await;
        }
        let engine = test.as_engine().await;
        engine.batch_execute("begin").await.unwrap();
        refused(&engine, "select actor from audit_log", DENIED).await;
        refused(&engine, "update audit_log set actor = 'nobody'", DENIED).await;
        refused(&engine, "select id from api_keys", DENIED).await;
    });
}

#[test]
fn a_tenant_cannot_raise_its_own_limits_nor_erase_anybody() {
    test("walls-tenants", async |test| {
        let tenant = test.tenant().await;
        let run = test.run().await;
        let api = entered(test).await;
        let raise = format!("select set_tenant('{}', '{{\"tier\": \"enterprise\"}}')", tenant.uuid());
        refused(&api, &raise, DENIED).await;
        refused(&api, "update tenants set tier = 'enterprise'", DENIED).await;
        let erase = format!("select erase_tenant('{}', 1, 1)", tenant.uuid());
        refused(&api, &erase, DENIED).await;
        for sql in [
            format!("select erase_rows('{}', 1, 1)", tenant.uuid()),
            "select go_on_erasing(1, 1)".to_owned(),
            "update tenants set erasing_since = now()".to_owned(),
            "update tenants set external_id = 'mine'".to_owned(),
            "delete from runs".to_owned(),
        ] {
            refused(&api, &sql, DENIED).await;
        }
        api.batch_execute("select enter_operator()").await.unwrap();
        // The operator's sight does not go further than tenants.
        for table in [
            "runs",
            "steps",
            "agents",
            "(select id from api_keys) k",
            "idempotency_keys",
        ] {
            assert_eq!(seen(&api, table).await, 0, "{table}");
        }
        refused(&api, "update tenants set external_id = 'mine'", DENIED).await;
        let engine = test.as_engine().await;
        engine.batch_execute("begin").await.unwrap();
        refused(&engine, &erase, DENIED).await;
        refused(&engine, &raise, DENIED).await;
        refused(&engine, "select find_api_key('x')", DENIED).await;
        refused(&engine, "select enter_operator()", DENIED).await;

        // Not even the owner deletes what has ended, unless it says that it erases this tenant.
        let end = format!(
            "update steps set status = 'succeeded', ended_at = now() where run_id = '{0}';
             update runs set status = 'succeeded', ended_at = now() where id = '{0}'",
            run.uuid()
        );
        test.owner.batch_execute(&end).await.unwrap();
        test.owner.batch_execute("begin").await.unwrap();
        for sql in ["", "select set_config('aos.erasing', gen_random_uuid()::text, true);"] {
            refused(
                &test.owner,
                &format!("{sql} delete from steps where run_id = '{}'", run.uuid()),
                "AOS01",
            )
            .await;
        }
        test.owner.batch_execute("rollback").await.unwrap();
    });
}
