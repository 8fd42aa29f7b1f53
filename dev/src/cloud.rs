//! The whole local cloud: PostgreSQL, Redis, the gateways before them, the stand-ins, and one or more Workers.
//! Its secrets are made at run time. Nothing of it listens beyond 127.0.0.1, and nothing of it outlives its owner.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cron::CronTicker;
use crate::migrate::{Roles, migrate};
use crate::neon::{NeonGateway, NeonGatewayOptions, PostgresAddr};
use crate::postgres::{Postgres, PostgresOptions};
use crate::progress::Progress;
use crate::query_database;
use crate::redis::{Redis, RedisOptions};
use crate::scratch::Scratch;
use crate::secrets;
use crate::standins::{Standins, StandinsOptions};
use crate::upstash::{UpstashGateway, UpstashGatewayOptions};
use crate::worker::{WorkerOptions, WorkerProcess, crons};
use crate::worker_build::build_worker;

/// Where a cloud keeps its data.
#[derive(Clone, Debug)]
pub enum CloudData {
    /// In this folder, safely on the disk, for the next time.
    Kept(PathBuf),
    /// In a folder that goes with the cloud, without waiting for the disk.
    Throwaway,
}

/// What to bring up.
#[derive(Clone)]
pub struct CloudOptions {
    /// Where the data is.
    pub data: CloudData,
    /// Remove data that is there.
    pub fresh: bool,
    /// How many Workers share the database and Redis. With 0 everything but the Worker comes up.
    pub workers: usize,
    /// The first Worker's port; `None` takes a free one.
    pub port: Option<u16>,
    /// Settings for the Workers beside and over the cloud's own.
    pub extra_vars: BTreeMap<String, String>,
    /// Whether cron triggers fire at their time, on the first Worker. Tests fire them by hand.
    pub crons_fire: bool,
    /// Who is told what is being done.
    pub progress: Progress,
}

impl CloudOptions {
    /// For a test: throwaway data, one Worker, free ports, crons by hand, no output.
    pub fn for_tests() -> Self {
        Self {
            data: CloudData::Throwaway,
            fresh: true,
            workers: 1,
            port: None,
            extra_vars: BTreeMap::new(),
            crons_fire: false,
            progress: Progress::silent(),
        }
    }
}

/// Everything that runs. Fields are in the order in which they stop when dropped: the Workers first.
pub struct LocalCloud {
    ticker: Option<CronTicker>,
    workers: Vec<Arc<WorkerProcess>>,
    neon: NeonGateway,
    upstash: UpstashGateway,
    standins: Standins,
    redis: Redis,
    postgres: Postgres,
    settings: Settings,
    vars: BTreeMap<String, String>,
    dir: PathBuf,
    build: Option<PathBuf>,
    progress: Progress,
    _scratch: Option<Scratch>,
}

struct Settings {
    api_key: String,
    machine_token: String,
    jwt_secret: String,
    sealing_key: String,
    database_url: String,
    engine_database_url: String,
    database_url_direct: String,
    query_database_url: String,
}

