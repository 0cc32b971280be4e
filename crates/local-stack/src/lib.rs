//! Apache Kafka and Postgres as child processes: the same code serves `make run`, `make test` and `make bench`.
//!
//! * [`Stack::start`] fetches what `pom.xml` pins (once, into a cache outside `target/`), prepares a data folder, starts both
//!   servers and returns when each has answered a real request.
//! * [`Stack::from_env`] does the same, but uses `KAFKA_BROKERS` and `DATABASE_URL` in place of a server of its own when set.
//! * [`shared`] is the one stack of a test process.
//! * [`Front`] stands between clients and a broker, for tests of what a network does.
//!
//! Invariants: nothing listens beyond 127.0.0.1; nothing runs as root; no child outlives this process, also when it is killed
//! with `kill -9` (`watchdog`); a data folder has one user at a time (`folder`); every error says what mends it and where the
//! logs are ([`StackError`]).

#![warn(missing_docs)]

mod account;
mod artifacts;
mod error;
mod folder;
mod freeze;
mod front;
mod kafka;
mod ports;
mod postgres;
mod server;
mod stack;
mod watchdog;

use service::env::Env;
use tokio::sync::OnceCell;

pub use error::StackError;
pub use freeze::Frozen;
pub use front::Front;
pub use stack::{Stack, StackOptions};

static SHARED: OnceCell<Stack> = OnceCell::const_new();

/// The stack that all tests of a process share: the one that `KAFKA_BROKERS` and `DATABASE_URL` name (`make test` sets them),
/// else one started now in a temporary folder, which ends with the process.
///
/// # Panics
/// When the stack does not start; the message says what mends it.
pub async fn shared() -> &'static Stack {
    let start = async || {
        let env = Env::process();
        Stack::from_env(&env, StackOptions::temporary(), |step| eprintln!("local stack: {step}")).await
    };
    match SHARED.get_or_try_init(start).await {
        Ok(stack) => stack,
        #[expect(clippy::panic, reason = "only tests call this, and a panic is how a test fails")]
        Err(error) => panic!("the local stack does not start: {error}"),
    }
}
