//! The issuer's keys: they change, they are asked for by forgers, and the issuer goes away. In a world of its own, since
//! whoever changes the keys changes them for all.

use aos_tests::{Action, Client, Person, Rotation, Rule, Stage, World, Wrong};
use futures::future::join_all;
use serde_json::{Map, json};

static STAGE: Stage = Stage::new(1);

/// The name under which the isolates share the keys.
const SHARED: &str = "aos:jwks:*";

/// A Worker that knows no keys yet, and a client of it. Nobody else has left it a copy of the keys.
async fn newcomer(world: &World, name: &str) -> (aos_dev::worker::WorkerProcess, Client) {
    world.redis(&["FLUSHALL"]).await;
    let worker = world.worker_with(name, &[]).await;
    let client = world.client_of(&worker, "newcomer");
    world.cloud.standins().counters().reset();
    (worker, client)
}

async fn status(client: &Client, token: &str) -> u16 {
    client
        .stranger("GET", "/v1/session")
        .bearer(token)
        .send()
        .await
        .status
        .as_u16()
}

fn fetches(world: &World) -> usize {
    world.cloud.standins().clerk().jwks_fetches()
}

fn minted(world: &World, person: &Person) -> String {
    world.mint(person.spec())
}

#[test]
fn a_new_key_opens_after_one_more_fetch_and_the_old_one_opens_nothing() {
    STAGE.alone(async |world| {
        let (worker, client) = newcomer(world, "rotation").await;
        let person = world.person("admin");
        let (used, unused) = (minted(world, &person), minted(world, &person));
        assert_eq!(status(&client, &used).await, 200);
        assert_eq!(fetches(world), 1);

        world
            .cloud
            .standins()
            .clerk()
            .rotate(Rotation::Immediate)
            .expect("a new key");
        let new = minted(world, &person);
        assert_eq!(status(&client, &new).await, 200, "the new key's first token");
        assert_eq!(fetches(world), 2);
        // Verified before or not: what the old key signed is worth nothing now.
        for old in [&used, &unused] {
            assert_eq!(status(&client, old).await, 401);
        }
        assert_eq!(status(&client, &minted(world, &person)).await, 200);
        assert_eq!(fetches(world), 2);
        worker.stop().await;
    });
}

#[test]
fn a_key_beside_the_old_one_opens_and_so_does_the_old_one() {
    STAGE.alone(async |world| {
        let (worker, client) = newcomer(world, "overlap").await;
        let person = world.person("admin");
        let old = minted(world, &person);
        assert_eq!(status(&client, &old).await, 200);
        world
            .cloud
            .standins()
            .clerk()
            .rotate(Rotation::Overlap)
            .expect("a new key");
        assert_eq!(status(&client, &minted(world, &person)).await, 200);
        assert_eq!(status(&client, &old).await, 200);
        assert_eq!(fetches(world), 2);
        worker.stop().await;
    });
}

#[test]
fn a_flood_of_unknown_keys_asks_the_issuer_once() {
    STAGE.alone(async |world| {
        let (worker, client) = newcomer(world, "flood").await;
        let person = world.person("admin");
        let good = minted(world, &person);
        assert_eq!(status(&client, &good).await, 200);
        let before = fetches(world);
        let forged: Vec<String> = (0..200)
            .map(|_| world.mint(person.spec().wrong(Wrong::UnknownKid)))
            .collect();
        for some in forged.chunks(20) {
            let answers = join_all(some.iter().map(|token| status(&client, token))).await;
            assert!(answers.iter().all(|status| *status == 401), "{answers:?}");
        }
        assert!(fetches(world) - before <= 1, "{} fetches", fetches(world) - before);
        assert_eq!(status(&client, &good).await, 200);
        assert_eq!(
            status(&client, &minted(world, &person)).await,
            200,
            "a known key, in the flood"
        );
        worker.stop().await;
    });
}

