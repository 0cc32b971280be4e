//! `altinn-events dev`: everything on this machine, with a first event to see that it works.

use std::{io::Write, path::PathBuf, time::Instant};

use anyhow::Context;
use clap::Args as ClapArgs;
use local_altinn::LocalAltinn;
use local_stack::{Stack, StackOptions};
use service::env::Env;

use super::{Failure, first_event, run::Signals};
use crate::{platform::Platform, settings::Settings};

/// Arguments of `dev`.
#[derive(ClapArgs, Debug)]
#[command(
    after_help = "Example:\n  altinn-events dev --folder .local      what `make run` does; Ctrl-C stops all of it"
)]
pub struct Args {
    /// Where data and logs lie.
    #[arg(long, default_value = ".local")]
    folder: PathBuf,
    /// Port of the platform; the admin port is the next one.
    #[arg(long, default_value_t = 5080)]
    port: u16,
    /// Port of the stand-in for Altinn.
    #[arg(long, default_value_t = local_altinn::PORT)]
    altinn_port: u16,
    /// Stop after the first event has arrived.
    #[arg(long)]
    once: bool,
}

impl Args {
    /// The port of `/readyz` and metrics.
    const fn admin_port(&self) -> u16 {
        self.port.saturating_add(1)
    }

    fn check(&self) -> anyhow::Result<()> {
        let taken = [self.port, self.admin_port()];
        anyhow::ensure!(
            !taken.contains(&self.altinn_port),
            "--altinn-port {} is taken: the platform listens on {} and {}",
            self.altinn_port,
            self.port,
            self.admin_port()
        );
        Ok(())
    }
}

/// Tells a person who waits what is going on.
fn tell(started: Instant, step: &str) {
    let mut out = std::io::stdout().lock();
    // A closed terminal is no reason to stop.
    writeln!(out, "[{:5.1} s] {step}", started.elapsed().as_secs_f64()).and_then(|()| out.flush()).ok();
}

/// Starts everything, publishes a first event, and stays until Ctrl-C.
///
/// # Errors
/// [`Failure`], which says what mends it.
pub async fn run(args: Args) -> Result<(), Failure> {
    let started = Instant::now();
    let tell = move |step: &str| tell(started, step);
    args.check()?;
    std::fs::create_dir_all(&args.folder)
        .with_context(|| format!("cannot make {}", args.folder.display()))?;
    let mut signals = Signals::listen()?;
    tell("starting Apache Kafka and Postgres (the first start fetches them)");
    // A stop while they start ends them with us; a stop later ends what runs, part by part.
    let env = Env::process();
    let stack = tokio::select! {
        () = signals.stop() => return Ok(()),
        stack = Stack::from_env(&env, StackOptions::kept(&args.folder), tell) => {
            stack.map_err(anyhow::Error::new)?
        }
    };
    let ended = with_altinn(&args, &stack, &mut signals, &tell).await;
    stack.stop().await;
    tell("stopped; the data stay for the next run");
    ended
}

async fn with_altinn(
    args: &Args,
    stack: &Stack,
    signals: &mut Signals,
    tell: &impl Fn(&str),
) -> Result<(), Failure> {
    let options = local_altinn::Options {
        port: args.altinn_port,
        key_file: Some(args.folder.join("altinn-keys.json")),
        ..local_altinn::Options::default()
    };
    let altinn = local_altinn::start(options).await?;
    let base = &altinn.base_url;
    tell(&format!("a stand-in for Altinn answers at {base} (for development: it gives anybody a token)"));
    let settings = Settings::from_env(&environment(args, stack, &altinn))?;
    let platform = tokio::select! {
        () = signals.stop() => return Ok(()),
        platform = Box::pin(Platform::start(settings)) => platform?,
    };
    let address = format!("http://localhost:{}", args.port);
    tell(&format!("ingest, projector, dispatcher and query-api run at {address}"));
    let ended = tokio::select! {
        () = signals.stop() => Ok(false),
        () = platform.life.wait() => Ok(false),
        shown = first_event::show(&platform, &altinn, &address, tell) => shown.map(|()| !args.once),
    };
    if matches!(ended, Ok(true)) {
        commands(args, &address, stack);
        tokio::select! {
            () = signals.stop() => {}
            () = platform.life.wait() => {}
        }
    }
    tell("stopping");
    platform.stop().await?;
    altinn.stop().await;
    let logs = stack.logs().display();
    ended.with_context(|| format!("the first event did not arrive; logs are in {logs}"))?;
    Ok(())
}

/// The process's settings with those that belong to this machine.
fn environment(args: &Args, stack: &Stack, altinn: &LocalAltinn) -> Env {
    let base = &altinn.base_url;
    let pairs = [
        ("KAFKA_BROKERS", stack.brokers()),
        ("DATABASE_URL", stack.database_url()),
        ("TOPIC_REPLICATION", "1".to_owned()),
        ("LISTEN", format!("127.0.0.1:{}", args.port)),
        ("ADMIN_LISTEN", format!("127.0.0.1:{}", args.admin_port())),
        ("BASE_URI", format!("http://localhost:{}", args.port)),
        ("ALLOW_LOOPBACK_WEBHOOKS", "true".to_owned()),
        ("OPENID_WELL_KNOWN_ENDPOINT", format!("{base}/authentication/api/v1/openid/")),
        (
            "PLATFORM_CERTIFICATES",
            format!("{base}/platform-certificates/{{issuer}}-access-token-public-cert"),
        ),
        ("AUTHORIZATION_API", format!("{base}/authorization/api/v1/")),
        ("REGISTER_API", format!("{base}/register/api/")),
    ];
    Env::process_with(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)))
}

/// Four commands that work as they are printed, in another terminal.
fn commands(args: &Args, address: &str, stack: &Stack) {
    let altinn = format!("http://localhost:{}", args.altinn_port);
    let resource = first_event::RESOURCE;
    println!(
        r#"
Try it in another terminal:

  # 1. get a token
  TOKEN=$(curl -s "{altinn}/api/GetEnterpriseToken?env=local&org=ttd&orgNo=991825827&scopes=altinn:events.publish,altinn:events.subscribe,altinn:serviceowner")

  # 2. publish an event
  curl -i -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/cloudevents+json" {address}/events/api/v1/events -d '{{"specversion":"1.0","id":"'$(cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen)'","source":"https://ttd.example.no/things/1","type":"no.altinn.example.created","subject":"/party/50001337","resource":"{resource}","data":{{"hello":"world"}}}}'

  # 3. follow the feed (waits for new events; Ctrl-C ends it)
  target/debug/altinn-events tail --url {address} --altinn {altinn}

  # 4. subscribe a webhook, and look at what it gets: {altinn}/webhooks/mine
  curl -i -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" {address}/events/api/v1/subscriptions -d '{{"endPoint":"{altinn}/webhooks/mine","resourceFilter":"{resource}"}}'

Kafka: {brokers}   Postgres: {database}   logs: {logs}   metrics: http://localhost:{admin}/metrics
Ctrl-C stops all of it; the data stay.
"#,
        brokers = stack.brokers(),
        database = stack.database_url(),
        logs = stack.logs().display(),
        admin = args.admin_port(),
    );
}
