use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use aos::platform::{Deleted, Fetch, FetchError, FetchRequest, FetchResponse, Job, ObjectStore, PlatformError};
use axum::{body::Body, http::header};
use bytes::Bytes;
use futures::future::{FutureExt, LocalBoxFuture};
use serde_json::Value;

use super::*;
use crate::state::Given;

const KEY: &str = "0123456789-the-operators-key-9876543210";
const MACHINE: &str = "0123456789-the-machines-token-9876543210";

struct NoPlatform;

impl Clock for NoPlatform {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }

    fn sleep(&self, _: Duration) -> LocalBoxFuture<'static, ()> {
        futures::future::ready(()).boxed_local()
    }
}

impl JobQueue for NoPlatform {
    fn ring(&self, _: Vec<Job>) -> LocalBoxFuture<'_, Result<(), PlatformError>> {
        panic!("nothing is rung for")
    }
}

impl Fetch for NoPlatform {
    fn fetch(&self, request: FetchRequest) -> LocalBoxFuture<'_, Result<FetchResponse, FetchError>> {
        futures::future::ready(Err(FetchError::Timeout(request.timeout))).boxed_local()
    }
}

/// A Worker whose database and Redis are nowhere.
fn isolate(changes: &[(&str, &str)]) -> Isolate {
    isolate_with(changes, None)
}

fn isolate_with(changes: &[(&str, &str)], archive: Option<Arc<dyn ObjectStore>>) -> Isolate {
    let value_of = |name: &str| {
        let changed = changes
            .iter()
            .find(|(changed, _)| *changed == name)
            .map(|(_, value)| *value);
        let value = changed.or(match name {
            "AOS_API_KEY" => Some(KEY),
            "DATABASE_URL" | "ENGINE_DATABASE_URL" => Some("postgres://u:p@ep-x.nowhere.invalid/d"),
            "UPSTASH_REDIS_REST_URL" => Some("https://redis.invalid"),
            "UPSTASH_REDIS_REST_TOKEN" => Some("token"),
            "CLERK_ISSUER_URL" => Some("https://clerk.invalid"),
            "CLERK_SECRET_KEY" => Some("sk_test_key"),
            "CLERK_PUBLISHABLE_KEY" => Some("pk_test_key"),
            "MACHINE_SECRET_TOKEN" => Some(MACHINE),
            _ => None,
        });
        value.map(str::to_owned)
    };
    Isolate::new(
        value_of,
        Given {
            clock: Arc::new(NoPlatform),
            fetch: Arc::new(NoPlatform),
            archive,
        },
    )
}

struct Got {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Got {
    fn code(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }

    fn pointers(&self) -> Vec<&str> {
        self.body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap())
            .collect()
    }
}

async fn send_to(isolate: &Isolate, request: axum::http::request::Builder, body: impl Into<Body>) -> Got {
    let scope = Scope {
        after: Arc::new(|_| {}),
        jobs: Arc::new(NoPlatform),
    };
    let response = serve(isolate, scope, request.body(body.into()).unwrap()).await;
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    Got {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path)
}

fn operators(method: &str, path: &str) -> axum::http::request::Builder {
    request(method, path).header("x-api-key", KEY)
}

async fn send(request: axum::http::request::Builder, body: impl Into<Body>) -> Got {
    send_to(&isolate(&[]), request, body).await
}

/// A path of the table with something in place of its parameters.
fn filled(path: &str) -> String {
    path.replace("{id}", "run_018f0000000070008000000000000001")
        .replace("{key}", "a")
        .replace("{name}", "a")
}

