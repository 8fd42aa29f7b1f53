//! SHA-256 as it is written everywhere here: 64 hexadecimal digits in lower case.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// SHA-256 of some bytes.
pub(crate) fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string does not fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}
