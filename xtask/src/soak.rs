//! `cargo xtask soak [name]`: the proofs that take minutes. Each is the same test as in `cargo xtask test`, with more of
//! everything; its seed is printed and can be given.

use std::process::ExitCode;

use anyhow::Result;

use crate::stages::{Stages, cargo, run_tests};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which one; all without a name
    #[arg(value_enum)]
    name: Option<Name>,
    /// The seed of everything random
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Name {
    /// 500 random graphs on three Workers that all claim
    Graphs,
    /// workerd killed at ten random moments of a run, again and again
    Kills,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut stages = Stages::default();
    for name in arguments
        .name
        .map_or(vec![Name::Graphs, Name::Kills], |name| vec![name])
    {
        let test = match name {
            Name::Graphs => "graphs",
            Name::Kills => "kills",
        };
        let mut command = cargo(["test", "--package", "aos-tests", "--test", test, "--", "--nocapture"]);
        command.env("AOS_SOAK", "1");
        if let Some(seed) = arguments.seed {
            command.env("AOS_SEED", seed.to_string());
        }
        stages.count(test, run_tests(command)).await;
    }
    Ok(if stages.summarise().failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
