//! `altinn-events`: see `altinn-events --help`.

use std::process::ExitCode;

use altinn_events::commands::{Cli, Failure};
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    service::descriptors::raise();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("altinn-events: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(error)) => {
            eprintln!("altinn-events: {error}");
            ExitCode::from(64)
        }
        Err(Failure::Other(error)) => {
            eprintln!("altinn-events: {error:#}");
            ExitCode::FAILURE
        }
    }
}
