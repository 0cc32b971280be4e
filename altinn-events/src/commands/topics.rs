//! `altinn-events topics`.

use clap::Args as ClapArgs;
use event::topics::Topics;
use kafka_loop::{KafkaSettings, admin};
use service::env::Env;

use super::Failure;

/// Arguments of `topics`.
#[derive(ClapArgs, Debug)]
#[command(
    after_help = "Example, with the address that `make run` prints:\n  KAFKA_BROKERS=127.0.0.1:PORT altinn-events topics --replication 1"
)]
pub struct Args {
    /// Replicas of a topic that is created: 3 on a cluster, 1 on a single broker.
    #[arg(long, default_value_t = 3)]
    replication: i32,
}

/// Creates what is missing and reports what does not fit; safe to repeat.
///
/// # Errors
/// When Kafka does not answer, refuses, or a topic does not fit.
pub async fn run(args: Args, env: &Env) -> Result<(), Failure> {
    let settings = KafkaSettings::from_env(env);
    env.finish()?;
    let overrides = admin::TopicOverrides { partitions: None, replication: Some(args.replication) };
    let report =
        admin::ensure_topics(&settings, &Topics::load(), overrides).await.map_err(anyhow::Error::new)?;
    for topic in &report.created {
        println!("created {topic}");
    }
    for (group, topic) in &report.positioned {
        println!("start position of {group} on {topic} is set");
    }
    for mismatch in &report.mismatches {
        println!("does not fit: {mismatch}");
    }
    if report.mismatches.is_empty() {
        println!("All topics are as schemas/topics.toml says.");
        Ok(())
    } else {
        Err(Failure::Other(anyhow::anyhow!("{} mismatch(es)", report.mismatches.len())))
    }
}
