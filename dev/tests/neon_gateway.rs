//! The Neon gateway in front of a real PostgreSQL: what goes over the wire, byte for byte where it matters, and the
//! same again through the vendor's own client.

#[path = "neon_gateway/world.rs"]
mod world;

#[path = "neon_gateway/batches.rs"]
mod batches;
#[path = "neon_gateway/control.rs"]
mod control;
#[path = "neon_gateway/errors.rs"]
mod errors;
#[path = "neon_gateway/results.rs"]
mod results;
#[path = "neon_gateway/sessions.rs"]
mod sessions;

use std::path::Path;
use std::process::Command;

#[test]
fn the_vendors_client_is_content() {
    let world = world::shared();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("dev/ lies in the root");
    let node = root.join("node_modules/.bin/node");
    assert!(node.exists(), "node_modules is missing: run `npm ci` in the root");
    let output = Command::new(node)
        .args(["--test", "dev/peers/neon.test.mjs"])
        .current_dir(root)
        .env("NEON_HTTP_ENDPOINT", world.gateway.endpoint())
        .env("DATABASE_URL", &world.url)
        .output()
        .expect("node starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        said.contains("# pass ") || said.contains("ℹ pass "),
        "node ran no tests:\n{said}"
    );
}
