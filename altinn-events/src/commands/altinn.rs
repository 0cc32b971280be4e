//! `altinn-events altinn`: the stand-in for Altinn alone, for services that run as processes or containers of their own.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::run::Signals;

/// Arguments of `altinn`.
#[derive(ClapArgs, Debug)]
#[command(
    after_help = "Example, not beside `make run`, which has one:\n  altinn-events altinn --key-file .local/altinn-keys.json"
)]
pub struct Args {
    /// Its port on 127.0.0.1.
    #[arg(long, default_value_t = local_altinn::PORT)]
    port: u16,
    /// File that keeps its signing keys over a restart.
    #[arg(long)]
    key_file: Option<PathBuf>,
}

/// Runs it until SIGTERM or SIGINT.
///
/// # Errors
/// When the port is taken or the key file cannot be read or written.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let options = local_altinn::Options {
        port: args.port,
        key_file: args.key_file,
        ..local_altinn::Options::default()
    };
    let altinn = local_altinn::start(options).await?;
    println!("A stand-in for Altinn answers at {}; it gives anybody a token.", altinn.base_url);
    signals.stop().await;
    altinn.stop().await;
    Ok(())
}
