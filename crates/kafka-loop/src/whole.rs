//! Reads a topic from its oldest kept record to the end that it has now: for tools and tests. No group, no position.

use std::time::{Duration, Instant};

use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    topic_partition_list::Offset,
};

use crate::{
    admin::{blocking, setup, unreachable},
    error::KafkaError,
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
    let metadata = consumer.fetch_metadata(Some(&topic), ANSWER).map_err(no_answer)?;
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions().iter().map(|p| p.id()));
    let mut records = Vec::new();
    for partition in partitions {
        let (low, end) = consumer.fetch_watermarks(&topic, partition, ANSWER).map_err(no_answer)?;
        if low == end {
            continue;
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, partition, Offset::Offset(low)).map_err(setup)?;
        consumer.assign(&list).map_err(setup)?;
        let mut heard = Instant::now();
        loop {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let mut record = Record::from_message(&message);
                    record.topic = short.into();
                    let is_last = record.offset + 1 >= end;
                    records.push(record);
                    if is_last {
                        break;
                    }
                }
                Some(Err(error)) if heard.elapsed() > SILENCE => return Err(no_answer(error)),
                None if heard.elapsed() > SILENCE => {
                    let reason = format!("no record of {topic} came");
                    return Err(KafkaError::Unreachable { brokers: settings.brokers.clone(), reason });
                }
                Some(Err(_)) | None => {}
            }
        }
    }
    Ok(records)
}
