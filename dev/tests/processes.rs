//! The servers of the local cloud start, crash, come back with their data, and leave no process behind.

use std::time::Duration;

use anyhow::Result;
use aos_dev::postgres::{Postgres, PostgresOptions};
use aos_dev::process::{Process, ProcessSpec, Signal, running_family};
use aos_dev::progress::Progress;
use aos_dev::redis::{Redis, RedisOptions};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn process_exists(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn postgres_in(dir: &TempDir) -> Result<Postgres> {
    let dir = dir.path().join("postgres");
    Postgres::start(PostgresOptions {
        dir,
        durable: false,
        progress: Progress::silent(),
    })
    .await
}

async fn redis_in(dir: &TempDir, durable: bool) -> Result<Redis> {
    let dir = dir.path().join("redis");
    Redis::start(RedisOptions {
        dir,
        durable,
        progress: Progress::silent(),
    })
    .await
}

async fn sql(url: &str, statement: &str) -> Result<Vec<String>> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let messages = client.simple_query(statement).await?;
    let first_column = messages.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(first_column.collect())
}

/// Sends one inline command and returns the first line of the answer.
async fn redis_command(redis: &Redis, command: &str) -> Result<String> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", redis.port())).await?;
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer
        .lines()
        .take_while(|line| *line != "+OK" || command.starts_with("SET"))
        .collect::<Vec<_>>()
        .join(" "))
}

/// Stops, kills and restarts a server, and checks that its data and port stay and its processes go.
async fn holds_its_data_through_crash_and_restart(dir: &TempDir) -> Result<()> {
    let postgres = postgres_in(dir).await?;
    let port = postgres.port();
    let url = postgres.create_database("kept").await?;
    assert_eq!(
        postgres.create_database("kept").await?,
        url,
        "creating it again finds it"
    );
    sql(&url, "CREATE TABLE t AS SELECT 41 AS n").await?;

    let first = postgres.process().expect("it runs");
    let backends = running_family(&first);
    assert!(!backends.is_empty(), "the server has helper processes");
    sql(&url, "INSERT INTO t VALUES (42)").await?;
    postgres.kill();
    assert!(
        backends.iter().chain([&first.id()]).all(|pid| !process_exists(*pid)),
        "a kill takes all of them at once"
    );
    assert!(sql(&url, "SELECT 1").await.is_err());

    postgres.restart().await?;
    assert_eq!(postgres.port(), port);
    assert_eq!(
        sql(&url, "SELECT n FROM t ORDER BY n").await?,
        ["41", "42"],
        "a committed row outlives a kill"
    );

    let second = postgres.process().expect("it runs");
    let family = running_family(&second);
    let idle = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
    postgres.stop().await;
    drop(idle);
    assert!(
        family.iter().chain([&second.id()]).all(|pid| !process_exists(*pid)),
        "a stop leaves nothing"
    );
    assert!(
        second.output().contains("database system is shut down"),
        "and was a clean one:\n{}",
        second.output()
    );

    // The folder is taken up again by a later server.
    drop(postgres);
    let again = postgres_in(dir).await?;
    let url = again.url(
        "postgres",
        &std::fs::read_to_string(data_file(dir, "superuser-password"))?,
        "kept",
    );
    assert_eq!(sql(&url, "SELECT count(*) FROM t").await?, ["2"]);
    Ok(())
}

fn data_file(dir: &TempDir, name: &str) -> std::path::PathBuf {
    dir.path().join("postgres").join(name)
}

fn reachable_tempdir() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("permissions");
    dir
}

/// The two kinds of binaries are chosen by an environment variable, which a process has only one of: so the test runs
/// itself again with it.
fn rerun_with(variable: (&str, &str), test: &str) {
    let run = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--ignored", "--exact", test])
        .env(variable.0, variable.1)
        .output()
        .expect("the test runs");
    let said = String::from_utf8_lossy(&run.stdout);
    // One that was renamed would be filtered out, and pass.
    assert!(
        run.status.success() && said.contains("1 passed"),
        "{test} with {}={}:\n{said}",
        variable.0,
        variable.1
    );
}

#[test]
fn the_systems_postgres_survives_a_crash() {
    rerun_with(("AOS_POSTGRES", "system"), "postgres_life");
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn the_embedded_postgres_survives_a_crash() {
    rerun_with(("AOS_POSTGRES", "embedded"), "postgres_life");
}

#[tokio::test]
#[ignore = "run by the two tests above, once per kind of server"]
async fn postgres_life() -> Result<()> {
    holds_its_data_through_crash_and_restart(&reachable_tempdir()).await
}

#[tokio::test]
async fn postgres_asks_for_its_password_and_keeps_it_to_itself() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let dir = reachable_tempdir();
    let postgres = postgres_in(&dir).await?;
    let wrong = postgres.url("postgres", "guessed", "postgres");
    let refusal = sql(&wrong, "SELECT 1").await.expect_err("a wrong password is refused");
    assert!(
        format!("{refusal:?}").contains("password authentication failed"),
        "{refusal:?}"
    );
    let mode = data_file(&dir, "superuser-password").metadata()?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(sql(&postgres.superuser_url(), "SHOW max_connections").await?, ["200"]);
    assert_eq!(
        sql(&postgres.superuser_url(), "SHOW listen_addresses").await?,
        ["127.0.0.1"]
    );
    Ok(())
}

