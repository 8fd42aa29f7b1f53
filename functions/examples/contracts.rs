//! Prints the contracts of all skills; `cargo xtask openapi` writes them to `contracts.json`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout()
        .lock()
        .write_all(aos::skills::registry::contracts_json().as_bytes())
}
