//! What is kept of a step, and what must not be: outputs too large for a row, secrets.

use aos_tests::pure;
use serde_json::json;

use crate::STAGE;

#[test]
fn a_large_output_goes_to_r2_and_comes_back_to_steps_readers_and_erasure() {
    STAGE.together(async |world| {
        let client = world.client();
        let run = client
            .start(json!([
                client.http("raw", "GET", "/items?n=1000", &[]),
                {"id": "twice", "skill": "json_transform", "needs": ["raw"],
                    "params": {"input": "{{steps.raw.output.body}}", "expression": "{a: @, b: @}"}},
                {"id": "last", "skill": "json_transform", "needs": ["twice"],
                    "params": {"input": "{{steps.twice.output.b}}", "expression": "[-1].name"}},
                {"id": "all", "skill": "json_transform", "needs": ["twice"],
                    "params": {"input": "{{steps.twice.output}}", "expression": "@"}}
            ]))
            .await;
        let ended = client.ended_as(&run, "succeeded").await;
        assert_eq!(ended["output"]["last"], "item-1000");
        assert_eq!(ended["output"]["all"]["a"].as_array().map(Vec::len), Some(1000));
        let step = client.get(&format!("/v1/runs/{run}/steps/twice")).await.expect(200);
        assert_eq!(step["output"]["b"][999]["name"], "item-1000");
        assert!(
            step["output_ref"]["bytes"]
                .as_u64()
                .is_some_and(|bytes| bytes > 64 * 1024)
        );
        let listed = client.get(&format!("/v1/runs/{run}/steps")).await.expect(200);
        assert_eq!(listed["items"][1]["output_omitted"], true);

        let name = client.tenant();
        let id = world
            .owner
            .value(&format!(
                "select replace(id::text, '-', '') from tenants where external_id = '{name}'"
            ))
            .await;
        let erased = client
            .call("DELETE", &format!("/v1/tenants/ten_{id}"))
            .send()
            .await
            .expect(200);
        assert_eq!(
            (&erased["erased"], &erased["archived_objects"]),
            (&json!(true), &json!(1))
        );
    });
}

#[test]
fn a_secret_reaches_its_target_and_no_log_table_or_answer() {
    const SECRET: &str = "hush-51cd-e2e-not-anywhere";
    STAGE.alone(async |world| {
        let client = world.client();
        let kept = client
            .call("PUT", "/v1/secrets/shop_token")
            .json(&json!({"value": SECRET}))
            .send()
            .await;
        assert!(!String::from_utf8_lossy(&kept.body).contains(SECRET));
        kept.expect(200);
        let call = |path: &str| {
            json!({"id": "call", "skill": "http_call", "params": {
                "method": "POST", "url": format!("{}{path}", world.standins()), "json": {"x": 1}, "idempotent": true,
                "headers": {"X-Token": "Token {{secrets.shop_token}}"}}})
        };
        let run = client.start(json!([call("/echo"), pure("beside", &[])])).await;
        let ended = client.ended_as(&run, "succeeded").await;
        assert_eq!(ended["output"]["call"]["body"]["headers"]["x-token"], "[redacted]");
        // Also where it goes wrong.
        let failed = client.start(json!([call("/status/500")])).await;
        client.ended_as(&failed, "failed").await;

        for path in ["", "/steps", "/history", "/steps/call"] {
            let answer = client.get(&format!("/v1/runs/{run}{path}")).await;
            assert!(!String::from_utf8_lossy(&answer.body).contains("51cd"), "{path}");
        }
        let log = std::fs::read_to_string(world.worker().log()).expect("the log");
        assert!(log.contains("executed") && !log.contains("51cd"));
        let tables = world
            .owner
            .column("select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'")
            .await;
        for table in tables {
            let sql = format!("select count(*) from {table} t where t::text like '%51cd%'");
            assert_eq!(world.owner.number(&sql).await, 0, "{table}");
        }
        // Nobody else's plan can name it.
        let other = world.client();
        let body = other.run_of(json!([call("/echo")])).await;
        other
            .post("/v1/runs", &body)
            .await
            .points_at(&["/plan/steps/0/params unknown_reference"]);
    });
}
