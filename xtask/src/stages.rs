//! Runs the stages of `cargo xtask test` one after the other, goes on after a failure, and adds up what passed.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use aos_dev::paths::repository;
use tokio::io::{AsyncBufReadExt, BufReader};

/// What passed and what failed. A stage that is not a set of tests counts as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// The stages so far.
#[derive(Default)]
pub(crate) struct Stages {
    done: Vec<(String, f64, Tally)>,
}

impl Stages {
    /// Runs a check that passes or fails as a whole. Returns whether it passed.
    pub(crate) async fn check(&mut self, name: &str, work: impl Future<Output = Result<()>>) -> bool {
        self.count(name, async { work.await.map(|()| Tally { passed: 1, failed: 0 }) })
            .await
    }

    /// Runs a set of tests. Returns whether all passed.
    pub(crate) async fn count(&mut self, name: &str, work: impl Future<Output = Result<Tally>>) -> bool {
        println!("\n── {name}");
        let started = Instant::now();
        let tally = work.await.unwrap_or_else(|error| {
            println!("{name}: {error:#}");
            Tally { passed: 0, failed: 1 }
        });
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "── {name}: {} in {seconds:.1} s",
            if tally.failed == 0 { "passed" } else { "FAILED" }
        );
        self.done.push((name.to_owned(), seconds, tally));
        tally.failed == 0
    }

    /// Prints the summary, whose last line is `N passed, N failed`, and returns the sum.
    pub(crate) fn summarise(&self) -> Tally {
        let mut sum = Tally::default();
        println!();
        for (name, seconds, tally) in &self.done {
            println!(
                "{seconds:8.1} s  {name}: {} passed, {} failed",
                tally.passed, tally.failed
            );
            sum.add(*tally);
        }
        println!("{} passed, {} failed", sum.passed, sum.failed);
        sum
    }
}

/// Cargo, in the repository.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut command = Command::new("cargo");
    command.args(args).current_dir(repository());
    command
}

/// Runs a command to its end with its output shown.
pub(crate) async fn succeed(command: Command) -> Result<()> {
    let mut command = tokio::process::Command::from(command);
    let status = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .context("cannot be started")?;
    if !status.success() {
        bail!("ended with {status}");
    }
    Ok(())
}

/// Runs a command with its output shown, and returns what it wrote to stdout.
pub(crate) async fn listen(command: Command) -> Result<String> {
    let (text, success) = shown_and_heard(command).await?;
    if !success {
        bail!("the command failed");
    }
    Ok(text)
}

/// Runs `cargo test` with its output shown, and adds up the results of its test binaries.
pub(crate) async fn run_tests(command: Command) -> Result<Tally> {
    let (text, success) = shown_and_heard(command).await?;
    let mut tally = results(&text);
    if !success && tally.failed == 0 {
        // It did not compile, or a test binary died before it could say.
        tally.failed = 1;
    }
    Ok(tally)
}

async fn shown_and_heard(command: Command) -> Result<(String, bool)> {
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().context("cannot be started")?;
    let mut lines = BufReader::new(child.stdout.take().context("a child without stdout")?).split(b'\n');
    let mut text = String::new();
    while let Some(line) = lines.next_segment().await? {
        let line = String::from_utf8_lossy(&line).into_owned();
        writeln!(std::io::stdout().lock(), "{line}")?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok((text, child.wait().await?.success()))
}

/// Sums up lines such as `test result: FAILED. 10 passed; 1 failed; 0 ignored; …`.
fn results(text: &str) -> Tally {
    let mut sum = Tally::default();
    for line in text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("test result: "))
    {
        let number_before = |word: &str| {
            let before = line.split(word).next()?;
            before.split_whitespace().next_back()?.parse::<u64>().ok()
        };
        let passed = number_before(" passed;").unwrap_or(0);
        let failed = number_before(" failed;").unwrap_or(0);
        sum.add(Tally { passed, failed });
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::{Tally, results};

    #[test]
    fn results_of_all_test_binaries_are_added_up() {
        let text = "running 2 tests\n\
                    test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                    test result: FAILED. 10 passed; 3 failed; 1 ignored; 0 measured; 7 filtered out; finished in 5.30s\n";
        assert_eq!(results(text), Tally { passed: 12, failed: 3 });
        assert_eq!(results("error: could not compile"), Tally::default());
    }
}
