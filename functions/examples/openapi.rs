//! Prints the OpenAPI description of the Worker; `cargo xtask openapi` writes it to `openapi.json`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout()
        .lock()
        .write_all(aos_worker::openapi_json().as_bytes())
}
