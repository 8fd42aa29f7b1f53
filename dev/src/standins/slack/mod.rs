//! A stand-in of Slack's incoming webhooks: `POST /slack/services/{team}/{hook}/{secret}`, answered in plain text.
//! Limits and errors are Slack's. Must never show the secret of a webhook but in its address.

mod message;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, ensure};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};

use super::received::{Key, Received};
use super::reception::{Reception, Vendor};
use super::script::Step;
use crate::secrets;
use message::{check, payload};

/// Messages that are kept, the latest; the count still has the older ones.
const MESSAGES: usize = 1_000;
/// Webhooks there can be.
const HOOKS: usize = 1_000;

/// The documented errors with their statuses. `rate_limited` comes with `Retry-After: 1`.
const ERRORS: &[(&str, u16)] = &[
    ("action_prohibited", 403),
    ("channel_is_archived", 410),
    ("channel_not_found", 404),
    ("invalid_blocks", 400),
    ("invalid_payload", 400),
    ("invalid_token", 403),
    ("no_service", 404),
    ("no_team", 404),
    ("no_text", 400),
    ("rate_limited", 429),
    ("rollup_error", 500),
    ("too_many_attachments", 400),
    ("user_not_found", 400),
];
const NAMES: [&str; ERRORS.len()] = {
    let mut names = [""; ERRORS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = ERRORS[index].0;
        index += 1;
    }
    names
};

/// One message in a channel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Posted {
    /// The name of the webhook it came by.
    pub webhook: String,
    pub payload: Value,
}

/// All messages that were posted since it was last told to forget.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Channel {
    pub count: u64,
    /// The latest, oldest first.
    pub messages: VecDeque<Posted>,
}

struct Webhook {
    name: String,
    /// `B…`
    id: String,
    secret: String,
}

struct Workspace {
    /// `http://127.0.0.1:…/slack/services`
    url: String,
    /// `T…`
    team: String,
    hooks: Mutex<Vec<Webhook>>,
    channel: Mutex<Channel>,
}

/// The workspace. A clone is a handle on the same one.
#[derive(Clone)]
pub struct Slack {
    workspace: Arc<Workspace>,
    reception: Reception,
}

impl fmt::Debug for Slack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slack")
            .field("team", &self.workspace.team)
            .finish_non_exhaustive()
    }
}

impl Slack {
    /// The name of the webhook that there is from the beginning.
    pub const DEFAULT: &str = "default";

    /// A workspace that the server at `url` serves.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub(super) fn new(url: &str) -> Result<Self> {
        let workspace = Arc::new(Workspace {
            url: format!("{url}/slack/services"),
            team: format!("T{}", id()?),
            hooks: Mutex::default(),
            channel: Mutex::default(),
        });
        let slack = Self {
            workspace: Arc::clone(&workspace),
            reception: Reception::new(workspace),
        };
        slack.webhook(Self::DEFAULT)?;
        Ok(slack)
    }

    /// The address of the default webhook (`SLACK_WEBHOOK_URL`). It is a secret.
    pub fn webhook_url(&self) -> String {
        let hooks = lock(&self.workspace.hooks);
        hooks
            .first()
            .map(|hook| self.workspace.url_of(hook))
            .unwrap_or_default()
    }

    /// The address of a webhook of this name, which exists from now on. It is a secret.
    ///
    /// # Errors
    /// There are too many, or the system gives no randomness.
    pub fn webhook(&self, name: &str) -> Result<String> {
        let mut hooks = lock(&self.workspace.hooks);
        if let Some(hook) = hooks.iter().find(|hook| hook.name == name) {
            return Ok(self.workspace.url_of(hook));
        }
        ensure!(hooks.len() < HOOKS, "too many webhooks");
        let hook = Webhook {
            name: name.to_owned(),
            id: format!("B{}", id()?),
            secret: secrets::generate()?,
        };
        let url = self.workspace.url_of(&hook);
        hooks.push(hook);
        Ok(url)
    }

    /// What was posted.
    pub fn posted(&self) -> Channel {
        lock(&self.workspace.channel).clone()
    }

    pub fn forget_posted(&self) {
        *lock(&self.workspace.channel) = Channel::default();
    }

    /// Adds to what is answered next.
    ///
    /// # Errors
    /// Slack has no error of that name.
    pub fn script(&self, steps: impl IntoIterator<Item = Step>) -> Result<()> {
        self.reception.script(steps)
    }

    pub fn clear_script(&self) {
        self.reception.clear_script();
    }

    /// Every request, the scripted ones included.
    pub fn received(&self) -> Received {
        self.reception.received()
    }

    pub fn forget_received(&self) {
        self.reception.forget_received();
    }

    pub(super) fn routes(&self) -> Router {
        let services = Router::new()
            .route("/services/{team}/{hook}/{secret}", post(take))
            .with_state(self.clone());
        let control = Router::new()
            .route("/_posted", get(read_posted).delete(forget_posted))
            .with_state(self.clone());
        Router::new().nest("/slack", self.reception.before(services).merge(control))
    }
}

