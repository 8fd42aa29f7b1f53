//! A local cloud with its Workers, as tests see it.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use aos_dev::{
    cloud::{CloudOptions, LocalCloud},
    process::Process,
    progress::Progress,
    standins::clerk::{Org, TokenSpec},
    worker::{WorkerOptions, WorkerProcess},
};

use serde_json::Value;

use crate::{client::Client, counting::Requests, credentials::Person, owner::Owner, sender::Sender};

/// Lines of a Worker's log that a failed test shows.
const LOG_LINES: usize = 40;
/// Characters of each.
const LOG_WIDTH: usize = 400;

/// A local cloud with its Workers.
pub struct World {
    /// Everything that runs.
    pub cloud: LocalCloud,
    /// The tables, as their owner sees them.
    pub owner: Owner,
    http: reqwest::Client,
    tenants: AtomicU32,
}

impl World {
    /// Brings everything up with this many Workers; says how far it is where `AOS_TEST_PROGRESS` is set.
    ///
    /// # Errors
    /// When a part does not come up.
    pub async fn start(workers: usize) -> Result<Self> {
        let progress = match std::env::var_os("AOS_TEST_PROGRESS") {
            Some(_) => Progress::console(),
            None => Progress::silent(),
        };
        let cloud = LocalCloud::start(CloudOptions {
            workers,
            progress,
            ..CloudOptions::for_tests()
        })
        .await?;
        let owner = Owner::new(cloud.database_url_direct());
        // A connection that the Worker has closed must not be taken for a fault of the Worker's.
        let http = reqwest::Client::builder()
            .pool_idle_timeout(Duration::from_secs(2))
            .build()?;
        Ok(Self {
            cloud,
            owner,
            http,
            tenants: AtomicU32::new(0),
        })
    }

    /// The first Worker.
    pub fn worker(&self) -> &Arc<WorkerProcess> {
        &self.cloud.workers()[0]
    }

    /// A client of the first Worker that acts for a tenant nobody else has.
    pub fn client(&self) -> Client {
        self.client_of(self.worker(), &format!("tenant-{}", self.number()))
    }

    /// A client of one of the Workers that acts for this tenant.
    pub fn client_of(&self, worker: &WorkerProcess, tenant: &str) -> Client {
        let key = self.cloud.api_key().to_owned();
        Client::new(self.http.clone(), worker.url(), key, tenant.to_owned(), self.standins())
    }

    /// Gives the client's tenant what skills need of a tenant's own: a database to query, a secret to sign webhooks with.
    pub async fn equip(&self, client: &Client) {
        let settings = serde_json::json!({
            "query_database_url": self.setting("QUERY_DATABASE_URL"),
            "webhook_secret": self.cloud.standins().webhooks().secret("all-skills").expect("a secret"),
        });
        client
            .call("PUT", "/v1/settings")
            .json(&settings)
            .send()
            .await
            .expect(200);
    }

    /// A setting of the Workers.
    pub fn setting(&self, name: &str) -> &str {
        self.cloud
            .vars()
            .get(name)
            .unwrap_or_else(|| panic!("the Workers have the setting {name}"))
    }

    /// A token of the Clerk stand-in.
    pub fn mint(&self, spec: TokenSpec) -> String {
        self.cloud.standins().clerk().mint(spec).expect("the token is minted")
    }

    /// A number that nobody else in this world has been given.
    pub fn number(&self) -> u32 {
        self.tenants.fetch_add(1, Ordering::Relaxed)
    }

    /// Somebody new in an organisation of their own, in this role of Clerk's (`admin`, `member`, …).
    pub fn person(&self, role: &str) -> Person {
        let number = self.number();
        Person::new(
            self.client(),
            format!("user_{number}"),
            Org::new(format!("org_{number}"), role),
        )
    }

    /// Carries a command out in Redis, and gives its result.
    pub async fn redis(&self, command: &[&str]) -> Value {
        let upstash = self.cloud.upstash();
        let sent = self
            .http
            .post(upstash.url())
            .bearer_auth(upstash.token())
            .json(&command)
            .send()
            .await;
        let answer: Value = sent.expect("Redis answers").json().await.expect("in JSON");
        assert!(answer["error"].is_null(), "{command:?}: {answer}");
        answer["result"].clone()
    }

    /// The base URL of the stand-ins.
    pub fn standins(&self) -> String {
        self.cloud.standins().url()
    }

    /// How often something has arrived at `/effects/{counter}` of the stand-ins.
    pub fn effects(&self, counter: &str) -> u64 {
        self.cloud.standins().effects().tally(counter).count
    }

    /// Fires the minute cron on a Worker and waits until it has been handled.
    pub async fn cron(&self, worker: &WorkerProcess) {
        worker
            .fire_cron("* * * * *")
            .await
            .expect("the cron trigger is handled");
    }

    /// Moves time on for the database: every lease is over, and every queued step has waited for its bell long enough.
    pub async fn let_leases_pass(&self) {
        self.owner
            .execute("update steps set lease_until = now() - interval '1 second' where status = 'running'")
            .await;
        self.owner
            .execute("update steps set ring_at = now() where status = 'queued' and due_at <= now()")
            .await;
    }

    /// Starts one more Worker on the same database and Redis, with these settings over the usual ones.
    pub async fn worker_with(&self, name: &str, vars: &[(&str, &str)]) -> WorkerProcess {
        self.worker_without(name, vars, &[]).await
    }

