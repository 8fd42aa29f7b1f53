//! Where names lead: looked up before each request, and nothing goes to one that leads inside or is not known.

use std::time::{Duration, Instant};

use aos::skills::Category;
use aos_dev::faults::Action;
use aos_dev::standins::resolver::{Rcode, Records};
use serde_json::json;

use crate::world::{PUBLIC, PUBLIC_V6, World, code, status};

fn records(addresses: &[&str]) -> Records {
    Records::addresses(addresses.iter().map(|address| address.parse().unwrap()))
}

#[tokio::test]
async fn a_name_is_called_if_all_it_leads_to_is_public() {
    let world = World::start().await;
    let dns = world.standins.resolver();
    dns.set("inside.dev", records(&["10.0.0.7"]));
    dns.set("outside.dev", records(&[PUBLIC]));
    for (name, said, expected) in [
        ("a.dev", records(&[PUBLIC]), ""),
        ("b.dev", records(&[PUBLIC_V6]), ""),
        ("c.dev", records(&[PUBLIC, "1.1.1.1", PUBLIC_V6]), ""),
        ("d.dev", Records::alias("outside.dev"), ""),
        ("e.dev", records(&["10.0.0.1"]), "forbidden_address"),
        ("f.dev", records(&["127.0.0.1"]), "forbidden_address"),
        ("g.dev", records(&["169.254.169.254"]), "forbidden_address"),
        ("h.dev", records(&["fd00:ec2::254"]), "forbidden_address"),
        ("i.dev", records(&["::ffff:127.0.0.1"]), "forbidden_address"),
        ("j.dev", records(&[PUBLIC, "192.168.1.1"]), "forbidden_address"),
        ("k.dev", records(&[PUBLIC, "fe80::1"]), "forbidden_address"),
        ("l.dev", records(&["10.0.0.1", PUBLIC_V6]), "forbidden_address"),
        ("m.dev", Records::alias("inside.dev"), "forbidden_address"),
        ("n.dev", Records::failing(Rcode::NxDomain), "name_not_resolved"),
        ("o.dev", Records::default(), "name_not_resolved"),
        ("p.dev", Records::alias("nowhere.dev"), "name_not_resolved"),
        ("q.dev", Records::failing(Rcode::ServFail), "dns_failed"),
        ("r.dev", Records::failing(Rcode::Refused), "dns_failed"),
        ("s.dev", Records::alias("s.dev"), "dns_failed"),
    ] {
        dns.set(name, said);
        world.standins.counters().reset();
        let outcome = world.call("http_call", json!({"url": world.at(name, "/echo")})).await;
        assert_eq!(code(&outcome), expected, "{name}");
        assert_eq!(world.arrivals("/echo"), usize::from(expected.is_empty()), "{name}");
        let look_ups = if expected == "dns_failed" { 4 } else { 2 };
        assert_eq!(
            outcome.usage.requests,
            look_ups + u32::from(expected.is_empty()),
            "{name}"
        );
        assert!(outcome.effects.is_empty());
    }
    let outcome = world
        .call("http_call", json!({"url": world.at("unheard.dev", "/echo")}))
        .await;
    let error = outcome.error.unwrap();
    assert_eq!(
        (error.code.as_ref(), error.category, error.retryable),
        ("name_not_resolved", Category::Network, false)
    );
}

