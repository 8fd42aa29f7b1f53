//! What it costs to know who is calling: reads with a session token, fresh and known, and the CPU that workerd spends.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aos_dev::cloud::LocalCloud;
use aos_dev::standins::clerk::TokenSpec;
use reqwest::{Client, Method};
use serde_json::json;

use super::AT_ONCE;
use crate::api::{Api, id_of};

const USER: &str = "user_bench";
const READS: usize = 1_000;
/// `USER_HZ`: the unit in which Linux tells processes' times, on every architecture that matters here.
const TICKS_PER_S: f64 = 100.0;

/// Reads by a signed-in user, with one token and with a new one each time.
pub(super) async fn measure(cloud: &LocalCloud, operator: &Api) -> Result<()> {
    let token = cloud.standins().clerk().mint(TokenSpec::of(USER).lasting(3600))?;
    let url = format!(
        "{}/v1/agents",
        cloud.workers().first().context("there is no Worker")?.url()
    );
    let client = Client::new();
    // The first read creates the tenant, whose limit would end the measure.
    read(&client, &url, &token).await?;
    let tenants = operator.send(Method::GET, "/v1/tenants?limit=100", None).await?;
    let tenant = tenants["items"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|tenant| tenant["name"] == USER);
    let tenant = id_of(tenant.context("the read has made no tenant")?)?;
    let unlimited = json!({"requests_per_minute": 1_000_000});
    operator
        .send(Method::PATCH, &format!("/v1/tenants/{tenant}"), Some(&unlimited))
        .await?;

    let fresh = (0..READS)
        .map(|_| cloud.standins().clerk().mint(TokenSpec::of(USER).lasting(3600)))
        .collect::<Result<Vec<_>>>()?;
    let known = vec![token; READS];
    println!(
        "\nGET /v1/agents by a signed-in user ({READS} reads, {AT_ONCE} callers): one Upstash, one Neon request each"
    );
    report(cloud, "a token that is known", &client, &url, &known).await?;
    report(cloud, "a fresh token each time", &client, &url, &fresh).await?;
    Ok(())
}

async fn report(cloud: &LocalCloud, what: &str, client: &Client, url: &str, tokens: &[String]) -> Result<()> {
    let group = cloud
        .workers()
        .first()
        .and_then(|worker| worker.process())
        .context("the Worker has ended")?
        .id();
    let (spent, began) = (cpu_of(group)?, Instant::now());
    for some in tokens.chunks(AT_ONCE) {
        futures::future::try_join_all(some.iter().map(|token| read(client, url, token))).await?;
    }
    let (took, spent) = (began.elapsed(), cpu_of(group)?.saturating_sub(spent));
    println!(
        "  {what:<24} {:6.0} reads/s  {:6.2} ms of workerd's CPU per read",
        tokens.len() as f64 / took.as_secs_f64(),
        super::ms(spent) / tokens.len() as f64
    );
    Ok(())
}

async fn read(client: &Client, url: &str, token: &str) -> Result<()> {
    let answer = client
        .get(url)
        .bearer_auth(token)
        .timeout(Duration::from_secs(30))
        .send()
        .await?;
    if !answer.status().is_success() {
        bail!("a read was refused: {}", answer.text().await?);
    }
    answer.bytes().await?;
    Ok(())
}

/// The CPU time that the workerd processes of this group have used, from Linux's /proc.
fn cpu_of(group: i32) -> Result<Duration> {
    let mut ticks = 0_u64;
    for entry in std::fs::read_dir("/proc")
        .context("CPU time is told by Linux only")?
        .flatten()
    {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // The name is in parentheses and may hold anything; what follows has fixed places (proc(5)).
        let Some((name, rest)) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')) else {
            continue;
        };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |place: usize| {
            fields
                .get(place)
                .and_then(|field| field.parse::<u64>().ok())
                .unwrap_or(0)
        };
        if name == "workerd" && i32::try_from(number(2)) == Ok(group) {
            ticks += number(11) + number(12);
        }
    }
    Ok(Duration::from_secs_f64(ticks as f64 / TICKS_PER_S))
}