    /// The same, without these tables of `wrangler.toml`.
    pub async fn worker_without(&self, name: &str, vars: &[(&str, &str)], tables: &[&'static str]) -> WorkerProcess {
        let dir = self.worker_dir().with_file_name(name);
        let mut all = self.cloud.vars().clone();
        all.extend(
            vars.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        // The copy that the first Worker runs: the folder of the last build may be written to meanwhile.
        let build = self.worker_dir().with_file_name("build");
        let persist_to = dir.join("state");
        let options = WorkerOptions {
            dir,
            build,
            persist_to,
            vars: all,
            without: tables.to_vec(),
            port: None,
            progress: Progress::silent(),
        };
        WorkerProcess::start(options).await.expect("another Worker starts")
    }

    /// A program beside the first Worker that sends to its queue what no Worker of ours would.
    pub async fn sender(&self) -> Sender {
        Sender::start(&self.worker_dir()).await.expect("the sender starts")
    }

    fn worker_dir(&self) -> PathBuf {
        let log = self.worker().log();
        log.parent().expect("a log lies in a folder").to_owned()
    }

    /// What was asked of the Neon gateway since [`World::forget_requests`].
    pub fn requests(&self) -> Requests {
        Requests::of(&self.cloud.neon().counters().snapshot())
    }

    /// Forgets what the gateways were asked.
    pub fn forget_requests(&self) {
        self.cloud.neon().counters().reset();
        self.cloud.upstash().counters().reset();
    }

    /// Takes every fault back.
    pub fn clear_faults(&self) {
        self.cloud.neon().faults().clear();
        self.cloud.upstash().faults().clear();
        let standins = self.cloud.standins();
        standins.faults().clear();
        standins.anthropic().clear_script();
        standins.openai().clear_script();
        standins.voyage().clear_script();
        standins.resend().clear_script();
        standins.slack().clear_script();
    }

    /// Waits until no gateway has been asked anything for a while.
    pub async fn settle_down(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let look = || {
            let (neon, upstash) = (
                self.cloud.neon().counters().snapshot(),
                self.cloud.upstash().counters().snapshot(),
            );
            // Whoever waits for a run listens to Redis: that request is open and does nothing.
            let open = neon
                .requests
                .iter()
                .filter(|request| request.duration_ms.is_none())
                .count();
            (neon.total, upstash.total, open)
        };
        let mut last = look();
        let mut since = Instant::now();
        while since.elapsed() < Duration::from_millis(250) || last.2 > 0 {
            assert!(
                Instant::now() < deadline,
                "the gateways are still asked: {:?}",
                self.requests()
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
            let now = look();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    }

    /// Waits until `condition` holds; `what` says what was waited for.
    pub async fn until(&self, what: &str, patience: Duration, mut condition: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + patience;
        while !condition().await {
            assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the Workers logged that should never be: answers of 5xx, and errors.
    pub fn breakages(&self) -> Vec<String> {
        let mut found = Vec::new();
        for worker in self.cloud.workers() {
            let log = std::fs::read_to_string(worker.log()).unwrap_or_default();
            // wrangler puts a sign of its own before what is an error to it.
            let is_bad = |line: &&str| {
                line.contains("[ERROR]") || line.contains(r#""level":"error""#) || line.contains(r#""status":5"#)
            };
            found.extend(
                log.lines()
                    .filter(is_bad)
                    .map(|line| line.chars().take(LOG_WIDTH).collect()),
            );
        }
        found
    }

    /// The end of every Worker's log.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for worker in self.cloud.workers() {
            let log = std::fs::read_to_string(worker.log()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().filter(|line| is_telling(line)).collect();
            text.push_str(&format!("--- the end of {} ---\n", worker.log().display()));
            for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
                text.extend(line.chars().take(LOG_WIDTH).chain(['\n']));
            }
        }
        text
    }

    /// Kills wrangler and workerd of the first Worker, as a crash would. Its queue is in memory: what was in it is lost.
    pub fn kill_worker(&self) {
        self.worker().kill();
        // The killed one could not take itself off the list by which wrangler finds the consumer of a queue.
        let registry = self.worker_dir().join("registry");
        if let Err(error) = std::fs::remove_dir_all(&registry) {
            assert_eq!(
                error.kind(),
                std::io::ErrorKind::NotFound,
                "{}: {error}",
                registry.display()
            );
        }
    }

    /// Starts the first Worker again, with the same data.
    pub async fn restart_worker(&self) {
        self.worker().restart().await.expect("the Worker starts again");
    }

    /// Starts again what a failed test has left stopped.
    pub(crate) async fn mend(&self) {
        let is_down = |process: Option<Arc<Process>>| process.is_none_or(|process| process.exit_status().is_some());
        if is_down(self.cloud.postgres().process()) {
            self.cloud.postgres().restart().await.expect("PostgreSQL starts again");
        }
        if is_down(self.cloud.redis().process()) {
            self.cloud.redis().restart().await.expect("Redis starts again");
        }
        for worker in self.cloud.workers() {
            if is_down(worker.process()) {
                worker.restart().await.expect("the Worker starts again");
            }
        }
    }
}

/// Whether a line says more than wrangler says at every start and about every request.
fn is_telling(line: &str) -> bool {
    const CHATTER: [&str; 5] = ["[wrangler:info]", "Your Worker", "Binding", "env.", "⎔"];
    !line.trim().is_empty() && !CHATTER.iter().any(|chatter| line.starts_with(chatter))
}
