//! The examples of RFC 7515 (JSON Web Signature) and RFC 7519 (JSON Web Token).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;

use super::*;
use crate::auth::token::{Unverified, verified};

/// RFC 7515 appendix A.1.
const HS256: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const HS256_KEY: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
/// RFC 7515 appendix A.2.
const RS256: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const RS256_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
/// RFC 7515 appendix A.5, and RFC 7519 section 6.1.
const UNSECURED: &str = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";

fn claims() -> Value {
    json!({"iss": "joe", "exp": 1_300_819_380, "http://example.com/is_root": true})
}

fn secret() -> DecodingKey {
    DecodingKey::from_secret(&URL_SAFE_NO_PAD.decode(HS256_KEY).unwrap())
}

fn rsa() -> DecodingKey {
    DecodingKey::from_rsa_components(RS256_N, "AQAB").unwrap()
}

#[test]
fn the_examples_signatures_hold_under_their_own_algorithm_only() {
    assert_eq!(verified(HS256, &secret(), Algorithm::HS256), Ok(claims()));
    assert_eq!(verified(RS256, &rsa(), Algorithm::RS256), Ok(claims()));
    let refused = |token, key, algorithm| verified::<Value>(token, &key, algorithm).unwrap_err();
    assert_eq!(refused(HS256, rsa(), Algorithm::RS256), Refusal::WrongAlgorithm);
    assert_eq!(refused(HS256, rsa(), Algorithm::HS256), Refusal::WrongAlgorithm);
    assert_eq!(refused(RS256, secret(), Algorithm::HS256), Refusal::WrongAlgorithm);
    assert_eq!(refused(RS256, secret(), Algorithm::RS256), Refusal::WrongAlgorithm);
    assert_eq!(refused(UNSECURED, secret(), Algorithm::HS256), Refusal::Malformed);
    assert_eq!(refused(UNSECURED, rsa(), Algorithm::RS256), Refusal::Malformed);
}

#[test]
fn an_examples_signature_does_not_hold_over_anything_else() {
    let (message, signature) = HS256.rsplit_once('.').unwrap();
    let changed = format!(
        "{}.{signature}",
        message.replace("eyJpc3MiOiJqb2Ui", "eyJpc3MiOiJqb2Uj")
    );
    let refused = |token: &str, key, algorithm| verified::<Value>(token, &key, algorithm).unwrap_err();
    assert_ne!(changed, HS256);
    assert_eq!(refused(&changed, secret(), Algorithm::HS256), Refusal::WrongSignature);
    let (message, _) = RS256.rsplit_once('.').unwrap();
    let exchanged = format!("{message}.{signature}");
    assert_eq!(refused(&exchanged, rsa(), Algorithm::RS256), Refusal::WrongSignature);
}

#[test]
fn the_examples_are_read_as_the_rfc_says() {
    for (token, algorithm) in [(HS256, Algorithm::HS256), (RS256, Algorithm::RS256)] {
        let unverified = Unverified::read(token).ok().unwrap();
        assert_eq!(unverified.issuer, "joe");
        assert_eq!(unverified.must_be(algorithm), Ok(()));
    }
    let unsecured = Unverified::read(UNSECURED).ok().unwrap();
    for algorithm in [Algorithm::HS256, Algorithm::RS256] {
        assert_eq!(unsecured.must_be(algorithm), Err(Refusal::WrongAlgorithm));
    }
}
