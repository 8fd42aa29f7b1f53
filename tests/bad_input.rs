//! Requests that are wrong in every way we could think of. Each is refused with its own status, code and place; none
//! gets a 500, and none leaves a row behind.

use std::time::Duration;

use aos_tests::{Call, Stage, World, pure, raw, with};
use serde_json::{Value, json};

static STAGE: Stage = Stage::new(1);

/// An agent's id of the right form that nobody has.
const NO_AGENT: &str = "agt_018f0000000070008000000000000001";
/// Likewise a run's.
const NO_RUN: &str = "run_018f0000000070008000000000000001";

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
        Self {
            name: name.into(),
            call,
            status,
            code,
            errors: Vec::new(),
        }
    }

    /// A 422 `invalid_request` with exactly these errors.
    fn at(name: impl Into<String>, call: Call, errors: &[&str]) -> Self {
        let errors = errors.iter().map(|error| (*error).to_owned()).collect();
        Self {
            errors,
            ..Self::new(name, call, 422, "invalid_request")
        }
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

/// `levels` of arrays, one inside the other.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn bodies_that_are_no_json_or_not_one_object_are_refused_with_the_place() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        let mut cases = Vec::new();
        let deep = format!("{{\"input\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
        let no_json: [(&str, Vec<u8>); 18] = [
            ("empty", vec![]),
            ("spaces", b" \n\t ".to_vec()),
            ("truncated object", b"{\"name\": \"a\"".to_vec()),
            ("truncated string", b"{\"name\": \"a".to_vec()),
            ("truncated escape", b"{\"name\": \"\\u00".to_vec()),
            ("two values", b"{} {}".to_vec()),
            ("trailing comma", b"{\"name\": \"a\",}".to_vec()),
            ("single quotes", b"{'name': 'a'}".to_vec()),
            ("comment", b"{/* */}".to_vec()),
            ("NaN", b"{\"max_concurrent_runs\": NaN}".to_vec()),
            ("number without end", b"{\"max_concurrent_runs\": 1e999999}".to_vec()),
            ("bad UTF-8", b"{\"name\": \"\xff\xfe\"}".to_vec()),
            ("overlong UTF-8", b"{\"name\": \"\xc0\x80\"}".to_vec()),
            ("half a surrogate pair", b"{\"name\": \"\\ud83d\"}".to_vec()),
            ("byte order mark", b"\xef\xbb\xbf{}".to_vec()),
            ("raw NUL", b"{\"name\": \"a\0b\"}".to_vec()),
            ("nested 5,000 deep", deep.into_bytes()),
            (
                "key named twice",
                b"{\"name\": \"a\", \"name\": \"b\", \"allowed_skills\": []}".to_vec(),
            ),
        ];
        for (name, body) in no_json {
            for path in ["/v1/agents", "/v1/runs"] {
                let call = client
                    .call("POST", path)
                    .key(&format!("k-{}", cases.len()))
                    .body(body.clone());
                cases.push(Bad::new(format!("{name} at {path}"), call, 400, "invalid_json"));
            }
        }
        for (name, body) in [
            ("null", "null"),
            ("list", "[]"),
            ("text", "\"x\""),
            ("number", "-0.5e3"),
            ("true", "true"),
        ] {
            for path in ["/v1/agents", "/v1/runs"] {
                let call = client.call("POST", path).body(body);
                cases.push(Bad::at(format!("{name} at {path}"), call, &[" wrong_type"]));
            }
        }
        let large = format!("{{\"name\": \"{}\"}}", "x".repeat(1024 * 1024));
        for path in ["/v1/agents", "/v1/runs"] {
            let call = client.call("POST", path).body(large.clone());
            cases.push(Bad::new(format!("over 1 MiB at {path}"), call, 413, "body_too_large"));
            let pieces: Vec<Result<_, std::io::Error>> = (0..40).map(|_| Ok(vec![b' '; 32 * 1024])).collect();
            let stream = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
            let call = client.call("POST", path).body(stream);
            cases.push(Bad::new(
                format!("over 1 MiB without a length at {path}"),
                call,
                413,
                "body_too_large",
            ));
        }
        refuse_all(world, cases, 40).await;
    });
}

#[test]
fn wrong_media_types_are_refused() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        let body = json!({"name": "a", "allowed_skills": []}).to_string();
        let types = [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/xml",
            "application/jsonp",
            "application/octet-stream",
            "json",
            "",
            ";",
            "text/html; application/json",
        ];
        let mut cases: Vec<Bad> = types
            .iter()
            .map(|kind| {
                let call = client
                    .call("POST", "/v1/agents")
                    .header("Content-Type", kind)
                    .text(body.clone());
                Bad::new(format!("content type {kind:?}"), call, 415, "unsupported_media_type")
            })
            .collect();
        let unlabelled = client.call("POST", "/v1/agents").text(body.clone());
        cases.push(Bad::new("no content type", unlabelled, 415, "unsupported_media_type"));
        let no_body = client.call("POST", "/v1/runs");
        cases.push(Bad::new("nothing at all", no_body, 415, "unsupported_media_type"));
        refuse_all(world, cases, 10).await;
    });
}

