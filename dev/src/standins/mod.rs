//! Stand-ins for the outside services: one server, each stand-in in a file or folder of its own.
//! Must never keep more than a bounded record of what it was asked.

mod answers;
pub mod anthropic;
mod broken;
mod catalogue;
pub mod clerk;
mod echo;
mod effects;
pub mod model;
pub mod openai;
pub mod received;
mod reception;
pub mod resend;
pub mod resolver;
mod schema;
pub mod script;
pub mod slack;
pub mod voyage;
pub mod webhook_receiver;

use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use tokio::net::TcpListener;

use crate::counters::Counters;
use crate::faults::Faults;
use crate::serve::{ServerHandle, serve};

use anthropic::Anthropic;
use clerk::Clerk;
use openai::OpenAi;
use resend::Resend;
use resolver::Resolver;
use slack::Slack;
use voyage::Voyage;
use webhook_receiver::WebhookReceivers;

pub use effects::{Arrival, Effects, Tally};

/// The largest request body, in bytes.
pub const LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// Where the stand-ins listen; port 0 takes a free one.
#[derive(Debug, Clone)]
pub struct StandinsOptions {
    pub listen: SocketAddr,
}

/// The running stand-ins. They stop when this is dropped.
#[derive(Debug)]
pub struct Standins {
    server: ServerHandle,
    faults: Faults,
    counters: Counters,
    effects: Effects,
    clerk: Clerk,
    clerk_other: Clerk,
    anthropic: Anthropic,
    openai: OpenAi,
    voyage: Voyage,
    resend: Resend,
    slack: Slack,
    webhooks: WebhookReceivers,
    resolver: Resolver,
}

impl Standins {
    /// # Errors
    /// The port is taken, or the system gives no randomness.
    pub async fn start(options: StandinsOptions) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("listening on {}", options.listen))?;
        let (faults, counters, effects) = (Faults::default(), Counters::default(), Effects::default());
        let url = format!("http://{}", listener.local_addr()?);
        let kid = Clerk::new_kid();
        let clerk = Clerk::new(&url, "/clerk", kid.clone(), counters.clone())?;
        let clerk_other = Clerk::new(&url, "/clerk-other", kid, counters.clone())?;
        let (anthropic, openai) = (Anthropic::new(&url)?, OpenAi::new(&url)?);
        let (voyage, resend, slack) = (Voyage::new(&url)?, Resend::new(&url)?, Slack::new(&url)?);
        let (webhooks, resolver) = (WebhookReceivers::new(&url), Resolver::new(&url));
        let router = http_target(&effects)
            .merge(clerk.routes())
            .merge(clerk_other.routes())
            .merge(anthropic.routes())
            .merge(openai.routes())
            .merge(voyage.routes())
            .merge(resend.routes())
            .merge(slack.routes())
            .merge(webhooks.routes())
            .merge(resolver.routes())
            .layer(DefaultBodyLimit::max(LIMIT_BYTES));
        let server = serve(listener, router, faults.clone(), counters.clone())?;
        Ok(Self {
            server,
            faults,
            counters,
            effects,
            clerk,
            clerk_other,
            anthropic,
            openai,
            voyage,
            resend,
            slack,
            webhooks,
            resolver,
        })
    }

    /// What `STANDINS_URL` is to be.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.addr())
    }

    /// The rules by which the stand-ins misbehave.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What they were asked, by method and path.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What has arrived at `/effects/{counter}`.
    pub fn effects(&self) -> &Effects {
        &self.effects
    }

    /// The Clerk instance that the Workers trust, under `/clerk`.
    pub fn clerk(&self) -> &Clerk {
        &self.clerk
    }

    /// Somebody else's Clerk instance, under `/clerk-other`: other keys, the first of them under the same `kid`.
    pub fn clerk_other(&self) -> &Clerk {
        &self.clerk_other
    }

    /// Anthropic, under `/anthropic`.
    pub fn anthropic(&self) -> &Anthropic {
        &self.anthropic
    }

    /// OpenAI, under `/openai`.
    pub fn openai(&self) -> &OpenAi {
        &self.openai
    }

    /// The account with Voyage, under `/voyage`.
    pub fn voyage(&self) -> &Voyage {
        &self.voyage
    }

    /// The team with Resend, under `/resend`.
    pub fn resend(&self) -> &Resend {
        &self.resend
    }

    /// The workspace with Slack, under `/slack`.
    pub fn slack(&self) -> &Slack {
        &self.slack
    }

    /// Those that take webhooks, under `/webhooks/{name}`.
    pub fn webhooks(&self) -> &WebhookReceivers {
        &self.webhooks
    }

    /// The DNS, at `/dns-query`.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// The Worker's settings of each provider, the key first: who has a real key leaves the whole group out.
    pub fn settings(&self) -> Vec<Vec<(&'static str, String)>> {
        let slack = format!("{}/slack", self.url());
        vec![
            self.anthropic.settings().into_iter().collect(),
            vec![
                ("OPENAI_API_KEY", self.openai.api_key().to_owned()),
                ("OPENAI_BASE_URL", format!("{}/v1", self.openai.url())),
            ],
            vec![
                ("VOYAGE_API_KEY", self.voyage.key().to_owned()),
                ("VOYAGE_BASE_URL", format!("{}/v1", self.voyage.base_url())),
            ],
            vec![
                ("RESEND_API_KEY", self.resend.key().to_owned()),
                ("RESEND_FROM_ADDRESS", "AOS <aos@shop.example>".to_owned()),
                ("RESEND_BASE_URL", self.resend.base_url().to_owned()),
            ],
            vec![
                ("SLACK_WEBHOOK_URL", self.slack.webhook_url()),
                ("SLACK_BASE_URL", slack),
            ],
        ]
    }

    /// Lets open requests end, and returns when all is closed.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

/// The HTTP target, at the root: data to fetch, effects to count, answers good and bad.
fn http_target(effects: &Effects) -> Router {
    Router::new()
        .merge(echo::routes())
        .merge(catalogue::routes())
        .merge(effects.routes())
        .merge(answers::routes())
        .merge(broken::routes())
}
