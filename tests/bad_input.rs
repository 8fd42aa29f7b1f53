//! Requests that are wrong in every way we could think of. Each is refused with its own status, code and place; none
//! gets a 500, and none leaves a row behind.

#[path = "bad_input/addresses.rs"]
mod addresses;
#[path = "bad_input/bodies.rs"]
mod bodies;
#[path = "bad_input/bytes.rs"]
mod bytes;
#[path = "bad_input/fields.rs"]
mod fields;
#[path = "bad_input/plans.rs"]
mod plans;
#[path = "bad_input/requests.rs"]
mod requests;

use aos_tests::{Call, Client, Stage, World};
use serde_json::Value;

static STAGE: Stage = Stage::new(1);

/// Ids of the right form that nobody has.
const NO_AGENT: &str = "agt_018f0000000070008000000000000001";
const NO_RUN: &str = "run_018f0000000070008000000000000001";

/// Rows of `wrong => what is said about it`, each as `pointer code`. The arrow keeps a row on its line.
macro_rules! table {
    ($($wrong:expr => $($error:literal),+;)*) => {
        vec![$(($wrong, vec![$($error),+])),*]
    };
}
pub(crate) use table;

/// One bad request and what must come of it.
struct Bad {
    name: String,
    call: Call,
    status: u16,
    code: &'static str,
    /// The places, as `pointer code`; none where the problem is about the whole.
    errors: Vec<String>,
}

impl Bad {
    fn new(name: impl Into<String>, call: Call, status: u16, code: &'static str) -> Self {
        let name = name.into().chars().take(120).collect();
        Self {
            name,
            call,
            status,
            code,
            errors: Vec::new(),
        }
    }

    /// A 422 `invalid_request` with exactly these errors.
    fn at<E: Into<String>>(name: impl Into<String>, call: Call, errors: impl IntoIterator<Item = E>) -> Self {
        let errors = errors.into_iter().map(Into::into).collect();
        Self {
            errors,
            ..Self::new(name, call, 422, "invalid_request")
        }
    }

    /// A `POST` of this body, under an idempotency key that must not be stored either.
    fn post(client: &Client, path: &str, body: &Value, errors: impl IntoIterator<Item = String>) -> Self {
        let call = client.call("POST", path).key("never-stored").json(body);
        Self::at(body.to_string(), call, errors)
    }
}

/// Sends all of them, and asserts that each gets what it should and that none is stored.
async fn refuse_all(world: &World, cases: Vec<Bad>, at_least: usize) {
    assert!(cases.len() >= at_least, "{} cases", cases.len());
    // Rows that an earlier run still moves would look like stored ones.
    world.settle_down().await;
    let before = world.owner.rows().await;
    let mut wrong = Vec::new();
    for Bad {
        name,
        call,
        status,
        code,
        errors,
    } in cases
    {
        let reply = call.send().await;
        let errors: Vec<&str> = errors.iter().map(String::as_str).collect();
        if let Err(why) = reply.is_problem(status, code, &errors) {
            wrong.push(format!("{name}: {why}\n{reply}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of them are not refused as they should be:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
    assert_eq!(
        world.owner.rows().await,
        before,
        "a refused request left something behind"
    );
    assert_eq!(world.breakages(), [""; 0]);
}
