//! The stand-in of Clerk: keys, rotation, outages, counts; and the vendor's own verifier against it, in
//! `dev/peers/clerk.test.mjs`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use aos_dev::faults::{Action, Rule};
use aos_dev::standins::clerk::{Clerk, Org, Rotation, TokenSpec, Wrong};
use aos_dev::standins::{Standins, StandinsOptions};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde_json::{Value, json};

async fn start() -> Standins {
    let listen = "127.0.0.1:0".parse().unwrap();
    Standins::start(StandinsOptions { listen }).await.unwrap()
}

async fn jwks(clerk: &Clerk) -> Vec<Value> {
    let answer = reqwest::get(clerk.jwks_url()).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json::<Value>().await.unwrap()["keys"]
        .as_array()
        .unwrap()
        .clone()
}

fn part(token: &str, number: usize) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(token.split('.').nth(number).unwrap()).unwrap()
}

fn header(token: &str) -> Value {
    serde_json::from_slice(&part(token, 0)).unwrap()
}

/// Whether the token's signature is by this key.
fn signed_by(token: &str, key: &Value) -> bool {
    let number = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let public = RsaPublicKeyComponents {
        n: number("n"),
        e: number("e"),
    };
    let (message, _) = token.rsplit_once('.').unwrap();
    public
        .verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &part(token, 2))
        .is_ok()
}

#[tokio::test]
async fn the_key_is_made_in_bearable_time_and_signs_all_tokens() {
    let standins = start().await;
    let begun = Instant::now();
    let token = standins.clerk().mint(TokenSpec::of("user_1")).unwrap();
    // Some tenths of a second when nothing else runs; a minute if the arithmetic were not optimised.
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let next = standins.clerk().mint(TokenSpec::of("user_2").v1()).unwrap();
    let keys = jwks(standins.clerk()).await;
    assert_eq!(keys.len(), 1);
    assert_eq!(header(&token)["kid"], keys[0]["kid"]);
    assert!(signed_by(&token, &keys[0]) && signed_by(&next, &keys[0]));
    standins.shutdown().await;
}

#[tokio::test]
async fn rotations_keep_or_drop_the_key_before() {
    let standins = start().await;
    let clerk = standins.clerk();
    let mint = || clerk.mint(TokenSpec::of("user_1")).unwrap();

    let first = mint();
    let second_kid = clerk.rotate(Rotation::Overlap).unwrap();
    let second = mint();
    let keys = jwks(clerk).await;
    assert_eq!(keys.len(), 2);
    assert_eq!(header(&second)["kid"], second_kid.as_str());
    assert!(signed_by(&second, &keys[0]) && signed_by(&first, &keys[1]));
    assert_eq!(header(&first)["kid"], keys[1]["kid"]);

    clerk.rotate(Rotation::Immediate).unwrap();
    let keys = jwks(clerk).await;
    assert_eq!(keys.len(), 1);
    assert!(signed_by(&mint(), &keys[0]) && !signed_by(&second, &keys[0]));

    let before = mint();
    assert_eq!(
        clerk.rotate(Rotation::SameKid).unwrap(),
        header(&before)["kid"].as_str().unwrap()
    );
    let keys = jwks(clerk).await;
    assert_eq!((keys.len(), &keys[0]["kid"]), (1, &header(&before)["kid"]));
    assert!(signed_by(&mint(), &keys[0]) && !signed_by(&before, &keys[0]));
    standins.shutdown().await;
}

#[tokio::test]
async fn the_other_instance_has_other_keys_under_the_same_kid() {
    let standins = start().await;
    let (clerk, other) = (standins.clerk(), standins.clerk_other());
    assert_eq!(clerk.kid(), other.kid());
    assert_ne!(clerk.issuer(), other.issuer());
    assert_ne!(clerk.secret_key(), other.secret_key());
    let token = other.mint(TokenSpec::of("user_1")).unwrap();
    let (ours, theirs) = (jwks(clerk).await, jwks(other).await);
    assert!(signed_by(&token, &theirs[0]) && !signed_by(&token, &ours[0]));
    standins.shutdown().await;
}

#[tokio::test]
async fn jwks_fetches_are_counted_in_an_outage_too_and_minting_goes_on() {
    let standins = start().await;
    let clerk = standins.clerk();
    jwks(clerk).await;
    jwks(standins.clerk_other()).await;
    let away = Action::Status {
        code: 503,
        body: String::new(),
        headers: Default::default(),
    };
    standins.faults().add(Rule::new(away).matching("/clerk/.well-known/"));
    assert_eq!(reqwest::get(clerk.jwks_url()).await.unwrap().status(), 503);
    assert_eq!(clerk.jwks_fetches(), 2);
    assert_eq!(standins.clerk_other().jwks_fetches(), 1);
    clerk.mint(TokenSpec::of("user_1")).unwrap();
    standins.faults().clear();
    jwks(clerk).await;
    assert_eq!(clerk.jwks_fetches(), 3);
    standins.shutdown().await;
}

