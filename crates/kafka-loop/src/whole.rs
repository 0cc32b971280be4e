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
    let consumer: BaseConsumer = settings.consumer("whole").create().map_err(setup)?;
    let no_answer = |error| unreachable(settings, &error);
    let topic = settings.topic(short);
    let (mut from, mut ends) = (Marks::new(), Marks::new());
    for partition in partitions(&consumer, &topic).map_err(no_answer)? {
        let (low, end) = consumer.fetch_watermarks(&topic, partition, ANSWER).map_err(no_answer)?;
        from.insert(partition, low);
        ends.insert(partition, end);
    }
    let mut records = Vec::new();
    read_between(settings, short, &from, &ends, |record| records.push(record))?;
    Ok(records)
}

/// The partitions of a topic, by its full name.
pub(crate) fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i32>, ClientError> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
    Ok(metadata.topics().iter().flat_map(|topic| topic.partitions().iter().map(|p| p.id())).collect())
}

/// Reads each of these partitions of a topic (short name) from an offset, which it holds or which is its end, to that end.
pub(crate) fn read_between(
    settings: &KafkaSettings,
    short: &str,
    from: &Marks,
    ends: &Marks,
    mut each: impl FnMut(Record),
) -> Result<(), KafkaError> {
    let topic = settings.topic(short);
    for (partition, first) in from {
        let end = ends.get(partition).copied().unwrap_or_default();
        if *first >= end {
            continue;
        }
        let consumer: BaseConsumer = settings.consumer("whole").create().map_err(setup)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, *partition, Offset::Offset(*first)).map_err(setup)?;
        consumer.assign(&list).map_err(setup)?;
        read_to(settings, &consumer, end, |mut record| {
            record.topic = short.into();
            each(record);
        })?;
    }
    Ok(())
}

fn read_to(
    settings: &KafkaSettings,
    consumer: &BaseConsumer,
    end: i64,
    mut each: impl FnMut(Record),
) -> Result<(), KafkaError> {
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
            Some(Err(error)) if heard.elapsed() > SILENCE => return Err(unreachable(settings, &error)),
            None if heard.elapsed() > SILENCE => {
                let reason = format!("no record came before offset {end}");
                return Err(KafkaError::Unreachable { brokers: settings.brokers.clone(), reason });
            }
            Some(Err(_)) | None => {}
        }
    }
}
