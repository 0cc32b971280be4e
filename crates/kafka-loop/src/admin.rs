//! Creates and checks topics and start positions, and answers what operators ask.
//!
//! A topic that exists with fewer partitions, another clean-up policy or a shorter retention than `schemas/topics.toml` says is
//! reported with the command that mends it; partitions are never added silently, because keys would move.

use std::{collections::BTreeMap, time::Duration};

use event::topics::{self, Topic, Topics};
use rdkafka::{
    TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode,
};

use crate::{
    error::KafkaError,
    fit::{self, Found},
    settings::KafkaSettings,
    starts,
};

const ANSWER: Duration = Duration::from_secs(10);
/// How long new topics may take to have leaders; a busy broker needs more than ten seconds for some fifty partitions.
const LEADERS: Duration = Duration::from_secs(60);
/// How long a broker may take to know the leaders and groups of topics that it lists.
const SETTLED: Duration = Duration::from_secs(30);

/// What differs from `schemas/topics.toml` on this cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct TopicOverrides {
    /// Partitions of every topic, for tests; `None` takes each topic's own.
    pub partitions: Option<i32>,
    /// Replicas of every topic: 3 on a cluster, 1 on a single broker.
    pub replication: Option<i32>,
}

/// What was found and done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Topics that were created, by full name.
    pub created: Vec<String>,
    /// What does not match, each with the command that mends it.
    pub mismatches: Vec<String>,
    /// (group, topic) whose start positions were committed.
    pub positioned: Vec<(String, String)>,
}

/// Creates what is missing, commits start positions on what was never written, reports what differs. Safe to repeat and to run from many processes.
///
/// # Errors
/// [`KafkaError`] when the brokers do not answer or refuse.
pub async fn ensure_topics(
    settings: &KafkaSettings,
    topics: &Topics,
    overrides: TopicOverrides,
) -> Result<Report, KafkaError> {
    let mut report = Report::default();
    let existing = topics_of(settings).await?;
    let is_missing = |topic: &&Topic| !existing.contains_key(&settings.topic(&topic.name));
    let missing: Vec<&Topic> = topics.all().iter().filter(is_missing).collect();
    if !missing.is_empty() {
        report.created = create(settings, topics, &missing, overrides).await?;
    }
    compare(settings, topics, &existing, overrides, &mut report).await?;
    let (settings, created) = (settings.clone(), report.created.clone());
    let names: Vec<String> = topics.all().iter().map(|topic| settings.topic(&topic.name)).collect();
    let twins = [topics::DELIVERIES, topics::DUE].map(|topic| settings.topic(topic));
    let (seen, positioned) = blocking(move || {
        let seen = wait_for_topics(&settings, &names, LEADERS)?;
        let positioned = starts::start_on_unwritten(&settings, &seen, &created)?;
        Ok((seen, positioned))
    })
    .await?;
    report.positioned = positioned;
    let [fresh, due] = twins.each_ref().map(|name| (name.as_str(), seen.get(name).map_or(0, Vec::len)));
    report.mismatches.extend(fit::differ(fresh, due));
    Ok(report)
}

/// The end offset of each partition of a topic (the offset the next record gets).
///
/// # Errors
/// [`KafkaError::Unreachable`].
pub async fn end_offsets(settings: &KafkaSettings, topic: &str) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let (settings, topic) = (settings.clone(), settings.topic(topic));
    blocking(move || {
        let consumer: BaseConsumer = settings.client().create().map_err(setup)?;
        let metadata =
            consumer.fetch_metadata(Some(&topic), ANSWER).map_err(|error| unreachable(&settings, &error))?;
        let partitions: Vec<i32> =
            metadata.topics().iter().flat_map(|topic| topic.partitions().iter().map(|p| p.id())).collect();
        let mut ends = BTreeMap::new();
        for partition in partitions {
            let (_, end) = consumer
                .fetch_watermarks(&topic, partition, ANSWER)
                .map_err(|error| unreachable(&settings, &error))?;
            ends.insert(partition, end);
        }
        Ok(ends)
    })
    .await
}

