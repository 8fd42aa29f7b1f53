//! The core's client of Clerk, and its verification of tokens, against the stand-in of Clerk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aos::auth::{Credential, Permission, Refusal, Role, Tokens};
use aos::config::{ClerkSettings, Settings};
use aos::integrations::clerk::{Error, SessionStatus};
use aos::platform::Clock;
use aos_dev::faults::{Action, Rule};
use aos_dev::progress::Progress;
use aos_dev::redis::{Redis, RedisOptions};
use aos_dev::scratch::Scratch;
use aos_dev::standins::clerk::{Clerk, Org, Rotation, TokenSpec, Wrong};
use aos_dev::standins::{Standins, StandinsOptions};
use aos_dev::upstash::{UpstashGateway, UpstashGatewayOptions};
use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};

/// The system's clock, put forward by hand.
#[derive(Default)]
struct Ahead(Mutex<Duration>);

impl Ahead {
    fn by(&self, duration: Duration) {
        *self.0.lock().unwrap() += duration;
    }
}

impl Clock for Ahead {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now() + *self.0.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed_local()
    }
}

struct World {
    standins: Standins,
    clock: Arc<Ahead>,
    /// Of the Redis that isolates share; nobody listens there unless a test brings one.
    upstash: String,
}

impl World {
    async fn start() -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        Self {
            standins: Standins::start(StandinsOptions { listen }).await.unwrap(),
            clock: Arc::default(),
            upstash: "http://127.0.0.1:9".to_owned(),
        }
    }

    fn issuer(&self) -> &Clerk {
        self.standins.clerk()
    }

    /// The settings of a Worker on this machine, with these changed.
    fn settings(&self, changes: &[(&'static str, &str)]) -> Settings {
        let mut values = self.issuer().settings();
        let others = [
            ("ENVIRONMENT", "development"),
            ("AOS_API_KEY", "key"),
            ("DATABASE_URL", "postgres://u:p@ep-x.nowhere.invalid/d"),
            ("ENGINE_DATABASE_URL", "postgres://u:p@ep-x.nowhere.invalid/d"),
            ("UPSTASH_REDIS_REST_URL", &self.upstash),
            ("UPSTASH_REDIS_REST_TOKEN", "token"),
        ];
        values.extend(
            others
                .iter()
                .chain(changes)
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let values: BTreeMap<_, _> = values;
        let clock: Arc<dyn Clock> = self.clock.clone();
        Settings::read(|name| values.get(name).cloned(), &reqwest::Client::new(), &clock).unwrap()
    }

    fn clerk(&self) -> ClerkSettings {
        self.settings(&[]).clerk.unwrap()
    }

    /// What one isolate checks tokens with.
    fn isolate(&self) -> Tokens {
        let clock: Arc<dyn Clock> = self.clock.clone();
        self.settings(&[]).tokens(&clock)
    }

    fn fault(&self, path: &str, times: u64, action: Action) {
        self.standins
            .faults()
            .add(Rule::new(action).matching(path).times(times));
    }
}

fn status(code: u16) -> Action {
    Action::Status {
        code,
        body: String::new(),
        headers: BTreeMap::new(),
    }
}

#[tokio::test]
async fn tokens_of_both_versions_identify_their_users() {
    let world = World::start().await;
    let isolate = world.isolate();
    let org = || Org::new("org_1", "billing").permissions(&["org:aos:runs_create", "org:other:read"]);
    for spec in [
        TokenSpec::of("user_1").in_org(org()),
        TokenSpec::of("user_1").in_org(org()).v1(),
    ] {
        let token = world.issuer().mint(spec.in_session("sess_1")).unwrap();
        let principal = isolate.verify(&token).await.unwrap().principal;
        assert_eq!(
            (principal.tenant.as_str(), principal.subject.as_str()),
            ("org_1", "user_1")
        );
        assert_eq!(principal.roles, [Role::Readonly]);
        assert!(principal.may(Permission::RunsCreate) && !principal.may(Permission::AgentsWrite));
        assert!(matches!(principal.credential, Credential::Session { id, .. } if id == "sess_1"));
    }
    for spec in [TokenSpec::of("user_2"), TokenSpec::of("user_2").v1()] {
        let token = world.issuer().mint(spec).unwrap();
        let principal = isolate.verify(&token).await.unwrap().principal;
        assert_eq!(
            (principal.tenant.as_str(), principal.roles.as_slice()),
            ("user_2", [Role::Owner].as_slice())
        );
    }
    assert_eq!(world.issuer().jwks_fetches(), 1);
}

#[tokio::test]
async fn no_wrong_token_identifies_anybody() {
    let world = World::start().await;
    for wrong in Wrong::ALL {
        let token = world.issuer().mint(TokenSpec::of("user_1").wrong(*wrong)).unwrap();
        let refusal = world.isolate().verify(&token).await.expect_err(&format!("{wrong:?}"));
        let expected = match wrong {
            Wrong::Expired => Some(Refusal::Expired),
            Wrong::NotYetValid | Wrong::IssuedInFuture => Some(Refusal::NotYetValid),
            Wrong::NoExp => Some(Refusal::WrongClaim("exp")),
            Wrong::WrongIssuer | Wrong::NoIssuer => Some(Refusal::WrongIssuer),
            Wrong::WrongAzp | Wrong::NoAzp => Some(Refusal::WrongParty),
            Wrong::NoSubject => Some(Refusal::WrongClaim("sub")),
            Wrong::Pending => Some(Refusal::PendingSession),
            Wrong::MachineToken => Some(Refusal::MachineToken),
            Wrong::Huge => Some(Refusal::TooLong),
            Wrong::UnknownKid => Some(Refusal::UnknownKey),
            Wrong::NoKid => Some(Refusal::NoKey),
            Wrong::AlgNone | Wrong::Hs256WithPem | Wrong::Hs256WithModulus | Wrong::Rs512 | Wrong::Es256 => {
                Some(Refusal::WrongAlgorithm)
            }
            Wrong::WrongKey
            | Wrong::EmbeddedJwk
            | Wrong::TamperedPayload
            | Wrong::TamperedSignature
            | Wrong::Truncated => Some(Refusal::WrongSignature),
            Wrong::ExpAsString
            | Wrong::DuplicateClaims
            | Wrong::OrgMalformed
            | Wrong::ExtraDot
            | Wrong::Base64Padding => Some(Refusal::Malformed),
        };
        assert_eq!(Some(refusal), expected, "{wrong:?}");
    }
}

#[tokio::test]
async fn another_instance_with_a_key_of_the_same_name_lets_nobody_in() {
    let world = World::start().await;
    let isolate = world.isolate();
    let stranger = world.standins.clerk_other();
    let ours = world.issuer().mint(TokenSpec::of("user_1")).unwrap();
    assert_eq!(stranger.kid(), world.issuer().kid());
    assert!(isolate.verify(&ours).await.is_ok());
    let token = stranger.mint(TokenSpec::of("user_1")).unwrap();
    assert_eq!(isolate.verify(&token).await, Err(Refusal::WrongIssuer));
    let mut spec = TokenSpec::of("user_1");
    spec.claims.insert("iss".to_owned(), world.issuer().issuer().into());
    let token = stranger.mint(spec).unwrap();
    assert_eq!(isolate.verify(&token).await, Err(Refusal::WrongSignature));
}

#[tokio::test]
async fn after_a_rotation_new_tokens_pass_within_one_fetch_and_old_ones_stop() {
    let world = World::start().await;
    let isolate = world.isolate();
    let mint = || world.issuer().mint(TokenSpec::of("user_1")).unwrap();
    let old = mint();
    assert!(isolate.verify(&old).await.is_ok());
    world.issuer().rotate(Rotation::Immediate).unwrap();
    let new: Vec<_> = (0..10).map(|_| mint()).collect();
    for verified in join_all(new.iter().map(|token| isolate.verify(token))).await {
        assert!(verified.is_ok(), "{verified:?}");
    }
    assert_eq!(isolate.verify(&old).await, Err(Refusal::UnknownKey));
    assert_eq!(world.issuer().jwks_fetches(), 2);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_fetches_once_in_five_minutes_and_known_ones_keep_working() {
    let world = World::start().await;
    let isolate = world.isolate();
    let lasting = world.issuer().mint(TokenSpec::of("user_1").lasting(3_600)).unwrap();
    assert!(isolate.verify(&lasting).await.is_ok());
    world.fault("jwks.json", 1_000, Action::DropBefore);
    let flood = || async {
        let unknown = || {
            world
                .issuer()
                .mint(TokenSpec::of("user_1").wrong(Wrong::UnknownKid))
                .unwrap()
        };
        let tokens: Vec<_> = (0..20).map(|_| unknown()).collect();
        for verified in join_all(tokens.iter().map(|token| isolate.verify(token))).await {
            assert_eq!(verified, Err(Refusal::UnknownKey));
        }
    };
    flood().await;
    let asked = world.issuer().jwks_fetches();
    assert!(asked > 1);
    flood().await;
    world.clock.by(Duration::from_secs(240));
    flood().await;
    assert_eq!(world.issuer().jwks_fetches(), asked);
    let another = world.issuer().mint(TokenSpec::of("user_2").lasting(3_600)).unwrap();
    assert!(isolate.verify(&another).await.is_ok());
}

#[tokio::test]
async fn isolates_share_the_keys_through_redis() {
    let dir = Scratch::new().unwrap();
    let options = RedisOptions {
        dir: dir.path().join("redis"),
        durable: false,
        progress: Progress::silent(),
    };
    let redis = Redis::start(options).await.unwrap();
    let options = UpstashGatewayOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        redis: format!("{}/0", redis.url()),
        token: "token".to_owned(),
    };
    let gateway = UpstashGateway::start(options).await.unwrap();
    let world = World {
        upstash: gateway.url(),
        ..World::start().await
    };
    let token = world.issuer().mint(TokenSpec::of("user_1").lasting(90_000)).unwrap();
    let first = world.isolate();
    assert!(first.verify(&token).await.unwrap().keys_are_due);
    first.refresh_keys().await;
    world.fault("jwks.json", 1_000, Action::DropBefore);
    // Known to no isolate, and the issuer is away: the copy is all there is.
    world.clock.by(Duration::from_secs(23 * 3_600));
    assert!(world.isolate().verify(&token).await.is_ok());
    // The seal is made from Clerk's secret key: who has another one trusts another copy.
    let clock: Arc<dyn Clock> = world.clock.clone();
    let other = world
        .settings(&[("CLERK_SECRET_KEY", "sk_test_another")])
        .tokens(&clock);
    assert_eq!(other.verify(&token).await, Err(Refusal::KeysUnavailable));
    world.clock.by(Duration::from_secs(3_600));
    assert_eq!(world.isolate().verify(&token).await, Err(Refusal::KeysUnavailable));
}

#[tokio::test]
async fn sessions_are_listed_and_revoked() {
    let world = World::start().await;
    let clerk = world.clerk().client;
    for session in ["sess_1", "sess_2"] {
        world
            .issuer()
            .mint(TokenSpec::of("user_1").in_session(session))
            .unwrap();
    }
    world.issuer().mint(TokenSpec::of("user_2")).unwrap();
    let sessions = clerk.sessions("user_1", None).await.unwrap();
    let ids: Vec<_> = sessions.iter().map(|session| session.id.as_str()).collect();
    assert_eq!(ids, ["sess_2", "sess_1"]);
    assert!(
        sessions
            .iter()
            .all(|session| session.user_id == "user_1" && session.status == SessionStatus::Active)
    );
    assert!(sessions[0].created_at <= sessions[0].last_active_at && sessions[0].last_active_at < sessions[0].expire_at);

    clerk.revoke_session("sess_1").await.unwrap();
    let left = clerk.sessions("user_1", Some(SessionStatus::Active)).await.unwrap();
    assert_eq!(
        left.iter().map(|session| session.id.as_str()).collect::<Vec<_>>(),
        ["sess_2"]
    );
    let revoked = clerk.sessions("user_1", Some(SessionStatus::Revoked)).await.unwrap();
    assert_eq!(revoked.len(), 1);
    assert_eq!(
        clerk.revoke_session("sess_1").await,
        Ok(()),
        "the end of a session is the same twice"
    );
    assert_eq!(clerk.revoke_session("sess_unknown").await, Err(Error::NotFound));
    assert_eq!(clerk.sessions("user_unknown", None).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_user_is_read_with_the_primary_address() {
    let world = World::start().await;
    let clerk = world.clerk().client;
    world.issuer().mint(TokenSpec::of("user_1")).unwrap();
    let user = clerk.user("user_1").await.unwrap();
    assert_eq!(
        (user.id.as_str(), user.email(), user.banned),
        ("user_1", Some("1@example.com"), false)
    );
    assert_eq!(clerk.user("user_unknown").await, Err(Error::NotFound));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_a_revocation_is_done_once() {
    let world = World::start().await;
    let clerk = world.clerk().client;
    world
        .issuer()
        .mint(TokenSpec::of("user_1").in_session("sess_1"))
        .unwrap();
    for action in [Action::DropAfter, Action::HalfBody, Action::DropBefore, status(502)] {
        world.fault("/v1/sessions", 1, action.clone());
        assert_eq!(clerk.revoke_session("sess_1").await, Ok(()), "{action:?}");
        world.fault("/v1/users", 2, action.clone());
        assert!(clerk.user("user_1").await.is_ok(), "{action:?}");
        world.fault("jwks.json", 1, action.clone());
        assert!(clerk.jwks().await.is_ok(), "{action:?}");
    }
}

#[tokio::test]
async fn what_clerk_refuses_is_not_asked_for_again() {
    let world = World::start().await;
    let wrong_key = world
        .settings(&[("CLERK_SECRET_KEY", "sk_test_wrong")])
        .clerk
        .unwrap()
        .client;
    assert!(matches!(
        wrong_key.user("user_1").await,
        Err(Error::Unauthorized { status: 401, .. })
    ));
    let clerk = world.clerk().client;
    world.issuer().limit_backend(0);
    match clerk.user("user_1").await {
        Err(Error::RateLimited {
            retry_after: Some(wait),
        }) => assert!((1..=11).contains(&wait.as_secs()), "{wait:?}"),
        other => panic!("{other:?}"),
    }
    world.issuer().limit_backend(1_000);
    world.fault("/v1/users", 1, status(422));
    assert!(matches!(clerk.user("user_1").await, Err(Error::Invalid { .. })));
    world.fault("/v1/users", 1, status(403));
    assert!(matches!(
        clerk.user("user_1").await,
        Err(Error::Unauthorized { status: 403, .. })
    ));
    let huge = Action::Status {
        code: 200,
        body: "x".repeat(65 << 10),
        headers: BTreeMap::new(),
    };
    world.fault("jwks.json", 1, huge);
    assert!(matches!(clerk.jwks().await, Err(Error::TooLarge(_))));
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_given_up_after_three_seconds() {
    let world = World::start().await;
    let clerk = world.clerk().client;
    world.fault("jwks.json", 10, Action::Delay { ms: 10_000 });
    let begun = std::time::Instant::now();
    assert!(matches!(clerk.jwks().await, Err(Error::Timeout(_))));
    assert!((3..9).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}
