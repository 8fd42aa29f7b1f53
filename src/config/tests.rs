use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::{FutureExt, LocalBoxFuture};

use super::*;
use crate::{
    integrations::http_client,
    skills::address_guard::{self, GuardError},
};

const KEY: &str = "k3y-of-the-operator-0123456789-abcdef";
const SECRET: &str = "s1gns-the-tokens-of-services-0123456789";
const MACHINE: &str = "t0ken-of-the-machines-0123456789-abcdef";

struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }

    fn sleep(&self, _: Duration) -> LocalBoxFuture<'static, ()> {
        futures::future::pending().boxed_local()
    }
}

/// Production as it should be, with these settings changed; an empty value takes a setting away.
fn values(changes: &[(&'static str, &str)]) -> BTreeMap<&'static str, String> {
    let mut values = BTreeMap::from([
        ("AOS_API_KEY", KEY.to_owned()),
        (
            "DATABASE_URL",
            "postgres://aos_api:pw-api@ep-a.eu.neon.example/aos".to_owned(),
        ),
        (
            "ENGINE_DATABASE_URL",
            "postgres://aos_engine:pw-engine@ep-a.eu.neon.example/aos".to_owned(),
        ),
        ("UPSTASH_REDIS_REST_URL", "https://redis.example".to_owned()),
        ("UPSTASH_REDIS_REST_TOKEN", "token-of-redis".to_owned()),
        ("CLERK_ISSUER_URL", "https://clerk.app.example".to_owned()),
        ("CLERK_SECRET_KEY", "sk_live_secret-of-clerk".to_owned()),
        ("CLERK_PUBLISHABLE_KEY", "pk_live_key".to_owned()),
    ]);
    values.extend(changes.iter().map(|(name, value)| (*name, (*value).to_owned())));
    values
}

fn read(changes: &[(&'static str, &str)]) -> Result<Settings, Misconfigured> {
    let values = values(changes);
    let clock: Arc<dyn Clock> = Arc::new(NoClock);
    Settings::read(|name| values.get(name).cloned(), &http_client(), &clock)
}

fn problems(changes: &[(&'static str, &str)]) -> Vec<String> {
    read(changes)
        .unwrap_err()
        .problems
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_least_settings_make_a_closed_production() {
    let settings = read(&[]).unwrap();
    assert_eq!(settings.environment, Environment::Production);
    assert!(settings.address_rules.production);
    assert!(settings.address_rules.allowed_loopback_ports.is_empty());
    assert!(settings.ring);
    assert_eq!(settings.log, LevelFilter::INFO);
}

#[test]
fn all_problems_are_reported_together() {
    let named = read(&[
        ("AOS_API_KEY", "short"),
        ("DATABASE_URL", ""),
        ("ENGINE_DATABASE_URL", "mysql://u:p@h/d"),
        ("UPSTASH_REDIS_REST_TOKEN", ""),
        ("AOS_RING", "yes"),
        ("AOS_LOG", "loud"),
        ("HTTP_ALLOWED_LOOPBACK_PORTS", "8080"),
    ])
    .unwrap_err();
    let names: Vec<_> = named.problems.iter().map(|problem| problem.name).collect();
    let expected = [
        "AOS_API_KEY",
        "DATABASE_URL",
        "ENGINE_DATABASE_URL",
        "UPSTASH_REDIS_REST_TOKEN",
        "HTTP_ALLOWED_LOOPBACK_PORTS",
        "AOS_RING",
        "AOS_LOG",
    ];
    assert_eq!(names, expected);
    assert!(named.operator_key.is_none());
}

#[test]
fn the_operator_can_still_prove_itself_when_another_setting_is_wrong() {
    let misconfigured = read(&[("DATABASE_URL", "")]).unwrap_err();
    let key = misconfigured.operator_key.unwrap();
    assert!(key.is(KEY.as_bytes()));
    assert!(!key.is(b"another"));
}

#[test]
fn nothing_that_was_set_is_printed_by_a_problem_or_by_the_settings() {
    let set = [("JWT_SECRET", SECRET), ("MACHINE_SECRET_TOKEN", MACHINE)];
    let printed = format!("{:?}", read(&set).unwrap());
    for secret in [
        KEY,
        "pw-api",
        "pw-engine",
        "token-of-redis",
        "secret-of-clerk",
        SECRET,
        MACHINE,
    ] {
        assert!(!printed.contains(secret), "{printed}");
    }
    let wrong = read(&[
        ("DATABASE_URL", "s3cret"),
        ("UPSTASH_REDIS_REST_URL", "s3cret"),
        ("AOS_LOG", "s3cret"),
        ("CLERK_ISSUER_URL", "s3cret"),
        ("CLERK_SECRET_KEY", "s3cret"),
        ("CLERK_PUBLISHABLE_KEY", "s3cret"),
        ("CLERK_AUTHORIZED_PARTIES", "s3cret"),
        ("JWT_SECRET", "s3cret"),
        ("MACHINE_SECRET_TOKEN", "s3cret"),
    ]);
    let wrong = wrong.unwrap_err();
    assert!(!format!("{wrong} {wrong:?}").contains("s3cret"));
}

#[test]
fn production_refuses_weak_keys_and_development_does_not() {
    for weak in [
        "0123456789abcdef",
        "changeme-changeme-changeme-changeme",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        assert_eq!(problems(&[("AOS_API_KEY", weak)]).len(), 1, "{weak}");
        assert!(
            read(&[("AOS_API_KEY", weak), ("ENVIRONMENT", "development")]).is_ok(),
            "{weak}"
        );
    }
    assert_eq!(
        problems(&[("AOS_API_KEY", ""), ("ENVIRONMENT", "development")]),
        ["AOS_API_KEY is missing"]
    );
}

#[test]
fn loopback_ports_are_for_development_only() {
    let settings = read(&[
        ("ENVIRONMENT", "development"),
        ("HTTP_ALLOWED_LOOPBACK_PORTS", "8080, 8081"),
    ])
    .unwrap();
    assert_eq!(
        settings.address_rules.allowed_loopback_ports,
        BTreeSet::from([8080, 8081])
    );
    assert!(!settings.address_rules.production);
    assert_eq!(
        problems(&[("HTTP_ALLOWED_LOOPBACK_PORTS", "8080")]),
        ["HTTP_ALLOWED_LOOPBACK_PORTS is allowed in development only"]
    );
    for bad in ["0", "65536", "8080,", "*"] {
        let changes = [("ENVIRONMENT", "development"), ("HTTP_ALLOWED_LOOPBACK_PORTS", bad)];
        assert_eq!(problems(&changes).len(), 1, "{bad}");
    }
}

#[test]
fn a_misspelt_environment_counts_as_production() {
    let problems = problems(&[("ENVIRONMENT", "dev"), ("HTTP_ALLOWED_LOOPBACK_PORTS", "8080")]);
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn keys_leave_production_over_https_only() {
    for name in ["NEON_HTTP_ENDPOINT", "UPSTASH_REDIS_REST_URL"] {
        assert_eq!(problems(&[(name, "http://127.0.0.1:9000")]).len(), 1, "{name}");
        assert!(
            read(&[(name, "http://127.0.0.1:9000"), ("ENVIRONMENT", "development")]).is_ok(),
            "{name}"
        );
        assert_eq!(problems(&[(name, "https://user:pw@h.example")]).len(), 1, "{name}");
    }
}

#[test]
fn redis_needs_an_address_with_its_token_or_a_redis_url() {
    let none = [("UPSTASH_REDIS_REST_URL", ""), ("UPSTASH_REDIS_REST_TOKEN", "")];
    assert_eq!(
        problems(&none),
        ["UPSTASH_REDIS_REST_URL is missing, and so is REDIS_URL"]
    );
    assert_eq!(
        problems(&[
            ("UPSTASH_REDIS_REST_URL", ""),
            ("REDIS_URL", "rediss://default:t@redis.example:6379")
        ]),
        ["UPSTASH_REDIS_REST_URL is missing beside UPSTASH_REDIS_REST_TOKEN"]
    );
    let by_redis_url = [none[0], none[1], ("REDIS_URL", "rediss://default:t@redis.example:6379")];
    assert!(read(&by_redis_url).is_ok());
    let unusable = [none[0], none[1], ("REDIS_URL", "rediss://redis.example:6379")];
    assert!(problems(&unusable)[0].starts_with("REDIS_URL "));
}

#[test]
fn white_space_around_a_value_is_reported_and_not_guessed_away() {
    assert_eq!(
        problems(&[("UPSTASH_REDIS_REST_TOKEN", "token\n")]),
        ["UPSTASH_REDIS_REST_TOKEN has white space around it"]
    );
    assert_eq!(
        problems(&[("DATABASE_URL", " postgres://u:p@h.x/d")]),
        ["DATABASE_URL has white space around it"]
    );
}

#[test]
fn the_hosts_of_our_own_services_are_closed_to_callers() {
    let rules = read(&[("NEON_HTTP_ENDPOINT", "https://sql.proxy.example/sql")])
        .unwrap()
        .address_rules;
    for host in ["ep-a.eu.neon.example", "sql.proxy.example", "redis.example"] {
        assert!(
            rules.own_hosts.iter().any(|own| own == host),
            "{host} of {:?}",
            rules.own_hosts
        );
    }
}

#[test]
fn hosts_that_are_asked_are_own_also_where_no_setting_names_them() {
    let rules = read(&[
        ("DATABASE_URL", "postgres://api:pw@ep-own-pooler.eu.aws.neon.tech/aos"),
        ("QUERY_DATABASE_URL", "postgres://r:pw@ep-shop.us.aws.neon.tech/shop"),
        ("ANTHROPIC_BASE_URL", "https://models.proxy.dev"),
        ("RESEND_BASE_URL", "https://mail.proxy.dev"),
        ("CLERK_BASE_URL", "https://clerk.proxy.dev"),
    ])
    .unwrap()
    .address_rules;
    for url in [
        "https://api.eu.aws.neon.tech/sql",
        "https://api.us.aws.neon.tech/sql",
        "https://api.anthropic.com/v1/messages",
        "https://models.proxy.dev/v1/messages",
        "https://api.resend.com/emails",
        "https://mail.proxy.dev/emails",
        "https://api.openai.com/v1/responses",
        "https://api.voyageai.com/v1/embeddings",
        "https://hooks.slack.com/services/T/B/x",
        "https://api.clerk.com/v1/sessions",
        "https://clerk.proxy.dev/v1/sessions",
    ] {
        let refused = address_guard::check(url, &rules);
        assert!(matches!(refused, Err(GuardError::OwnHost)), "{url}: {refused:?}");
    }
    assert!(address_guard::check("https://api.shop.dev", &rules).is_ok());
}

#[test]
fn the_query_database_is_neons_and_not_our_own() {
    const OWN: &str = "postgres://aos_api:pw@ep-own-pooler.eu.aws.neon.tech/aos";
    let with = |url| [("DATABASE_URL", OWN), ("QUERY_DATABASE_URL", url)];
    assert!(read(&with("postgres://reader:pw@ep-shop.eu.aws.neon.tech/shop")).is_ok());
    assert_eq!(
        problems(&with("postgres://reader:pw@ep-own.eu.aws.neon.tech/aos")),
        ["QUERY_DATABASE_URL names the database that AOS keeps its own state in"]
    );
    // The override of production is for AOS's own connections: what tenants entrust to it goes to Neon alone.
    let mut elsewhere = with("postgres://reader:pw@database.example/shop").to_vec();
    elsewhere.push(("NEON_HTTP_ENDPOINT", "https://proxy.example/sql"));
    assert_eq!(
        problems(&elsewhere),
        ["QUERY_DATABASE_URL names a host that is not Neon's (*.neon.tech)"]
    );
}

#[test]
fn names_are_looked_up_unless_it_is_switched_off() {
    let resolver = |value| read(&[("DNS_OVER_HTTPS_URL", value)]).map(|settings| settings.resolver);
    let by_default = read(&[]).unwrap();
    assert!(format!("{:?}", by_default.resolver.unwrap()).contains("https://cloudflare-dns.com/dns-query"));
    assert!(
        by_default
            .address_rules
            .own_hosts
            .iter()
            .any(|own| own == "cloudflare-dns.com")
    );
    assert!(resolver("off").unwrap().is_none());
    let own = read(&[("DNS_OVER_HTTPS_URL", "https://dns.corp.example/dns-query")]).unwrap();
    assert!(own.resolver.is_some());
    assert!(own.address_rules.own_hosts.iter().any(|own| own == "dns.corp.example"));
    // What cannot be read must not switch the look-ups off.
    for wrong in [
        "OFF",
        "no",
        "http://dns.corp.example/dns-query",
        "https://u:p@dns.corp.example/",
    ] {
        assert_eq!(resolver(wrong).unwrap_err().problems.len(), 1, "{wrong}");
    }
}

#[test]
fn links_are_signed_with_a_secret_worth_something_and_lead_to_our_own_host() {
    assert!(read(&[]).unwrap().links.is_none());
    let settings = read(&[
        ("SIGNED_URL_SECRET", SECRET),
        ("SIGNED_URL_SECRET_PREVIOUS", MACHINE),
        ("PUBLIC_BASE_URL", "https://aos.corp.example"),
    ]);
    let settings = settings.unwrap();
    let printed = format!("{:?}", settings.links.unwrap());
    assert!(printed.contains("https://aos.corp.example") && !printed.contains(SECRET) && !printed.contains(MACHINE));
    assert!(
        settings
            .address_rules
            .own_hosts
            .iter()
            .any(|own| own == "aos.corp.example")
    );
    for name in ["SIGNED_URL_SECRET", "SEALING_KEY"] {
        assert_eq!(
            problems(&[(name, "short")]),
            [format!("{name} is shorter than 32 bytes")]
        );
    }
    assert_eq!(
        problems(&[("SIGNED_URL_SECRET_PREVIOUS", SECRET)]),
        ["SIGNED_URL_SECRET is missing beside SIGNED_URL_SECRET_PREVIOUS"]
    );
    for wrong in [
        "aos.corp.example",
        "http://aos.corp.example",
        "https://aos.corp.example/?a",
        "https://aos.corp.example/#a",
    ] {
        assert_eq!(problems(&[("PUBLIC_BASE_URL", wrong)]).len(), 1, "{wrong}");
    }
}

#[test]
fn the_list_of_settings_is_what_is_read() {
    let asked = RefCell::new(BTreeSet::new());
    let clock: Arc<dyn Clock> = Arc::new(NoClock);
    let nothing = Settings::read(
        |name| {
            asked.borrow_mut().insert(name.to_owned());
            None
        },
        &http_client(),
        &clock,
    );
    let missing: BTreeSet<_> = nothing
        .unwrap_err()
        .problems
        .iter()
        .map(|problem| problem.name)
        .collect();
    let listed: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name.to_owned()).collect();
    assert_eq!(asked.into_inner(), listed);
    for setting in SETTINGS.iter().filter(|setting| setting.required) {
        assert!(missing.contains(setting.name), "{} is not required", setting.name);
    }
}

#[test]
fn production_needs_clerk_and_development_needs_all_of_it_or_nothing() {
    let names = ["CLERK_ISSUER_URL", "CLERK_SECRET_KEY", "CLERK_PUBLISHABLE_KEY"];
    let without: Vec<_> = names.iter().map(|name| (*name, "")).collect();
    assert_eq!(problems(&without), names.map(|name| format!("{name} is missing")));
    let development = |changes: &[(&'static str, &'static str)]| [&[("ENVIRONMENT", "development")], changes].concat();
    assert!(read(&development(&without)).unwrap().clerk.is_none());
    for name in names {
        assert_eq!(problems(&development(&[(name, "")])), [format!("{name} is missing")]);
    }
    let from_vault = ("CLERK_SECRET_KEY", "key");
    assert_eq!(problems(&[from_vault]), ["CLERK_SECRET_KEY does not begin with sk_"]);
    assert_eq!(
        problems(&[("CLERK_PUBLISHABLE_KEY", "sk_live_x")]),
        ["CLERK_PUBLISHABLE_KEY does not begin with pk_"]
    );
}

#[test]
fn clerks_addresses_follow_from_its_issuer_unless_they_are_set() {
    for issuer in ["https://clerk.app.example", "https://clerk.app.example/"] {
        let clerk = read(&[("CLERK_ISSUER_URL", issuer)]).unwrap().clerk.unwrap();
        assert_eq!(clerk.issuer, "https://clerk.app.example");
        let addresses = format!("{:?}", clerk.client);
        assert!(
            addresses.contains("https://clerk.app.example/.well-known/jwks.json"),
            "{addresses}"
        );
        assert!(addresses.contains("https://api.clerk.com/"), "{addresses}");
    }
    let below = read(&[("CLERK_ISSUER_URL", "https://app.example/clerk")])
        .unwrap()
        .clerk
        .unwrap();
    assert_eq!(below.issuer, "https://app.example/clerk");
    assert!(format!("{:?}", below.client).contains("https://app.example/clerk/.well-known/jwks.json"));
    let elsewhere = read(&[
        ("CLERK_JWKS_URL", "https://keys.example/jwks"),
        ("CLERK_BASE_URL", "https://proxy.example/clerk"),
    ]);
    let elsewhere = elsewhere.unwrap();
    let addresses = format!("{:?}", elsewhere.clerk.unwrap().client);
    assert!(addresses.contains("https://keys.example/jwks") && addresses.contains("https://proxy.example/clerk"));
    for host in ["clerk.app.example", "keys.example", "proxy.example"] {
        assert!(
            elsewhere.address_rules.own_hosts.iter().any(|own| own == host),
            "{host}"
        );
    }
    let rules = read(&[]).unwrap().address_rules;
    assert!(rules.own_hosts.iter().any(|own| own == "api.clerk.com"));
}

#[test]
fn authorized_parties_are_origins_to_the_letter() {
    let parties =
        |list| read(&[("CLERK_AUTHORIZED_PARTIES", list)]).map(|settings| settings.clerk.unwrap().authorized_parties);
    assert_eq!(parties("").unwrap(), Vec::<String>::new());
    assert_eq!(
        parties("https://a.example, http://localhost:3000,chrome-extension://abcdefgh").unwrap(),
        [
            "https://a.example",
            "http://localhost:3000",
            "chrome-extension://abcdefgh"
        ]
    );
    for bad in [
        "a.example",
        "https://a.example/",
        "https://a.example/x",
        "https://a.example,",
        "https://A.example",
        "*",
        "https://a.example:443",
    ] {
        assert_eq!(parties(bad).unwrap_err().problems.len(), 1, "{bad}");
    }
}

#[test]
fn the_optional_secrets_must_be_worth_something_in_production() {
    for name in ["JWT_SECRET", "MACHINE_SECRET_TOKEN"] {
        assert_eq!(
            problems(&[(name, "short")]),
            [format!("{name} is shorter than 32 bytes")]
        );
        assert_eq!(
            problems(&[(name, "0123456789-please-changeme-0123456789")]),
            [format!("{name} is a default")]
        );
        assert!(read(&[(name, "short"), ("ENVIRONMENT", "development")]).is_ok());
    }
    let settings = read(&[("JWT_SECRET", SECRET), ("MACHINE_SECRET_TOKEN", MACHINE)]).unwrap();
    assert_eq!(settings.service_tokens.unwrap().issuer(), "aos");
    assert!(settings.machine_token.unwrap().is(MACHINE.as_bytes()));
    let none = read(&[("JWT_ISSUER", "acme")]).unwrap();
    assert!(none.service_tokens.is_none() && none.machine_token.is_none());
}

#[test]
fn clerks_issuer_cannot_be_ours_too() {
    let same = [("JWT_SECRET", SECRET), ("JWT_ISSUER", "https://clerk.app.example")];
    assert_eq!(problems(&same), ["JWT_ISSUER is Clerk's issuer"]);
}

/// `NAME=value` or `# NAME=value`.
fn rows(file: &str) -> Vec<(&str, &str)> {
    let rows = file
        .lines()
        .filter_map(|line| line.strip_prefix("# ").unwrap_or(line).split_once('='));
    rows.filter(|(name, _)| name.starts_with(|first: char| first.is_ascii_uppercase()))
        .filter(|(name, _)| name.chars().all(|char| char.is_ascii_uppercase() || char == '_'))
        .map(|(name, value)| (name, value.trim_matches('"')))
        .collect()
}

fn example() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.dev.vars.example")).unwrap()
}

#[test]
fn the_example_file_has_a_row_for_every_setting_and_for_nothing_else() {
    let example = example();
    let names: Vec<&str> = rows(&example).into_iter().map(|(name, _)| name).collect();
    let listed: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
    assert_eq!(names, listed);
}

#[test]
fn no_secret_of_the_example_file_opens_anything() {
    let example = example();
    for name in ["AOS_API_KEY", "MACHINE_SECRET_TOKEN", "JWT_SECRET", "SIGNED_URL_SECRET"] {
        let (_, key) = rows(&example).into_iter().find(|(row, _)| *row == name).unwrap();
        assert_eq!(problems(&[(name, key)]), [format!("{name} is a default")]);
    }
}
