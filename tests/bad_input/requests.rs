//! Queries, paths, headers and methods that are wrong.

use aos_tests::pure;
use serde_json::json;

use crate::{Bad, NO_RUN, STAGE, refuse_all, table};

#[test]
fn queries_paths_and_headers_that_are_wrong_are_named() {
    STAGE.alone(async |world| {
        let client = world.client();
        let run = client.start(json!([pure("a", &[])])).await;
        client.ended_as(&run, "succeeded").await;
        let of_run = |rest: &str| format!("/v1/runs/{run}{rest}");
        let mut cases = Vec::new();
        let queries = table! {
            "/v1/runs?limit=0".to_owned() => "?limit out_of_range";
            "/v1/runs?limit=101".to_owned() => "?limit out_of_range";
            "/v1/runs?limit=-5".to_owned() => "?limit out_of_range";
            "/v1/runs?limit=1e1".to_owned() => "?limit out_of_range";
            "/v1/runs?limit=99999999999999999999".to_owned() => "?limit out_of_range";
            "/v1/runs?limit=".to_owned() => "?limit out_of_range";
            "/v1/runs?limit=%31%00".to_owned() => "?limit out_of_range";
            "/v1/runs?limit=5&limit=6".to_owned() => "?limit duplicate";
            "/v1/agents?limit=abc".to_owned() => "?limit out_of_range";
            "/v1/runs?cursor=".to_owned() => "?cursor invalid_cursor";
            "/v1/runs?cursor=AAAA".to_owned() => "?cursor invalid_cursor";
            "/v1/runs?cursor=%FF%FE".to_owned() => "?cursor invalid_cursor";
            "/v1/runs?cursor=%00".to_owned() => "?cursor invalid_cursor";
            "/v1/runs?cursor=%27%3B%20drop%20table%20runs%3B--".to_owned() => "?cursor invalid_cursor";
            format!("/v1/agents?cursor={}", "A".repeat(5_000)) => "?cursor invalid_cursor";
            format!("/v1/agents?cursor={run}") => "?cursor invalid_cursor";
            "/v1/runs?status=done".to_owned() => "?status invalid_format";
            "/v1/runs?status=".to_owned() => "?status invalid_format";
            "/v1/runs?agent_id=me".to_owned() => "?agent_id invalid_format";
            format!("/v1/runs?agent_id={run}") => "?agent_id invalid_format";
            "/v1/runs?tenant=other".to_owned() => "?tenant unknown_parameter";
            "/v1/agents?status=failed".to_owned() => "?status unknown_parameter";
            "/v1/agents?%FF=1".to_owned() => "?\u{fffd} unknown_parameter";
            of_run("?wait=31") => "?wait out_of_range";
            of_run("?wait=-1") => "?wait out_of_range";
            of_run("?wait=forever") => "?wait out_of_range";
            of_run("?Wait=1") => "?Wait unknown_parameter";
            of_run("/history?after=-1") => "?after out_of_range";
            of_run("/history?after=99999999999") => "?after out_of_range";
            of_run("/history?limit=501") => "?limit out_of_range";
            of_run("/history?cursor=x") => "?cursor unknown_parameter";
        };
        for (path, errors) in queries {
            cases.push(Bad::at(path.as_str(), client.call("GET", &path), errors));
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
            cases.push(Bad::new(path.as_str(), client.call("GET", &path), 404, "not_found"));
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
                ["Idempotency-Key: invalid_format"],
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
                ["X-AOS-Tenant: invalid_format"],
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