#[tokio::test]
async fn every_wrong_kind_differs_from_the_good_token_in_what_it_names() {
    let standins = start().await;
    let clerk = standins.clerk();
    let key = jwks(clerk).await.remove(0);
    let validly_signed = [
        Wrong::Expired,
        Wrong::NotYetValid,
        Wrong::IssuedInFuture,
        Wrong::NoExp,
        Wrong::ExpAsString,
        Wrong::WrongIssuer,
        Wrong::NoIssuer,
        Wrong::WrongAzp,
        Wrong::NoAzp,
        Wrong::NoSubject,
        Wrong::DuplicateClaims,
        Wrong::OrgMalformed,
        Wrong::Pending,
        Wrong::MachineToken,
        Wrong::Huge,
        Wrong::UnknownKid,
        Wrong::NoKid,
    ];
    let form = [Wrong::ExtraDot, Wrong::Base64Padding];
    for &wrong in Wrong::ALL {
        let token = clerk.mint(TokenSpec::of("user_1").wrong(wrong)).unwrap();
        match wrong {
            Wrong::ExtraDot => assert!(signed_by(token.strip_suffix('.').unwrap(), &key)),
            Wrong::Base64Padding => assert!(signed_by(token.strip_suffix("==").unwrap(), &key)),
            _ => assert_eq!(signed_by(&token, &key), validly_signed.contains(&wrong), "{wrong:?}"),
        }
        if !form.contains(&wrong) {
            assert_eq!(token.split('.').count(), 3, "{wrong:?}");
        }
    }
    let payload =
        |wrong| String::from_utf8(part(&clerk.mint(TokenSpec::of("user_1").wrong(wrong)).unwrap(), 1)).unwrap();
    assert_eq!(payload(Wrong::DuplicateClaims).matches(r#""sub":"#).count(), 2);
    assert!(payload(Wrong::Huge).len() > 256 * 1024);
    standins.shutdown().await;
}

#[tokio::test]
async fn the_mint_answers_over_http_and_names_what_it_does_not_understand() {
    let standins = start().await;
    let http = reqwest::Client::new();
    let post = async |body: Value| {
        http.post(format!("{}/mint", standins.clerk().issuer()))
            .json(&body)
            .send()
            .await
            .unwrap()
    };
    let spec = TokenSpec::of("user_1").in_org(Org::new("org_1", "admin"));
    let token = post(json!(spec)).await.json::<Value>().await.unwrap();
    let claims: Value = serde_json::from_slice(&part(token["token"].as_str().unwrap(), 1)).unwrap();
    assert_eq!(
        (&claims["sub"], &claims["o"]["rol"]),
        (&json!("user_1"), &json!("admin"))
    );
    let unknown = post(json!({ "user": "user_1", "wrong": "purple" })).await;
    assert_eq!(unknown.status(), 422);
    assert!(unknown.text().await.unwrap().contains("purple"));
    let org = json!({ "id": "org_1", "role": "admin", "permissions": ["all"] });
    assert_eq!(post(json!({ "user": "user_1", "org": org })).await.status(), 400);
    standins.shutdown().await;
}

#[tokio::test]
async fn nothing_of_the_backend_is_open_without_the_secret_key() {
    let standins = start().await;
    let clerk = standins.clerk();
    let http = reqwest::Client::new();
    for path in ["/v1/jwks", "/v1/sessions?user_id=u", "/v1/users/u", "/v1/nothing"] {
        let url = format!("{}{path}", clerk.issuer());
        let closed = http.get(&url).send().await.unwrap();
        assert_eq!(closed.status(), 401, "{path}");
        let error: Value = closed.json().await.unwrap();
        assert_eq!(error["errors"][0]["code"], "authorization_header_format_invalid");
        let others = http.get(&url).bearer_auth(standins.clerk_other().secret_key());
        assert_eq!(others.send().await.unwrap().status(), 401, "{path}");
        let own = http.get(&url).bearer_auth(clerk.secret_key());
        assert_ne!(own.send().await.unwrap().status(), 401, "{path}");
    }
    let debug = format!("{clerk:?} {standins:?}");
    assert!(!debug.contains(clerk.secret_key()), "{debug}");
    standins.shutdown().await;
}

#[tokio::test]
async fn a_list_is_plain_unless_pages_are_asked_for() {
    let standins = start().await;
    let clerk = standins.clerk();
    for number in 0..12 {
        clerk
            .mint(TokenSpec::of("user_1").in_session(format!("sess_{number}")))
            .unwrap();
    }
    let http = reqwest::Client::new();
    let get = async |query: &str| {
        let url = format!("{}/v1/sessions?{query}", clerk.issuer());
        http.get(url).bearer_auth(clerk.secret_key()).send().await.unwrap()
    };
    let plain: Value = get("user_id=user_1&status=active").await.json().await.unwrap();
    assert_eq!(
        (plain.as_array().unwrap().len(), &plain[0]["id"]),
        (10, &json!("sess_11"))
    );
    let paged: Value = get("user_id=user_1&paginated=true&limit=5").await.json().await.unwrap();
    assert_eq!(
        (paged["data"].as_array().unwrap().len(), &paged["total_count"]),
        (5, &json!(12))
    );
    for wrong in [
        "user_id=user_1&status=asleep",
        "user_id=user_1&limit=501",
        "status=active",
    ] {
        assert_eq!(get(wrong).await.status(), 422, "{wrong}");
    }
    standins.shutdown().await;
}

#[tokio::test]
async fn the_vendors_verifier_and_client_accept_the_stand_in() {
    let standins = start().await;
    let node = aos_dev::paths::node_modules().join(".bin/node");
    let output = tokio::process::Command::new(node)
        .args(["--test", "--test-reporter=spec", "dev/peers/clerk.test.mjs"])
        .current_dir(aos_dev::paths::repository())
        .envs(standins.clerk().settings())
        .env("OTHER_CLERK_BASE_URL", standins.clerk_other().issuer())
        .env("OTHER_CLERK_SECRET_KEY", standins.clerk_other().secret_key())
        .env("CLERK_WRONG_KINDS", json!(Wrong::ALL).to_string())
        .env("CLERK_TELEMETRY_DISABLED", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(120), output)
        .await
        .expect("in time")
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!said.contains("tests 0"), "{said}");
    standins.shutdown().await;
}
