//! Plans, and the examples of the repository.

use std::path::Path;

use aos_dev::paths::repository;
use serde_json::{Value, json};

/// A step that computes, and gives 1.
pub fn pure(id: &str, needs: &[&str]) -> Value {
    json!({"id": id, "skill": "json_transform", "needs": needs, "params": {"input": {"n": 1}, "expression": "n"}})
}

/// `step` with more fields.
#[must_use]
pub fn with(mut step: Value, fields: Value) -> Value {
    let (Some(step_fields), Some(fields)) = (step.as_object_mut(), fields.as_object()) else {
        panic!("a step and its fields are objects");
    };
    step_fields.extend(fields.clone());
    step
}

/// `n` steps that compute, one after the other: `s0`, `s1`, …
pub fn chain(n: usize) -> Value {
    (0..n)
        .map(|i| match i.checked_sub(1) {
            None => pure("s0", &[]),
            Some(before) => pure(&format!("s{i}"), &[&format!("s{before}")]),
        })
        .collect()
}

/// The names of all examples.
pub fn examples() -> Vec<String> {
    let folder = repository().join("examples");
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> = files
        .map(|file| {
            file.expect("the folder of examples can be read")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// The request of an example with its placeholders filled in, and what must come of it.
pub fn example(name: &str, agent: &str, standins: &str) -> (Value, Value) {
    let folder = repository().join("examples");
    let request = read(&folder.join(format!("{name}.json")));
    let request = request
        .replace("{{AGENT_ID}}", agent)
        .replace("{{STANDINS_URL}}", standins);
    let expected = read(&folder.join("expected").join(format!("{name}.json")));
    let parse = |text: &str| serde_json::from_str(text).unwrap_or_else(|error| panic!("example {name}: {error}"));
    (parse(&request), parse(&expected))
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
