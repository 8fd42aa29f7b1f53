//! Writes `openapi.json` without its white space, for the Worker to serve: the committed file is for people.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    const FILE: &str = "../openapi.json";
    println!("cargo::rerun-if-changed={FILE}");
    let description: serde_json::Value = serde_json::from_str(&fs::read_to_string(FILE)?)?;
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("openapi.json"), description.to_string())?;
    Ok(())
}
