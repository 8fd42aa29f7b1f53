//! The audit log: written with what was done, capped for refusals, sampled for strangers, kept for a while.

use aos::audit::{self, Action, AuditOutcome, Refused, Stranger};
use aos::auth::{Role, TenantName};
use serde_json::json;

use crate::world::{Test, by, operator, places, test, user};

fn refused<'a>(tenant: &'a TenantName, request_id: &'a str) -> Refused<'a> {
    Refused {
        tenant,
        actor: "session:sess_1 user_1",
        credential: "session",
        action: "agents.create",
        target: None,
        code: "forbidden",
        request_id,
    }
}

fn stranger(nth: u32) -> Stranger<'static> {
    Stranger {
        credential: "bearer",
        action: "runs.create",
        address: Some("203.0.113.7"),
        code: "wrong_signature",
        request_id: "req_stranger",
        nth,
    }
}

#[test]
fn what_was_done_is_written_with_who_did_it_and_read_by_one_request() {
    test("audit-done", async |test| {
        let (id, _) = test.key("ci").await;
        let done = audit::done(&test.database, by(&test.principal), Action::SessionsRevoke, "sess_2");
        let (result, requests) = test.requests(done).await;
        result.unwrap();
        assert_eq!(requests, ["audit.done"]);
        let (page, requests) = test.requests(audit::list(&test.database, &test.principal, None)).await;
        assert_eq!(requests, ["audit.list"]);
        let [session, key] = &page.unwrap().items[..] else {
            panic!()
        };
        assert_eq!(key.action, "api_keys.create");
        assert_eq!(key.target, Some(id.to_string()));
        assert_eq!(key.actor.as_deref(), Some("session:sess_1 user_1"));
        assert_eq!((key.credential.as_str(), key.outcome), ("session", AuditOutcome::Done));
        assert_eq!(
            (key.request_id.as_str(), key.tenant.as_deref()),
            ("req_1", Some("audit-done"))
        );
        assert_eq!(
            (session.action.as_str(), session.target.as_deref()),
            ("sessions.revoke", Some("sess_2"))
        );
    });
}

#[test]
fn what_did_not_happen_is_not_written_as_done() {
    test("audit-undone", async |test| {
        let twice = json!({"name": "k", "scopes": ["runs:read"]});
        let create = || {
            aos::api_keys::create(
                &test.database,
                by(&test.principal),
                None,
                crate::world::body(twice.clone()),
            )
        };
        create().await.unwrap();
        // The connection breaks before the commit is done: nothing is there, neither the key nor its entry.
        let gone = "alter table api_keys add constraint never check (name <> 'never') not valid";
        test.owner.batch_execute(gone).await.unwrap();
        let refused = test.create_key(json!({"name": "never", "scopes": ["runs:read"]})).await;
        test.owner
            .batch_execute("alter table api_keys drop constraint never")
            .await
            .unwrap();
        assert_eq!(refused.unwrap_err().status, 500);
        assert_eq!(test.audit("action=api_keys.create").await.len(), 1);
    });
}

#[test]
fn refusals_of_a_tenant_are_twenty_a_minute_at_most_however_many_come_at_once() {
    test("audit-capped", async |test| {
        test.tenant().await;
        let tenant = &test.principal.tenant;
        let ids: Vec<String> = (0..60).map(|n| format!("req_{n}")).collect();
        let all = ids.iter().map(|id| audit::note(&test.database, refused(tenant, id)));
        let written = futures::future::join_all(all).await;
        assert_eq!(
            written.into_iter().filter(|written| *written.as_ref().unwrap()).count(),
            20
        );
        let listed = test.audit("outcome=refused&limit=100").await;
        assert_eq!(listed.len(), 20);
        assert!(listed.iter().all(|entry| entry.code.as_deref() == Some("forbidden")));
        // What was done is never capped, another tenant has its own twenty, and a minute later there is room again.
        test.key("ci").await;
        assert_eq!(test.audit("outcome=done").await.len(), 1);
        let other: TenantName = "audit-capped-other".parse().unwrap();
        assert!(audit::note(&test.database, refused(&other, "req")).await.unwrap());
        let later = "update audit_log set at = at - interval '61 seconds' where tenant_name = 'audit-capped'";
        test.owner.execute(later, &[]).await.unwrap();
        let (written, requests) = test.requests(audit::note(&test.database, refused(tenant, "req"))).await;
        assert!(written.unwrap());
        assert_eq!(requests, ["audit.note_refusal"]);
    });
}