impl LocalCloud {
    /// Brings everything up, in order, and returns when the Workers listen.
    ///
    /// # Errors
    /// When a part does not come up; the parts before it are stopped again.
    pub async fn start(options: CloudOptions) -> Result<Self> {
        let progress = options.progress.clone();
        let (dir, scratch, durable) = match &options.data {
            CloudData::Kept(dir) => (dir.clone(), None, true),
            CloudData::Throwaway => {
                let scratch = Scratch::new()?;
                (scratch.path().to_owned(), Some(scratch), false)
            }
        };
        if options.fresh && durable {
            Postgres::remove_data(&dir.join("postgres"))?;
            remove_folder(&dir)?;
        }
        // Before anything runs: a Worker that does not compile needs no database.
        let build = match options.workers {
            0 => None,
            _ => Some(Self::place_build(&build_worker(&progress).await?, &dir, durable)?),
        };
        let postgres = PostgresOptions {
            dir: dir.join("postgres"),
            durable,
            progress: progress.clone(),
        };
        let postgres = progress.step("PostgreSQL", Postgres::start(postgres)).await?;
        let redis = RedisOptions {
            dir: dir.join("redis"),
            durable,
            progress: progress.clone(),
        };
        let redis = progress.step("Redis", Redis::start(redis)).await?;

        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let address = PostgresAddr {
            host: "127.0.0.1".to_owned(),
            port: postgres.port(),
        };
        let neon = NeonGateway::start(NeonGatewayOptions {
            listen: any_port,
            ..NeonGatewayOptions::new(address)
        })
        .await?;
        let upstash = UpstashGatewayOptions {
            listen: any_port,
            redis: redis.url(),
            token: secrets::generate()?,
        };
        let upstash = UpstashGateway::start(upstash).await?;
        let standins = Standins::start(StandinsOptions { listen: any_port }).await?;

        let settings = progress
            .step("migrations", prepare_database(&postgres, &dir))
            .await
            .context(
                "the database cannot be brought up to date (`cargo xtask dev --fresh` begins with an empty one)",
            )?;
        let mut cloud = Self {
            ticker: None,
            workers: Vec::new(),
            vars: BTreeMap::new(),
            neon,
            upstash,
            standins,
            redis,
            postgres,
            settings,
            dir,
            build,
            progress,
            _scratch: scratch,
        };
        cloud.vars = cloud.worker_vars(&options.extra_vars)?;
        cloud.vars.extend(options.extra_vars);
        for number in 0..options.workers {
            let port = options.port.filter(|_| number == 0);
            let worker = cloud.start_worker(number, port).await?;
            cloud.workers.push(Arc::new(worker));
        }
        if let (true, Some(first)) = (options.crons_fire, cloud.workers.first()) {
            cloud.ticker = Some(CronTicker::start(Arc::clone(first), &crons()?)?);
        }
        Ok(cloud)
    }

