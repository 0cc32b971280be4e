//! `altinn-events publish`: one event from arguments, or many, one JSON object a line, from a file or standard input.
//!
//! Many events go in batches of `BATCH`, at most `IN_FLIGHT` requests at once; a line on standard error says how many are
//! accepted and how fast. The first refusal stops the command; what was accepted until then is said.

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, ensure};
use clap::Args as ClapArgs;
use event::media;
use serde_json::{Map, Value, json, value::RawValue};
use tokio::{
    fs::File,
    io::{AsyncBufRead, AsyncBufReadExt, BufReader, stdin},
    task::JoinSet,
};

use super::client::{Caller, Target, accepted};

/// Events a request.
const BATCH: usize = 100;
/// Requests at once.
const IN_FLIGHT: usize = 4;
const PATH: &str = "/events/api/v1/events";

/// Arguments of `publish`.
#[derive(ClapArgs, Debug)]
#[command(after_help = "Examples, beside `make run`:
  altinn-events publish --subject /party/50001337 --data '{\"hello\":\"world\"}'
  altinn-events publish --file events.jsonl
  zcat old.jsonl.gz | altinn-events publish --file -")]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// A file of events, one JSON object a line; `-` is standard input.
    #[arg(long)]
    file: Option<PathBuf>,
    /// The event's id (default: a new UUID).
    #[arg(long)]
    id: Option<String>,
    /// The event's type.
    #[arg(long, default_value = "no.altinn.example.created")]
    r#type: String,
    /// The event's source.
    #[arg(long, default_value = "https://ttd.example.no/things/1")]
    source: String,
    /// Whom the event is about.
    #[arg(long)]
    subject: Option<String>,
    /// The resource it belongs to.
    #[arg(long, default_value = "urn:altinn:resource:ttd-altinn-events-automated-tests")]
    resource: String,
    /// The event's data, as JSON.
    #[arg(long)]
    data: Option<String>,
}

/// Publishes and says what was accepted.
///
/// # Errors
/// When the input is not JSON, or the platform does not answer or refuses.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let caller = args.target.caller().await?;
    match &args.file {
        None => {
            let event = one(&args)?;
            let id = event.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            let request = caller.post(PATH).header("content-type", media::EVENT);
            accepted(request.body(Value::Object(event).to_string())).await?;
            println!("{id}");
            Ok(())
        }
        Some(path) if path.as_os_str() == "-" => many(&caller, BufReader::new(stdin())).await,
        Some(path) => {
            let file = File::open(path).await.with_context(|| format!("cannot open {}", path.display()))?;
            many(&caller, BufReader::new(file)).await
        }
    }
}

fn one(args: &Args) -> anyhow::Result<Map<String, Value>> {
    let id = args.id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let mut event = Map::new();
    event.insert("specversion".to_owned(), json!("1.0"));
    event.insert("id".to_owned(), json!(id));
    event.insert("source".to_owned(), json!(args.source));
    event.insert("type".to_owned(), json!(args.r#type));
    event.insert("resource".to_owned(), json!(args.resource));
    if let Some(subject) = &args.subject {
        event.insert("subject".to_owned(), json!(subject));
    }
    if let Some(data) = &args.data {
        event.insert("data".to_owned(), serde_json::from_str(data).context("--data is not JSON")?);
    }
    Ok(event)
}

/// Counts what was accepted and shows it once a second.
struct Meter {
    started: Instant,
    shown: Instant,
    accepted: usize,
}

impl Meter {
    fn add(&mut self, events: usize) {
        self.accepted += events;
        if self.shown.elapsed().as_secs() >= 1 {
            self.shown = Instant::now();
            self.show();
        }
    }

    fn show(&self) {
        let rate = self.accepted as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        eprintln!("{} events accepted, {rate:.0}/s", self.accepted);
    }
}

async fn many(caller: &Caller, mut input: impl AsyncBufRead + Unpin) -> anyhow::Result<()> {
    let mut meter = Meter { started: Instant::now(), shown: Instant::now(), accepted: 0 };
    let mut requests: JoinSet<anyhow::Result<usize>> = JoinSet::new();
    let outcome = feed(caller, &mut input, &mut requests, &mut meter).await;
    while let Some(done) = requests.join_next().await {
        if let Ok(Ok(events)) = done {
            meter.add(events);
        } else if outcome.is_ok() {
            meter.show();
            done??;
        }
    }
    meter.show();
    outcome
}

async fn feed(
    caller: &Caller,
    input: &mut (impl AsyncBufRead + Unpin),
    requests: &mut JoinSet<anyhow::Result<usize>>,
    meter: &mut Meter,
) -> anyhow::Result<()> {
    let (mut batch, mut number) = (Vec::new(), 0_usize);
    let mut line = String::new();
    loop {
        line.clear();
        let read = input.read_line(&mut line).await.context("the input cannot be read")?;
        number += 1;
        let text = line.trim();
        if !text.is_empty() {
            serde_json::from_str::<&RawValue>(text).with_context(|| format!("line {number} is not JSON"))?;
            batch.push(text.to_owned());
        }
        if batch.len() == BATCH || (read == 0 && !batch.is_empty()) {
            if requests.len() >= IN_FLIGHT
                && let Some(done) = requests.join_next().await
            {
                meter.add(done??);
            }
            requests.spawn(send(caller.clone(), std::mem::take(&mut batch), number));
        }
        if read == 0 {
            ensure!(number > 1, "the input is empty");
            return Ok(());
        }
    }
}

async fn send(caller: Caller, batch: Vec<String>, line: usize) -> anyhow::Result<usize> {
    let events = batch.len();
    let body = format!("[{}]", batch.join(","));
    let request = caller.post(PATH).header("content-type", media::BATCH).body(body);
    accepted(request).await.with_context(|| format!("the batch that ends at line {line} was refused"))?;
    Ok(events)
}