#[test]
fn strangers_are_sampled_and_never_more_than_a_hundred_rows_a_minute() {
    test("audit-strangers", async |test| {
        let (written, requests) = test
            .requests(async {
                let mut written = Vec::new();
                for nth in 1..=1_000 {
                    if audit::note_stranger(&test.database, stranger(nth)).await.unwrap() {
                        written.push(nth);
                    }
                }
                written
            })
            .await;
        assert_eq!(written, [1, 10, 100, 1_000]);
        assert_eq!(requests.len(), 4, "what is not sampled costs nothing");
        let operator = operator("audit-strangers");
        let listed = audit::list(&test.database, &operator, Some("strangers=true&action=runs.create"))
            .await
            .unwrap();
        let sampled: Vec<_> = listed.items.iter().map(|entry| entry.sampled_of.unwrap()).collect();
        assert_eq!(sampled, [1_000, 100, 10, 1]);
        assert_eq!((&listed.items[0].tenant, &listed.items[0].actor), (&None, &None));
        // A caller that cannot count (Redis is away, each isolate begins at one) fills nothing.
        for _ in 0..120 {
            audit::note_stranger(&test.database, stranger(1)).await.unwrap();
        }
        let rows = "select count(*) from audit_log where tenant_name is null and at > now() - interval '1 minute'";
        assert_eq!(test.count(rows).await, 100);
    });
}

#[test]
fn a_list_is_filtered_and_paged_and_names_what_is_wrong_with_its_query() {
    test("audit-filters", async |test| {
        for name in ["a", "b", "c"] {
            test.key(name).await;
        }
        audit::note(&test.database, refused(&test.principal.tenant, "req_x"))
            .await
            .unwrap();
        assert_eq!(test.audit("outcome=refused").await[0].request_id, "req_x");
        assert_eq!(test.audit("action=api_keys.create").await.len(), 3);
        assert_eq!(test.audit("actor=session:sess_1+user_1&outcome=done").await.len(), 3);
        assert!(test.audit("actor=nobody").await.is_empty());
        let list = |query: String| async move { audit::list(&test.database, &test.principal, Some(&query)).await };
        let first = list("limit=2&outcome=done".into()).await.unwrap();
        let cursor = first.next_cursor.unwrap();
        let second = list(format!("limit=2&outcome=done&cursor={cursor}")).await.unwrap();
        assert_eq!(
            (first.items.len(), second.items.len(), second.next_cursor),
            (2, 1, None)
        );
        assert!(second.items[0].id < first.items[1].id);
        let other_filter = list(format!("limit=2&cursor={cursor}")).await.unwrap_err();
        assert_eq!(places(&other_filter), ["?cursor invalid_cursor"]);
        // Strangers are the operator's.
        let bad = list("outcome=maybe&strangers=true".into()).await.unwrap_err();
        assert_eq!(
            places(&bad),
            ["?outcome invalid_format", "?strangers unknown_parameter"]
        );
    });
}

#[test]
fn a_tenant_sees_its_own_entries_and_the_operator_those_of_the_tenant_it_acts_for() {
    test("audit-own", async |test| {
        test.key("ci").await;
        for (principal, entries) in [
            (user("audit-own-other", Role::Owner), 0),
            (operator("audit-own"), 1),
            (operator("audit-own-nobody"), 0),
        ] {
            let page = audit::list(&test.database, &principal, None).await.unwrap();
            assert_eq!(page.items.len(), entries, "{}", principal.label());
        }
        // Looking does not create a tenant.
        let made = "select count(*) from tenants where external_id = 'audit-own-nobody'";
        assert_eq!(test.count(made).await, 0);
    });
}

async fn entries_of(test: &Test) -> i64 {
    test.count("select count(*) from audit_log where tenant_name = 'audit-old'")
        .await
}

#[test]
fn the_tick_lets_go_of_old_entries_and_of_nothing_younger() {
    test("audit-old", async |test| {
        for name in ["a", "b", "c"] {
            test.key(name).await;
        }
        let age = "with numbered as (
                select id, row_number() over (order by id) as n from audit_log where tenant_name = 'audit-old'
            )
            update audit_log a set at = now() - make_interval(days => case n.n when 1 then 401 when 2 then 399 else 0 end)
            from numbered n where n.id = a.id";
        test.owner.execute(age, &[]).await.unwrap();
        let (report, requests) = test.requests(test.engine().tick()).await;
        report.unwrap();
        assert!(
            requests.len() <= 3,
            "one request for all, one for erasing, one for the outbox: {requests:?}"
        );
        assert_eq!(entries_of(test).await, 2);
        // Whatever it were told to delete: the last ninety days are out of its reach.
        let engine = test.as_engine().await;
        engine
            .execute("delete from audit_log where at > now() - interval '300 days'", &[])
            .await
            .unwrap();
        assert_eq!(entries_of(test).await, 2);
        engine
            .execute("delete from audit_log where at < now()", &[])
            .await
            .unwrap();
        assert_eq!(entries_of(test).await, 1);
    });
}
