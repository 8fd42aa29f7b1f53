//! `cargo xtask bench`: what the whole local system does per second, and what that costs in requests. Machines are noisy:
//! trust the counts and the ratios, compare times only within one run.

mod identity;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aos_dev::cloud::{CloudOptions, LocalCloud};
use aos_dev::progress::Progress;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{Api, id_of};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Runs in the measure of throughput; each has five steps
    #[arg(long, default_value_t = 200)]
    runs: usize,
}

/// Requests that wait for their answers at the same time.
const AT_ONCE: usize = 16;
const SAMPLES: usize = 200;
const STEPS: usize = 5;

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let progress = Progress::console();
    let options = CloudOptions {
        progress: progress.clone(),
        ..CloudOptions::for_tests()
    };
    let cloud = LocalCloud::start(options).await?;
    let api = Api::new(&cloud, "bench")?;
    let agent = api.agent("bench").await?;
    // The first requests build the isolate's router and open connections.
    finish(&api, &id_of(&create(&api, &agent, 1).await?)?).await?;

    println!("\nOne caller, one request after the other ({SAMPLES} each)");
    let floor = sample(|| bare(&cloud)).await?;
    report("select 1 at the Neon gateway", &floor, &floor);
    report(
        "GET /healthz",
        &sample(|| api.send(Method::GET, "/healthz", None)).await?,
        &floor,
    );
    report(
        "POST /v1/runs (5 steps)",
        &sample(|| create(&api, &agent, STEPS)).await?,
        &floor,
    );
    let last = id_of(&create(&api, &agent, STEPS).await?)?;
    finish(&api, &last).await?;
    let path = format!("/v1/runs/{last}");
    report(
        "GET /v1/runs/{id}",
        &sample(|| api.send(Method::GET, &path, None)).await?,
        &floor,
    );
    report(
        "GET /v1/agents",
        &sample(|| api.send(Method::GET, "/v1/agents", None)).await?,
        &floor,
    );
    drained(&api).await?;

    throughput(&cloud, &api, &agent, arguments.runs).await?;
    sequential(&cloud, &api, &agent).await?;
    identity::measure(&cloud, &api).await?;
    cloud.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// All runs at once, through POST, queue and consumer, to their ends.
async fn throughput(cloud: &LocalCloud, api: &Api, agent: &str, runs: usize) -> Result<()> {
    cloud.neon().counters().reset();
    cloud.upstash().counters().reset();
    let began = Instant::now();
    let mut left = runs;
    while left > 0 {
        let now = left.min(AT_ONCE);
        futures::future::try_join_all((0..now).map(|_| create(api, agent, STEPS))).await?;
        left -= now;
    }
    let accepted = began.elapsed();
    drained(api).await?;
    let ended = began.elapsed();
    let (neon, upstash) = (
        cloud.neon().counters().snapshot(),
        cloud.upstash().counters().snapshot(),
    );
    let steps = (runs * STEPS) as f64;
    println!("\n{runs} runs of {STEPS} steps (one, three beside each other, one), {AT_ONCE} callers");
    println!(
        "  accepted             {:8.0} runs/s",
        runs as f64 / accepted.as_secs_f64()
    );
    println!(
        "  carried out          {:8.0} runs/s  {:.0} steps/s",
        runs as f64 / ended.as_secs_f64(),
        steps / ended.as_secs_f64()
    );
    println!(
        "  Neon                 {:8.2} requests per step ({} turns, {} in all)",
        neon.total as f64 / steps,
        neon.labelled("turn.pick"),
        neon.total
    );
    println!(
        "  Upstash              {:8.2} requests per step",
        upstash.total as f64 / steps
    );
    Ok(())
}

