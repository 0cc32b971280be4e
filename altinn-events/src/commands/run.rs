//! `altinn-events run`: what production runs.

use clap::Args as ClapArgs;
use service::env::Env;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::{platform::Platform, settings::Settings};

/// Arguments of `run`.
#[derive(ClapArgs, Debug)]
#[command(
    after_help = "Example, beside `make run`:\n  LISTEN=127.0.0.1:5090 ADMIN_LISTEN=127.0.0.1:5091 altinn-events run --services query-api"
)]
pub struct Args {
    /// Which services, with commas between the names (default: SERVICES, else all four).
    #[arg(long)]
    services: Option<String>,
}

/// Runs services until SIGTERM, SIGINT or the death of a part.
///
/// # Errors
/// [`Failure`] for wrong settings, for what cannot be reached at start, and for a part that died.
pub async fn run(args: Args, env: Env) -> Result<(), Failure> {
    let env = match args.services {
        Some(services) => Env::process_with([("SERVICES".to_owned(), services)]),
        None => env,
    };
    let settings = Settings::from_env(&env)?;
    for setting in settings.table.iter().filter(|setting| setting.value != setting.default) {
        tracing::info!(name = setting.name, value = setting.value, "setting");
    }
    let platform = Box::pin(Platform::start(settings)).await?;
    until_stopped(&platform).await?;
    tracing::info!("stopping");
    tokio::select! {
        ended = platform.stop() => ended?,
        second = stop_signal() => {
            second?;
            return Err(Failure::Other(anyhow::anyhow!("a second signal cut the stop short")));
        }
    }
    Ok(())
}

async fn until_stopped(platform: &Platform) -> anyhow::Result<()> {
    tokio::select! {
        signal = stop_signal() => signal,
        () = platform.life.wait() => Ok(()),
    }
}

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub async fn stop_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
