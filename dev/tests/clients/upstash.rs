//! What the client of Upstash sends and reads when all is well, and what it says when Redis refuses.

use std::time::Duration;

use aos::ids::{RunId, TenantId};
use aos::integrations::upstash::{Command, Error, Key};
use aos::integrations::{Body, Repeat};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::neon::AWKWARD;
use crate::world;

/// A key that no other test uses.
pub(crate) fn key(name: &str) -> Key {
    let tenant: TenantId = "ten_018f0000000070008000000000000001".parse().unwrap();
    Key::tenant_kv(tenant, name)
}

pub(crate) fn channel(number: u8) -> Key {
    let run: RunId = format!("run_018f00000000700080000000000000{number:02x}")
        .parse()
        .unwrap();
    Key::run_channel(run)
}

#[test]
fn values_come_back_as_they_went() {
    let world = world::shared();
    world.run(async {
        let redis = world.upstash().await;
        let (value, count) = (key("value"), key("count"));
        let ask = |command: Command| redis.client.command(command, Repeat::Never);
        assert_eq!(ask(Command::get(&value)).await, Ok(Value::Null));
        assert_eq!(
            ask(Command::set_ex(&value, AWKWARD, Duration::from_secs(60))).await,
            Ok(json!("OK"))
        );
        assert_eq!(ask(Command::get(&value)).await, Ok(json!(AWKWARD)));
        let left = ask(Command::new("PTTL").arg(&value)).await.unwrap().as_u64().unwrap();
        assert!((50_000..=60_000).contains(&left), "{left}");
        assert_eq!(ask(Command::incr_by(&count, -3)).await, Ok(json!(-3)));
        assert_eq!(ask(Command::incr_by(&count, 5)).await, Ok(json!(2)));
        assert_eq!(ask(Command::del(&value)).await, Ok(json!(1)));
        let script = "return {KEYS[1], ARGV[1], tonumber(ARGV[2]), false}";
        assert_eq!(
            ask(Command::eval(
                script,
                std::slice::from_ref(&count),
                [json!("a"), json!(7)]
            ))
            .await,
            Ok(json!([count.as_str(), "a", 7, null]))
        );
        assert_eq!(redis.requests(), 8);
    });
}

#[test]
fn a_pipeline_is_one_request_with_a_result_or_an_error_for_each_command() {
    let world = world::shared();
    world.run(async {
        let redis = world.upstash().await;
        let key = key("pipeline");
        let commands = [
            Command::set_ex(&key, "text", Duration::from_secs(60)),
            Command::incr_by(&key, 1),
            Command::new("LPUSH").arg(&key).arg("x"),
            Command::get(&key),
        ];
        let results = redis.client.pipeline(&commands, Repeat::Never).await.unwrap();
        assert_eq!((&results[0], &results[3]), (&Ok(json!("OK")), &Ok(json!("text"))));
        let codes: Vec<_> = results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .map(|error| error.code())
            .collect();
        assert_eq!(codes, ["ERR", "WRONGTYPE"]);
        assert_eq!(redis.requests(), 1);
    });
}

#[test]
fn a_refused_command_and_a_refused_token_are_told_apart() {
    let world = world::shared();
    world.run(async {
        let redis = world.upstash().await;
        let error = redis
            .client
            .command(Command::new("NOSUCHCOMMAND"), Repeat::Harmless)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, Error::Command(error) if error.code() == "ERR"),
            "{error:?}"
        );
        let stranger = world::upstash(&redis.gateway.url(), "wrong-secret");
        let error = stranger
            .command(Command::get(&key("x")), Repeat::Harmless)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unauthorized(_)), "{error:?}");
        assert!(!format!("{error} {error:?} {stranger:?}").contains("wrong-secret"));
        assert!(matches!(
            stranger.subscribe(&channel(1)).await.err(),
            Some(Error::Unauthorized(_))
        ));
        assert_eq!(redis.requests(), 3, "none is tried again");
    });
}

#[test]
fn a_request_over_the_limit_is_not_sent() {
    let world = world::shared();
    world.run(async {
        let redis = world.upstash().await;
        let huge = Command::set_ex(&key("huge"), &"x".repeat(10 << 20), Duration::from_secs(60));
        let error = redis.client.command(huge, Repeat::Harmless).await.unwrap_err();
        assert_eq!(error, Error::TooLarge(Body::Request));
        assert!(!error.may_have_taken_effect());
        assert_eq!(redis.requests(), 0);
    });
}

#[test]
fn what_is_published_after_the_subscription_stands_arrives_in_order() {
    let world = world::shared();
    world.run(async {
        let redis = world.upstash().await;
        let (ours, other) = (channel(2), channel(3));
        let mut messages = Box::pin(redis.client.subscribe(&ours).await.unwrap());
        let sent = ["1", "a,b , c", AWKWARD, "", "{\"seq\":5}"];
        for message in sent {
            let published = [Command::publish(&other, "not for us"), Command::publish(&ours, message)];
            let received = redis.client.pipeline(&published, Repeat::Never).await.unwrap();
            assert_eq!(received, [Ok(json!(0)), Ok(json!(1))]);
        }
        for message in sent {
            let arrived = tokio::time::timeout(Duration::from_secs(5), messages.next()).await;
            assert_eq!(arrived.expect("a message"), Some(Ok(message.to_owned())));
        }
        // Longer than the gateway's heartbeat, which is no message.
        assert!(
            tokio::time::timeout(Duration::from_millis(1_200), messages.next())
                .await
                .is_err()
        );

        redis.gateway.shutdown().await;
        let end = tokio::time::timeout(Duration::from_secs(5), messages.next())
            .await
            .expect("the end");
        assert!(matches!(end, None | Some(Err(Error::Unreachable { .. }))), "{end:?}");
    });
}

#[test]
fn a_dropped_subscription_ends_at_the_server() {
    let world = world::shared();
    world.run(async {
        let redis = world.upstash().await;
        let channel = channel(4);
        drop(redis.client.subscribe(&channel).await.unwrap());
        for _ in 0..50 {
            let received = redis
                .client
                .command(Command::publish(&channel, "x"), Repeat::Never)
                .await
                .unwrap();
            if received == json!(0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("somebody is still subscribed");
    });
}