#[test]
fn agents_with_wrong_fields_are_refused_at_the_field() {
    STAGE.alone(async |world| {
        let client = world.client();
        let agent = client.agent().await.to_owned();
        let labels = |count: usize| -> Value { (0..count).map(|i| (format!("l{i}"), json!("v"))).collect() };
        let huge: Value = serde_json::from_str("18446744073709551616").unwrap();
        let bad: Vec<(&str, Value, &[&str])> = vec![
            ("no fields", json!({}), &["/name required"]),
            ("no skills", json!({"name": "a"}), &["/allowed_skills required"]),
            (
                "unknown field",
                json!({"name": "a", "allowed_skills": [], "admin": true}),
                &["/admin unknown_field"],
            ),
            (
                "field in capitals",
                json!({"Name": "a", "allowed_skills": []}),
                &["/Name unknown_field"],
            ),
            (
                "tenant in the body",
                json!({"name": "a", "allowed_skills": [], "tenant_id": "t"}),
                &["/tenant_id unknown_field"],
            ),
            (
                "name of a number",
                json!({"name": 1, "allowed_skills": []}),
                &["/name wrong_type"],
            ),
            (
                "name of null",
                json!({"name": null, "allowed_skills": []}),
                &["/name wrong_type"],
            ),
            (
                "empty name",
                json!({"name": "", "allowed_skills": []}),
                &["/name invalid_format"],
            ),
            (
                "name of spaces",
                json!({"name": " \t ", "allowed_skills": []}),
                &["/name invalid_format"],
            ),
            (
                "long name",
                json!({"name": "é".repeat(129), "allowed_skills": []}),
                &["/name invalid_format"],
            ),
            (
                "NUL in the name",
                json!({"name": "a\0b", "allowed_skills": []}),
                &["/name invalid_text"],
            ),
            (
                "skills as a text",
                json!({"name": "a", "allowed_skills": "http_call"}),
                &["/allowed_skills wrong_type"],
            ),
            (
                "unknown skill",
                json!({"name": "a", "allowed_skills": ["http_call", "shell"]}),
                &["/allowed_skills/1 unknown_skill"],
            ),
            (
                "skill of null",
                json!({"name": "a", "allowed_skills": [null]}),
                &["/allowed_skills/0 wrong_type"],
            ),
            (
                "skill twice",
                json!({"name": "a", "allowed_skills": ["http_call", "http_call"]}),
                &["/allowed_skills/1 duplicate"],
            ),
            (
                "zero runs at once",
                json!({"name": "a", "allowed_skills": [], "max_concurrent_runs": 0}),
                &["/max_concurrent_runs out_of_range"],
            ),
            (
                "negative runs",
                json!({"name": "a", "allowed_skills": [], "max_concurrent_runs": -1}),
                &["/max_concurrent_runs out_of_range"],
            ),
            (
                "too many runs",
                json!({"name": "a", "allowed_skills": [], "max_concurrent_runs": 10_001}),
                &["/max_concurrent_runs out_of_range"],
            ),
            (
                "runs over u32",
                json!({"name": "a", "allowed_skills": [], "max_runs_per_minute": 4_294_967_296_u64}),
                &["/max_runs_per_minute out_of_range"],
            ),
            (
                "runs over u64",
                json!({"name": "a", "allowed_skills": [], "max_runs_per_minute": huge}),
                &["/max_runs_per_minute wrong_type"],
            ),
            (
                "half a run",
                json!({"name": "a", "allowed_skills": [], "max_runs_per_minute": 1.5}),
                &["/max_runs_per_minute wrong_type"],
            ),
            (
                "model of spaces",
                json!({"name": "a", "allowed_skills": [], "model": " "}),
                &["/model invalid_format"],
            ),
            (
                "long instructions",
                json!({"name": "a", "allowed_skills": [], "instructions": "x".repeat(16_385)}),
                &["/instructions too_large"],
            ),
            (
                "labels as a list",
                json!({"name": "a", "allowed_skills": [], "labels": []}),
                &["/labels wrong_type"],
            ),
            (
                "label of a number",
                json!({"name": "a", "allowed_skills": [], "labels": {"x": 1}}),
                &["/labels/x wrong_type"],
            ),
            (
                "33 labels",
                json!({"name": "a", "allowed_skills": [], "labels": labels(33)}),
                &["/labels too_many"],
            ),
            (
                "label without a key",
                json!({"name": "a", "allowed_skills": [], "labels": {"": "v"}}),
                &["/labels/ invalid_format"],
            ),
            (
                "long label",
                json!({"name": "a", "allowed_skills": [], "labels": {"a/b": "v".repeat(257)}}),
                &["/labels/a~1b too_large"],
            ),
            (
                "two at once",
                json!({"name": "", "allowed_skills": [], "model": ""}),
                &["/model invalid_format", "/name invalid_format"],
            ),
        ];
        let mut cases = Vec::new();
        for (name, body, errors) in bad {
            cases.push(Bad::at(
                name,
                client
                    .call("POST", "/v1/agents")
                    .key(name.replace(' ', "-").as_str())
                    .json(&body),
                errors,
            ));
        }
        let path = format!("/v1/agents/{agent}");
        for (name, patch, errors) in [
            (
                "patch of an unknown field",
                json!({"id": agent}),
                &["/id unknown_field"],
            ),
            (
                "patch of the name to null",
                json!({"name": null}),
                &["/name wrong_type"],
            ),
            (
                "patch of skills to null",
                json!({"allowed_skills": null}),
                &["/allowed_skills wrong_type"],
            ),
            (
                "patch to an unknown skill",
                json!({"allowed_skills": ["x"]}),
                &["/allowed_skills/0 unknown_skill"],
            ),
            (
                "patch to 33 labels",
                json!({"labels": labels(33)}),
                &["/labels too_many"],
            ),
        ] {
            cases.push(Bad::at(name, client.call("PATCH", &path).json(&patch), errors));
        }
        refuse_all(world, cases, 30).await;
    });
}

