//! `altinn-events topics`.

use std::{fmt, str::FromStr};

use clap::Args as ClapArgs;
use event::topics::Topics;
use kafka_loop::{
    KafkaSettings, admin,
    groups::{self, Group, Kept, Start},
    starts::{self, Step},
};
use service::env::Env;
use store::{Store, StoreSettings};

use super::Failure;
use crate::starts::stored;

/// Arguments of `topics`.
#[derive(ClapArgs, Debug)]
#[command(
    after_help = "Examples, with the address that `make run` prints:\n  KAFKA_BROKERS=127.0.0.1:PORT altinn-events topics --replication 1\n  KAFKA_BROKERS=127.0.0.1:PORT altinn-events topics --start dispatcher.push=oldest"
)]
pub struct Args {
    /// Replicas of a topic that is created: 3 on a cluster, 1 on a single broker.
    #[arg(long, default_value_t = 3)]
    replication: i32,
    /// Where a group starts on partitions on which it has no position to start from: GROUP=oldest, GROUP=newest or GROUP=TIME,
    /// such as dispatcher.push=2026-01-02T03:04:05Z. Other partitions stay as they are. Shows what it would do.
    #[arg(long, value_name = "GROUP=START")]
    start: Option<Wanted>,
    /// Does what --start shows. Nobody may be reading in the group.
    #[arg(long, requires = "start")]
    yes: bool,
}

/// A group and where it shall start.
#[derive(Clone, Debug)]
struct Wanted {
    group: Group,
    start: Start,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, start) = text.split_once('=').ok_or("example: dispatcher.push=oldest")?;
        let names = || groups::all().iter().map(|group| group.name).collect::<Vec<_>>().join(", ");
        let group = groups::find(name).ok_or_else(|| format!("`{name}` is none of {}", names()))?;
        Ok(Self { group, start: start.parse()? })
    }
}

/// Creates what is missing and reports what does not fit, or sets the start of a group; safe to repeat.
///
/// # Errors
/// When Kafka does not answer, refuses, a topic does not fit, or a group has lost a position.
pub async fn run(args: Args, env: &Env) -> Result<(), Failure> {
    let settings = KafkaSettings::from_env(env);
    match args.start {
        Some(wanted) => start(&settings, env, wanted, args.yes).await,
        None => {
            env.finish()?;
            check(&settings, args.replication).await
        }
    }
}

async fn check(settings: &KafkaSettings, replication: i32) -> Result<(), Failure> {
    let overrides = admin::TopicOverrides { partitions: None, replication: Some(replication) };
    let report =
        admin::ensure_topics(settings, &Topics::load(), overrides).await.map_err(anyhow::Error::new)?;
    for topic in &report.created {
        println!("created {topic}");
    }
    for (group, topic) in &report.positioned {
        println!("start position of {group} on {topic} is set");
    }
    let gaps = starts::gaps(settings).await.map_err(anyhow::Error::new)?;
    print_all("does not fit", &report.mismatches);
    print_all("lost, unless the group is new and its service was not started yet", &gaps);
    match report.mismatches.len() + gaps.len() {
        0 => {
            println!("All topics are as schemas/topics.toml says.");
            Ok(())
        }
        found => Err(Failure::Other(anyhow::anyhow!("{found} mismatch(es)"))),
    }
}

fn print_all(what: &str, lines: &[impl fmt::Display]) {
    lines.iter().for_each(|line| println!("{what}: {line}"));
}

async fn start(settings: &KafkaSettings, env: &Env, wanted: Wanted, yes: bool) -> Result<(), Failure> {
    let Wanted { group, start } = wanted;
    let store = StoreSettings::from_env(env);
    env.finish()?;
    let connect = || Ok(Store::connect(&store)?);
    let stored = stored(connect, &group).await?;
    let steps = starts::plan(settings, &group, start, stored).await.map_err(anyhow::Error::new)?;
    print_all(if yes { "sets" } else { "would set" }, &steps);
    if steps.is_empty() {
        println!("Group {} has a position to start from everywhere: there is nothing to set.", group.name);
    } else if yes {
        apply(settings, &store, &group, steps).await?;
        println!("Group {} starts there.", group.name);
    } else {
        println!("Nothing is set yet. Stop what reads in the group, then say it again with --yes.");
    }
    Ok(())
}

async fn apply(
    settings: &KafkaSettings,
    store: &StoreSettings,
    group: &Group,
    steps: Vec<Step>,
) -> anyhow::Result<()> {
    if group.kept == Kept::Kafka {
        return Ok(starts::set(settings, group.name, steps).await?);
    }
    let store = Store::connect(store)?;
    for step in steps {
        store.set_position(step.topic, step.partition, step.from.unwrap_or(step.to), step.to).await?;
    }
    Ok(())
}
