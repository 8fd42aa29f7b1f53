//! `cargo xtask build`: the Worker, into `build/`.

use std::process::ExitCode;

use anyhow::Result;
use aos_dev::progress::Progress;
use aos_dev::worker_build::build_worker;

pub(crate) async fn run() -> Result<ExitCode> {
    build_worker(&Progress::console()).await?;
    Ok(ExitCode::SUCCESS)
}
