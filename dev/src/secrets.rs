//! Secrets for one machine, made at run time and never committed, and short names for long paths.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// 32 random bytes as 43 characters that mean nothing special in a URL, a shell or SQL.
///
/// # Errors
/// When the system gives no randomness.
pub fn generate() -> Result<String> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("the system gives no randomness: {error}"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The secret in a file that only its owner may read; a new one where there is no such file.
///
/// # Errors
/// When the file cannot be read or written, or the system gives no randomness.
pub(crate) fn kept(file: &Path) -> Result<String> {
    match std::fs::read_to_string(file) {
        Ok(secret) => Ok(secret),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let secret = generate()?;
            let mut options = File::options();
            let mut file = options.write(true).create_new(true).mode(0o600).open(file)?;
            file.write_all(secret.as_bytes())?;
            Ok(secret)
        }
        Err(error) => Err(error.into()),
    }
}

/// The first 16 hexadecimal digits of the SHA-256 of some bytes: names them, guards nothing.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