#[tokio::test]
async fn every_closed_route_turns_a_stranger_away_and_no_open_one_does() {
    for (method, path, needs) in ROUTES {
        let open = needs.is_none();
        if *path == "/readyz" {
            continue;
        }
        let got = send(request(&method.to_uppercase(), &filled(path)), "").await;
        assert_eq!(got.status == 401, !open, "{method} {path}: {}", got.status);
        assert_eq!(got.headers.contains_key("www-authenticate"), !open, "{method} {path}");
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_possible_are_problems_too() {
    let got = send(request("GET", "/v2/agents"), "").await;
    assert_eq!(got.code(), (404, "not_found"));
    assert_eq!(got.headers["content-type"], "application/problem+json");
    let got = send(request("PUT", "/v1/agents"), "").await;
    assert_eq!(got.code(), (405, "method_not_allowed"));
    let allowed: BTreeSet<&str> = got.headers["allow"].to_str().unwrap().split(',').collect();
    assert_eq!(allowed, BTreeSet::from(["GET", "HEAD", "POST"]));
}

#[tokio::test]
async fn every_answer_carries_its_own_request_id_and_is_not_stored() {
    let mut ids = BTreeSet::new();
    for path in ["/healthz", "/v1/agents", "/nowhere"] {
        let got = send(request("GET", path), "").await;
        let id = got.headers["x-request-id"].to_str().unwrap().to_owned();
        assert!(id.starts_with("req_") && id.len() == 36, "{id}");
        if got.status != 200 {
            assert_eq!(got.body["request_id"], id.as_str());
        }
        assert_eq!(got.headers["cache-control"], "no-store");
        assert!(!got.headers.contains_key("access-control-allow-origin"));
        ids.insert(id);
    }
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn a_body_is_refused_by_its_type_its_announced_and_its_real_size() {
    let json =
        |request: axum::http::request::Builder| request.header(header::CONTENT_TYPE, "application/json; charset=utf-8");
    for request in [
        operators("POST", "/v1/runs"),
        operators("POST", "/v1/runs").header("content-type", "text/plain"),
    ] {
        assert_eq!(send(request, "{}").await.code(), (415, "unsupported_media_type"));
    }
    let announced = json(operators("POST", "/v1/runs")).header(header::CONTENT_LENGTH, 1024 * 1024 + 1);
    let unread = Body::from_stream(futures::stream::once(async {
        panic!("read all the same") as Result<Bytes, std::io::Error>
    }));
    assert_eq!(send(announced, unread).await.code(), (413, "body_too_large"));

    let pieces = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&pieces);
    let endless = futures::stream::repeat_with(move || {
        *counted.lock().unwrap() += 1;
        Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 65536]))
    });
    assert_eq!(
        send(json(operators("POST", "/v1/runs")), Body::from_stream(endless))
            .await
            .code(),
        (413, "body_too_large")
    );
    assert!(*pieces.lock().unwrap() <= 18);

    let broken = futures::stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("gone"))]);
    assert_eq!(
        send(json(operators("POST", "/v1/agents")), Body::from_stream(broken))
            .await
            .code(),
        (400, "incomplete_body")
    );
}

