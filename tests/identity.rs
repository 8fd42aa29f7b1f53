//! Who is let in, as whom, and how often: every kind of credential, good and bad, against the Worker in workerd.

#[path = "identity/api_keys.rs"]
mod api_keys;
#[path = "identity/audit.rs"]
mod audit;
#[path = "identity/bearers.rs"]
mod bearers;
#[path = "identity/counts.rs"]
mod counts;
#[path = "identity/limits.rs"]
mod limits;
#[path = "identity/outages.rs"]
mod outages;
#[path = "identity/refusals.rs"]
mod refusals;
#[path = "identity/secrets.rs"]
mod secrets;
#[path = "identity/sessions.rs"]
mod sessions;

use std::time::{SystemTime, UNIX_EPOCH};

use aos_tests::{Call, Client, Reply, Stage};
use serde_json::Value;

static STAGE: Stage = Stage::new(1);

/// The simplest thing that every role may ask.
const WHO: &str = "/v1/session";

/// Credentials with what must come of each. All are tried before any is complained about.
#[derive(Default)]
struct Table {
    tried: usize,
    wrong: Vec<String>,
}

impl Table {
    /// A request that must be refused like this.
    async fn refused(&mut self, name: &str, call: Call, status: u16, code: &str) {
        let reply = call.send().await;
        let mut outcome = reply.is_problem(status, code, &[]);
        if status == 401 && reply.header("www-authenticate").is_none() {
            outcome = Err("a 401 says which credentials there are".to_owned());
        }
        self.note(name, outcome, &reply);
    }

    /// A request for [`WHO`] that must be answered with an identity that has these fields.
    async fn known(&mut self, name: &str, call: Call, expected: &Value) {
        let reply = call.send().await;
        let differs = |(field, value): (&String, &Value)| reply.json[field] != *value;
        let fields = expected.as_object().expect("fields are an object");
        let outcome = if reply.status != 200 || fields.iter().any(differs) {
            Err(format!("expected {expected}"))
        } else {
            Ok(())
        };
        self.note(name, outcome, &reply);
    }

    /// A request that must pass with this status.
    async fn passed(&mut self, name: &str, call: Call, status: u16) {
        let reply = call.send().await;
        let outcome = if reply.status == status {
            Ok(())
        } else {
            Err(format!("expected {status}"))
        };
        self.note(name, outcome, &reply);
    }

    fn note(&mut self, name: &str, outcome: Result<(), String>, reply: &Reply) {
        self.tried += 1;
        if let Err(wrong) = outcome {
            self.wrong.push(format!("{name}: {wrong}: {reply}"));
        }
    }

    /// Complains about what was wrong, also if fewer than `least` were tried.
    #[track_caller]
    fn holds(self, least: usize) {
        let Self { tried, wrong } = self;
        assert!(
            wrong.is_empty(),
            "{} of {tried} are wrong:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        assert!(tried >= least, "only {tried} cases");
    }
}

/// [`WHO`], without a credential.
fn who(client: &Client) -> Call {
    client.stranger("GET", WHO)
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(since.as_secs()).expect("a time in this century")
}

/// What the table of roles grants a role, as the API shows it.
fn granted(matrix: &Value, role: &str) -> Vec<String> {
    let roles = matrix["roles"].as_array().expect("the matrix has roles");
    let row = roles
        .iter()
        .find(|row| row["role"] == role)
        .unwrap_or_else(|| panic!("{role} is in {matrix}"));
    let words = row["permissions"].as_array().expect("a role has permissions");
    words
        .iter()
        .map(|word| word.as_str().expect("a permission is a word").to_owned())
        .collect()
}
