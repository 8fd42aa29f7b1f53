//! Rate limits: exact while Redis is there, narrower without it, and one request either way.

use std::sync::Arc;
use std::time::Duration;

use aos::ids::{ApiKeyId, TenantId};
use aos::integrations::Repeat;
use aos::integrations::upstash::{Command, Key};
use aos::limits::{Limiter, Lookups, STRANGERS_PER_MINUTE, Subject, Verdict};
use aos::platform::Clock;
use aos::tenants::{self, Limits, Tier};
use aos_dev::faults::{Action, Rule};
use serde_json::json;

use crate::world::{Test, body, broken, by, operator, test};

fn limiter(test: &Test) -> Limiter {
    Limiter::new(test.upstash.clone(), test.clock.clone())
}

fn limits_of(per_minute: u32) -> Limits {
    let id: TenantId = "ten_018f0000000070008000000000000001".parse().unwrap();
    Limits {
        id,
        tier: Tier::Free,
        requests_per_minute: Some(per_minute),
    }
}

/// A request of the test's tenant, which its isolate knows to have this limit.
fn of_tenant(test: &Test, per_minute: u32) -> Lookups {
    let subject = Subject {
        tenant: &test.principal.tenant,
        known: Some(limits_of(per_minute)),
        api_key: None,
        revocation: None,
    };
    Lookups::of(&subject, test.clock.now())
}

/// Whether isolates that remember a key are told that it opens nothing any more.
pub(crate) async fn is_revoked(test: &Test, id: ApiKeyId) -> bool {
    let subject = Subject {
        tenant: &"nobody-special".parse().unwrap(),
        known: Some(limits_of(100_000)),
        api_key: None,
        revocation: Some(&Key::revoked_api_key(id)),
    };
    let verdict = limiter(test).ask(&Lookups::of(&subject, test.clock.now())).await;
    assert!(!verdict.degraded && verdict.allowed);
    verdict.revoked
}

async fn passes(limiter: &Limiter, lookups: impl Fn() -> Lookups, times: usize) -> usize {
    let mut passed = 0;
    for _ in 0..times {
        passed += usize::from(limiter.ask(&lookups()).await.allowed);
    }
    passed
}

