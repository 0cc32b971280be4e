//! Before the loops join their groups: a group that is new gets the start that it declares, and a position that was lost stops
//! the service that reads in the group, with the sentence that says what happened and what mends it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use kafka_loop::{
    KafkaSettings,
    groups::{self, Group, Kept},
    starts::{self, Gap},
};
use store::Store;

use crate::settings::{Service, Services};

/// Looks at every group that keeps its positions in Kafka.
///
/// # Errors
/// When a group of one of these services has lost a position, or Kafka or the store does not answer.
pub async fn settle(kafka: &KafkaSettings, store: &Store, services: &Services) -> anyhow::Result<()> {
    let gaps = starts::gaps(kafka).await?;
    let started: BTreeSet<(String, String)> = store.groups_started().await?.into_iter().collect();
    let (new, lost) = starts::judge(gaps, &started);
    if lost.is_empty() {
        for gap in &new {
            start(kafka, gap).await?;
        }
        return Ok(store.mark_started(&all_topics()).await?);
    }
    // Nothing is marked or started before a person has decided: what is lost must not look new afterwards.
    let ours: Vec<String> = lost.iter().filter(|gap| is_read_by(gap, services)).map(Gap::to_string).collect();
    anyhow::ensure!(ours.is_empty(), "{}", ours.join("\n  "));
    Ok(())
}

async fn start(kafka: &KafkaSettings, gap: &Gap) -> anyhow::Result<()> {
    let Some(mut group) = groups::find(gap.group) else { return Ok(()) };
    group.topics.retain(|topic| *topic == gap.topic);
    let steps = starts::plan(kafka, &group, group.start, None).await?;
    tracing::info!(group = gap.group, topic = gap.topic, start = ?group.start, "a group is new on a topic");
    // Another process may do the same at this moment, and join: then there is nothing left to do.
    if let Err(error) = starts::set(kafka, group.name, steps).await {
        let left = starts::gaps(kafka).await?;
        let is_left = left.iter().any(|left| (left.group, left.topic) == (gap.group, gap.topic));
        anyhow::ensure!(!is_left, anyhow::Error::new(error).context("a new group could not be started"));
    }
    Ok(())
}

fn all_topics() -> Vec<(&'static str, &'static str)> {
    let pairs = |group: Group| group.topics.into_iter().map(move |topic| (group.name, topic));
    groups::all().into_iter().filter(|group| group.kept == Kept::Kafka).flat_map(pairs).collect()
}

/// A group is named after the service that reads in it.
fn is_read_by(gap: &Gap, services: &Services) -> bool {
    let named = gap.group.split('.').next().and_then(|name| name.parse::<Service>().ok());
    named.is_none_or(|service| services.has(service))
}

/// The stored positions of a group, by topic and partition; nothing for one that keeps them in Kafka.
///
/// # Errors
/// When the store does not answer.
pub async fn stored(
    store: impl FnOnce() -> anyhow::Result<Store>,
    group: &Group,
) -> anyhow::Result<Option<BTreeMap<(String, i32), i64>>> {
    if group.kept == Kept::Kafka {
        return Ok(None);
    }
    let store = store()?;
    let mut stored = BTreeMap::new();
    for topic in &group.topics {
        let positions = store.positions(topic).await.context("the stored positions are not to be had")?;
        stored
            .extend(positions.into_iter().map(|(partition, next)| (((*topic).to_owned(), partition), next)));
    }
    Ok(Some(stored))
}
