//! What a person types. One file a command; each `--help` ends with an example that works against `make run`.

use clap::{Parser, Subcommand};
use service::{
    env::{ConfigError, Env},
    telemetry::{self, LogSettings},
};

pub mod altinn;
pub mod client;
pub mod dev;
pub mod first_event;
pub mod migrate;
pub mod publish;
pub mod run;
pub mod tail;
pub mod token;
pub mod topics;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "altinn-events",
    version,
    about = "An open event platform: publish, read feeds, get webhooks."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs services against the configured Kafka and Postgres, until SIGTERM.
    Run(run::Args),
    /// Runs everything on this machine: Kafka, Postgres, a stand-in for Altinn, all four services.
    Dev(dev::Args),
    /// Runs the stand-in for Altinn alone (for development: it gives anybody a token).
    Altinn(altinn::Args),
    /// Brings the database schema up to date.
    Migrate(migrate::Args),
    /// Creates the topics and start positions, or checks them.
    Topics(topics::Args),
    /// Gets a token from the local stand-in for Altinn.
    Token(token::Args),
    /// Publishes events: one from arguments, or many from a file or standard input.
    Publish(publish::Args),
    /// Follows a feed in the terminal; goes on where it stopped.
    Tail(tail::Args),
}

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The settings are wrong: exit code 64.
    Config(ConfigError),
    /// Anything else: exit code 1.
    Other(anyhow::Error),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl Cli {
    /// Carries the command out.
    ///
    /// # Errors
    /// [`Failure`], which says the exit code.
    pub async fn run(self) -> Result<(), Failure> {
        let env = Env::process();
        let log = LogSettings::from_env(&env);
        telemetry::install(&log);
        match self.command {
            Command::Run(args) => Box::pin(run::run(args, env)).await,
            Command::Dev(args) => Box::pin(dev::run(args)).await,
            Command::Altinn(args) => altinn::run(args).await.map_err(Failure::Other),
            Command::Migrate(args) => migrate::run(args, &env).await,
            Command::Topics(args) => topics::run(args, &env).await,
            Command::Token(args) => token::run(args).await.map_err(Failure::Other),
            Command::Publish(args) => publish::run(args).await.map_err(Failure::Other),
            Command::Tail(args) => tail::run(args).await.map_err(Failure::Other),
        }
    }
}