#[test]
fn a_hundred_requests_at_once_at_a_limit_of_ten_are_ten() {
    test("limits-exact", async |test| {
        test.clock.stand_at("2026-11-23T10:00:20Z");
        let limiter = Arc::new(limiter(test));
        let all = (0..100).map(|_| {
            let (limiter, lookups) = (limiter.clone(), of_tenant(test, 10));
            async move { limiter.ask(&lookups).await }
        });
        let verdicts: Vec<Verdict> = futures::future::join_all(all).await;
        assert!(verdicts.iter().all(|verdict| !verdict.degraded));
        assert_eq!(verdicts.iter().filter(|verdict| verdict.allowed).count(), 10);
        let mut left: Vec<u32> = verdicts
            .iter()
            .filter(|v| v.allowed)
            .map(|v| v.rate.remaining)
            .collect();
        left.sort_unstable();
        assert_eq!(left, (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn the_headers_say_when_there_is_room_again_and_then_there_is() {
    test("limits-headers", async |test| {
        test.clock.stand_at("2026-11-23T10:00:45Z");
        let limiter = limiter(test);
        let first = limiter.ask(&of_tenant(test, 4)).await;
        assert_eq!(
            first.rate.headers(),
            [
                ("RateLimit-Limit", 4),
                ("RateLimit-Remaining", 3),
                ("RateLimit-Reset", 15)
            ]
        );
        assert!(first.check_rate().is_ok());
        assert_eq!(passes(&limiter, || of_tenant(test, 4), 10).await, 3);
        let refused = limiter.ask(&of_tenant(test, 4)).await;
        // Four in this minute: the next must wait until only three of them count, a quarter into the next minute.
        assert_eq!((refused.rate.remaining, refused.rate.reset_s), (0, 30));
        let problem = refused.check_rate().unwrap_err();
        assert_eq!(
            (problem.status, problem.code.as_ref(), problem.retry_after_s),
            (429, "rate_limited", Some(30))
        );
        test.clock.advance(Duration::from_secs(29));
        let early = limiter.ask(&of_tenant(test, 4)).await;
        assert!(!early.allowed);
        assert_eq!(early.rate.reset_s, 1);
        test.clock.advance(Duration::from_secs(1));
        assert!(limiter.ask(&of_tenant(test, 4)).await.allowed);
    });
}

#[test]
fn a_window_slides_and_refused_requests_do_not_count() {
    test("limits-window", async |test| {
        test.clock.stand_at("2026-11-23T10:00:30Z");
        let limiter = limiter(test);
        assert_eq!(passes(&limiter, || of_tenant(test, 10), 40).await, 10);
        // Half of the last minute is half of its ten.
        test.clock.advance(Duration::from_secs(60));
        assert_eq!(passes(&limiter, || of_tenant(test, 10), 40).await, 5);
        // Two minutes without a word: all of it is there again.
        test.clock.advance(Duration::from_secs(120));
        assert_eq!(passes(&limiter, || of_tenant(test, 10), 40).await, 10);
        // A clock that is behind by a minute neither frees nor blocks: it counts where the others do.
        test.clock.stand_at("2026-11-23T10:02:31Z");
        assert_eq!(passes(&limiter, || of_tenant(test, 11), 5).await, 1);
    });
}

#[test]
fn any_minute_has_at_most_its_limit_and_a_steady_caller_below_it_is_never_refused() {
    test("limits-steady", async |test| {
        test.clock.stand_at("2026-11-23T10:00:00Z");
        let limiter = limiter(test);
        for n in 0..150 {
            assert!(limiter.ask(&of_tenant(test, 60)).await.allowed, "request {n}");
            test.clock.advance(Duration::from_millis(1_050));
        }
    });
}

#[test]
fn the_operators_limit_counts_before_what_an_isolate_remembers_and_before_none() {
    test("limits-entry", async |test| {
        test.clock.stand_at("2026-11-23T10:00:00Z");
        let limiter = limiter(test);
        let unknown = || {
            let subject = Subject {
                tenant: &test.principal.tenant,
                known: None,
                api_key: None,
                revocation: None,
            };
            Lookups::of(&subject, test.clock.now())
        };
        let verdict = limiter.ask(&unknown()).await;
        assert_eq!((verdict.rate.limit, verdict.entry), (60, None));
        assert_eq!(limiter.ask(&of_tenant(test, 300)).await.rate.limit, 300);

        let id = test.tenant().await;
        let operator = operator("operator");
        let change = body(json!({"tier": "pro"}));
        tenants::patch(&test.database, &test.upstash, by(&operator), id, change)
            .await
            .unwrap();
        for lookups in [unknown(), of_tenant(test, 300)] {
            let verdict = limiter.ask(&lookups).await;
            assert_eq!((verdict.rate.limit, verdict.entry), (1_200, Some(1_200)));
        }
        // What the database said last is told to the others, once.
        let verdict = limiter.ask(&unknown()).await;
        let tenant = &test.principal.tenant;
        assert!(verdict.correction(tenant, &limits_of(1_200)).is_none());
        let correction = verdict.correction(tenant, &limits_of(7)).unwrap();
        test.upstash.command(correction, Repeat::Harmless).await.unwrap();
        assert_eq!(limiter.ask(&unknown()).await.rate.limit, 7);
    });
}

#[test]
fn a_key_with_a_limit_of_its_own_is_bound_by_both_and_counts_in_both_or_in_neither() {
    test("limits-key", async |test| {
        test.clock.stand_at("2026-11-23T10:00:00Z");
        let limiter = limiter(test);
        let id = ApiKeyId::new(&*test.clock);
        let with_key = || {
            let subject = Subject {
                tenant: &test.principal.tenant,
                known: Some(limits_of(10)),
                api_key: Some((id, 3)),
                revocation: None,
            };
            Lookups::of(&subject, test.clock.now())
        };
        assert_eq!(limiter.ask(&with_key()).await.rate.limit, 3);
        assert_eq!(passes(&limiter, with_key, 20).await, 2);
        // The tenant's other seven are there still.
        assert_eq!(passes(&limiter, || of_tenant(test, 10), 20).await, 7);
        let refused = limiter.ask(&with_key()).await;
        assert!(!refused.allowed);
    });
}

#[test]
fn strangers_share_a_limit_by_network_and_are_counted_by_kind() {
    test("limits-strangers", async |test| {
        test.clock.stand_at("2026-11-23T10:00:00Z");
        let limiter = limiter(test);
        let from = |address: &'static str| move || Lookups::of_stranger(address, "test_kind", test.clock.now());
        let most = STRANGERS_PER_MINUTE as usize;
        assert_eq!(passes(&limiter, from("203.0.113.7"), most + 5).await, most);
        assert!(
            !limiter.ask(&from("::ffff:203.0.113.7")()).await.allowed,
            "the same address in other words"
        );
        let next = limiter.ask(&from("203.0.113.8")()).await;
        assert!(next.allowed);
        // Every one of them was counted, whether it passed or not.
        assert_eq!(next.nth, Some(STRANGERS_PER_MINUTE + 7));
        // Whoever has one address of a /64 has all of them.
        assert_eq!(passes(&limiter, from("2001:db8:0:1::1"), most).await, most);
        assert!(!limiter.ask(&from("2001:db8:0:1:ffff::2")()).await.allowed);
        assert!(limiter.ask(&from("2001:db8:0:2::1")()).await.allowed);
        assert!(limiter.ask(&from("not an address")()).await.allowed);
        test.clock.advance(Duration::from_secs(60));
        assert_eq!(limiter.ask(&from("203.0.113.9")()).await.nth, Some(1));
    });
}

#[test]
fn a_request_asks_redis_once_for_everything() {
    test("limits-one-request", async |test| {
        let limiter = limiter(test);
        let revocation = Key::revoked_api_key(ApiKeyId::new(&*test.clock));
        let subject = Subject {
            tenant: &test.principal.tenant,
            known: None,
            api_key: Some((ApiKeyId::new(&*test.clock), 5)),
            revocation: Some(&revocation),
        };
        test.redis.counters().reset();
        limiter.ask(&Lookups::of(&subject, test.clock.now())).await;
        let snapshot = test.redis.counters().snapshot();
        let labels: Vec<_> = snapshot.requests.iter().map(|request| request.label.as_str()).collect();
        assert_eq!(labels, ["pipeline EVAL,GET"]);
    });
}

#[test]
fn a_revocation_is_seen_from_its_time_on_and_in_any_words() {
    test("limits-revoked", async |test| {
        let entry = Key::revoked_api_key(ApiKeyId::new(&*test.clock));
        let ask = async || {
            let subject = Subject {
                tenant: &test.principal.tenant,
                known: Some(limits_of(1_000)),
                api_key: None,
                revocation: Some(&entry),
            };
            limiter(test)
                .ask(&Lookups::of(&subject, test.clock.now()))
                .await
                .revoked
        };
        assert!(!ask().await);
        for (value, revoked) in [
            (test.clock.now().as_second() + 1_000, false),
            (test.clock.now().as_second(), true),
            (0, true),
        ] {
            let set = Command::new("SET").arg(&entry).arg(value.to_string());
            test.upstash.command(set, Repeat::Harmless).await.unwrap();
            assert_eq!(ask().await, revoked, "{value}");
        }
        let set = Command::new("SET").arg(&entry).arg("revoked");
        test.upstash.command(set, Repeat::Harmless).await.unwrap();
        assert!(ask().await);
    });
}

#[test]
fn without_redis_requests_go_on_by_half_the_limit_and_nobody_waits_long() {
    test("limits-away", async |test| {
        test.clock.stand_at("2026-11-23T10:00:00Z");
        let limiter = limiter(test);
        assert!(!limiter.is_degraded());
        test.redis.faults().add(broken(503, "{}"));
        let begun = std::time::Instant::now();
        test.redis.counters().reset();
        let verdict = limiter.ask(&of_tenant(test, 20)).await;
        assert!(verdict.degraded && verdict.allowed && !verdict.revoked && limiter.is_degraded());
        assert_eq!(verdict.rate.limit, 10);
        assert!(verdict.correction(&test.principal.tenant, &limits_of(1)).is_none());
        assert_eq!(passes(&limiter, || of_tenant(test, 20), 100).await, 9);
        assert_eq!(test.redis.counters().snapshot().total, 1, "the others do not ask");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        // It is asked again after a while, by one request; and when it is back all is as before.
        test.clock.advance(Duration::from_secs(6));
        limiter.ask(&of_tenant(test, 20)).await;
        limiter.ask(&of_tenant(test, 20)).await;
        assert_eq!(test.redis.counters().snapshot().total, 2);
        test.redis.faults().clear();
        test.clock.advance(Duration::from_secs(6));
        let back = limiter.ask(&of_tenant(test, 20)).await;
        assert!(!back.degraded && back.rate.limit == 20 && !limiter.is_degraded());
    });
}

#[test]
fn a_redis_that_hangs_or_answers_nonsense_holds_nobody_up() {
    test("limits-hangs", async |test| {
        for fault in [
            Rule::new(Action::Delay { ms: 20_000 }),
            broken(200, "[]"),
            Rule::new(Action::HalfBody),
        ] {
            let limiter = limiter(test);
            test.redis.faults().add(fault);
            let begun = std::time::Instant::now();
            let verdict = limiter.ask(&of_tenant(test, 20)).await;
            assert!(verdict.degraded && verdict.allowed);
            assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
            test.redis.faults().clear();
        }
        // A key of another kind under a bucket's name: the script fails, the request does not.
        let limiter = limiter(test);
        let wrong = Command::new("SET")
            .arg(Key::tenant_rate(&test.principal.tenant))
            .arg("x");
        test.upstash.command(wrong, Repeat::Harmless).await.unwrap();
        assert!(limiter.ask(&of_tenant(test, 20)).await.degraded);
    });
}
