//! The API as its callers see it: agents, runs, lists, repeats, tenants, credentials, headers, readiness.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aos_dev::paths::repository;
use aos_tests::{Action, Client, Reply, Rule, Stage, chain, pure};
use futures::future::join_all;
use serde_json::{Value, json};

static STAGE: Stage = Stage::new(1);

/// Ids of the right form that nobody has.
const NOBODY: [(&str, &str); 2] = [
    ("agents", "agt_018f0000000070008000000000000001"),
    ("runs", "run_018f0000000070008000000000000001"),
];

fn id(of: &Value) -> String {
    of["id"].as_str().unwrap_or_else(|| panic!("no id in {of}")).to_owned()
}

/// The operations of the committed description, as method and path.
fn operations() -> Vec<(String, String)> {
    let document = std::fs::read_to_string(repository().join("openapi.json")).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let methods: Vec<String> = item
            .as_object()
            .unwrap()
            .keys()
            .map(|method| method.to_uppercase())
            .collect();
        methods
            .into_iter()
            .map(|method| (method, path.clone()))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

/// A path with its parameters filled in.
fn filled(path: &str, run: &str, agent: &str) -> String {
    let id = if path.starts_with("/v1/agents") { agent } else { run };
    path.replace("{id}", id)
        .replace("{key}", "s0")
        .replace("{name}", "http_call")
}

/// A request that would do something if it were allowed to.
async fn attempt(client: &Client, method: &str, path: &str, agent: &str) -> Reply {
    let call = client.call(method, path);
    match (method, path) {
        ("POST", "/v1/agents") => call.json(&json!({"name": "attempt", "allowed_skills": []})),
        ("POST", "/v1/runs") => call.json(&json!({"agent_id": agent, "plan": {"steps": chain(1)}})),
        ("PATCH", _) => call.json(&json!({"name": "taken over"})),
        _ => call,
    }
    .send()
    .await
}

#[test]
fn an_agent_is_created_read_changed_and_deleted() {
    STAGE.together(async |world| {
        let client = world.client();
        let body =
            json!({"name": "reporter", "allowed_skills": ["http_call"], "model": "m", "labels": {"a": "1", "b": "2"}});
        let created = client.post("/v1/agents", &body).await;
        let location = created.header("location").map(str::to_owned);
        let created = created.expect(201);
        let path = format!("/v1/agents/{}", id(&created));
        assert_eq!(location.as_deref(), Some(path.as_str()));
        assert_eq!(
            (&created["instructions"], &created["max_concurrent_runs"]),
            (&json!(""), &json!(100))
        );
        assert_eq!(client.get(&path).await.expect(200), created);

        let patch =
            json!({"name": "renamed", "model": null, "labels": {"a": null, "c": "3"}, "max_concurrent_runs": 7});
        let patched = client.call("PATCH", &path).json(&patch).send().await.expect(200);
        assert_eq!((&patched["name"], &patched["model"]), (&json!("renamed"), &Value::Null));
        assert_eq!(
            (&patched["labels"], &patched["max_concurrent_runs"]),
            (&json!({"b": "2", "c": "3"}), &json!(7))
        );
        assert_eq!(
            (&patched["allowed_skills"], &patched["created_at"]),
            (&created["allowed_skills"], &created["created_at"])
        );
        assert!(patched["updated_at"].as_str() > created["updated_at"].as_str());
        assert_eq!(client.get(&path).await.expect(200), patched);

        let deleted = client.call("DELETE", &path).send().await;
        assert_eq!((deleted.status.as_u16(), deleted.body.len()), (204, 0), "{deleted}");
        client.get(&path).await.refused(404, "not_found");
        client.call("DELETE", &path).send().await.refused(404, "not_found");
        client
            .call("PATCH", &path)
            .json(&patch)
            .send()
            .await
            .refused(404, "not_found");
        assert_eq!(
            client.get("/v1/agents").await.expect(200),
            json!({"items": [], "next_cursor": null})
        );
        let run = json!({"agent_id": created["id"], "plan": {"steps": chain(1)}});
        client.post("/v1/runs", &run).await.points_at(&["/agent_id not_found"]);
        client
            .post("/v1/agents", &json!({"name": "renamed", "allowed_skills": []}))
            .await
            .expect(201);
    });
}

#[test]
fn the_name_of_an_agent_is_unique_in_its_tenant() {
    STAGE.together(async |world| {
        let (client, other) = (world.client(), world.client());
        let named = |name: &str| json!({"name": name, "allowed_skills": []});
        client.post("/v1/agents", &named("one")).await.expect(201);
        client
            .post("/v1/agents", &named("one"))
            .await
            .refused(409, "agent_name_taken");
        other.post("/v1/agents", &named("one")).await.expect(201);
        let two = id(&client.post("/v1/agents", &named("two")).await.expect(201));
        let renamed = client
            .call("PATCH", &format!("/v1/agents/{two}"))
            .json(&json!({"name": "one"}))
            .send()
            .await;
        renamed.refused(409, "agent_name_taken");
        assert_eq!(
            client.get(&format!("/v1/agents/{two}")).await.expect(200)["name"],
            "two"
        );
    });
}

#[test]
fn an_agent_with_open_runs_stays_and_its_ended_runs_outlive_it() {
    STAGE.together(async |world| {
        let client = world.client();
        let path = format!("/v1/agents/{}", client.agent().await);
        let run = client
            .start(json!([client.http("slow", "GET", "/slow?ms=700", &[])]))
            .await;
        client
            .call("DELETE", &path)
            .send()
            .await
            .refused(409, "agent_has_open_runs");
        client.ended_as(&run, "succeeded").await;
        assert_eq!(client.call("DELETE", &path).send().await.status, 204);
        assert_eq!(
            client.get(&format!("/v1/runs/{run}")).await.expect(200)["status"],
            "succeeded"
        );
    });
}

#[test]
fn a_list_is_read_page_by_page_newest_first_under_its_filters() {
    STAGE.together(async |world| {
        let client = world.client();
        let mut created = Vec::new();
        for number in 0..7 {
            let body = json!({"name": format!("agent {number}"), "allowed_skills": ["json_transform"]});
            created.insert(0, id(&client.post("/v1/agents", &body).await.expect(201)));
        }
        let (mut listed, mut sizes, mut query) = (Vec::new(), Vec::new(), "?limit=3".to_owned());
        let cursor = loop {
            let page = client.get(&format!("/v1/agents{query}")).await.expect(200);
            let items = page["items"].as_array().unwrap();
            sizes.push(items.len());
            listed.extend(items.iter().map(id));
            match page["next_cursor"].as_str() {
                Some(cursor) => query = format!("?limit=3&cursor={cursor}"),
                None => break query.split("cursor=").nth(1).unwrap().to_owned(),
            }
        };
        assert_eq!((listed, sizes), (created.clone(), vec![3, 3, 1]));
        client
            .get(&format!("/v1/runs?cursor={cursor}"))
            .await
            .points_at(&["?cursor invalid_cursor"]);

        let run = |agent: &str| json!({"agent_id": agent, "plan": {"steps": [pure("a", &[])]}});
        let mut runs = Vec::new();
        for agent in [&created[0], &created[1], &created[0]] {
            runs.insert(0, client.start_from(&run(agent)).await);
            client.ended_as(&runs[0], "succeeded").await;
        }
        let list = async |query: &str| -> Vec<String> {
            let page = client.get(&format!("/v1/runs{query}")).await.expect(200);
            page["items"].as_array().unwrap().iter().map(id).collect()
        };
        assert_eq!(list("").await, runs);
        assert_eq!(list("?status=succeeded&limit=2").await, runs[..2]);
        assert_eq!(list("?status=failed").await, [""; 0]);
        assert_eq!(
            list(&format!("?agent_id={}", created[0])).await,
            [runs[0].clone(), runs[2].clone()]
        );
        let page = client
            .get(&format!("/v1/runs?agent_id={}&limit=1", created[0]))
            .await
            .expect(200);
        let cursor = page["next_cursor"].as_str().unwrap();
        assert_eq!(
            list(&format!("?agent_id={}&cursor={cursor}", created[0])).await,
            [runs[2].clone()]
        );
        let elsewhere = client
            .get(&format!("/v1/runs?agent_id={}&cursor={cursor}", created[1]))
            .await;
        elsewhere.points_at(&["?cursor invalid_cursor"]);
    });
}

#[test]
fn the_same_request_under_the_same_key_gets_the_first_answer_again() {
    STAGE.together(async |world| {
        let client = world.client();
        let agent = client.agent().await.to_owned();
        let runs = json!({"agent_id": agent, "plan": {"steps": [pure("a", &[])]}, "labels": {"x": "1", "y": "2"}});
        let agents = json!({"name": "kept", "allowed_skills": []});
        for (path, body, status) in [("/v1/runs", &runs, 202), ("/v1/agents", &agents, 201)] {
            let send = || client.call("POST", path).key("same").json(body).send();
            let first = send().await;
            assert_eq!(
                (first.status.as_u16(), first.header("idempotency-replayed")),
                (status, None),
                "{first}"
            );
            let again = send().await;
            assert_eq!(
                (again.status.as_u16(), again.header("idempotency-replayed")),
                (status, Some("true")),
                "{again}"
            );
            assert_eq!(
                again.json, first.json,
                "as it was the first time, whatever became of it since"
            );
            assert_eq!(again.header("location"), first.header("location"));
            let mut other = body.clone();
            other["labels"] = json!({"z": "3"});
            client
                .call("POST", path)
                .key("same")
                .json(&other)
                .send()
                .await
                .refused(409, "idempotency_conflict");
            // Spaces and the order of keys make no other body.
            let spaced = format!("{body:#}").replace("\"labels\"", " \"labels\"");
            let spaced = client.call("POST", path).key("same").body(spaced).send().await;
            assert_eq!(
                (spaced.json["id"].clone(), spaced.status.as_u16()),
                (first.json["id"].clone(), status)
            );
            client.get(path).await.expect(200);
        }
        let elsewhere = world.client();
        let body = json!({"name": "kept", "allowed_skills": []});
        let reply = elsewhere
            .call("POST", "/v1/agents")
            .key("same")
            .json(&body)
            .send()
            .await;
        assert_eq!(
            reply.header("idempotency-replayed"),
            None,
            "a key belongs to its tenant: {reply}"
        );
        assert_eq!(
            client.get("/v1/runs").await.expect(200)["items"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
    });
}

#[test]
fn concurrent_twins_get_one_answer_and_do_one_thing() {
    STAGE.together(async |world| {
        let client = world.client();
        let body = client
            .run_of(json!([client.http("effect", "POST", "/effects/twins", &[])]))
            .await;
        let twins = join_all((0..8).map(|_| client.call("POST", "/v1/runs").key("twins").json(&body).send())).await;
        let ids: BTreeSet<String> = twins.iter().map(|twin| id(&twin.json)).collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        assert!(twins.iter().all(|twin| twin.status == 202));
        let replayed = twins
            .iter()
            .filter(|twin| twin.header("idempotency-replayed") == Some("true"))
            .count();
        assert_eq!(replayed, 7);
        client.ended_as(ids.first().unwrap(), "succeeded").await;
        assert_eq!(
            client.get("/v1/runs").await.expect(200)["items"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        assert_eq!(world.effects("twins"), 1);
    });
}

#[test]
fn a_refused_request_does_not_use_its_key_up() {
    STAGE.together(async |world| {
        let client = world.client();
        let agent = id(&client
            .post("/v1/agents", &json!({"name": "a", "allowed_skills": []}))
            .await
            .expect(201));
        let body = json!({"agent_id": agent, "plan": {"steps": [pure("a", &[])]}});
        let send = || client.call("POST", "/v1/runs").key("refused").json(&body).send();
        send().await.points_at(&["/plan/steps/0/skill skill_not_allowed"]);
        let allow = json!({"allowed_skills": ["json_transform"]});
        client
            .call("PATCH", &format!("/v1/agents/{agent}"))
            .json(&allow)
            .send()
            .await
            .expect(200);
        let reply = send().await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("idempotency-replayed")),
            (202, None),
            "{reply}"
        );

        client
            .post("/v1/agents", &json!({"name": "taken", "allowed_skills": []}))
            .await
            .expect(201);
        let send = |name: &str| {
            client
                .call("POST", "/v1/agents")
                .key("name")
                .json(&json!({"name": name, "allowed_skills": []}))
                .send()
        };
        send("taken").await.refused(409, "agent_name_taken");
        send("free").await.expect(201);
    });
}

#[test]
fn an_answer_that_the_database_gave_and_the_network_lost_creates_one_run() {
    STAGE.alone(async |world| {
        let client = world.client();
        let body = client
            .run_of(json!([client.http("effect", "POST", "/effects/answer-lost", &[])]))
            .await;
        for (action, count) in [(Action::DropAfter, 1), (Action::HalfBody, 2), (Action::DropBefore, 3)] {
            world
                .cloud
                .neon()
                .faults()
                .add(Rule::new(action).matching("runs.create").times(1));
            let run = id(&client.post("/v1/runs", &body).await.expect(202));
            world.clear_faults();
            client.ended_as(&run, "succeeded").await;
            assert_eq!(
                client.get("/v1/runs").await.expect(200)["items"]
                    .as_array()
                    .unwrap()
                    .len(),
                count
            );
            assert_eq!(world.effects("answer-lost"), count as u64);
        }
    });
}

#[test]
fn another_tenants_ids_are_not_found_at_any_endpoint_and_nothing_of_them_changes() {
    STAGE.together(async |world| {
        let (owner, stranger) = (world.client(), world.client());
        let agent = owner.agent().await.to_owned();
        let run = owner
            .start(json!([owner.http("s0", "GET", "/slow?ms=1200", &[])]))
            .await;
        stranger.agent().await;
        let mut tried = 0;
        for (method, path) in operations().into_iter().filter(|(_, path)| path.contains("{id}")) {
            let path = filled(&path, &run, &agent);
            attempt(&stranger, &method, &path, &agent)
                .await
                .refused(404, "not_found");
            tried += 1;
        }
        assert!(tried >= 8, "{tried} endpoints");
        attempt(&stranger, "POST", "/v1/runs", &agent)
            .await
            .points_at(&["/agent_id not_found"]);
        for (path, of) in [("/v1/agents", "worker"), ("/v1/runs", "")] {
            let listed = stranger.get(path).await.expect(200);
            let items = listed["items"].as_array().unwrap();
            assert!(
                items.iter().all(|item| item["id"] != agent && item["id"] != run),
                "{listed:#}"
            );
            assert_eq!(items.len(), usize::from(!of.is_empty()), "{listed:#}");
        }
        let filtered = stranger.get(&format!("/v1/runs?agent_id={agent}")).await.expect(200);
        assert_eq!(filtered["items"], json!([]));
        assert_eq!(
            owner.get(&format!("/v1/agents/{agent}")).await.expect(200)["name"],
            "worker"
        );
        owner.ended_as(&run, "succeeded").await;
    });
}

#[test]
fn every_closed_endpoint_asks_for_exactly_one_valid_credential() {
    STAGE.together(async |world| {
        let client = world.client();
        let (key, agent) = (client.key().to_owned(), client.agent().await.to_owned());
        let closed: Vec<_> = operations()
            .into_iter()
            .filter(|(_, path)| path.starts_with("/v1/"))
            .collect();
        assert!(closed.len() >= 14, "{closed:?}");
        for (method, path) in &closed {
            let path = filled(path, NOBODY[1].1, &agent);
            let call = || client.stranger(method, &path).header("X-AOS-Tenant", client.tenant());
            let refused = async |reply: Reply| {
                assert!(reply.header("www-authenticate").is_some(), "{reply}");
                reply.refused(401, "unauthenticated");
            };
            refused(call().send().await).await;
            refused(call().header("X-API-Key", "").send().await).await;
            refused(call().header("X-API-Key", &key[1..]).send().await).await;
            refused(call().header("X-API-Key", &format!("{key}x")).send().await).await;
            refused(call().header("X-API-Key", &key.to_uppercase()).send().await).await;
            refused(call().header("Authorization", &format!("Bearer {key}")).send().await).await;
            refused(call().header("Cookie", &format!("__session={key}")).send().await).await;
            let two = call()
                .header("X-API-Key", &key)
                .header("Authorization", &format!("Bearer {key}"));
            two.send().await.refused(400, "several_credentials");
            // The platform hands headers of one name over as one: two keys are no key.
            let twice = call().header("X-API-Key", &key).header("X-API-Key", &key).send().await;
            assert!([400, 401].contains(&twice.status.as_u16()), "{twice}");
            let bad_tenant = client
                .stranger(method, &path)
                .header("X-API-Key", &key)
                .header("X-AOS-Tenant", "a b");
            bad_tenant.send().await.points_at(&["X-AOS-Tenant: invalid_format"]);
        }
        // A path that does not exist tells a stranger no more than one that does.
        client
            .stranger("GET", "/v1/agents/")
            .send()
            .await
            .refused(404, "not_found");
        for path in ["/healthz", "/readyz", "/version", "/openapi.json"] {
            client.stranger("GET", path).send().await.expect(200);
            client
                .stranger("GET", path)
                .header("X-API-Key", "wrong")
                .send()
                .await
                .expect(200);
        }
        // Without a name the operator acts for its own tenant.
        let own = client
            .stranger("GET", "/v1/agents")
            .header("X-API-Key", &key)
            .send()
            .await
            .expect(200);
        assert_eq!(own["items"], json!([]));
    });
}

#[test]
fn the_description_is_the_committed_one_and_every_operation_in_it_is_there() {
    STAGE.together(async |world| {
        let client = world.client();
        let committed = std::fs::read(repository().join("openapi.json")).unwrap();
        let served = client.stranger("GET", "/openapi.json").send().await;
        assert_eq!(served.header("content-type"), Some("application/json"));
        assert!(
            served.body == committed,
            "the Worker serves another description than the committed one"
        );
        let operations = operations();
        assert!(operations.len() >= 18, "{operations:?}");
        for (method, path) in operations {
            let reply = client
                .call(&method, &filled(&path, NOBODY[1].1, NOBODY[0].1))
                .send()
                .await;
            let detail = reply.json["detail"].as_str().unwrap_or_default();
            assert!(!detail.starts_with("there is nothing at"), "{reply}");
            assert!(reply.status != 405 && reply.status.as_u16() < 500, "{reply}");
        }
    });
}

#[test]
fn every_answer_carries_its_headers() {
    STAGE.together(async |world| {
        let client = world.client();
        let agent = format!("/v1/agents/{}", client.agent().await);
        let replies = [
            (200, client.get(&agent).await),
            (200, client.stranger("GET", "/healthz").send().await),
            (200, client.stranger("GET", "/openapi.json").send().await),
            (
                201,
                client
                    .post("/v1/agents", &json!({"name": "b", "allowed_skills": []}))
                    .await,
            ),
            (400, client.call("POST", "/v1/agents").body("{").send().await),
            (401, client.stranger("GET", "/v1/agents").send().await),
            (404, client.get("/nothing").await),
            (404, client.get(&format!("/v1/agents/{}", NOBODY[0].1)).await),
            (405, client.call("PUT", &agent).send().await),
            (422, client.post("/v1/agents", &json!({})).await),
            (204, client.call("DELETE", &agent).send().await),
        ];
        let mut seen = BTreeSet::new();
        for (status, reply) in &replies {
            assert_eq!(reply.status, *status, "{reply}");
            for (name, value) in [
                ("cache-control", "no-store"),
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
            ] {
                assert_eq!(reply.header(name), Some(value), "{name} of {reply}");
            }
            assert_eq!(
                reply.header("access-control-allow-origin"),
                None,
                "CORS is closed: {reply}"
            );
            let request_id = reply
                .header("x-request-id")
                .unwrap_or_else(|| panic!("no id of {reply}"));
            assert!(
                request_id.starts_with("req_") && seen.insert(request_id.to_owned()),
                "{request_id}"
            );
        }
    });
}

#[test]
fn a_wrong_method_is_told_which_ones_are_possible() {
    STAGE.together(async |world| {
        let client = world.client();
        let mut possible = BTreeMap::<String, BTreeSet<String>>::new();
        for (method, path) in operations() {
            possible
                .entry(filled(&path, NOBODY[1].1, NOBODY[0].1))
                .or_default()
                .insert(method);
        }
        for (path, methods) in possible {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                if methods.contains(method) {
                    continue;
                }
                let reply = client.call(method, &path).send().await;
                let allow = reply.header("allow").unwrap_or_else(|| panic!("no Allow: {reply}"));
                let allow: BTreeSet<String> = allow.split(',').map(|method| method.trim().to_owned()).collect();
                let mut expected = methods.clone();
                if methods.contains("GET") {
                    expected.insert("HEAD".to_owned());
                }
                assert_eq!(allow, expected, "{method} {path}");
                reply.refused(405, "method_not_allowed");
            }
        }
    });
}

#[test]
fn skills_are_served_with_their_contracts() {
    STAGE.together(async |world| {
        let client = world.client();
        let skills = client.get("/v1/skills").await.expect(200);
        let names: Vec<&str> = skills["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|skill| skill["name"].as_str())
            .collect();
        assert_eq!(names, ["http_call", "json_transform", "kv_store"]);
        for (skill, name) in skills["items"].as_array().unwrap().iter().zip(names) {
            assert_eq!(&client.get(&format!("/v1/skills/{name}")).await.expect(200), skill);
            assert_eq!(skill["configured"], true, "{name}");
            for field in [
                "version",
                "input_schema",
                "output_schema",
                "effects",
                "idempotency",
                "limits",
                "failure_modes",
                "example",
            ] {
                assert!(!skill[field].is_null(), "{name} has no {field}");
            }
            // The contract's own example is a step that a plan may have.
            let mut params = skill["example"].clone();
            if name == "http_call" {
                params["url"] = json!(format!("{}/echo", world.standins()));
            }
            let run = client
                .start(json!([{"id": "example", "skill": name, "params": params}]))
                .await;
            client.ended(&run).await;
        }
        client.get("/v1/skills/shell").await.refused(404, "not_found");
    });
}

#[test]
fn a_step_is_read_by_its_key_with_its_whole_output() {
    STAGE.together(async |world| {
        let client = world.client();
        let run = client
            .start(json!([
                client.http("a", "GET", "/bytes?n=200000", &[]),
                pure("b", &["a"])
            ]))
            .await;
        client.ended_as(&run, "succeeded").await;
        let step = client.get(&format!("/v1/runs/{run}/steps/a")).await.expect(200);
        assert_eq!(step["output"]["body"].as_str().map(str::len), Some(200_000));
        assert_eq!((&step["status"], &step["attempt"]), (&json!("succeeded"), &json!(1)));
        assert_eq!(
            step["outcome"]["skill_version"].as_str().map(str::is_empty),
            Some(false)
        );
        for key in ["c", "A", "a%20", "%00", "..%2Fa"] {
            client
                .get(&format!("/v1/runs/{run}/steps/{key}"))
                .await
                .refused(404, "not_found");
        }
    });
}

#[test]
fn an_agents_limits_hold_and_say_when_to_come_again() {
    STAGE.together(async |world| {
        let client = world.client();
        let agent = |name: &str, limit: &str, most: u32| {
            let mut body = json!({"name": name, "allowed_skills": ["http_call", "json_transform"]});
            body[limit] = json!(most);
            body
        };
        let one_at_once = id(&client
            .post("/v1/agents", &agent("one", "max_concurrent_runs", 1))
            .await
            .expect(201));
        let two_a_minute = id(&client
            .post("/v1/agents", &agent("two", "max_runs_per_minute", 2))
            .await
            .expect(201));
        let run = |agent: &str, step: Value| json!({"agent_id": agent, "plan": {"steps": [step]}});
        let slow = client
            .start_from(&run(&one_at_once, client.http("slow", "GET", "/slow?ms=900", &[])))
            .await;
        let limited = client.post("/v1/runs", &run(&one_at_once, pure("a", &[]))).await;
        assert!(limited.header("retry-after").is_some(), "{limited}");
        limited.refused(429, "agent_concurrency_limit");
        client.ended_as(&slow, "succeeded").await;
        client.start_from(&run(&one_at_once, pure("a", &[]))).await;

        for _ in 0..2 {
            client.start_from(&run(&two_a_minute, pure("a", &[]))).await;
        }
        let limited = client.post("/v1/runs", &run(&two_a_minute, pure("a", &[]))).await;
        let wait: u32 = limited
            .header("retry-after")
            .and_then(|value| value.parse().ok())
            .unwrap_or_default();
        assert!((1..=60).contains(&wait), "{limited}");
        limited.refused(429, "agent_rate_limit");
    });
}

#[test]
fn without_postgres_the_worker_says_so_and_recovers() {
    STAGE.alone(async |world| {
        let client = world.client();
        let agents = format!("/v1/agents/{}", client.agent().await);
        assert_eq!(
            client.stranger("GET", "/readyz").send().await.expect(200),
            json!({"ready": true, "database": "ok", "redis": "ok"})
        );
        world.cloud.postgres().stop().await;
        let reply = client.stranger("GET", "/readyz").send().await;
        assert_eq!(
            reply.expect(503),
            json!({"ready": false, "database": "away", "redis": "ok"})
        );
        assert_eq!(
            client.stranger("GET", "/healthz").send().await.expect(200),
            json!({"status": "ok"})
        );
        let reply = client.get(&agents).await;
        assert!(reply.header("retry-after").is_some(), "{reply}");
        reply.refused(503, "unavailable");
        let body = client.run_of(chain(1)).await;
        client.post("/v1/runs", &body).await.refused(503, "unavailable");
        world.cloud.postgres().restart().await.expect("PostgreSQL starts again");
        let ready = async || client.stranger("GET", "/readyz").send().await.status == 200;
        world
            .until("the Worker is ready again", Duration::from_secs(20), ready)
            .await;
        client.get(&agents).await.expect(200);
        let run = client.start(chain(2)).await;
        client.ended_as(&run, "succeeded").await;
    });
}

#[test]
fn without_redis_runs_go_on_and_readiness_says_what_is_missing() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        world.cloud.redis().stop().await;
        let reply = client.stranger("GET", "/readyz").send().await;
        assert_eq!(
            reply.expect(503),
            json!({"ready": false, "database": "ok", "redis": "away"})
        );
        let run = client.start(chain(3)).await;
        let began = std::time::Instant::now();
        client.ended_as(&run, "succeeded").await;
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "who waits for a run must not depend on Redis"
        );
        let kept = client.start(json!([
            {"id": "kv", "skill": "kv_store", "params": {"op": "get", "key": "k"}, "retry": {"attempts": 1}}
        ]));
        let kept = kept.await;
        let ended = client.ended_as(&kept, "failed").await;
        assert!(
            ["network", "provider", "timeout"]
                .iter()
                .any(|category| ended["error"]["category"] == *category),
            "{ended:#}"
        );
        world.cloud.redis().restart().await.expect("Redis starts again");
        let ready = async || client.stranger("GET", "/readyz").send().await.status == 200;
        world
            .until("the Worker is ready again", Duration::from_secs(20), ready)
            .await;
    });
}

