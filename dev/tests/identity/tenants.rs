//! Tenants, as the operator sees them: what they may use.

use aos::agents;
use aos::auth::Role;
use aos::problem::Problem;
use aos::tenants::{self, Tenant, TenantPatch, Tier};
use serde_json::{Value, json};

use crate::world::{Test, body, broken, by, operator, places, test, user};

async fn patch(test: &Test, id: aos::ids::TenantId, json: Value) -> Result<Tenant, Problem> {
    let operator = operator("operator");
    tenants::patch(&test.database, &test.upstash, by(&operator), id, body(json)).await
}

#[test]
fn the_operator_finds_reads_and_changes_a_tenant_each_by_one_request() {
    test("tenants-patch", async |test| {
        let id = test.tenant().await;
        let operator = operator("operator");
        let (page, requests) = test
            .requests(tenants::list(
                &test.database,
                &operator,
                Some("name=tenants-patch&tier=free"),
            ))
            .await;
        let page = page.unwrap();
        assert_eq!(requests, ["tenants.list"]);
        assert_eq!((page.items.len(), page.items[0].id), (1, id));
        let (read, requests) = test.requests(tenants::get(&test.database, &operator, id)).await;
        assert_eq!(requests, ["tenants.get"]);
        let before = read.unwrap();
        assert_eq!(before, page.items[0]);
        assert_eq!(
            (before.tier, before.max_concurrent_steps, before.requests_per_minute),
            (Tier::Free, 50, None)
        );

        let change = json!({"tier": "pro", "max_concurrent_steps": 7, "requests_per_minute": 90});
        let (after, requests) = test.requests(patch(test, id, change)).await;
        assert_eq!(requests, ["tenants.patch"]);
        let expected = Tenant {
            tier: Tier::Pro,
            max_concurrent_steps: 7,
            requests_per_minute: Some(90),
            ..before
        };
        assert_eq!(after.unwrap(), expected);
        let back = patch(test, id, json!({"requests_per_minute": null})).await.unwrap();
        assert_eq!((back.tier, back.requests_per_minute), (Tier::Pro, None));
        let audited = test.audit("action=tenants.update").await;
        assert_eq!(audited.len(), 2);
        assert_eq!(
            (audited[0].actor.as_deref(), audited[0].target.clone()),
            (Some("operator"), Some(id.to_string()))
        );
    });
}

#[test]
fn a_request_learns_its_tenants_limits_from_the_transaction_it_makes_anyway() {
    test("tenants-learn", async |test| {
        let isolate = test.second_isolate();
        let tenant = &test.principal.tenant;
        assert_eq!(isolate.limits_of(tenant), None);
        let (listed, requests) = test.requests(agents::list(&isolate, &test.principal, None)).await;
        listed.unwrap();
        assert_eq!(requests, ["agents.list"]);
        let limits = isolate.limits_of(tenant).unwrap();
        assert_eq!((limits.tier, limits.per_minute()), (Tier::Free, 60));
        patch(test, limits.id, json!({"tier": "dev", "requests_per_minute": 5}))
            .await
            .unwrap();
        agents::list(&isolate, &test.principal, None).await.unwrap();
        let limits = isolate.limits_of(tenant).unwrap();
        assert_eq!((limits.tier, limits.per_minute()), (Tier::Dev, 5));
    });
}

#[test]
fn nobody_but_the_operator_sees_or_changes_tenants() {
    test("tenants-others", async |test| {
        let id = test.tenant().await;
        let owner = user("tenants-others", Role::Owner);
        let machine = aos::auth::Principal::machine("tenants-others".parse().unwrap());
        for principal in [&owner, &machine] {
            let change = body::<TenantPatch>(json!({"tier": "enterprise"}));
            let (refused, requests) = test
                .requests(async {
                    [
                        tenants::get(&test.database, principal, id).await.err(),
                        tenants::list(&test.database, principal, None).await.err(),
                        tenants::patch(&test.database, &test.upstash, by(principal), id, change)
                            .await
                            .err(),
                        tenants::erase(&test.database, &test.upstash, None, by(principal), id)
                            .await
                            .err(),
                    ]
                })
                .await;
            for problem in refused {
                assert_eq!(problem.unwrap().code, "forbidden");
            }
            assert!(requests.is_empty());
        }
        let read = tenants::get(&test.database, &operator("operator"), id).await.unwrap();
        assert_eq!((read.tier, read.erasing_since), (Tier::Free, None));
    });
}

#[test]
fn what_is_wrong_with_a_patch_or_a_list_is_named() {
    test("tenants-bad", async |test| {
        let id = test.tenant().await;
        let bad = json!({"max_concurrent_steps": 0, "requests_per_minute": 1_000_001});
        assert_eq!(
            places(&patch(test, id, bad).await.unwrap_err()),
            [
                "/max_concurrent_steps out_of_range",
                "/requests_per_minute out_of_range"
            ]
        );
        for (bad, place) in [
            (json!({"tier": "gold"}), "/tier unknown_value"),
            (json!({"tier": null}), "/tier wrong_type"),
            (json!({"external_id": "x"}), "/external_id unknown_field"),
        ] {
            let refused = aos::body::parse::<TenantPatch>(bad.to_string().as_bytes()).unwrap_err();
            assert_eq!(places(&refused)[0].split(' ').next(), place.split(' ').next(), "{bad}");
        }
        let operator = operator("operator");
        let bad = tenants::list(&test.database, &operator, Some("name=a+b&tier=gold&x=1"))
            .await
            .unwrap_err();
        assert_eq!(
            places(&bad),
            ["?name invalid_format", "?tier invalid_format", "?x unknown_parameter"]
        );
        let nobody = "ten_018f0000000070008000000000000001".parse().unwrap();
        assert_eq!(patch(test, nobody, json!({})).await.unwrap_err().status, 404);
        assert_eq!(
            tenants::get(&test.database, &operator, nobody)
                .await
                .unwrap_err()
                .status,
            404
        );
    });
}

#[test]
fn a_patch_holds_though_redis_is_away() {
    test("tenants-redis-away", async |test| {
        let id = test.tenant().await;
        test.redis.faults().add(broken(500, "{}"));
        let patched = patch(test, id, json!({"tier": "pro"})).await.unwrap();
        assert_eq!(patched.tier, Tier::Pro);
    });
}