#[tokio::test]
async fn bad_requests_are_told_what_is_bad_before_anything_is_asked() {
    let json = |path: &str| operators("POST", path).header(header::CONTENT_TYPE, "application/json");
    assert_eq!(send(json("/v1/agents"), "{").await.code(), (400, "invalid_json"));
    assert_eq!(
        send(json("/v1/agents"), "\"\\u0000\"").await.code(),
        (422, "invalid_request")
    );
    assert_eq!(send(json("/v1/agents"), r#"{"nam":"x"}"#).await.pointers(), ["/nam"]);
    assert_eq!(
        send(json("/v1/agents").header("idempotency-key", "a b"), "{}")
            .await
            .pointers(),
        ["Idempotency-Key:"]
    );
    assert_eq!(
        send(operators("GET", "/v1/runs?limit=0"), "").await.pointers(),
        ["?limit"]
    );
    assert_eq!(
        send(operators("GET", "/v1/runs?limit=%ff"), "").await.pointers(),
        ["?limit"]
    );
    assert_eq!(send(operators("GET", "/v1/agents?x=1"), "").await.pointers(), ["?x"]);
    let run = "/v1/runs/run_018f0000000070008000000000000001";
    assert_eq!(
        send(operators("GET", &format!("{run}?wait=31")), "").await.pointers(),
        ["?wait"]
    );
    assert_eq!(
        send(operators("GET", "/v1/runs/%ff"), "").await.code(),
        (400, "invalid_path")
    );
    for path in [
        "/v1/runs/1",
        "/v1/runs/018f0000-0000-7000-8000-000000000001",
        "/v1/agents/%00",
        "/v1/skills/none",
    ] {
        assert_eq!(
            send(operators("GET", path), "").await.code(),
            (404, "not_found"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn skills_are_served_with_their_contracts() {
    let all = send(operators("GET", "/v1/skills"), "").await;
    let names: Vec<_> = all.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|skill| skill["name"].clone())
        .collect();
    let registry = aos::skills::Registry::default();
    let registered: Vec<_> = registry.iter().map(|skill| skill.identity().name).collect();
    assert_eq!(names, registered);
    let one = send(operators("GET", "/v1/skills/kv_store"), "").await;
    assert_eq!((one.status, &one.body["configured"]), (200, &Value::Bool(true)));
    assert!(all.body["items"].as_array().unwrap().contains(&one.body));
}

/// A bucket with one object under every key.
struct OneObject(&'static [u8]);

impl ObjectStore for OneObject {
    fn put(&self, _: &str, _: &str, _: Bytes) -> LocalBoxFuture<'_, Result<(), PlatformError>> {
        panic!("nothing is written")
    }

    fn get(&self, key: &str, _: usize) -> LocalBoxFuture<'_, Result<Option<Bytes>, PlatformError>> {
        let object = key.starts_with("calendar/").then(|| Bytes::from_static(self.0));
        futures::future::ready(Ok(object)).boxed_local()
    }

    fn delete_some(&self, _: &str) -> LocalBoxFuture<'_, Result<Deleted, PlatformError>> {
        panic!("nothing is deleted")
    }
}

#[tokio::test]
async fn a_calendar_file_is_for_whoever_has_its_link() {
    const SECRET: &str = "s1gns-the-links-of-calendars-0123456789";
    let step = "stp_018f0000000070008000000000000003";
    let tenant = "ten_018f0000000070008000000000000001".parse().unwrap();
    let links = aos::links::Links::new(&SECRET.into(), None, None);
    let link = |expires| {
        let expires = jiff::Timestamp::from_second(expires).unwrap();
        links.link(aos::links::Purpose::Calendar, tenant, step, expires)
    };
    let with_secret = [("SIGNED_URL_SECRET", SECRET)];
    let configured = isolate_with(&with_secret, Some(Arc::new(OneObject(b"BEGIN:VCALENDAR\r\n"))));
    let scope = Scope {
        after: Arc::new(|_| {}),
        jobs: Arc::new(NoPlatform),
    };
    let good = request("GET", &link(1)).body(Body::empty()).unwrap();
    let response = serve(&configured, scope, good).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/calendar; charset=utf-8");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
    assert_eq!(body, b"BEGIN:VCALENDAR\r\n".as_slice());

    let code = async |isolate: &Isolate, link: &str| {
        let got = send_to(isolate, request("GET", link), "").await;
        assert_eq!(got.headers["content-type"], "application/problem+json", "{link}");
        (got.status, got.body["code"].as_str().unwrap().to_owned())
    };
    // The clock of these tests stands at the epoch.
    assert_eq!(code(&configured, &link(0)).await, (403, "link_expired".to_owned()));
    let other = link(1).replace("000003?", "000004?");
    for forged in [
        other.as_str(),
        &link(1).replace("expires=1", "expires=2"),
        &format!("/v1/calendar/{step}"),
    ] {
        assert_eq!(
            code(&configured, forged).await,
            (403, "link_invalid".to_owned()),
            "{forged}"
        );
    }
    assert_eq!(
        code(&configured, "/v1/calendar/nonsense").await,
        (404, "not_found".to_owned())
    );
    // Where there is nothing to sign with, or nothing to keep files in, no link is good.
    let without_archive = isolate_with(&with_secret, None);
    let without_secret = isolate_with(&[], Some(Arc::new(OneObject(b""))));
    for isolate in [without_archive, without_secret] {
        assert_eq!(code(&isolate, &link(1)).await, (403, "link_invalid".to_owned()));
    }
}

#[tokio::test]
async fn with_broken_settings_only_health_answers_and_only_the_operator_learns_the_names() {
    let isolate = isolate(&[("DATABASE_URL", "nonsense"), ("AOS_RING", "maybe")]);
    assert_eq!(send_to(&isolate, request("GET", "/healthz"), "").await.status, 200);
    for (method, path, _) in ROUTES.iter().filter(|(_, path, _)| *path != "/healthz") {
        let got = send_to(&isolate, request(&method.to_uppercase(), &filled(path)), "").await;
        assert_eq!(got.code(), (503, "misconfigured"), "{method} {path}");
        assert!(!got.body.to_string().contains("DATABASE_URL"), "{method} {path}");
    }
    assert_eq!(
        send_to(&isolate, request("GET", "/nowhere"), "").await.code(),
        (503, "misconfigured")
    );
    let got = send_to(&isolate, operators("GET", "/v1/agents"), "").await;
    assert_eq!(got.code(), (503, "misconfigured"));
    assert_eq!(got.pointers(), ["DATABASE_URL", "AOS_RING"]);
}

#[tokio::test]
async fn strict_transport_is_asked_for_in_production_only() {
    let header = "strict-transport-security";
    assert!(send(request("GET", "/healthz"), "").await.headers.contains_key(header));
    let development = isolate(&[("ENVIRONMENT", "development")]);
    assert!(
        !send_to(&development, request("GET", "/healthz"), "")
            .await
            .headers
            .contains_key(header)
    );
}

#[test]
fn the_description_lists_exactly_the_routes_there_are() {
    let document: Value = serde_json::from_str(&crate::openapi_json()).unwrap();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let open = operation["security"]
                .as_array()
                .is_none_or(|schemes| schemes.iter().all(|it| it == &serde_json::json!({})));
            described.insert((method.clone(), path.clone(), open));
        }
    }
    let routes: BTreeSet<_> = ROUTES
        .iter()
        .map(|(method, path, needs)| ((*method).to_owned(), (*path).to_owned(), needs.is_none()))
        .collect();
    assert_eq!(described, routes);
}

#[tokio::test]
async fn the_operator_and_machines_act_for_the_tenant_they_name_or_the_installations_own() {
    for (name, secret, subject) in [("x-api-key", KEY, "operator"), ("x-machine-token", MACHINE, "machine")] {
        let who = || request("GET", "/v1/session").header(name, secret);
        let own = send(who(), "").await;
        assert_eq!((own.status, own.body["tenant"].as_str()), (200, Some("operator")));
        assert_eq!(own.body["subject"], subject);
        let named = send(who().header("x-aos-tenant", "org_1"), "").await;
        assert_eq!(named.body["tenant"], "org_1");
        for bad in ["", "a b", "ä"] {
            let got = send(who().header("x-aos-tenant", bad), "").await;
            assert_eq!((got.status, got.pointers()), (422, vec!["X-AOS-Tenant:"]), "{bad}");
        }
    }
}

#[tokio::test]
async fn a_machine_is_refused_what_its_role_does_not_grant() {
    let machine = |method: &str, path: &str| request(method, path).header("x-machine-token", MACHINE);
    let got = send(machine("DELETE", "/v1/agents/agt_018f0000000070008000000000000001"), "").await;
    assert_eq!(got.code(), (403, "forbidden"));
    assert!(got.body["detail"].as_str().unwrap().contains("agents:write"));
    assert_eq!(send(machine("GET", "/v1/tenants"), "").await.code(), (403, "forbidden"));
    assert_eq!(send(machine("GET", "/v1/skills"), "").await.status, 200);
}

#[tokio::test]
async fn without_redis_strangers_are_limited_by_this_isolate_and_by_their_network() {
    let isolate = isolate(&[]);
    let from = |address: &str| request("GET", "/v1/agents").header("cf-connecting-ip", address);
    let mut passed = 0;
    while send_to(&isolate, from("203.0.113.1"), "").await.status == 401 {
        passed += 1;
    }
    assert_eq!(passed, 15);
    let got = send_to(&isolate, from("203.0.113.1"), "").await;
    assert_eq!(got.code(), (429, "rate_limited"));
    assert_eq!(got.headers["ratelimit-remaining"], "0");
    assert_eq!(got.headers["retry-after"], got.headers["ratelimit-reset"]);
    assert_eq!(send_to(&isolate, from("203.0.113.2"), "").await.status, 401);
}

#[test]
fn the_description_names_the_permission_of_every_closed_route() {
    let document: Value = serde_json::from_str(&crate::openapi_json()).unwrap();
    for (method, path, needs) in ROUTES {
        let described = &document["paths"][path][method]["x-aos-permission"];
        assert_eq!(described.as_str(), needs.map(Permission::as_str), "{method} {path}");
    }
}