#[test]
fn a_misconfigured_worker_answers_nothing_but_that_and_names_the_settings_to_the_operator_alone() {
    STAGE.alone(async |world| {
        let worker = world
            .worker_with(
                "misconfigured",
                &[("AOS_RING", "sometimes"), ("UPSTASH_REDIS_REST_URL", "x")],
            )
            .await;
        let client = world.client_of(&worker, "nobody");
        assert_eq!(
            client.stranger("GET", "/healthz").send().await.expect(200),
            json!({"status": "ok"})
        );
        for (method, path) in [
            ("GET", "/readyz"),
            ("GET", "/v1/agents"),
            ("POST", "/v1/runs"),
            ("GET", "/nothing"),
        ] {
            let reply = client.stranger(method, path).header("X-API-Key", "wrong").send().await;
            assert!(reply.json["errors"].as_array().is_none_or(Vec::is_empty), "{reply}");
            reply.refused(503, "misconfigured");
        }
        let reply = client.get("/v1/agents").await;
        let names: BTreeSet<&str> = reply.json["errors"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|error| error["pointer"].as_str())
            .collect();
        assert_eq!(names, BTreeSet::from(["AOS_RING", "UPSTASH_REDIS_REST_URL"]), "{reply}");
        reply.refused(503, "misconfigured");
        let log = std::fs::read_to_string(worker.log()).unwrap();
        assert!(log.contains("AOS_RING") && !log.contains("sometimes"), "{log}");
        worker.stop().await;
    });
}