#[test]
fn runs_with_wrong_fields_are_refused_at_the_field() {
    STAGE.alone(async |world| {
        let client = world.client();
        let agent = client.agent().await.to_owned();
        let plan = json!({"steps": [pure("a", &[])]});
        let bad: Vec<(&str, Value, &[&str])> = vec![
            ("no fields", json!({}), &["/agent_id required"]),
            ("no plan", json!({"agent_id": agent}), &["/plan required"]),
            (
                "plan of null",
                json!({"agent_id": agent, "plan": null}),
                &["/plan required"],
            ),
            (
                "a goal",
                json!({"agent_id": agent, "goal": "become rich"}),
                &["/goal not_supported", "/plan required"],
            ),
            (
                "a goal beside a plan",
                json!({"agent_id": agent, "goal": "x", "plan": plan}),
                &["/goal not_supported"],
            ),
            (
                "agent of null",
                json!({"agent_id": null, "plan": plan}),
                &["/agent_id wrong_type"],
            ),
            (
                "agent of a number",
                json!({"agent_id": 7, "plan": plan}),
                &["/agent_id wrong_type"],
            ),
            (
                "agent that is no id",
                json!({"agent_id": "me", "plan": plan}),
                &["/agent_id invalid_format"],
            ),
            (
                "agent that is a run",
                json!({"agent_id": NO_RUN, "plan": plan}),
                &["/agent_id invalid_format"],
            ),
            (
                "agent that is not there",
                json!({"agent_id": NO_AGENT, "plan": plan}),
                &["/agent_id not_found"],
            ),
            (
                "status from outside",
                json!({"agent_id": agent, "plan": plan, "status": "succeeded"}),
                &["/status unknown_field"],
            ),
            (
                "budget of the future",
                json!({"agent_id": agent, "plan": plan, "budget_microusd": 1}),
                &["/budget_microusd unknown_field"],
            ),
            (
                "input as a list",
                json!({"agent_id": agent, "plan": plan, "input": []}),
                &["/input wrong_type"],
            ),
            (
                "input of null",
                json!({"agent_id": agent, "plan": plan, "input": null}),
                &["/input wrong_type"],
            ),
            (
                "NUL in the input",
                json!({"agent_id": agent, "plan": plan, "input": {"x": ["a", "\0"]}}),
                &["/input/x/1 invalid_text"],
            ),
            (
                "NUL in a key of the input",
                json!({"agent_id": agent, "plan": plan, "input": {"\0": 1}}),
                &["/input invalid_text"],
            ),
            (
                "large input",
                json!({"agent_id": agent, "plan": plan, "input": {"x": "x".repeat(256 * 1024)}}),
                &["/input too_large"],
            ),
            (
                "label of null",
                json!({"agent_id": agent, "plan": plan, "labels": {"a": null}}),
                &["/labels/a wrong_type"],
            ),
        ];
        let cases = bad
            .into_iter()
            .map(|(name, body, errors)| Bad::at(name, client.call("POST", "/v1/runs").key("never").json(&body), errors))
            .collect();
        refuse_all(world, cases, 18).await;
    });
}