/// One run of steps that wait for each other: the gap between two is one request to the database.
async fn sequential(cloud: &LocalCloud, api: &Api, agent: &str) -> Result<()> {
    const LENGTH: usize = 50;
    cloud.neon().counters().reset();
    let steps: Vec<Value> = (0..LENGTH)
        .map(|i| {
            let needs: Vec<String> = i
                .checked_sub(1)
                .map(|before| format!("s{before}"))
                .into_iter()
                .collect();
            step(&format!("s{i}"), &needs)
        })
        .collect();
    let body = json!({"agent_id": agent, "plan": {"steps": steps}});
    let began = Instant::now();
    let run = id_of(&api.send(Method::POST, "/v1/runs", Some(&body)).await?)?;
    finish(api, &run).await?;
    let took = began.elapsed();
    let counted = cloud.neon().counters().snapshot();
    println!("\nOne run of {LENGTH} steps, one after the other");
    println!(
        "  from POST to end     {:8.1} ms, {:.2} ms a step",
        ms(took),
        ms(took) / LENGTH as f64
    );
    let mut turns: Vec<f64> = counted
        .requests
        .iter()
        .filter(|request| request.label == "turn.pick")
        .filter_map(|request| request.duration_ms)
        .collect();
    turns.sort_unstable_by(f64::total_cmp);
    let median = turns.get(turns.len() / 2).copied().unwrap_or_default();
    println!("  of that in a turn    {median:8.2} ms median, as the gateway sees it");
    println!(
        "  Neon                 {:8} requests of the POST and the engine (n + 2 = {}; a doorbell too many is one more)",
        counted.labelled("runs.create") + counted.labelled("turn.pick"),
        LENGTH + 2
    );
    Ok(())
}

fn step(id: &str, needs: &[String]) -> Value {
    json!({"id": id, "skill": "json_transform", "needs": needs, "params": {"input": {"n": 1}, "expression": "n"}})
}

async fn create(api: &Api, agent: &str, steps: usize) -> Result<Value> {
    let mut plan = vec![step("first", &[])];
    let middle: Vec<String> = (1..steps.saturating_sub(1)).map(|i| format!("middle{i}")).collect();
    plan.extend(middle.iter().map(|id| step(id, &["first".to_owned()])));
    if steps > 1 {
        plan.push(step("last", &middle));
    }
    api.send(
        Method::POST,
        "/v1/runs",
        Some(&json!({"agent_id": agent, "plan": {"steps": plan}})),
    )
    .await
}

async fn finish(api: &Api, run: &str) -> Result<()> {
    let run = api.send(Method::GET, &format!("/v1/runs/{run}?wait=30"), None).await?;
    if run["status"] != "succeeded" {
        bail!("a run of the bench did not succeed: {run}");
    }
    Ok(())
}

/// Waits until no run is open.
async fn drained(api: &Api) -> Result<()> {
    let began = Instant::now();
    loop {
        let mut open = 0;
        for status in ["queued", "running"] {
            let page = api
                .send(Method::GET, &format!("/v1/runs?status={status}&limit=1"), None)
                .await?;
            open += page["items"].as_array().context("a list without items")?.len();
        }
        if open == 0 {
            return Ok(());
        }
        if began.elapsed() > Duration::from_secs(300) {
            bail!("runs are still open after five minutes");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The least that a request to the database costs here.
async fn bare(cloud: &LocalCloud) -> Result<Value> {
    let env = cloud.env();
    let url = env.get("DATABASE_URL").context("the cloud has no database")?;
    let request = CLIENT.with(Clone::clone).post(cloud.neon().endpoint());
    let answer = request
        .header("Neon-Connection-String", url)
        .header("Neon-Pool-Opt-In", "true")
        .json(&json!({"query": "select 1", "params": []}))
        .send()
        .await?
        .error_for_status()?;
    Ok(answer.json().await?)
}

thread_local! {
    static CLIENT: reqwest::Client = reqwest::Client::new();
}

/// How long each of the requests took, sorted.
async fn sample<F: Future<Output = Result<Value>>>(request: impl Fn() -> F) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let began = Instant::now();
        request().await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

fn report(what: &str, times: &[Duration], floor: &[Duration]) {
    let at =
        |times: &[Duration], percent: usize| ms(times.get(times.len() * percent / 100).copied().unwrap_or_default());
    println!(
        "  {what:<30} median {:7.2} ms  95 % {:7.2} ms  {:5.1} × select 1",
        at(times, 50),
        at(times, 95),
        at(times, 50) / at(floor, 50)
    );
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