    /// What a program needs to use this cloud, by the names of `.aos/dev.env`. Holds secrets.
    pub fn env(&self) -> BTreeMap<&'static str, String> {
        let mut env = BTreeMap::from([
            ("AOS_API_KEY", self.settings.api_key.clone()),
            ("MACHINE_SECRET_TOKEN", self.settings.machine_token.clone()),
            ("NEON_HTTP_ENDPOINT", self.neon.endpoint()),
            ("DATABASE_URL", self.settings.database_url.clone()),
            ("ENGINE_DATABASE_URL", self.settings.engine_database_url.clone()),
            ("DATABASE_URL_DIRECT", self.settings.database_url_direct.clone()),
            ("QUERY_DATABASE_URL", self.settings.query_database_url.clone()),
            ("UPSTASH_REDIS_REST_URL", self.upstash.url()),
            ("UPSTASH_REDIS_REST_TOKEN", self.upstash.token().to_owned()),
            ("STANDINS_URL", self.standins.url()),
        ]);
        if let Some(worker) = self.workers.first() {
            env.insert("AOS_URL", worker.url());
        }
        env
    }

    /// The operator's key (`AOS_API_KEY`).
    pub fn api_key(&self) -> &str {
        &self.settings.api_key
    }

    /// The database server.
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// The connection string of the database's owner (`DATABASE_URL_DIRECT`).
    pub fn database_url_direct(&self) -> &str {
        &self.settings.database_url_direct
    }

    /// The Redis server.
    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// The gateway that speaks Neon's protocol, with its counters and faults.
    pub fn neon(&self) -> &NeonGateway {
        &self.neon
    }

    /// The gateway that speaks Upstash's protocol, with its counters and faults.
    pub fn upstash(&self) -> &UpstashGateway {
        &self.upstash
    }

    /// The stand-ins of the other services, with their counters, faults and effects.
    pub fn standins(&self) -> &Standins {
        &self.standins
    }

    /// The Workers, in the order in which they were started.
    pub fn workers(&self) -> &[Arc<WorkerProcess>] {
        &self.workers
    }

    /// The Workers' settings. Holds secrets.
    pub fn vars(&self) -> &BTreeMap<String, String> {
        &self.vars
    }

    /// Starts one more Worker on the same database and Redis.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn add_worker(&mut self) -> Result<Arc<WorkerProcess>> {
        let worker = Arc::new(self.start_worker(self.workers.len(), None).await?);
        self.workers.push(Arc::clone(&worker));
        Ok(worker)
    }

    /// Waits until a part ends by itself, and returns which, why, and the last lines of its log.
    pub async fn failure(&self) -> anyhow::Error {
        loop {
            let servers = [self.postgres.death_notice(), self.redis.death_notice()];
            let workers = self.workers.iter().map(|worker| worker.death_notice());
            if let Some(notice) = servers.into_iter().chain(workers).flatten().next() {
                return notice;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Stops everything, the Workers first, so that none of them sees the others go.
    pub async fn stop(self) {
        drop(self.ticker);
        futures::future::join_all(self.workers.iter().map(|worker| worker.stop())).await;
        drop((self.neon, self.upstash, self.standins));
        futures::future::join(self.redis.stop(), self.postgres.stop()).await;
    }

    async fn start_worker(&self, number: usize, port: Option<u16>) -> Result<WorkerProcess> {
        let dir = self.dir.join(format!("worker-{number}"));
        let options = WorkerOptions {
            persist_to: dir.join("state"),
            dir,
            build: self
                .build
                .clone()
                .context("this cloud was started without a Worker, so none was built")?,
            vars: self.vars.clone(),
            without: Vec::new(),
            port,
            progress: self.progress.clone(),
        };
        self.progress
            .step("the Worker in workerd", WorkerProcess::start(options))
            .await
    }

    /// What the cloud makes itself; the stand-in of a provider only where `own` has no key for the real one.
    fn worker_vars(&self, own: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
        let standins = url::Url::parse(&self.standins.url())?;
        let standins_port = standins.port().context("the stand-ins' URL has a port")?;
        let vars = [
            ("ENVIRONMENT", "development".to_owned()),
            ("AOS_API_KEY", self.settings.api_key.clone()),
            ("DATABASE_URL", self.settings.database_url.clone()),
            ("ENGINE_DATABASE_URL", self.settings.engine_database_url.clone()),
            ("NEON_HTTP_ENDPOINT", self.neon.endpoint()),
            ("QUERY_DATABASE_URL", self.settings.query_database_url.clone()),
            ("UPSTASH_REDIS_REST_URL", self.upstash.url()),
            ("UPSTASH_REDIS_REST_TOKEN", self.upstash.token().to_owned()),
            ("HTTP_ALLOWED_LOOPBACK_PORTS", standins_port.to_string()),
            ("DNS_OVER_HTTPS_URL", self.standins.resolver().url().to_owned()),
            ("SIGNED_URL_SECRET", secrets::generate()?),
            ("MACHINE_SECRET_TOKEN", self.settings.machine_token.clone()),
            ("JWT_SECRET", self.settings.jwt_secret.clone()),
            ("SEALING_KEY", self.settings.sealing_key.clone()),
            ("PLATFORM_KEYS_FOR", "free,dev,pro,enterprise".to_owned()),
        ];
        let is_real = |group: &[(&str, String)]| group.iter().any(|(name, _)| own.contains_key(*name));
        let providers = self.standins.settings().into_iter().filter(|group| !is_real(group));
        let vars = vars
            .into_iter()
            .chain(self.standins.clerk().settings())
            .chain(providers.flatten());
        Ok(vars.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// wrangler reloads when its files change. A developer wants that after a build, a running test does not.
    fn place_build(build: &Path, dir: &Path, watch: bool) -> Result<PathBuf> {
        if watch {
            return Ok(build.to_owned());
        }
        let copy = dir.join("build");
        std::fs::create_dir_all(copy.join("worker"))?;
        for file in ["worker/shim.mjs", "index.js", "index_bg.wasm"] {
            std::fs::copy(build.join(file), copy.join(file)).with_context(|| format!("cannot copy build/{file}"))?;
        }
        Ok(copy)
    }
}

async fn prepare_database(postgres: &Postgres, dir: &Path) -> Result<Settings> {
    let database_url_direct = postgres.create_database("aos").await?;
    let (api, engine) = (secrets::generate()?, secrets::generate()?);
    let report = migrate(
        &database_url_direct,
        Roles::Given {
            api: &api,
            engine: &engine,
        },
    )
    .await?;
    Ok(Settings {
        api_key: secrets::generate()?,
        machine_token: secrets::generate()?,
        jwt_secret: secrets::generate()?,
        // As old as the data: what it sealed is in the database.
        sealing_key: secrets::kept(&dir.join("sealing-key"))?,
        database_url: report
            .database_url
            .context("a given password makes a connection string")?,
        engine_database_url: report
            .engine_database_url
            .context("a given password makes a connection string")?,
        database_url_direct,
        query_database_url: query_database::create(postgres).await?,
    })
}

fn remove_folder(dir: &Path) -> Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
