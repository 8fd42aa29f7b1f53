//! `cargo xtask token`: a session token by the Clerk stand-in of the running `cargo xtask dev`, for use with curl.
//! It prints the token and nothing else.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use aos_dev::paths::state_dir;
use aos_dev::standins::clerk::{ClaimVersion, Org, TokenSpec, Wrong};
use serde_json::Value;

const NOT_RUNNING: &str = "`cargo xtask dev` is not running here; start it in another terminal, and ask again";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Whom the token signs in, such as user_ada
    #[arg(long)]
    user: String,
    /// The active organisation, such as org_acme [default: none, the user's own tenant]
    #[arg(long)]
    org: Option<String>,
    /// The user's role in the organisation; an "org:" before it may be left out
    #[arg(long, default_value = "admin", requires = "org")]
    role: String,
    /// A permission in the organisation, as feature:permission; may be repeated
    #[arg(long = "permission", value_name = "PERMISSION", requires = "org")]
    permissions: Vec<String>,
    /// The session [default: a new one]
    #[arg(long)]
    session: Option<String>,
    /// The party that the token is for (azp) [default: an authorised one]
    #[arg(long)]
    azp: Option<String>,
    /// How long it is valid, in seconds; Clerk's own live for 60
    #[arg(long, default_value_t = 3600)]
    lifetime: i64,
    /// Write the claims in their first version
    #[arg(long)]
    v1: bool,
    /// Make it wrong in this way, such as expired, wrong_key or alg_none
    #[arg(long, value_name = "KIND", value_parser = wrong_kind)]
    wrong: Option<Wrong>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let standins = standins_url()?;
    let spec = arguments.spec();
    let request = reqwest::Client::new()
        .post(format!("{standins}/clerk/mint"))
        .json(&spec);
    let answer = match request.send().await {
        // The file outlives a `dev` that was killed.
        Err(error) if error.is_connect() => bail!("{NOT_RUNNING}"),
        answer => answer?,
    };
    let status = answer.status();
    let said = answer.text().await?;
    if !status.is_success() {
        bail!("no token ({status}): {said}");
    }
    let said: Value = serde_json::from_str(&said).context("the mint answers in JSON")?;
    let token = said["token"].as_str().context("the mint's answer holds no token")?;
    println!("{token}");
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn spec(self) -> TokenSpec {
        let org = self.org.map(|id| Org {
            permissions: self.permissions,
            ..Org::new(id, self.role.strip_prefix("org:").unwrap_or(&self.role))
        });
        TokenSpec {
            session: self.session,
            org,
            azp: self.azp,
            lifetime_s: self.lifetime,
            version: if self.v1 { ClaimVersion::V1 } else { ClaimVersion::V2 },
            wrong: self.wrong,
            ..TokenSpec::of(self.user)
        }
    }
}

/// Where the running `dev` has its stand-ins.
fn standins_url() -> Result<String> {
    let path = state_dir().join("dev.env");
    let settings = match dotenvy::from_path_iter(&path) {
        Err(error) if error.not_found() => bail!("{NOT_RUNNING}"),
        settings => settings.with_context(|| format!("cannot read {}", path.display()))?,
    };
    for setting in settings {
        let (name, value) = setting.with_context(|| format!("cannot read {}", path.display()))?;
        if name == "STANDINS_URL" {
            return Ok(value);
        }
    }
    bail!("{} has no STANDINS_URL: {NOT_RUNNING}", path.display())
}

fn wrong_kind(name: &str) -> Result<Wrong, String> {
    serde_json::from_value(Value::from(name)).map_err(|_| {
        let kinds = Wrong::ALL.iter().filter_map(|kind| serde_json::to_value(kind).ok());
        let names: Vec<_> = kinds.filter_map(|kind| kind.as_str().map(str::to_owned)).collect();
        format!("the kinds are {}", names.join(", "))
    })
}
