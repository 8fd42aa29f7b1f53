//! What comes of a database or a gateway that fails: each answer that Neon gives, and each way of giving none.

use std::time::Duration;

use aos::skills::Category;
use aos_dev::faults::{Action, Rule};
use serde_json::json;

use crate::world::{self, Bench};

fn status(code: u16, body: &str) -> Action {
    Action::Status {
        code,
        body: body.to_owned(),
        headers: Default::default(),
    }
}

fn sql_error(sqlstate: &str) -> Action {
    status(
        400,
        &json!({"message": "so it is", "code": sqlstate, "severity": "ERROR"}).to_string(),
    )
}

fn proxy_error(code: u16, message: &str) -> Action {
    status(
        code,
        &json!({"message": message, "code": "", "severity": ""}).to_string(),
    )
}

/// The error of one call that meets with this: a single request was made, and it was counted as failed.
async fn meets(bench: &Bench, action: Action) -> (Category, String, bool, Option<u16>) {
    bench.gateway.faults().add(Rule::new(action).times(1));
    bench.gateway.counters().reset();
    let outcome = bench.run(json!({"sql": "select 1"})).await;
    bench.gateway.faults().clear();
    assert_eq!(bench.gateway.counters().snapshot().total, 1);
    let error = outcome.error.expect("the call fails");
    let [call] = outcome.calls.as_slice() else {
        panic!("{:?}", outcome.calls)
    };
    assert_eq!((call.requests, call.code.as_deref()), (1, Some(error.code.as_ref())));
    assert_eq!(call.provider_status, error.provider_status);
    assert_eq!(error.provider.as_deref(), Some("neon"));
    (
        error.category,
        error.code.into_owned(),
        error.retryable,
        error.provider_status,
    )
}

#[test]
fn every_answer_that_neon_gives_has_its_outcome() {
    use Category::{Configuration, Content, Network, Permission, Provider, RateLimit, Timeout, Validation};
    let world = world::shared();
    world.block_on(async {
        let bench = world.bench(&world.reader).await;
        for (action, category, code, retryable, status) in [
            (sql_error("42601"), Validation, "query_rejected", false, Some(400)),
            (sql_error("42P01"), Validation, "query_rejected", false, Some(400)),
            (sql_error("42703"), Validation, "query_rejected", false, Some(400)),
            (sql_error("22012"), Validation, "query_rejected", false, Some(400)),
            (sql_error("22P02"), Validation, "query_rejected", false, Some(400)),
            (sql_error("23505"), Validation, "query_rejected", false, Some(400)),
            (sql_error("25006"), Validation, "query_rejected", false, Some(400)),
            (sql_error("08P01"), Validation, "query_rejected", false, Some(400)),
            (sql_error("0A000"), Validation, "query_rejected", false, Some(400)),
            (sql_error("54000"), Validation, "query_rejected", false, Some(400)),
            (sql_error("42501"), Permission, "permission_denied", false, Some(400)),
            (sql_error("57014"), Timeout, "query_timeout", false, Some(400)),
            (
                sql_error("28P01"),
                Configuration,
                "integration_unauthorized",
                false,
                Some(400),
            ),
            (
                sql_error("28000"),
                Configuration,
                "integration_unauthorized",
                false,
                Some(400),
            ),
            (
                sql_error("3D000"),
                Configuration,
                "integration_unauthorized",
                false,
                Some(400),
            ),
            (
                proxy_error(400, "password authentication failed for user 'reader'"),
                Configuration,
                "integration_unauthorized",
                false,
                Some(400),
            ),
            (sql_error("53100"), Provider, "provider_unavailable", true, Some(400)),
            (sql_error("53200"), Provider, "provider_unavailable", true, Some(400)),
            (sql_error("53400"), Provider, "provider_unavailable", true, Some(400)),
            (sql_error("55P03"), Provider, "provider_unavailable", true, Some(400)),
            (sql_error("40001"), Provider, "provider_unavailable", true, Some(400)),
            (sql_error("XX000"), Provider, "provider_unavailable", true, Some(400)),
            (sql_error("53300"), Network, "network", true, None),
            (sql_error("57P01"), Network, "network", true, None),
            (sql_error("57P03"), Network, "network", true, None),
            (
                proxy_error(500, "Control plane request failed"),
                Network,
                "network",
                true,
                None,
            ),
            (proxy_error(400, "connection closed"), Network, "network", true, None),
            (status(502, "<html>"), Network, "network", true, None),
            (status(503, ""), Network, "network", true, None),
            (
                proxy_error(402, "payment required"),
                RateLimit,
                "quota_exhausted",
                false,
                Some(402),
            ),
            (
                proxy_error(400, "Your project has exceeded the data transfer quota."),
                RateLimit,
                "quota_exhausted",
                false,
                Some(400),
            ),
            (
                proxy_error(429, "too many requests"),
                RateLimit,
                "rate_limited",
                true,
                Some(429),
            ),
            (
                proxy_error(507, "response is too large"),
                Content,
                "output_too_large",
                false,
                Some(507),
            ),
            (
                proxy_error(413, "request is too large"),
                Validation,
                "query_rejected",
                false,
                Some(413),
            ),
            (status(200, "<html>"), Provider, "invalid_answer", true, None),
            (status(200, "{\"results\":[{"), Provider, "invalid_answer", true, None),
            (status(200, "{\"results\":[]}"), Provider, "invalid_answer", true, None),
            (Action::DropBefore, Network, "network", true, None),
            (Action::DropAfter, Network, "network", true, None),
            (Action::HalfBody, Network, "network", true, None),
        ] {
            let told = format!("{action:?}");
            let expected = (category, code.to_owned(), retryable, status);
            assert_eq!(meets(&bench, action).await, expected, "{told}");
        }
    });
}

#[test]
fn a_gateway_that_does_not_answer_is_given_up_with_the_step() {
    let world = world::shared();
    world.block_on(async {
        let bench = world.bench(&world.reader).await.within(Duration::from_millis(300));
        for action in [Action::Delay { ms: 2_000 }, Action::DelayAfter { ms: 2_000 }] {
            let expected = (Category::Timeout, "timeout".to_owned(), true, None);
            assert_eq!(meets(&bench, action).await, expected);
        }
    });
}

#[test]
fn a_database_that_is_sick_for_one_tenant_shuts_out_no_other() {
    let world = world::shared();
    world.block_on(async {
        let bench = world.bench(&world.reader).await;
        bench.gateway.faults().add(Rule::new(status(503, "")).times(10));
        for _ in 0..10 {
            assert_eq!(bench.code(json!({"sql": "select 1"})).await.0, "network");
        }
        assert_eq!(bench.code(json!({"sql": "select 1"})).await.0, "ok");
    });
}

#[test]
fn a_gateway_that_is_not_there_is_a_matter_of_the_network() {
    let world = world::shared();
    world.block_on(async {
        let mut bench = world.bench(&world.reader).await;
        let other = world.bench(&world.reader).await.gateway;
        std::mem::replace(&mut bench.gateway, other).shutdown().await;
        assert_eq!(bench.code(json!({"sql": "select 1"})).await.0, "network");
    });
}