/// The committed position of a group on each partition of a topic; a partition without one is left out.
///
/// # Errors
/// [`KafkaError::Unreachable`].
pub async fn committed(
    settings: &KafkaSettings,
    group: &str,
    topic: &str,
) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let ends = end_offsets(settings, topic).await?;
    let (settings, group, topic) = (settings.clone(), group.to_owned(), settings.topic(topic));
    blocking(move || {
        let consumer: BaseConsumer = settings.consumer(&group).create().map_err(setup)?;
        let mut list = TopicPartitionList::new();
        for partition in ends.keys() {
            list.add_partition(&topic, *partition);
        }
        let list =
            consumer.committed_offsets(list, ANSWER).map_err(|error| unreachable(&settings, &error))?;
        Ok(list
            .elements()
            .iter()
            .filter_map(|element| Some((element.partition(), element.offset().to_raw().filter(|o| *o >= 0)?)))
            .collect())
    })
    .await
}

/// Records of a topic that a group has not committed yet.
///
/// # Errors
/// [`KafkaError::Unreachable`].
pub async fn lag(settings: &KafkaSettings, group: &str, topic: &str) -> Result<i64, KafkaError> {
    let ends = end_offsets(settings, topic).await?;
    let committed = committed(settings, group, topic).await?;
    Ok(ends.iter().map(|(partition, end)| end - committed.get(partition).copied().unwrap_or(0)).sum())
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| KafkaError::Setup(error.to_string()))?
}

pub(crate) fn setup(error: rdkafka::error::KafkaError) -> KafkaError {
    KafkaError::Setup(error.to_string())
}

pub(crate) fn unreachable(settings: &KafkaSettings, error: &rdkafka::error::KafkaError) -> KafkaError {
    KafkaError::Unreachable { brokers: settings.brokers.clone(), reason: error.to_string() }
}

async fn topics_of(settings: &KafkaSettings) -> Result<BTreeMap<String, Found>, KafkaError> {
    let settings = settings.clone();
    blocking(move || {
        let consumer: BaseConsumer = settings.client().create().map_err(setup)?;
        let metadata =
            consumer.fetch_metadata(None, ANSWER).map_err(|error| unreachable(&settings, &error))?;
        Ok(metadata
            .topics()
            .iter()
            .map(|topic| {
                let replicas = topic.partitions().iter().map(|partition| partition.replicas().len());
                let found =
                    Found { partitions: topic.partitions().len(), replicas: replicas.min().unwrap_or(0) };
                (topic.name().to_owned(), found)
            })
            .collect())
    })
    .await
}

/// Every topic of the brokers by full name, with its partitions.
pub(crate) fn topics_with_partitions(
    settings: &KafkaSettings,
) -> Result<BTreeMap<String, Vec<i32>>, KafkaError> {
    let consumer: BaseConsumer = settings.client().create().map_err(setup)?;
    let metadata = consumer.fetch_metadata(None, ANSWER).map_err(|error| unreachable(settings, &error))?;
    let named = metadata.topics().iter().map(|topic| {
        (topic.name().to_owned(), topic.partitions().iter().map(|partition| partition.id()).collect())
    });
    Ok(named.collect())
}

fn replication(overrides: TopicOverrides) -> i32 {
    overrides.replication.unwrap_or(3)
}

/// How many replicas have a record before it is acknowledged: all but one, so that one may be away.
fn in_sync(overrides: TopicOverrides) -> i32 {
    (replication(overrides) - 1).max(1)
}

async fn create(
    settings: &KafkaSettings,
    topics: &Topics,
    missing: &[&Topic],
    overrides: TopicOverrides,
) -> Result<Vec<String>, KafkaError> {
    let admin: AdminClient<DefaultClientContext> = settings.client().create().map_err(setup)?;
    let replication = replication(overrides);
    let in_sync = in_sync(overrides).to_string();
    let named: Vec<(String, i32, String)> = missing
        .iter()
        .map(|topic| {
            let partitions = overrides.partitions.unwrap_or(topic.partitions);
            (settings.topic(&topic.name), partitions, topic.retention_ms.to_string())
        })
        .collect();
    let new: Vec<NewTopic<'_>> = named
        .iter()
        .map(|(name, partitions, retention)| {
            let new = NewTopic::new(name, *partitions, TopicReplication::Fixed(replication))
                .set("retention.ms", retention)
                .set("min.insync.replicas", &in_sync);
            topics.settings().fold(new, |new, (name, value)| new.set(name, value))
        })
        .collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER));
    let outcomes =
        admin.create_topics(&new, &options).await.map_err(|error| unreachable(settings, &error))?;
    let mut created = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(name) => created.push(name),
            // Another process was quicker.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                return Err(KafkaError::Refused {
                    what: format!("creating {name}"),
                    reason: code.to_string(),
                });
            }
        }
    }
    Ok(created)
}