impl Workspace {
    fn url_of(&self, hook: &Webhook) -> String {
        format!("{}/{}/{}/{}", self.url, self.team, hook.id, hook.secret)
    }

    /// The name of the webhook that has this address, or what is wrong with the address.
    fn open(&self, team: &str, id: &str, secret: &str) -> Result<String, &'static str> {
        if team != self.team {
            return Err("no_team");
        }
        let hooks = lock(&self.hooks);
        let hook = hooks.iter().find(|hook| hook.id == id).ok_or("no_service")?;
        if hook.secret == secret {
            Ok(hook.name.clone())
        } else {
            Err("invalid_token")
        }
    }
}

impl Vendor for Workspace {
    fn errors(&self) -> &'static [&'static str] {
        &NAMES
    }

    fn error(&self, name: &str) -> Response {
        let status = ERRORS.iter().find(|(known, _)| *known == name);
        let status = status.and_then(|(_, status)| StatusCode::from_u16(*status).ok());
        let answer = (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), name.to_owned());
        if name == "rate_limited" {
            ([(header::RETRY_AFTER, "1")], answer).into_response()
        } else {
            answer.into_response()
        }
    }

    fn key(&self, request: &Parts) -> Key {
        let parts: Vec<&str> = request.uri.path().rsplit('/').take(3).collect();
        match parts.as_slice() {
            [secret, id, team] if self.open(team, id, secret).is_ok() => Key::Right,
            [_, _, _] => Key::Wrong,
            _ => Key::Missing,
        }
    }

    fn path(&self, request: &Parts) -> String {
        let path = request.uri.path();
        path.rsplit_once('/')
            .map_or_else(String::new, |(open, _)| format!("{open}/…"))
    }
}

fn lock<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ten letters and digits in capitals, as in Slack's ids.
fn id() -> Result<String> {
    let random = secrets::generate()?;
    let capitals = random.to_ascii_uppercase();
    Ok(capitals.chars().filter(char::is_ascii_alphanumeric).take(10).collect())
}

async fn take(
    State(slack): State<Slack>,
    Path((team, hook, secret)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let taken = slack.workspace.open(&team, &hook, &secret).and_then(|webhook| {
        let payload = payload(&headers, &body).ok_or("invalid_payload")?;
        check(&payload)?;
        Ok(Posted { webhook, payload })
    });
    match taken {
        Ok(posted) => {
            let mut channel = lock(&slack.workspace.channel);
            channel.count += 1;
            if channel.messages.len() == MESSAGES {
                channel.messages.pop_front();
            }
            channel.messages.push_back(posted);
            "ok".into_response()
        }
        Err(name) => slack.workspace.error(name),
    }
}

async fn read_posted(State(slack): State<Slack>) -> Json<Value> {
    Json(json!(slack.posted()))
}

async fn forget_posted(State(slack): State<Slack>) -> StatusCode {
    slack.forget_posted();
    StatusCode::NO_CONTENT
}
