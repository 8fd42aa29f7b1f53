//! Writes what the Worker serves of the committed files without its white space: the files are for people.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::var("OUT_DIR")?;
    for name in ["openapi.json", "contracts.json"] {
        let file = Path::new("..").join(name);
        println!("cargo::rerun-if-changed={}", file.display());
        let value: serde_json::Value = serde_json::from_str(&fs::read_to_string(file)?)?;
        fs::write(Path::new(&out).join(name), value.to_string())?;
    }
    Ok(())
}
