//! How log lines look and which are shown, and how an error is told. Lines never hold tokens, bodies, signatures or person numbers.

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::env::Env;

/// Postgres remarks on every `IF NOT EXISTS` of a start.
const DEFAULT: &str = "info,sqlx::postgres::notice=warn";

/// The settings of the log.
#[derive(Clone, Debug)]
pub struct LogSettings {
    filter: String,
    json: bool,
}

impl LogSettings {
    /// `LOG` is a filter such as `info` or `dispatcher=debug,info`; `LOG_JSON` switches to one JSON object a line.
    pub fn from_env(env: &Env) -> Self {
        let filter = env.text("LOG", DEFAULT);
        if let Err(error) = EnvFilter::try_new(&filter) {
            env.mistake("LOG", &format!("`{filter}` is not a log filter ({error}); example: info"));
        }
        Self { filter, json: env.flag("LOG_JSON", false) }
    }
}

/// An error with its causes, in one line. Errors say what failed without them.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Sends log lines to standard error. A second call in one process changes nothing.
pub fn install(settings: &LogSettings) {
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if settings.json { lines.json().boxed() } else { lines.with_target(false).boxed() };
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_err() {
        tracing::debug!("the log was set up before");
    }
}