#[tokio::test]
async fn postgres_data_that_its_user_cannot_reach_goes_elsewhere() -> Result<()> {
    // `tempfile` makes folders that only their owner may enter; as root, the server's user is somebody else.
    let closed = tempfile::tempdir()?;
    let postgres = postgres_in(&closed).await?;
    assert_eq!(sql(&postgres.superuser_url(), "SELECT 7").await?, ["7"]);
    let data = sql(&postgres.superuser_url(), "SHOW data_directory").await?.join("");
    drop(postgres);
    if !data.starts_with(closed.path().to_str().expect("UTF-8")) {
        let moved = std::path::Path::new(&data).parent().expect("a parent").to_owned();
        std::fs::remove_dir_all(moved)?;
    }
    Ok(())
}

#[tokio::test]
async fn two_servers_run_side_by_side() -> Result<()> {
    let (one, two) = (reachable_tempdir(), reachable_tempdir());
    let (one, two) = tokio::try_join!(postgres_in(&one), postgres_in(&two))?;
    assert_ne!(one.port(), two.port());
    one.create_database("mine").await?;
    let databases = sql(&two.superuser_url(), "SELECT datname FROM pg_database").await?;
    assert!(!databases.contains(&"mine".to_owned()));
    Ok(())
}

async fn redis_forgets_or_keeps_by_its_options() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let redis = redis_in(&dir, true).await?;
    let port = redis.port();
    assert!(redis_command(&redis, "SET k kept").await?.starts_with("+OK"));
    let process = redis.process().expect("it runs");
    redis.stop().await;
    assert!(!process_exists(process.id()));
    redis.restart().await?;
    assert_eq!(redis.port(), port);
    assert!(
        redis_command(&redis, "GET k").await?.contains("kept"),
        "durable data outlives a restart"
    );
    let process = redis.process().expect("it runs");
    redis.kill();
    assert!(!process_exists(process.id()));
    redis.restart().await?;
    drop(redis);

    let dir = tempfile::tempdir()?;
    let redis = redis_in(&dir, false).await?;
    redis_command(&redis, "SET k gone").await?;
    redis.restart().await?;
    assert!(
        redis_command(&redis, "GET k").await?.contains("$-1"),
        "throwaway data does not"
    );
    Ok(())
}

#[tokio::test]
async fn redis_on_this_machine_survives_a_crash() -> Result<()> {
    redis_forgets_or_keeps_by_its_options().await
}

#[test]
fn valkey_from_pypi_survives_a_crash() {
    rerun_with(("AOS_REDIS", "pypi"), "redis_life");
}

#[tokio::test]
#[ignore = "run by the test above with another server"]
async fn redis_life() -> Result<()> {
    redis_forgets_or_keeps_by_its_options().await
}

fn shell(dir: &TempDir, script: &str) -> ProcessSpec {
    ProcessSpec::new("a shell", "sh", dir.path().join("log")).args(["-c", script])
}

#[tokio::test]
async fn a_dropped_process_takes_its_children_along() -> Result<()> {
    let dir = tempfile::tempdir()?;
    // The inner shell ignores the signal that asks, as a stubborn server would.
    let process = Process::spawn(&shell(&dir, "sh -c 'trap \"\" TERM; sleep 600; sleep 600' & sleep 600"))?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let family = running_family(&process);
    assert!(family.len() >= 3, "{family:?}");
    let id = process.id();
    drop(process);
    assert!(family.iter().chain([&id]).all(|pid| !process_exists(*pid)));
    Ok(())
}

#[tokio::test]
async fn orphans_of_a_process_that_ended_are_found() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let process = Process::spawn(&shell(&dir, "sleep 600 & echo started"))?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let notice = process.death_notice().expect("it ended").to_string();
    assert!(
        notice.contains("exited with code 0") && notice.contains("started"),
        "{notice}"
    );
    let orphans = running_family(&process);
    assert_eq!(orphans.len(), 1);
    process.kill();
    assert!(!process_exists(orphans[0]));
    Ok(())
}

#[tokio::test]
async fn stop_asks_before_it_kills() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let process = Process::spawn(&shell(
        &dir,
        "trap 'echo goodbye; exit 0' TERM; while :; do sleep 0.05; done",
    ))?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    process.stop(Duration::from_secs(5)).await;
    assert!(process.output().contains("goodbye"), "{}", process.output());
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_program_takes_its_servers_with_it() {
    let mut program = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--ignored", "--exact", "program_with_a_server", "--nocapture"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(program.stdout.take().expect("its output")));
    let server = lines
        .find_map(|line| line.ok()?.rsplit_once("server ")?.1.parse().ok())
        .expect("its server's id");
    assert!(process_exists(server));
    program.kill().expect("killed");
    program.wait().expect("ended");
    for _ in 0..100 {
        if !process_exists(server) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("process {server} outlived the program that started it");
}

#[tokio::test]
#[ignore = "run and killed by the test above"]
async fn program_with_a_server() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let spec = ProcessSpec::new("a server", "sleep", dir.path().join("log"))
        .args(["600"])
        .stop_signal(Signal::INT);
    // Started from a thread that ends at once: the server must live as long as the program, not as the thread.
    let process = std::thread::spawn(move || Process::spawn(&spec))
        .join()
        .expect("no panic")?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(process.exit_status().is_none());
    println!("server {}", process.id());
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(())
}
