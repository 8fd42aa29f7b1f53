//! The two signatures that there are, for jsonwebtoken: RS256 and HS256, both only to be checked.
//!
//! Its own backend brings eleven algorithms and all their private keys: 130 KB more of compressed wasm, for what must
//! be refused. What is not here cannot be confused with what is.

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind,
    crypto::{CryptoProvider, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    signature::{self, Verifier},
};
use rsa::{
    BigUint, Pkcs1v15Sign, RsaPublicKey,
    sha2::{Digest, Sha256},
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: verifier,
    // For making JSON Web Keys, which nobody here does: it would panic.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Sees to it that jsonwebtoken uses these; to be called before each use of it, and costs next to nothing.
pub(super) fn install() {
    // Refused when it is installed already, which is what is wanted.
    let _ = PROVIDER.install_default();
}

/// The check for this algorithm with this key, if they belong together.
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    match (algorithm, key.family(), key.kind()) {
        (Algorithm::RS256, AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            let key = RsaPublicKey::new(BigUint::from_bytes_be(n), BigUint::from_bytes_be(e))
                .map_err(|error| ErrorKind::InvalidRsaKey(error.to_string()))?;
            Ok(Box::new(Rs256(key)))
        }
        (Algorithm::HS256, AlgorithmFamily::Hmac, DecodingKeyKind::SecretOrDer(secret)) => {
            let keyed = Hmac::new_from_slice(secret).map_err(|_| ErrorKind::InvalidKeyFormat)?;
            Ok(Box::new(Hs256(keyed)))
        }
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

/// RSASSA-PKCS1-v1_5 with SHA-256.
struct Rs256(RsaPublicKey);

impl Verifier<Vec<u8>> for Rs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        self.0
            .verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), signature)
            .map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Rs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}

/// HMAC with SHA-256, compared in constant time.
struct Hs256(Hmac<sha2::Sha256>);

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let mut mac = self.0.clone();
        mac.update(message);
        mac.verify_slice(signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_checks_the_signatures_of_its_own_algorithm_and_no_others() {
        use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};

        let rsa = DecodingKey::from_rsa_raw_components(&[0xff; 256], &[1, 0, 1]);
        let secret = DecodingKey::from_secret(&[0xff; 256]);
        // What a careless caller might make of a public key's bytes.
        let der = DecodingKey::from_rsa_der(&[0xff; 256]);
        for algorithm in [
            ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512,
        ] {
            assert_eq!(verifier(&algorithm, &rsa).is_ok(), algorithm == RS256, "{algorithm:?}");
            assert_eq!(
                verifier(&algorithm, &secret).is_ok(),
                algorithm == HS256,
                "{algorithm:?}"
            );
            assert!(verifier(&algorithm, &der).is_err(), "{algorithm:?}");
        }
    }
}
