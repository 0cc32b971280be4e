//! `altinn-events run`: what production runs.

use clap::Args as ClapArgs;
use service::env::Env;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;
use crate::{platform::Platform, settings::Settings};

/// Arguments of `run`.
#[derive(ClapArgs, Debug)]
#[command(after_help = "Example, beside `make run` (production names its own Altinn, by https):
  export OPENID_WELL_KNOWN_ENDPOINT=http://localhost:5101/authentication/api/v1/openid/
  export PLATFORM_CERTIFICATES=http://localhost:5101/platform-certificates/{issuer}-access-token-public-cert
  export AUTHORIZATION_API=http://localhost:5101/authorization/api/v1/
  export REGISTER_API=http://localhost:5101/register/api/
  LISTEN=127.0.0.1:5090 ADMIN_LISTEN=127.0.0.1:5091 altinn-events run --services query-api")]
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
    let settings = Settings::for_run(&env)?;
    for setting in settings.table.iter().filter(|setting| setting.value != setting.default) {
        tracing::info!(name = setting.name, value = setting.value, "setting");
    }
    let mut signals = Signals::listen()?;
    let platform = tokio::select! {
        () = signals.stop() => return Ok(()),
        platform = Box::pin(Platform::start(settings)) => platform?,
    };
    tokio::select! {
        () = signals.stop() => {}
        () = platform.life.wait() => {}
    }
    tracing::info!("stopping");
    tokio::select! {
        ended = platform.stop() => Ok(ended?),
        () = signals.stop() => Err(Failure::Other(anyhow::anyhow!("a second signal cut the stop short"))),
    }
}

/// SIGTERM and SIGINT. None is lost between two waits.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes both from now on.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
