//! Reads a topic from its oldest kept record to the end that it has now: for tools and tests. No group, no position.

use std::time::{Duration, Instant};

use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError as ClientError,
    topic_partition_list::Offset,
};

use crate::{
    admin::{blocking, setup, unreachable},
    error::KafkaError,
    journal::Marks,
    record::Record,
    settings::KafkaSettings,
};

/// What its clients are called.
const CLIENT: &str = "whole";
const ANSWER: Duration = Duration::from_secs(10);
/// Longest time without a record before the end.
const SILENCE: Duration = Duration::from_secs(30);

/// All records of a topic (short name), partition by partition in order. They are held in memory: not for topics of any size.
///
/// # Errors
/// [`KafkaError::Unreachable`] when the brokers do not answer, or fall silent before the end.
pub async fn read(settings: &KafkaSettings, topic: &str) -> Result<Vec<Record>, KafkaError> {
    let (settings, topic) = (settings.clone(), topic.to_owned());
    blocking(move || read_all(&settings, &topic)).await
}

fn read_all(settings: &KafkaSettings, short: &str) -> Result<Vec<Record>, KafkaError> {
    let consumer: BaseConsumer = settings.consumer(CLIENT).create().map_err(setup)?;
    let no_answer = |error| unreachable(settings, &error);
    let topic = settings.topic(short);
    let (mut from, mut ends) = (Marks::new(), Marks::new());
    for partition in partitions(&consumer, &topic).map_err(no_answer)? {
        let (low, end) = consumer.fetch_watermarks(&topic, partition, ANSWER).map_err(no_answer)?;
        from.insert(partition, low);
        ends.insert(partition, end);
    }
    let mut records = Vec::new();
    let reading = Reading { settings, client: CLIENT, topic: short, silence: SILENCE };
    reading.between(&from, &ends, |record| records.push(record))?;
    Ok(records)
}

/// The partitions of a topic, by its full name.
pub(crate) fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i32>, ClientError> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
    Ok(metadata.topics().iter().flat_map(|topic| topic.partitions().iter().map(|p| p.id())).collect())
}

/// A topic to be read.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) settings: &'a KafkaSettings,
    /// What the clients that read are called.
    pub(crate) client: &'a str,
    /// Its short name.
    pub(crate) topic: &'a str,
    /// Longest time without a record before the end.
    pub(crate) silence: Duration,
}

impl Reading<'_> {
    /// Reads each of these partitions from an offset, which it holds or which is its end, to that end.
    pub(crate) fn between(
        self,
        from: &Marks,
        ends: &Marks,
        mut each: impl FnMut(Record),
    ) -> Result<(), KafkaError> {
        let topic = self.settings.topic(self.topic);
        for (partition, first) in from {
            let end = ends.get(partition).copied().unwrap_or_default();
            if *first >= end {
                continue;
            }
            let consumer: BaseConsumer = self.settings.consumer(self.client).create().map_err(setup)?;
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&topic, *partition, Offset::Offset(*first)).map_err(setup)?;
            consumer.assign(&list).map_err(setup)?;
            self.to(&consumer, end, |mut record| {
                record.topic = self.topic.into();
                each(record);
            })?;
        }
        Ok(())
    }

    fn to(self, consumer: &BaseConsumer, end: i64, mut each: impl FnMut(Record)) -> Result<(), KafkaError> {
        let mut heard = Instant::now();
        loop {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let record = Record::from_message(&message);
                    let is_last = record.offset + 1 >= end;
                    if record.offset < end {
                        each(record);
                    }
                    if is_last {
                        return Ok(());
                    }
                }
                Some(Err(error)) if heard.elapsed() > self.silence => {
                    return Err(unreachable(self.settings, &error));
                }
                None if heard.elapsed() > self.silence => {
                    let reason = format!("no record came before offset {end}");
                    return Err(KafkaError::Unreachable { brokers: self.settings.brokers.clone(), reason });
                }
                Some(Err(_)) | None => {}
            }
        }
    }
}
