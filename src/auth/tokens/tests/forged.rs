//! Tokens that are none, or that their issuer did not sign.

use super::*;
use crate::auth::testing::{encode, with_part};

/// A session by this `alg`, signed by another algorithm with a key of any kind.
fn confused(alg: &str, signing: &SigningKey, algorithm: Algorithm) -> String {
    let header = changed(session_header(), json!({ "alg": alg }));
    write(&header.to_string(), &session_claims().to_string(), signing, algorithm)
}

fn unsigned(header: Value) -> String {
    let part = |value: Value| encode(value.to_string().as_bytes());
    format!("{}.{}.", part(header), part(session_claims()))
}

/// A service token by any `alg`, key and algorithm.
fn any_service(header: Value, signing: &SigningKey, algorithm: Algorithm) -> String {
    let claims = json!({"iss": SERVICE_ISSUER, "sub": "x", "tenant": "t", "roles": ["developer"], "exp": NOW + 60});
    write(&header.to_string(), &claims.to_string(), signing, algorithm)
}

fn flipped(part: &str) -> String {
    let (before, after) = part.split_at(part.len() / 2);
    let other = if after.starts_with('A') { "B" } else { "A" };
    format!("{before}{other}{}", after.split_at(1).1)
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    use Refusal::{Malformed, TooLong};

    let good = claiming(json!({}));
    let header = session_header().to_string();
    let other_alphabet = with_part(&good, 2, |part| format!("+/{}", part.split_at(2).1));
    are_refused([
        ("nothing", String::new(), Malformed),
        ("one word", "abc".to_owned(), Malformed),
        ("two parts", good.rsplit_once('.').unwrap().0.to_owned(), Malformed),
        ("four parts", format!("{good}."), Malformed),
        ("only dots", "..".to_owned(), Malformed),
        ("a space before it", format!(" {good}"), Malformed),
        ("a line after it", format!("{good}\n"), Malformed),
        ("padding", format!("{good}=="), Malformed),
        ("the other alphabet of base64", other_alphabet, Malformed),
        (
            "a header that is no base64",
            with_part(&good, 0, |_| "!!".to_owned()),
            Malformed,
        ),
        (
            "a header that is no JSON",
            with_part(&good, 0, |_| encode(b"{")),
            Malformed,
        ),
        (
            "a header that is a list",
            with_part(&good, 0, |_| encode(b"[1]")),
            Malformed,
        ),
        (
            "a header without alg",
            of_text(r#"{"kid":"a"}"#, &session_claims().to_string()),
            Malformed,
        ),
        (
            "a header that is no UTF-8",
            with_part(&good, 0, |_| encode(b"{\"alg\":\"RS256\xff\"}")),
            Malformed,
        ),
        (
            "kid twice",
            of_text(r#"{"alg":"RS256","kid":"a","kid":"a"}"#, &session_claims().to_string()),
            Malformed,
        ),
        (
            "a kid that is a number",
            session(json!({"kid": 1}), json!({})),
            Malformed,
        ),
        ("a payload that is no JSON", of_text(&header, "not json"), Malformed),
        ("a payload that is a text", of_text(&header, "\"x\""), Malformed),
        (
            "nesting without end",
            of_text(&header, &format!("{{\"x\":{}", "[".repeat(500))),
            Malformed,
        ),
        (
            "more than eight kibibytes",
            claiming(json!({"x": "x".repeat(8 << 10)})),
            TooLong,
        ),
    ])
    .await;
}

#[tokio::test]
async fn another_issuers_token_is_refused() {
    use Refusal::{Malformed, WrongIssuer};

    are_refused([
        ("no issuer", claiming(json!({"iss": null})), WrongIssuer),
        ("an empty issuer", claiming(json!({"iss": ""})), WrongIssuer),
        (
            "another issuer",
            claiming(json!({"iss": "https://clerk.evil.example"})),
            WrongIssuer,
        ),
        (
            "the issuer with a slash",
            claiming(json!({"iss": format!("{ISSUER}/")})),
            WrongIssuer,
        ),
        (
            "the issuer in capitals",
            claiming(json!({"iss": ISSUER.to_uppercase()})),
            WrongIssuer,
        ),
        ("a list of issuers", claiming(json!({"iss": [ISSUER]})), Malformed),
        ("an issuer twice", and(&format!("\"iss\":\"{ISSUER}\"")), Malformed),
    ])
    .await;
}

#[tokio::test]
async fn no_algorithm_but_the_issuers_own_is_accepted() {
    use Refusal::{CriticalHeader, MachineToken, WrongAlgorithm, WrongSignature, WrongType};

    let modulus = SigningKey::from_secret(&key(0).modulus());
    let secret = SigningKey::from_secret(SECRET.as_bytes());
    let rsa = &key(0).signing;
    let (hs, rs) = (Algorithm::HS256, Algorithm::RS256);
    are_refused([
        (
            "alg none",
            unsigned(json!({"alg": "none", "typ": "JWT", "kid": "a"})),
            WrongAlgorithm,
        ),
        ("alg None", unsigned(json!({"alg": "None", "kid": "a"})), WrongAlgorithm),
        ("an empty alg", unsigned(json!({"alg": "", "kid": "a"})), WrongAlgorithm),
        ("ES256", unsigned(json!({"alg": "ES256", "kid": "a"})), WrongAlgorithm),
        ("RS256 without a signature", unsigned(session_header()), WrongSignature),
        (
            "HS256 with the modulus as its secret",
            confused("HS256", &modulus, hs),
            WrongAlgorithm,
        ),
        (
            "HS256 with the other issuer's secret",
            confused("HS256", &secret, hs),
            WrongAlgorithm,
        ),
        (
            "RS256 by its word, HS256 by its signature",
            confused("RS256", &modulus, hs),
            WrongSignature,
        ),
        ("rs256", confused("rs256", rsa, rs), WrongAlgorithm),
        ("RS512", confused("RS512", rsa, Algorithm::RS512), WrongAlgorithm),
        ("PS256", confused("PS256", rsa, Algorithm::PS256), WrongAlgorithm),
        (
            "RS256 by its word, RS512 by its signature",
            confused("RS256", rsa, Algorithm::RS512),
            WrongSignature,
        ),
        (
            "RS256 by its word, PS256 by its signature",
            confused("RS256", rsa, Algorithm::PS256),
            WrongSignature,
        ),
        (
            "a service signed by RSA",
            any_service(session_header(), rsa, rs),
            WrongAlgorithm,
        ),
        (
            "a service by HS512",
            any_service(json!({"alg": "HS512"}), &secret, Algorithm::HS512),
            WrongAlgorithm,
        ),
        (
            "a service by RSA that says HS256",
            any_service(json!({"alg": "HS256"}), rsa, rs),
            WrongSignature,
        ),
        (
            "an extension that must be understood",
            session(json!({"crit": ["b64"], "b64": false}), json!({})),
            CriticalHeader,
        ),
        (
            "an empty list of extensions",
            session(json!({"crit": []}), json!({})),
            CriticalHeader,
        ),
        (
            "a service with an extension",
            service(json!({"crit": ["x"]}), json!({})),
            CriticalHeader,
        ),
        (
            "an access token of OAuth",
            session(json!({"typ": "at+jwt"}), json!({})),
            WrongType,
        ),
        (
            "typ in small letters",
            session(json!({"typ": "jwt"}), json!({})),
            WrongType,
        ),
        (
            "a machine's token",
            session(json!({"cat": "cl_B7d4PD333AAA"}), json!({})),
            MachineToken,
        ),
    ])
    .await;
}

#[tokio::test]
async fn no_key_but_the_issuers_own_is_accepted() {
    use Refusal::{NoKey, UnknownKey, WrongSignature};

    let good = claiming(json!({}));
    let with_own_key = {
        let header = changed(session_header(), json!({"jwk": key(1).jwk("a")}));
        write(
            &header.to_string(),
            &session_claims().to_string(),
            &key(1).signing,
            Algorithm::RS256,
        )
    };
    let of_another = claiming(json!({"jti": "x"})).rsplit('.').next().unwrap().to_owned();
    let claims = |changes| encode(changed(session_claims(), changes).to_string().as_bytes());
    let header = encode(changed(session_header(), json!({"x": 1})).to_string().as_bytes());
    let other_secret = SigningKey::from_secret(b"another-secret-of-thirty-two-bytes");
    are_refused([
        ("no kid", session(json!({"kid": null}), json!({})), NoKey),
        ("an empty kid", session(json!({"kid": ""}), json!({})), NoKey),
        (
            "an endless kid",
            session(json!({"kid": "a".repeat(300)}), json!({})),
            NoKey,
        ),
        ("an unknown kid", session(json!({"kid": "b"}), json!({})), UnknownKey),
        (
            "another key under a known kid",
            confused("RS256", &key(1).signing, Algorithm::RS256),
            WrongSignature,
        ),
        ("a key that it brought along", with_own_key, WrongSignature),
        ("a changed signature", with_part(&good, 2, flipped), WrongSignature),
        (
            "half a signature",
            with_part(&good, 2, |part| part.split_at(168).0.to_owned()),
            WrongSignature,
        ),
        (
            "a longer signature",
            with_part(&good, 2, |part| format!("AAAA{part}")),
            WrongSignature,
        ),
        (
            "the signature of another token",
            with_part(&good, 2, |_| of_another),
            WrongSignature,
        ),
        (
            "a changed payload",
            with_part(&good, 1, |_| claims(json!({"sub": "user_2"}))),
            WrongSignature,
        ),
        ("a changed header", with_part(&good, 0, |_| header), WrongSignature),
        (
            "a service without a signature",
            with_part(&service(json!({}), json!({})), 2, |_| String::new()),
            WrongSignature,
        ),
        (
            "a service with another secret",
            any_service(json!({"alg": "HS256"}), &other_secret, Algorithm::HS256),
            WrongSignature,
        ),
    ])
    .await;
}