async fn compare(
    settings: &KafkaSettings,
    topics: &Topics,
    existing: &BTreeMap<String, Found>,
    overrides: TopicOverrides,
    report: &mut Report,
) -> Result<(), KafkaError> {
    let present: Vec<(&Topic, String)> = topics
        .all()
        .iter()
        .map(|topic| (topic, settings.topic(&topic.name)))
        .filter(|(_, name)| existing.contains_key(name))
        .collect();
    if present.is_empty() {
        return Ok(());
    }
    let admin: AdminClient<DefaultClientContext> = settings.client().create().map_err(setup)?;
    let specifiers: Vec<_> = present.iter().map(|(_, name)| ResourceSpecifier::Topic(name)).collect();
    let options = AdminOptions::new().request_timeout(Some(ANSWER));
    let configs =
        admin.describe_configs(&specifiers, &options).await.map_err(|error| unreachable(settings, &error))?;
    for ((topic, name), config) in present.iter().zip(configs) {
        let partitions = overrides.partitions.unwrap_or(topic.partitions);
        if let Some(found) = existing.get(name) {
            report.mismatches.extend(fit::misfits(name, *found, partitions, replication(overrides)));
        }
        let Ok(config) = config else { continue };
        let value = |key: &str| config.get(key).and_then(|entry| entry.value.clone()).unwrap_or_default();
        let retention: i64 = value("retention.ms").parse().unwrap_or(0);
        if retention >= 0 && retention < topic.retention_ms {
            report.mismatches.push(format!(
                "{name} keeps records for {retention} ms instead of {0}; mend it with: kafka-configs.sh --alter --topic {name} --add-config retention.ms={0}",
                topic.retention_ms
            ));
        }
        let in_sync = in_sync(overrides);
        if value("min.insync.replicas").parse().is_ok_and(|found: i32| found < in_sync) {
            report.mismatches.push(format!(
                "{name} acknowledges with fewer than {in_sync} replicas in sync; mend it with: kafka-configs.sh --alter --topic {name} --add-config min.insync.replicas={in_sync}"
            ));
        }
        for (key, wanted) in topics.settings() {
            if value(key) != wanted {
                report.mismatches.push(format!(
                    "{name} has {key}={} instead of {wanted}; mend it with: kafka-configs.sh --alter --topic {name} --add-config {key}={wanted}",
                    value(key)
                ));
            }
        }
    }
    Ok(())
}

/// Waits until the broker lists every topic with leaders; a topic that was just created needs a moment.
fn wait_for_topics(
    settings: &KafkaSettings,
    names: &[String],
    wait: Duration,
) -> Result<BTreeMap<String, Vec<i32>>, KafkaError> {
    let consumer: BaseConsumer = settings.client().create().map_err(setup)?;
    let until = std::time::Instant::now() + wait;
    loop {
        let metadata = consumer.fetch_metadata(None, wait).map_err(|error| unreachable(settings, &error))?;
        let ready: BTreeMap<String, Vec<i32>> = metadata
            .topics()
            .iter()
            .filter(|topic| names.iter().any(|name| name == topic.name()))
            .filter(|topic| topic.partitions().iter().all(|partition| partition.leader() >= 0))
            .map(|topic| (topic.name().to_owned(), topic.partitions().iter().map(|p| p.id()).collect()))
            .filter(|(_, partitions): &(String, Vec<i32>)| !partitions.is_empty())
            .collect();
        if ready.len() == names.len() {
            return Ok(ready);
        }
        if std::time::Instant::now() > until {
            let missing: Vec<_> = names.iter().filter(|name| !ready.contains_key(*name)).cloned().collect();
            return Err(KafkaError::Refused {
                what: format!("the topics {}", missing.join(", ")),
                reason: "they have no leader".to_owned(),
            });
        }
        // Serves the client while it waits.
        drop(consumer.poll(Duration::from_millis(50)));
    }
}

/// Asks again for a while: a partition that was just created may not know its leader yet, and a broker that has just started
/// does not know at once whose groups it coordinates.
pub(crate) fn patiently<T>(
    settings: &KafkaSettings,
    consumer: &BaseConsumer,
    mut ask: impl FnMut() -> Result<T, rdkafka::error::KafkaError>,
) -> Result<T, KafkaError> {
    let until = std::time::Instant::now() + SETTLED;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if std::time::Instant::now() > until => return Err(unreachable(settings, &error)),
            // Serves the client while it waits.
            Err(_) => drop(consumer.poll(Duration::from_millis(50))),
        }
    }
}