#[test]
fn plans_that_cannot_be_carried_out_are_refused_at_every_place_that_is_wrong() {
    STAGE.alone(async |world| {
        let client = world.client();
        let agent = client.agent().await.to_owned();
        let step = |fields: Value| json!([with(pure("a", &[]), fields)]);
        let reference = |text: &str| {
            json!([
                pure("a", &[]),
                with(pure("b", &["a"]), json!({"params": {"input": text, "expression": "@"}}))
            ])
        };
        let http = |params: Value| json!([{"id": "a", "skill": "http_call", "params": params}]);
        let kv = |params: Value| json!([{"id": "a", "skill": "kv_store", "params": params}]);
        let many = |count: usize| -> Value { (0..count).map(|i| pure(&format!("s{i}"), &[])).collect() };
        let bad: Vec<(&str, Value, &[&str])> = vec![
            ("steps as an object", json!({}), &["/plan/steps wrong_type"]),
            ("no steps", json!([]), &["/plan/steps too_few"]),
            ("101 steps", many(101), &["/plan/steps too_many"]),
            ("a step of null", json!([null]), &["/plan/steps/0 wrong_type"]),
            (
                "a step without anything",
                json!([{}]),
                &["/plan/steps/0/id required", "/plan/steps/0/skill required"],
            ),
            (
                "an unknown field",
                step(json!({"timeout": 1})),
                &["/plan/steps/0/timeout unknown_field"],
            ),
            (
                "an empty id",
                step(json!({"id": ""})),
                &["/plan/steps/0/id invalid_value"],
            ),
            (
                "an id with a path in it",
                step(json!({"id": "../a"})),
                &["/plan/steps/0/id invalid_value"],
            ),
            (
                "a long id",
                step(json!({"id": "a".repeat(65)})),
                &["/plan/steps/0/id invalid_value"],
            ),
            (
                "the same id twice",
                json!([pure("a", &[]), pure("a", &[])]),
                &["/plan/steps/1/id duplicate"],
            ),
            (
                "an unknown skill",
                step(json!({"skill": "shell"})),
                &["/plan/steps/0/skill unknown_skill"],
            ),
            (
                "a skill of a number",
                step(json!({"skill": 1})),
                &["/plan/steps/0/skill wrong_type"],
            ),
            (
                "params as a list",
                step(json!({"params": []})),
                &["/plan/steps/0/params wrong_type"],
            ),
            (
                "params nested too deep",
                step(json!({"params": {"input": nested(40), "expression": "@"}})),
                &["/plan/steps/0/params too_deep"],
            ),
            (
                "params too long",
                step(json!({"params": {"input": "x".repeat(65 * 1024), "expression": "@"}})),
                &["/plan/steps/0/params too_long"],
            ),
            (
                "a step that needs itself",
                step(json!({"needs": ["a"]})),
                &["/plan/steps/0/needs/0 cycle"],
            ),
            (
                "a cycle of two",
                json!([pure("a", &["b"]), pure("b", &["a"])]),
                &["/plan/steps/1/needs/0 cycle"],
            ),
            (
                "a cycle of three",
                json!([pure("a", &["c"]), pure("b", &["a"]), pure("c", &["b"])]),
                &["/plan/steps/1/needs/0 cycle"],
            ),
            (
                "a need of nobody",
                step(json!({"needs": ["b"]})),
                &["/plan/steps/0/needs/0 unknown_step"],
            ),
            (
                "a need twice",
                json!([pure("a", &[]), pure("b", &["a", "a"])]),
                &["/plan/steps/1/needs/1 duplicate"],
            ),
            (
                "needs as a text",
                step(json!({"needs": "b"})),
                &["/plan/steps/0/needs wrong_type"],
            ),
            (
                "on_error of its own",
                step(json!({"on_error": "retry"})),
                &["/plan/steps/0/on_error invalid_value"],
            ),
            (
                "no attempts",
                step(json!({"retry": {"attempts": 0}})),
                &["/plan/steps/0/retry/attempts out_of_range"],
            ),
            (
                "negative attempts",
                step(json!({"retry": {"attempts": -3}})),
                &["/plan/steps/0/retry/attempts out_of_range"],
            ),
            (
                "too many attempts",
                step(json!({"retry": {"attempts": 11}})),
                &["/plan/steps/0/retry/attempts out_of_range"],
            ),
            (
                "a backoff of nothing",
                step(json!({"retry": {"backoff_ms": 0}})),
                &["/plan/steps/0/retry/backoff_ms out_of_range"],
            ),
            (
                "an unknown field of retry",
                step(json!({"retry": {"max": 1}})),
                &["/plan/steps/0/retry/max unknown_field"],
            ),
            (
                "a timeout of nothing",
                step(json!({"timeout_ms": 0})),
                &["/plan/steps/0/timeout_ms out_of_range"],
            ),
            (
                "a timeout of days",
                step(json!({"timeout_ms": 600_001})),
                &["/plan/steps/0/timeout_ms out_of_range"],
            ),
            (
                "a huge timeout",
                step(json!({"timeout_ms": u64::MAX})),
                &["/plan/steps/0/timeout_ms out_of_range"],
            ),
            (
                "a timeout in text",
                step(json!({"timeout_ms": "30"})),
                &["/plan/steps/0/timeout_ms wrong_type"],
            ),
            (
                "a condition that does not compile",
                step(json!({"when": "a =="})),
                &["/plan/steps/0/when invalid_value"],
            ),
            (
                "a condition over all steps",
                step(json!({"when": "length(keys(steps)) > `0`"})),
                &["/plan/steps/0/when invalid_value"],
            ),
            (
                "a condition on nobody",
                step(json!({"when": "steps.z.output"})),
                &["/plan/steps/0/when unknown_reference"],
            ),
            (
                "a long condition",
                step(json!({"when": "x".repeat(1_025)})),
                &["/plan/steps/0/when too_long"],
            ),
            (
                "approval",
                step(json!({"requires_approval": true})),
                &["/plan/steps/0/requires_approval not_supported"],
            ),
            (
                "a reference to nobody",
                reference("{{steps.z.output}}"),
                &["/plan/steps/1/params/input unknown_reference"],
            ),
            (
                "a reference to oneself",
                reference("{{steps.b.output}}"),
                &["/plan/steps/1/params/input unknown_reference"],
            ),
            (
                "a reference to nothing in the input",
                reference("{{input.x}}"),
                &["/plan/steps/1/params/input unknown_reference"],
            ),
            (
                "a reference to the environment",
                reference("{{env.AOS_API_KEY}}"),
                &["/plan/steps/1/params/input unknown_reference"],
            ),
            (
                "a reference to a secret",
                reference("{{secrets.token}}"),
                &["/plan/steps/1/params/input not_supported"],
            ),
            (
                "a reference without an end",
                reference("{{steps.a.output"),
                &["/plan/steps/1/params/input invalid_reference"],
            ),
            (
                "a placeholder left over",
                reference("{{AGENT_ID}}"),
                &["/plan/steps/1/params/input unknown_reference"],
            ),
            (
                "a reference to a step that may not have ended",
                json!([
                    pure("a", &[]),
                    with(
                        pure("b", &[]),
                        json!({"params": {"input": "{{steps.a.output}}", "expression": "@"}})
                    )
                ]),
                &["/plan/steps/1/params/input missing_need"],
            ),
            (
                "a transform of nothing",
                step(json!({"params": {"expression": "@"}})),
                &["/plan/steps/0/params/input required"],
            ),
            (
                "an expression that does not compile",
                step(json!({"params": {"input": 1, "expression": "a..b"}})),
                &["/plan/steps/0/params/expression invalid_value"],
            ),
            (
                "expression and mapping",
                step(json!({"params": {"input": 1, "expression": "@", "mapping": {"x": "@"}}})),
                &["/plan/steps/0/params/mapping conflicting_fields"],
            ),
            (
                "a call without a URL",
                http(json!({})),
                &["/plan/steps/0/params/url required"],
            ),
            (
                "a call of an unknown method",
                http(json!({"url": "https://aos.dev/", "method": "BREW"})),
                &["/plan/steps/0/params/method invalid_value"],
            ),
            (
                "a body to GET",
                http(json!({"url": "https://aos.dev/", "body": "x"})),
                &["/plan/steps/0/params/body conflicting_fields"],
            ),
            (
                "a header with a line end",
                http(json!({"url": "https://aos.dev/", "headers": {"X-A": "a\r\nX-B: b"}})),
                &["/plan/steps/0/params/headers/X-A invalid_value"],
            ),
            (
                "a header of the connection",
                http(json!({"url": "https://aos.dev/", "headers": {"Host": "b"}})),
                &["/plan/steps/0/params/headers/Host invalid_value"],
            ),
            (
                "a header's name with a space",
                http(json!({"url": "https://aos.dev/", "headers": {"X A": "b"}})),
                &["/plan/steps/0/params/headers/X A invalid_value"],
            ),
            (
                "a call that takes hours",
                http(json!({"url": "https://aos.dev/", "timeout_ms": 60_001})),
                &["/plan/steps/0/params/timeout_ms out_of_range"],
            ),
            (
                "an unknown operation",
                kv(json!({"op": "flushall", "key": "a"})),
                &["/plan/steps/0/params/op invalid_value"],
            ),
            (
                "no key",
                kv(json!({"op": "get"})),
                &["/plan/steps/0/params/key required"],
            ),
            (
                "a long key",
                kv(json!({"op": "get", "key": "k".repeat(513)})),
                &["/plan/steps/0/params/key too_long"],
            ),
            (
                "a key with a line end",
                kv(json!({"op": "get", "key": "a\nb"})),
                &["/plan/steps/0/params/key invalid_value"],
            ),
            (
                "a value for get",
                kv(json!({"op": "get", "key": "a", "value": 1})),
                &["/plan/steps/0/params/value conflicting_fields"],
            ),
            (
                "set without a value",
                kv(json!({"op": "set", "key": "a"})),
                &["/plan/steps/0/params/value required"],
            ),
            (
                "a negative time to live",
                kv(json!({"op": "expire", "key": "a", "ttl_s": -1})),
                &["/plan/steps/0/params/ttl_s out_of_range"],
            ),
            (
                "everything at once",
                json!([with(pure("a", &["z"]), json!({"skill": "x", "timeout_ms": -1})), 7]),
                &[
                    "/plan/steps/0/needs/0 unknown_step",
                    "/plan/steps/0/skill unknown_skill",
                    "/plan/steps/0/timeout_ms out_of_range",
                    "/plan/steps/1 wrong_type",
                ],
            ),
        ];
        let mut cases: Vec<Bad> = bad
            .into_iter()
            .map(|(name, steps, errors)| {
                let body = json!({"agent_id": agent, "plan": {"steps": steps}});
                Bad::at(name, client.call("POST", "/v1/runs").key("never").json(&body), errors)
            })
            .collect();
        let five: Value = (0..5)
            .map(|i| {
                with(
                    pure(&format!("s{i}"), &[]),
                    json!({"params": {"input": "x".repeat(60_000), "expression": "@"}}),
                )
            })
            .collect();
        for (name, plan, errors) in [
            ("a plan of a number", json!(3), &["/plan wrong_type"][..]),
            (
                "an unknown field of the plan",
                json!({"steps": [pure("a", &[])], "version": 2}),
                &["/plan/version unknown_field"],
            ),
            ("a plan too long", json!({"steps": five}), &["/plan too_long"]),
        ] {
            let body = json!({"agent_id": agent, "plan": plan});
            cases.push(Bad::at(
                name,
                client.call("POST", "/v1/runs").key("never").json(&body),
                errors,
            ));
        }
        refuse_all(world, cases, 60).await;
    });
}

