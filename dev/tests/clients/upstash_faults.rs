//! What the client of Upstash does when the gateway or the way to it fails: what it tries again, and what it never does.

use std::time::{Duration, Instant};

use aos::integrations::upstash::{Command, Error};
use aos::integrations::{Body, Repeat, TookEffect};
use aos_dev::faults::Action;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::upstash::{channel, key};
use crate::world::{self, status};

#[test]
fn a_count_whose_answer_was_lost_is_never_repeated_blindly() {
    let world = world::shared();
    world.run(async {
        let redis = world.upstash().await;
        let count = key("lost");
        for action in [
            Action::DropAfter,
            Action::HalfBody,
            status(200, "{"),
            status(503, "busy"),
        ] {
            redis.fault(1, action.clone());
            let error = redis
                .client
                .command(Command::incr_by(&count, 1), Repeat::Never)
                .await
                .unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::Unreachable {
                        took_effect: TookEffect::Unknown,
                        ..
                    }
                ),
                "{action:?}: {error:?}"
            );
            assert_eq!(redis.requests(), 1, "{action:?}");
        }
        let counted = redis.client.command(Command::get(&count), Repeat::Harmless).await;
        assert_eq!(counted, Ok(json!("2")), "the first two had taken effect");
    });
}

#[test]
fn a_lost_answer_is_asked_for_again_where_that_is_harmless() {
    let world = world::shared();
    world.run(async {
        let redis = world.upstash().await;
        let (lost, nothing) = (key("asked-again"), Value::Null);
        for action in [
            Action::DropBefore,
            Action::DropAfter,
            Action::HalfBody,
            status(200, "[]"),
            status(500, ""),
        ] {
            redis.fault(1, action.clone());
            let results = redis.client.pipeline(&[Command::get(&lost)], Repeat::Harmless).await;
            // An empty list is a complete answer, to another question.
            if action == status(200, "[]") {
                assert!(matches!(results, Err(Error::Protocol(_))), "{results:?}");
                assert_eq!(redis.requests(), 1);
            } else {
                assert_eq!(results, Ok(vec![Ok(nothing.clone())]), "{action:?}");
                assert_eq!(redis.requests(), 2, "{action:?}");
            }
        }
    });
}

#[test]
fn used_up_requests_are_their_own_error_and_not_tried_again() {
    let world = world::shared();
    world.run(async {
        let redis = world.upstash().await;
        for text in [
            "ERR max daily request limit exceeded. Limit: 10000",
            "ERR max requests limit exceeded",
        ] {
            redis.fault(2, status(400, json!({ "error": text }).to_string()));
            let error = redis
                .client
                .command(Command::get(&key("x")), Repeat::Harmless)
                .await
                .unwrap_err();
            assert_eq!(error, Error::Quota(text.to_owned()));
            let error = redis
                .client
                .pipeline(&[Command::get(&key("x"))], Repeat::Harmless)
                .await
                .unwrap_err();
            assert_eq!(error, Error::Quota(text.to_owned()));
        }
        assert_eq!(redis.requests(), 4);
    });
}

#[test]
fn a_service_that_is_not_there_took_no_effect() {
    let world = world::shared();
    world.run(async {
        let nobody = world::upstash(&format!("http://{}", world::nowhere()), "t");
        let error = nobody
            .command(Command::incr_by(&key("x"), 1), Repeat::Never)
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::Unreachable {
                    took_effect: TookEffect::No,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(!error.may_have_taken_effect());
    });
}

#[test]
fn no_answer_in_time_is_a_timeout() {
    let world = world::shared();
    world.run(async {
        let redis = world.upstash().await;
        let hasty = redis.client.clone().with_timeout(Duration::from_millis(300));
        redis.fault(1, Action::Delay { ms: 3_000 });
        let began = Instant::now();
        let error = hasty
            .command(Command::incr_by(&key("late"), 1), Repeat::Never)
            .await
            .unwrap_err();
        assert_eq!(error, Error::Timeout(Duration::from_millis(300)));
        assert!(error.may_have_taken_effect() && began.elapsed() < Duration::from_secs(2));
        assert_eq!(redis.requests(), 1);

        redis.fault(1, Action::Delay { ms: 3_000 });
        assert_eq!(
            hasty.command(Command::get(&key("never set")), Repeat::Harmless).await,
            Ok(Value::Null)
        );
        assert_eq!(redis.requests(), 2);

        redis.fault(1, Action::Delay { ms: 3_000 });
        assert_eq!(
            hasty.subscribe(&channel(5)).await.err(),
            Some(Error::Timeout(Duration::from_millis(300)))
        );
    });
}

#[test]
fn an_answer_over_the_limit_is_cut_off() {
    let world = world::shared();
    world.run(async {
        let redis = world.upstash().await;
        redis.fault(1, status(200, "x".repeat(11 << 20)));
        let error = redis
            .client
            .command(Command::get(&key("x")), Repeat::Harmless)
            .await
            .unwrap_err();
        assert_eq!(error, Error::TooLarge(Body::Answer));
    });
}

/// Answers one request with these bytes, one at a time, then closes the connection.
async fn drip(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for piece in body.chunks(if body.len() > 1_000 { 1 << 20 } else { 1 }) {
            // The client may have heard enough.
            if stream.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    format!("http://{address}")
}

#[test]
fn events_are_read_whatever_the_pieces_and_heartbeats_they_come_in() {
    let world = world::shared();
    world.run(async {
        let channel = channel(6);
        let body = format!(
            ": welcome\r\n\r\nevent: ping\n\ndata: message,aos:run:other,no\n\ndata: subscribe,{channel},1\r\n\r\n\
             data: message,{channel},one \u{1f680}\n\n:\n\n: beat\n\ndata:message,{channel},two\ndata: lines\n\n\
             id: 1\ndata: message,{channel},\n\ndata: message,{channel},cut sho"
        );
        let client = world::upstash(&drip(body.into_bytes()).await, "t");
        let messages: Vec<_> = client.subscribe(&channel).await.unwrap().collect().await;
        let expected = ["one \u{1f680}", "two\nlines", ""].map(|message| Ok(message.to_owned()));
        assert_eq!(messages, expected);
    });
}

#[test]
fn an_endless_event_is_given_up() {
    let world = world::shared();
    world.run(async {
        let channel = channel(7);
        let mut body = format!("data: subscribe,{channel},1\n\ndata: message,{channel},").into_bytes();
        body.extend(vec![b'x'; 12 << 20]);
        let client = world::upstash(&drip(body).await, "t");
        let messages: Vec<_> = client.subscribe(&channel).await.unwrap().collect().await;
        assert_eq!(messages, [Err(Error::TooLarge(Body::Answer))]);
    });
}

#[test]
fn a_subscription_that_is_never_confirmed_is_no_subscription() {
    let world = world::shared();
    world.run(async {
        let client = world::upstash(&drip(b": nothing\n\n".to_vec()).await, "t");
        let error = client.subscribe(&channel(8)).await.err();
        assert!(matches!(error, Some(Error::Unreachable { .. })), "{error:?}");
    });
}
