//! Keys go to the hosts they are for, also where an answer names another one.

use aos_tests::{Action, Step, World};
use serde_json::json;

use crate::STAGE;

/// An answer that sends whoever asked to a receiver of webhooks.
fn elsewhere(world: &World) -> Step {
    Step::fault(Action::Status {
        code: 307,
        body: String::new(),
        headers: [(
            "location".to_owned(),
            world.cloud.standins().webhooks().url("elsewhere"),
        )]
        .into(),
    })
}

#[test]
fn no_key_and_no_body_follow_a_redirect() {
    STAGE.alone(async |world| {
        let (client, standins) = (world.client(), world.cloud.standins());
        let others = standins.webhooks().received().count;
        standins.resend().script([elsewhere(world)]).expect("a fault");
        standins.anthropic().script([elsewhere(world)]).expect("a fault");
        let step = |id: &str, skill: &str, params: serde_json::Value| {
            json!({"id": id, "skill": skill, "params": params, "retry": {"attempts": 1}, "on_error": "continue"})
        };
        let run = client
            .start(json!([
                step("mail", "email_send", json!({"to": "ada@example.com", "subject": "s", "text": "t"})),
                step(
                    "ask",
                    "llm_invoke",
                    json!({"provider": "anthropic", "messages": [{"role": "user", "content": "hi"}]})
                ),
            ]))
            .await;
        client.ended(&run).await;
        // Whether a mail was sent before such an answer nobody knows; of a question nothing stays.
        for (step, code) in [("mail", "unknown_effect"), ("ask", "invalid_answer")] {
            let step = client.get(&format!("/v1/runs/{run}/steps/{step}")).await.expect(200);
            assert_eq!(
                (&step["error"]["code"], &step["error"]["provider_status"]),
                (&json!(code), &json!(307)),
                "{step:#}"
            );
        }
        assert_eq!(standins.webhooks().received().count, others);
    });
}

#[test]
fn what_is_sent_to_a_provider_says_how_long_it_is() {
    STAGE.alone(async |world| {
        let (client, standins) = (world.client(), world.cloud.standins());
        standins.resend().forget_received();
        let mail = json!({"to": "ada@example.com", "subject": "s", "text": "t"});
        let run = client
            .start(json!([{"id": "mail", "skill": "email_send", "params": mail}]))
            .await;
        client.ended_as(&run, "succeeded").await;
        let received = standins.resend().received();
        let request = &received.requests[0];
        assert_eq!(
            request.headers.get("content-length"),
            Some(&request.body_bytes.to_string())
        );
        assert_eq!(request.headers.get("transfer-encoding"), None);
    });
}
