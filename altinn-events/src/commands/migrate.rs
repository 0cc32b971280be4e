//! `altinn-events migrate`.

use anyhow::Context;
use clap::Args as ClapArgs;
use service::env::Env;
use store::{Store, StoreSettings};

use super::Failure;

/// Arguments of `migrate`.
#[derive(ClapArgs, Debug)]
#[command(
    after_help = "Example, with the address that `make run` prints:\n  DATABASE_URL=postgres://postgres@127.0.0.1:PORT/postgres altinn-events migrate"
)]
pub struct Args {}

/// Runs the migrations under a lock; safe to repeat.
///
/// # Errors
/// When the database does not answer or a migration fails.
pub async fn run(_: Args, env: &Env) -> Result<(), Failure> {
    let settings = StoreSettings::from_env(env);
    env.finish()?;
    let store = Store::connect(&settings).map_err(anyhow::Error::new)?;
    store.migrate().await.context("the migrations did not run")?;
    println!("The schema {} is up to date.", settings.schema);
    Ok(())
}
