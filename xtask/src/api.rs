//! The API as the operator uses it, for one tenant. Nothing here knows the code behind it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use aos_dev::cloud::LocalCloud;
use reqwest::{Client, Method};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Api {
    client: Client,
    url: String,
    key: String,
    tenant: String,
}

impl Api {
    /// # Errors
    /// When the cloud has no Worker.
    pub(crate) fn new(cloud: &LocalCloud, tenant: &str) -> Result<Self> {
        Ok(Self {
            client: Client::new(),
            url: cloud.workers().first().context("there is no Worker")?.url(),
            key: cloud.api_key().to_owned(),
            tenant: tenant.to_owned(),
        })
    }

    /// Sends a request and reads the JSON of its answer.
    ///
    /// # Errors
    /// When there is no answer within a minute, or it is no success.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let what = format!("{method} {path}");
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.url))
            .timeout(PATIENCE)
            .header("X-API-Key", &self.key)
            .header("X-AOS-Tenant", &self.tenant);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| format!("{what}: no answer"))?;
        let status = response.status();
        let text = response
            .text()
            .await
            .with_context(|| format!("{what}: half an answer"))?;
        if !status.is_success() {
            bail!("{what} was answered with {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{what}: not JSON"))
    }

    /// The id of the agent of that name, which is created the first time.
    ///
    /// # Errors
    /// As of [`Api::send`].
    pub(crate) async fn agent(&self, name: &str) -> Result<String> {
        let mut cursor = String::new();
        loop {
            let page = self
                .send(Method::GET, &format!("/v1/agents?limit=100{cursor}"), None)
                .await?;
            let agents = page["items"].as_array().context("the list of agents has no items")?;
            if let Some(agent) = agents.iter().find(|agent| agent["name"] == name) {
                // An older one may have been made when there were fewer skills.
                let path = format!("/v1/agents/{}", id_of(agent)?);
                let all = json!({"allowed_skills": SKILLS});
                return id_of(&self.send(Method::PATCH, &path, Some(&all)).await?);
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let agent = json!({
            "name": name,
            "allowed_skills": SKILLS,
            "max_concurrent_runs": 10_000,
            "max_runs_per_minute": 100_000,
        });
        id_of(&self.send(Method::POST, "/v1/agents", Some(&agent)).await?)
    }
}

/// Every skill there is.
const SKILLS: [&str; 10] = [
    "calendar_write",
    "email_send",
    "http_call",
    "json_transform",
    "kv_store",
    "llm_invoke",
    "postgres_query",
    "slack_send",
    "voyage_embed",
    "webhook_send",
];

/// The id of what was answered.
pub(crate) fn id_of(thing: &Value) -> Result<String> {
    Ok(thing["id"].as_str().context("the answer holds no id")?.to_owned())
}