#[tokio::test]
async fn with_the_resolver_away_or_talking_nonsense_nothing_is_sent() {
    let mut world = World::start().await;
    world.public("a.dev");
    for action in [
        Action::DropBefore,
        Action::DropAfter,
        Action::HalfBody,
        status(500, "busy"),
        status(429, "{}"),
        status(200, "no JSON"),
        status(200, "{}"),
        status(200, r#"{"Status":0,"Answer":[{"type":1,"data":"nonsense"}]}"#),
        status(200, format!(r#"{{"Status":0,"x":"{}"}}"#, "x".repeat(70_000))),
    ] {
        world.resolver_fails(4, action.clone());
        let params = json!({"method": "POST", "url": world.at("a.dev", "/effects/a"), "json": 1});
        let outcome = world.call("http_call", params).await;
        let error = outcome.error.unwrap();
        assert_eq!(
            (error.code.as_ref(), error.retryable),
            ("dns_failed", true),
            "{action:?}: {}",
            error.message
        );
        assert_eq!((outcome.usage.requests, outcome.effects.len()), (4, 0), "{action:?}");
        world.standins.faults().clear();
    }
    world.timeout = Duration::from_millis(300);
    world.resolver_fails(4, Action::Delay { ms: 5_000 });
    let begun = Instant::now();
    let outcome = world
        .call("http_call", json!({"url": world.at("a.dev", "/echo")}))
        .await;
    assert_eq!(code(&outcome), "dns_failed");
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "a call's time bounds its look-ups"
    );
    assert!(world.standins.effects().tallies().is_empty());
}

#[tokio::test]
async fn a_look_up_that_fails_once_is_tried_once_more() {
    let world = World::start().await;
    let dns = world.standins.resolver();
    dns.set_in_turn("a.dev", vec![Records::failing(Rcode::ServFail), records(&[PUBLIC])]);
    let outcome = world
        .call("http_call", json!({"url": world.at("a.dev", "/echo")}))
        .await;
    assert_eq!((code(&outcome), outcome.usage.requests), ("", 5));
    world.resolver_fails(1, Action::DropBefore);
    let outcome = world
        .call("http_call", json!({"url": world.at("a.dev", "/echo")}))
        .await;
    assert_eq!(
        (code(&outcome), outcome.usage.requests),
        ("", 4),
        "only what failed is asked again"
    );
}

#[tokio::test]
async fn each_hop_is_looked_up_and_a_name_that_changes_on_the_way_is_refused() {
    let world = World::start().await;
    let dns = world.standins.resolver();
    dns.set_in_turn("a.dev", vec![records(&[PUBLIC]), records(&["10.0.0.1"])]);
    let url = world.at("a.dev", "/redirect?to=/echo");
    let outcome = world.call("http_call", json!({"url": url})).await;
    assert_eq!((code(&outcome), outcome.usage.requests), ("forbidden_address", 5));
    assert_eq!(world.arrivals("/echo"), 0);

    world.public("a.dev");
    dns.set("inside.dev", records(&["172.16.0.1"]));
    dns.set("sick.dev", Records::failing(Rcode::ServFail));
    for (name, expected) in [
        ("inside.dev", "forbidden_address"),
        ("sick.dev", "dns_failed"),
        ("nowhere.dev", "name_not_resolved"),
        ("a.dev", ""),
    ] {
        let url = world.at("a.dev", &format!("/redirect?to={}", world.at(name, "/echo")));
        let outcome = world.call("http_call", json!({"url": url})).await;
        assert_eq!(code(&outcome), expected, "{name}");
    }
    assert_eq!(world.arrivals("/echo"), 1);

    // The first hop was answered: whether it did what was asked before it sent us on, nobody knows.
    let url = world.at(
        "a.dev",
        &format!("/redirect?status=307&to={}", world.at("sick.dev", "/echo")),
    );
    let params = json!({"method": "POST", "url": url, "json": 1, "follow_redirects": true});
    assert_eq!(code(&world.call("http_call", params).await), "unknown_effect");
}

#[tokio::test]
async fn what_is_no_name_is_not_looked_up() {
    let mut world = World::start().await;
    world.allow_loopback();
    for host in ["127.0.0.1", "localhost"] {
        let outcome = world.call("http_call", json!({"url": world.at(host, "/echo")})).await;
        assert_eq!((code(&outcome), outcome.usage.requests), ("", 1), "{host}");
    }
    assert_eq!(world.standins.resolver().queries(), 0);
    // The door to this machine is open for its own names only.
    world.standins.resolver().set("a.dev", records(&["127.0.0.1"]));
    let outcome = world
        .call("http_call", json!({"url": world.at("a.dev", "/echo")}))
        .await;
    assert_eq!(code(&outcome), "forbidden_address");
}

#[tokio::test]
async fn without_a_resolver_names_are_judged_as_names() {
    let mut world = World::start().await;
    world.services.resolver = None;
    let outcome = world
        .call("http_call", json!({"url": world.at("a.dev", "/echo")}))
        .await;
    assert_eq!((code(&outcome), outcome.usage.requests), ("", 1));
    assert_eq!(world.standins.resolver().queries(), 0);
}