#[test]
fn an_issuer_that_is_away_keeps_nobody_out_whose_key_is_known() {
    STAGE.alone(async |world| {
        let (worker, client) = newcomer(world, "away").await;
        let person = world.person("admin");
        assert_eq!(status(&client, &minted(world, &person)).await, 200);
        let away = || {
            world
                .cloud
                .standins()
                .faults()
                .add(Rule::new(Action::DropBefore).matching("jwks"))
        };
        away();
        assert_eq!(
            status(&client, &minted(world, &person)).await,
            200,
            "a token not seen before"
        );
        let unknown = world.mint(person.spec().wrong(Wrong::UnknownKid));
        let reply = client.stranger("GET", "/v1/session").bearer(&unknown).send().await;
        assert!([401, 503].contains(&reply.status.as_u16()), "{reply}");
        assert_eq!(
            status(&client, &minted(world, &person)).await,
            200,
            "after one was asked for in vain"
        );

        // Another isolate finds the copy that this one left.
        let kept = async || {
            !world
                .redis(&["KEYS", SHARED])
                .await
                .as_array()
                .is_none_or(Vec::is_empty)
        };
        world
            .until("the keys are shared", std::time::Duration::from_secs(10), kept)
            .await;
        let second = world.worker_with("away-too", &[]).await;
        let second_client = world.client_of(&second, "newcomer");
        assert_eq!(
            status(&second_client, &minted(world, &person)).await,
            200,
            "by the shared copy"
        );
        second.stop().await;

        // Without any copy it is not known who calls: that is nobody's fault, and no refusal.
        world.redis(&["FLUSHALL"]).await;
        let third = world.worker_with("away-alone", &[]).await;
        let third_client = world.client_of(&third, "newcomer");
        let reply = third_client
            .stranger("GET", "/v1/session")
            .bearer(&minted(world, &person))
            .send()
            .await;
        assert!(reply.header("retry-after").is_some(), "{reply}");
        reply.refused(503, "unavailable");
        third_client.get("/v1/session").await.expect(200);
        third.stop().await;
        worker.stop().await;
    });
}

#[test]
fn a_forged_copy_of_the_keys_is_not_believed() {
    STAGE.alone(async |world| {
        let (worker, client) = newcomer(world, "seal").await;
        let person = world.person("admin");
        assert_eq!(status(&client, &minted(world, &person)).await, 200);
        let kept = async || {
            !world
                .redis(&["KEYS", SHARED])
                .await
                .as_array()
                .is_none_or(Vec::is_empty)
        };
        world
            .until("the keys are shared", std::time::Duration::from_secs(10), kept)
            .await;
        let names = world.redis(&["KEYS", SHARED]).await;
        let name = names[0].as_str().expect("a name").to_owned();
        let copy = world.redis(&["GET", &name]).await;
        let copy = copy.as_str().expect("the copy is a text");
        // The other instance's keys under our issuer's name, with the mark of the true copy.
        let other = world.cloud.standins().clerk_other();
        let jwks = |url: String| async move {
            reqwest::get(url)
                .await
                .unwrap()
                .json::<serde_json::Value>()
                .await
                .unwrap()
        };
        let (true_keys, others) = (
            jwks(world.cloud.standins().clerk().jwks_url()).await,
            jwks(other.jwks_url()).await,
        );
        let modulus = |keys: &serde_json::Value| keys["keys"][0]["n"].as_str().expect("a modulus").to_owned();
        assert!(copy.contains(&modulus(&true_keys)), "the copy holds the keys");
        let forged = copy.replace(&modulus(&true_keys), &modulus(&others));
        world.redis(&["SET", &name, &forged]).await;

        let second = world.worker_with("seal-too", &[]).await;
        let second_client = world.client_of(&second, "newcomer");
        let clerk = world.cloud.standins().clerk();
        let spec = aos_tests::TokenSpec {
            claims: Map::from_iter([("iss".to_owned(), json!(clerk.issuer()))]),
            header: Map::from_iter([("kid".to_owned(), json!(clerk.kid()))]),
            ..person.spec()
        };
        let intruder = other.mint(spec).expect("the other instance mints");
        assert_eq!(status(&second_client, &intruder).await, 401);
        assert_eq!(status(&second_client, &minted(world, &person)).await, 200);
        second.stop().await;
        worker.stop().await;
    });
}