#[test]
fn skills_that_the_agent_may_not_use_are_refused_at_every_step_that_uses_them() {
    STAGE.alone(async |world| {
        let client = world.client();
        let body = json!({"name": "reader", "allowed_skills": ["json_transform"]});
        let agent = client.post("/v1/agents", &body).await.expect(201)["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let get = json!({"id": "k", "skill": "kv_store", "params": {"op": "get", "key": "k"}});
        let steps = json!([
            pure("a", &[]),
            client.http("b", "GET", "/echo", &[]),
            get,
            client.http("c", "GET", "/echo", &["a"])
        ]);
        let call = client
            .call("POST", "/v1/runs")
            .key("k")
            .json(&json!({"agent_id": agent, "plan": {"steps": steps}}));
        let errors = [
            "/plan/steps/1/skill skill_not_allowed",
            "/plan/steps/2/skill skill_not_allowed",
            "/plan/steps/3/skill skill_not_allowed",
        ];
        refuse_all(world, vec![Bad::at("three uses", call, &errors)], 1).await;
        assert_eq!(world.cloud.standins().counters().snapshot().labelled("GET /echo"), 0);
    });
}

#[test]
fn urls_that_lead_inside_are_refused_in_every_notation() {
    STAGE.alone(async |world| {
        let client = world.client();
        let agent = client.agent().await.to_owned();
        let port = world.standins().rsplit(':').next().unwrap().to_owned();
        let other_port = world.cloud.neon().endpoint();
        let forbidden = [
            "http://127.0.0.1/",
            "http://127.0.0.1:1/",
            "http://localhost/",
            "http://localhost./",
            "http://LOCALHOST/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://0x7f.1/",
            "http://%31%32%37.0.0.1/",
            "http://127.0.0.1./",
            "http://０/",
            "http://①②⑦.0.0.1/",
            "http://0/",
            "http://0.0.0.0/",
            "http://10.0.0.1/",
            "http://172.16.0.1/",
            "http://192.168.1.1/",
            "http://100.64.0.1/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:7f00:1::]/",
            "http://[fe80::1]/",
            "http://[fc00::1]/",
            "http://[ff02::1]/",
            "http://224.0.0.1/",
            "http://255.255.255.255/",
            "http://metadata/",
            "http://metadata.google.internal/",
            "http://printer.local/",
            "http://a.localhost/",
            "http://router.lan/",
            "ftp://aos.dev/",
            "file:///etc/passwd",
            "gopher://aos.dev/",
            "data:text/plain,x",
            "javascript:1",
            "http://user@aos.dev/",
            "http://user:pass@aos.dev/",
            "http://@aos.dev/",
            "http:///x",
            other_port.as_str(),
        ];
        let malformed = [
            "",
            "aos.dev",
            "/path",
            "http://",
            "http:\\\\aos.dev\\",
            "http://aos.dev/ x",
            "http://aos.dev/\n",
            "http://a..b/",
            "http://[::1",
            "http://aos.dev:99999/",
            "http://aos.dev:0/",
            "//aos.dev/",
        ];
        let case = |url: &str, code: &str| {
            let steps = json!([{"id": "a", "skill": "http_call", "params": {"url": url}}]);
            let call = client
                .call("POST", "/v1/runs")
                .json(&json!({"agent_id": agent, "plan": {"steps": steps}}));
            Bad::at(format!("{url:?}"), call, &[&format!("/plan/steps/0/params/url {code}")])
        };
        let mut cases: Vec<Bad> = forbidden.iter().map(|url| case(url, "forbidden_address")).collect();
        cases.extend(malformed.iter().map(|url| case(url, "invalid_value")));
        // The one door that development leaves open is open for one port of one address.
        cases.push(case(&format!("http://127.0.0.2:{port}/"), "forbidden_address"));
        cases.push(case(&format!("http://[::1]:{port}/"), "forbidden_address"));
        refuse_all(world, cases, 60).await;
    });
}

#[test]
fn queries_paths_and_headers_that_are_wrong_are_named() {
    STAGE.alone(async |world| {
        let client = world.client();
        let run = client.start(json!([pure("a", &[])])).await;
        client.ended_as(&run, "succeeded").await;
        let of_run = |rest: &str| format!("/v1/runs/{run}{rest}");
        let mut cases = Vec::new();
        for (path, error) in [
            ("/v1/runs?limit=0".to_owned(), "?limit out_of_range"),
            ("/v1/runs?limit=101".to_owned(), "?limit out_of_range"),
            ("/v1/runs?limit=-5".to_owned(), "?limit out_of_range"),
            ("/v1/runs?limit=1e1".to_owned(), "?limit out_of_range"),
            ("/v1/runs?limit=99999999999999999999".to_owned(), "?limit out_of_range"),
            ("/v1/runs?limit=".to_owned(), "?limit out_of_range"),
            ("/v1/runs?limit=%31%00".to_owned(), "?limit out_of_range"),
            ("/v1/runs?limit=5&limit=6".to_owned(), "?limit duplicate"),
            ("/v1/agents?limit=abc".to_owned(), "?limit out_of_range"),
            ("/v1/runs?cursor=".to_owned(), "?cursor invalid_cursor"),
            ("/v1/runs?cursor=AAAA".to_owned(), "?cursor invalid_cursor"),
            ("/v1/runs?cursor=%FF%FE".to_owned(), "?cursor invalid_cursor"),
            ("/v1/runs?cursor=%00".to_owned(), "?cursor invalid_cursor"),
            (
                "/v1/runs?cursor=%27%3B%20drop%20table%20runs%3B--".to_owned(),
                "?cursor invalid_cursor",
            ),
            (
                format!("/v1/agents?cursor={}", "A".repeat(5_000)),
                "?cursor invalid_cursor",
            ),
            (format!("/v1/agents?cursor={run}"), "?cursor invalid_cursor"),
            ("/v1/runs?status=done".to_owned(), "?status invalid_format"),
            ("/v1/runs?status=".to_owned(), "?status invalid_format"),
            ("/v1/runs?agent_id=me".to_owned(), "?agent_id invalid_format"),
            (format!("/v1/runs?agent_id={run}"), "?agent_id invalid_format"),
            ("/v1/runs?tenant=other".to_owned(), "?tenant unknown_parameter"),
            ("/v1/agents?status=failed".to_owned(), "?status unknown_parameter"),
            ("/v1/agents?%FF=1".to_owned(), "?\u{fffd} unknown_parameter"),
            (of_run("?wait=31"), "?wait out_of_range"),
            (of_run("?wait=-1"), "?wait out_of_range"),
            (of_run("?wait=forever"), "?wait out_of_range"),
            (of_run("?Wait=1"), "?Wait unknown_parameter"),
            (of_run("/history?after=-1"), "?after out_of_range"),
            (of_run("/history?after=99999999999"), "?after out_of_range"),
            (of_run("/history?limit=501"), "?limit out_of_range"),
            (of_run("/history?cursor=x"), "?cursor unknown_parameter"),
        ] {
            cases.push(Bad::at(
                path.chars().take(80).collect::<String>(),
                client.call("GET", &path),
                &[error],
            ));
        }
        for path in [
            "/".to_owned(),
            "/v1".to_owned(),
            "/v2/runs".to_owned(),
            "/v1/runs/".to_owned(),
            "/v1//runs".to_owned(),
            "/V1/RUNS".to_owned(),
            "/v1/runs/me".to_owned(),
            "/v1/runs/null".to_owned(),
            "/v1/runs/1".to_owned(),
            format!("/v1/runs/{NO_RUN}"),
            format!("/v1/runs/{NO_RUN}/steps"),
            format!("/v1/runs/{NO_RUN}/steps/a"),
            format!("/v1/runs/{NO_RUN}/history"),
            format!("/v1/agents/{run}"),
            format!("/v1/runs/{}", &run[4..]),
            format!("/v1/runs/{run}x"),
            format!("/v1/runs/{}", run.replace("run_", "agt_")),
            of_run("/trace"),
            of_run("/steps/b"),
            of_run("/steps/a/output"),
            of_run("%00"),
            of_run("%2Fsteps"),
            format!("/v1/runs/{}", "x".repeat(10_000)),
            "/v1/runs/run_%F0%9F%98%80".to_owned(),
            "/v1/skills/..%2f..%2fetc%2fpasswd".to_owned(),
            "/.dev.vars".to_owned(),
            "/.git/config".to_owned(),
        ] {
            cases.push(Bad::new(
                path.chars().take(80).collect::<String>(),
                client.call("GET", &path),
                404,
                "not_found",
            ));
        }
        for path in [
            "/v1/runs/%FF".to_owned(),
            "/v1/agents/%C0%80".to_owned(),
            of_run("/steps/%ED%A0%80"),
            "/v1/skills/%FE".to_owned(),
        ] {
            cases.push(Bad::new(path.clone(), client.call("GET", &path), 400, "invalid_path"));
        }
        let cancel = client.call("POST", &format!("/v1/runs/{NO_RUN}/cancel"));
        cases.push(Bad::new("cancel of nothing", cancel, 404, "not_found"));
        let cancel = client.call("POST", &of_run("/cancel"));
        cases.push(Bad::new("cancel of what has ended", cancel, 409, "run_ended"));

        let body = client.run_of(json!([pure("a", &[])])).await;
        for key in ["", " ", "a b", "ä", &"k".repeat(256)] {
            let call = client.call("POST", "/v1/runs").key(key).json(&body);
            cases.push(Bad::at(
                format!("idempotency key {key:?}"),
                call,
                &["Idempotency-Key: invalid_format"],
            ));
        }
        for tenant in ["", " ", "a b", "ä", "a/b", "a,b", "../x", &"t".repeat(129)] {
            let call = client
                .stranger("GET", "/v1/runs")
                .header("X-API-Key", client.key())
                .header("X-AOS-Tenant", tenant);
            cases.push(Bad::at(
                format!("tenant {tenant:?}"),
                call,
                &["X-AOS-Tenant: invalid_format"],
            ));
        }
        for (method, path) in [
            ("PUT", "/v1/runs"),
            ("DELETE", "/v1/agents"),
            ("POST", "/healthz"),
            ("PATCH", "/v1/runs"),
            ("OPTIONS", "/v1/runs"),
        ] {
            cases.push(Bad::new(
                format!("{method} {path}"),
                client.call(method, path),
                405,
                "method_not_allowed",
            ));
        }
        refuse_all(world, cases, 80).await;
    });
}

#[test]
fn bytes_that_are_hardly_http_break_nothing() {
    STAGE.alone(async |world| {
        let client = world.client();
        client.agent().await;
        world.settle_down().await;
        let before = world.owner.rows().await;
        let head = |line: &str, more: &str| {
            let (key, tenant) = (client.key(), client.tenant());
            format!("{line}\r\nHost: localhost\r\nConnection: close\r\nX-API-Key: {key}\r\nX-AOS-Tenant: {tenant}\r\n{more}\r\n")
        };
        let post = |more: &str| head("POST /v1/agents HTTP/1.1", &format!("Content-Type: application/json\r\n{more}"));
        let mut cases: Vec<(&str, Vec<u8>)> = vec![
            ("no request", b"\r\n\r\n".to_vec()),
            ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc".to_vec()),
            ("no version", b"GET /v1/runs\r\n\r\n".to_vec()),
            ("a version of the future", head("GET /v1/runs HTTP/9.9", "").into_bytes()),
            ("a method of two words", head("GET IT /v1/runs HTTP/1.1", "").into_bytes()),
            ("an unknown method", head("BREW /v1/runs HTTP/1.1", "").into_bytes()),
            ("a NUL in the path", head("GET /v1/runs/\0 HTTP/1.1", "").into_bytes()),
            ("a bare percent", head("GET /v1/runs/% HTTP/1.1", "").into_bytes()),
            ("half an escape", head("GET /v1/runs/%F HTTP/1.1", "").into_bytes()),
            ("a path that leaves", head("GET /../../etc/passwd HTTP/1.1", "").into_bytes()),
            ("a header without a colon", head("GET /v1/runs HTTP/1.1", "nonsense\r\n").into_bytes()),
            ("a header with a NUL", head("GET /v1/runs HTTP/1.1", "X-A: a\0b\r\n").into_bytes()),
            ("a header's name with a space", head("GET /v1/runs HTTP/1.1", "X A: b\r\n").into_bytes()),
            ("a header with a DEL", format!("{}{{}}", post("Idempotency-Key: a\x7f\r\nContent-Length: 2\r\n")).into_bytes()),
            ("a path of 300 KB", head(&format!("GET /{} HTTP/1.1", "a".repeat(300_000)), "").into_bytes()),
            ("a negative length", post("Content-Length: -1\r\n").into_bytes()),
            ("a length that is no number", post("Content-Length: many\r\n").into_bytes()),
            ("a length beyond counting", post("Content-Length: 99999999999999999999\r\n").into_bytes()),
            ("two lengths", format!("{}{{}}", post("Content-Length: 2\r\nContent-Length: 3\r\n")).into_bytes()),
            ("a body that breaks off", format!("{}{{\"name\": \"bro", post("Content-Length: 1000\r\n")).into_bytes()),
            ("a chunk that breaks off", format!("{}ff\r\n{{\"name\"", post("Transfer-Encoding: chunked\r\n")).into_bytes()),
            ("chunks that are none", format!("{}zz\r\n{{}}\r\n0\r\n\r\n", post("Transfer-Encoding: chunked\r\n")).into_bytes()),
            ("length and chunks", format!("{}2\r\n{{}}\r\n0\r\n\r\n", post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n")).into_bytes()),
            ("a body said to be gzip", format!("{}not gzip", post("Content-Encoding: gzip\r\nContent-Length: 8\r\n")).into_bytes()),
        ];
        let mut bytes = head("GET /v1/runs/BAD HTTP/1.1", "").into_bytes();
        replace(&mut bytes, b"BAD", b"\xff\xfe\xfd");
        cases.push(("a path that is not UTF-8", bytes));
        let mut bytes = head("GET /v1/runs?cursor=BAD HTTP/1.1", "").into_bytes();
        replace(&mut bytes, b"BAD", b"\xff\xfe\xfd");
        cases.push(("a query that is not UTF-8", bytes));
        let mut bytes = head("GET /v1/runs HTTP/1.1", "").into_bytes();
        replace(&mut bytes, client.key().as_bytes(), b"\xff\xfe\xfd");
        cases.push(("a key that is not UTF-8", bytes));
        let mut bytes = post("Idempotency-Key: BAD\r\nContent-Length: 2\r\n").into_bytes();
        replace(&mut bytes, b"BAD", b"\xff\xfe\xfd");
        bytes.extend_from_slice(b"{}");
        cases.push(("an idempotency key that is not UTF-8", bytes));

        let mut wrong = Vec::new();
        for (name, bytes) in &cases {
            let reply = raw(client.base(), bytes).await;
            // Some are refused by workerd itself, some by closing the connection. Where the body breaks off, wrangler's
            // proxy answers by a 500 of its own before the Worker's answer gets through; what that was, its log tells.
            let broke_off = name.contains("breaks off") || name.contains("are none");
            let refused = |status| (400..500).contains(&status) || status == 501 || (broke_off && reply.json.is_none());
            if reply.status.is_some_and(|status| !refused(status)) {
                wrong.push(format!("{name}: {reply:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
        assert_eq!(world.owner.rows().await, before);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(world.breakages(), [""; 0]);
        client.get("/v1/agents").await.expect(200);
    });
}

fn replace(bytes: &mut Vec<u8>, from: &[u8], to: &[u8]) {
    let at = bytes
        .windows(from.len())
        .position(|window| window == from)
        .expect("what is replaced is there");
    bytes.splice(at..at + from.len(), to.iter().copied());
}
