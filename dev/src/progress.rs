//! Says what is being done and for how long, so that nobody looks at a silent terminal.
//! It writes to stderr only, and never a value that could be a secret.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Who is told about progress. Cheap to clone.
#[derive(Clone)]
pub struct Progress {
    console: Option<Arc<Console>>,
}

struct Console {
    terminal: bool,
    detail: Mutex<String>,
}

impl Progress {
    /// Prints to stderr: a living line on a terminal, a line now and then in a log.
    pub fn console() -> Self {
        let console = Console {
            terminal: std::io::stderr().is_terminal(),
            detail: Mutex::default(),
        };
        Self {
            console: Some(Arc::new(console)),
        }
    }

    /// Says nothing; for tests.
    pub fn silent() -> Self {
        Self { console: None }
    }

    /// Carries out `work` under a name, and says how long it took once that is more than a moment.
    ///
    /// # Errors
    /// Those of `work`.
    pub async fn step<T>(&self, name: &str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let Some(console) = &self.console else {
            return work.await;
        };
        console.set_detail(String::new());
        let started = Instant::now();
        if console.terminal {
            console.write(&format!("\r\x1b[K  {name} …"));
        }
        let mut announced = console.terminal;
        tokio::pin!(work);
        let first = Duration::from_secs(1);
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + first, first);
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                _ = ticks.tick() => {
                    let seconds = started.elapsed().as_secs();
                    let detail = console.detail();
                    if console.terminal {
                        console.write(&format!("\r\x1b[K  {name} … {seconds} s  {}", shortened(&detail, 80)));
                    } else if !announced {
                        announced = true;
                        console.write(&format!("  {name} …\n"));
                    } else if seconds.is_multiple_of(15) {
                        console.write(&format!("  {name} … {seconds} s  {}\n", shortened(&detail, 120)));
                    }
                }
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        let start_of_line = if console.terminal { "\r\x1b[K" } else { "" };
        match &outcome {
            Ok(_) => console.write(&format!("{start_of_line}  {name}: {seconds:.1} s\n")),
            Err(_) => console.write(&format!("{start_of_line}  {name}: failed after {seconds:.1} s\n")),
        }
        outcome
    }

    /// The latest line of a tool that is at work; shown beside the running step.
    pub fn detail(&self, line: &str) {
        if let Some(console) = &self.console {
            console.set_detail(line.trim().to_owned());
        }
    }

    /// A sentence of its own, such as a choice that was made for the reader.
    pub fn note(&self, line: &str) {
        if let Some(console) = &self.console {
            let start_of_line = if console.terminal { "\r\x1b[K" } else { "" };
            console.write(&format!("{start_of_line}  {line}\n"));
        }
    }
}

impl Console {
    fn write(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        // A closed stderr is no reason to stop the work that is being reported.
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }

    fn detail(&self) -> String {
        self.detail.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_detail(&self, line: String) {
        *self.detail.lock().unwrap_or_else(PoisonError::into_inner) = line;
    }
}

fn shortened(line: &str, width: usize) -> String {
    line.chars().filter(|c| !c.is_control()).take(width).collect()
}
