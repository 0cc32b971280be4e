//! `altinn-events tail`: follows a feed in the terminal, one event a line, and goes on where it stopped.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args as ClapArgs;
use serde_json::value::RawValue;

use super::{
    client::{Caller, Target, accepted},
    run::Signals,
};

/// Arguments of `tail`.
#[derive(ClapArgs, Debug)]
#[command(after_help = "Examples, beside `make run`:
  altinn-events tail
  altinn-events tail --after 0 --cursor-file my.cursor     from the start, later from where it stopped")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// The resource whose events to follow.
    #[arg(long, default_value = "urn:altinn:resource:ttd-altinn-events-automated-tests")]
    resource: String,
    /// Only events about this subject.
    #[arg(long)]
    subject: Option<String>,
    /// Where to start: an event id, a cursor, or 0 for the oldest event.
    #[arg(long, default_value = "0")]
    after: String,
    /// A file that keeps the cursor from one run to the next.
    #[arg(long)]
    cursor_file: Option<PathBuf>,
    /// Stop at the newest event instead of waiting for more.
    #[arg(long)]
    once: bool,
}

/// Prints events until Ctrl-C.
///
/// # Errors
/// When the platform does not answer or refuses, or the cursor file cannot be used.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let caller = args.target.caller().await?;
    tokio::select! {
        () = signals.stop() => Ok(()),
        followed = follow(&args, &caller) => followed,
    }
}

async fn follow(args: &Args, caller: &Caller) -> anyhow::Result<()> {
    let mut after = saved(args.cursor_file.as_deref()).await?.unwrap_or_else(|| args.after.clone());
    loop {
        let (events, cursor) = page(args, caller, &after).await?;
        if !print(&events)? {
            return Ok(());
        }
        if let Some(cursor) = cursor {
            after = cursor;
            if let Some(file) = &args.cursor_file {
                tokio::fs::write(file, &after)
                    .await
                    .with_context(|| format!("cannot write {}", file.display()))?;
            }
        }
        if args.once && events.is_empty() {
            return Ok(());
        }
    }
}

/// Whether somebody still reads what is printed.
fn print(events: &[Box<RawValue>]) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    // Publishers may break lines between members; within a text a line break is always escaped.
    let line = |event: &RawValue| event.get().replace(['\r', '\n'], " ");
    let printed =
        events.iter().try_for_each(|event| writeln!(out, "{}", line(event))).and_then(|()| out.flush());
    match printed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("cannot print"),
    }
}

async fn saved(file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(file) = file else { return Ok(None) };
    match tokio::fs::read_to_string(file).await {
        Ok(cursor) => Ok(Some(cursor.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

async fn page(
    args: &Args,
    caller: &Caller,
    after: &str,
) -> anyhow::Result<(Vec<Box<RawValue>>, Option<String>)> {
    let mut query = vec![("resource", args.resource.as_str()), ("after", after), ("size", "1000")];
    if let Some(subject) = &args.subject {
        query.push(("subject", subject));
    }
    if !args.once {
        query.push(("wait", "30"));
    }
    let answer = accepted(caller.get("/events/api/v1/events").query(&query)).await?;
    let cursor = answer.headers().get("feed-cursor").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let events = serde_json::from_slice(&answer.bytes().await?).context("the page is not JSON")?;
    Ok((events, cursor))
}
