//! URLs that a plan may not call, in every notation.

use serde_json::json;

use crate::{Bad, STAGE, refuse_all};

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
            Bad::at(format!("{url:?}"), call, [format!("/plan/steps/0/params/url {code}")])
        };
        let mut cases: Vec<Bad> = forbidden.iter().map(|url| case(url, "forbidden_address")).collect();
        cases.extend(malformed.iter().map(|url| case(url, "invalid_value")));
        // The one door that development leaves open is open for one port of one address.
        cases.push(case(&format!("http://127.0.0.2:{port}/"), "forbidden_address"));
        cases.push(case(&format!("http://[::1]:{port}/"), "forbidden_address"));
        refuse_all(world, cases, 60).await;
    });
}
