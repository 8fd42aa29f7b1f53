//! The API as its callers see it: agents, runs, lists, repeats, tenants, credentials, headers, readiness.

#[path = "api/agents.rs"]
mod agents;
#[path = "api/callers.rs"]
mod callers;
#[path = "api/readiness.rs"]
mod readiness;
#[path = "api/reading.rs"]
mod reading;
#[path = "api/repeats.rs"]
mod repeats;
#[path = "api/surface.rs"]
mod surface;

use aos_dev::paths::repository;
use aos_tests::{Client, Reply, Stage, chain};
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
