//! What an isolate keeps between invocations: settings, clients, registry, router. Finished values only: a future that
//! another invocation owns must never be awaited, it is cancelled with its owner.

use std::sync::{Arc, OnceLock};

use aos::{
    api_keys::RememberedKeys,
    archive::Archive,
    auth::Tokens,
    breakers::Breakers,
    config::{Environment, Misconfigured, Settings},
    database::Database,
    integrations::{
        calendar::{ArchivedCalendars, CalendarProvider},
        http_client,
    },
    limits::Limiter,
    platform::{Clock, Fetch, JobQueue, ObjectStore, Platform},
    runs::engine::{Engine, EngineSettings},
    skills::{Registry, Services},
};
use axum::Router;
use worker::Env;

use crate::{
    bucket, log,
    platform::{WorkersClock, WorkersFetch},
    redirects, router,
};

/// An isolate's state.
pub(crate) struct Isolate {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) configured: Result<Configured, Misconfigured>,
}

/// With valid settings: what answers requests, and what the consumer and the cron work with.
pub(crate) struct Configured {
    pub(crate) app: Arc<App>,
    pub(crate) router: Router,
}

/// What the endpoints call on.
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) database: Database,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What bearer tokens are checked with, and those that were.
    pub(crate) tokens: Tokens,
    /// The API keys of the last minute.
    pub(crate) api_keys: RememberedKeys,
    /// How often who may call.
    pub(crate) limiter: Limiter,
    /// Calendar files, where there is an archive and what signs links to it.
    pub(crate) calendars: Option<ArchivedCalendars>,
    fetch: Arc<dyn Fetch>,
    services: Services,
}

/// What the platform gives an isolate once and for all.
pub(crate) struct Given {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fetch: Arc<dyn Fetch>,
    /// The bucket, if it is bound.
    pub(crate) archive: Option<Arc<dyn ObjectStore>>,
}

impl Isolate {
    /// The isolate's state, made by its first invocation.
    pub(crate) fn get(env: &Env) -> &'static Self {
        static ISOLATE: OnceLock<Isolate> = OnceLock::new();
        ISOLATE.get_or_init(|| {
            redirects::follow_none();
            let clock: Arc<dyn Clock> = Arc::new(WorkersClock);
            let fetch = Arc::new(WorkersFetch(Arc::clone(&clock)));
            let given = Given {
                clock,
                fetch,
                archive: bucket::bucket(env).map(|bucket| Arc::new(bucket) as Arc<dyn ObjectStore>),
            };
            let isolate = Self::new(|name| env.var(name).ok().map(|value| value.to_string()), given);
            log::start(&isolate);
            isolate
        })
    }

    /// A state by these settings.
    pub(crate) fn new(value_of: impl Fn(&str) -> Option<String>, given: Given) -> Self {
        let clock = Arc::clone(&given.clock);
        let settings = Settings::read(value_of, &http_client(), &clock);
        let configured = settings.map(|settings| {
            let app = Arc::new(App::new(settings, given));
            Configured {
                router: router::router(&app),
                app,
            }
        });
        Self { clock, configured }
    }

    /// Whether answers must be fetched over HTTPS only from now on. With broken settings nothing is promised.
    pub(crate) fn is_production(&self) -> bool {
        self.configured
            .as_ref()
            .is_ok_and(|configured| configured.app.settings.environment == Environment::Production)
    }
}

impl App {
    fn new(settings: Settings, given: Given) -> Self {
        let Given { clock, fetch, archive } = given;
        let archive = archive.map(|store| Archive::new(store, Arc::clone(&clock)));
        let calendars = archive
            .clone()
            .zip(settings.links.clone())
            .map(|(archive, links)| ArchivedCalendars::new(archive, links, Arc::clone(&clock)));
        let address_rules = Arc::new(settings.address_rules.clone());
        Self {
            database: Database::new(settings.database.clone(), Arc::clone(&clock)),
            registry: Arc::new(Registry::new(Arc::clone(&address_rules))),
            services: Services {
                installation: Arc::new(settings.installation.clone()),
                breakers: Some(Breakers::new(settings.upstash.clone(), Arc::clone(&clock))),
                archive,
                calendar: calendars
                    .clone()
                    .map(|calendars| Arc::new(calendars) as Arc<dyn CalendarProvider>),
                sealer: settings.sealer.clone(),
                address_rules,
                resolver: settings.resolver.clone(),
                upstash: Some(settings.upstash.clone()),
                query_databases: Some(settings.query_databases.clone()),
                ..Services::new(Arc::clone(&clock), Arc::clone(&fetch), settings.endpoints.clone())
            },
            tokens: settings.tokens(&clock),
            api_keys: RememberedKeys::default(),
            limiter: Limiter::new(settings.upstash.clone(), Arc::clone(&clock)),
            settings,
            clock,
            calendars,
            fetch,
        }
    }

    /// Where large outputs are, if there is a bucket.
    pub(crate) fn archive(&self) -> Option<&Archive> {
        self.services.archive.as_ref()
    }

    /// What skills call on.
    pub(crate) fn services(&self) -> &Services {
        &self.services
    }

    /// The engine, for one invocation; `ring` says whether it rings `jobs` for what it leaves over.
    pub(crate) fn engine(&self, jobs: Arc<dyn JobQueue>, ring: bool) -> Engine {
        Engine {
            database: self.settings.engine_database.clone(),
            skills: Arc::clone(&self.registry),
            services: self.services.clone(),
            platform: Platform {
                clock: Arc::clone(&self.clock),
                jobs,
                fetch: Arc::clone(&self.fetch),
            },
            upstash: Some(self.settings.upstash.clone()),
            settings: EngineSettings { ring },
        }
    }
}
