//! Questions about offsets, each for many partitions at once: those of the loops, and those of somebody who reads nothing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use event::Micros;
use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::KafkaError as ClientError,
    topic_partition_list::Offset,
};

use crate::{
    admin::{self, setup},
    error::KafkaError,
    settings::KafkaSettings,
    watch::RENEW_AFTER,
};

/// Longest single wait for an answer of the broker.
pub(crate) const ASK: Duration = Duration::from_secs(5);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// Offsets by full topic name and partition.
pub(crate) type Offsets = BTreeMap<(String, i32), i64>;

/// A client that asks in the name of one group.
pub(crate) struct Asking<'a> {
    pub(crate) settings: &'a KafkaSettings,
    pub(crate) consumer: &'a BaseConsumer,
}

impl Asking<'_> {
    /// The group's positions; those that are absent are left out.
    pub(crate) fn committed(&self, places: &[(String, i32)]) -> Result<Offsets, KafkaError> {
        let mut list = TopicPartitionList::new();
        for (name, partition) in places {
            list.add_partition(name, *partition);
        }
        let committed = || self.consumer.committed_offsets(list.clone(), ASK);
        Ok(known(&admin::patiently(self.settings, self.consumer, committed)?))
    }

    /// The oldest kept offsets.
    pub(crate) fn oldest(&self, name: &str, partitions: &[i32]) -> Result<Offsets, KafkaError> {
        self.look_up(name, partitions, Offset::Beginning)
    }

    /// The offsets that the next records get.
    pub(crate) fn ends(&self, name: &str, partitions: &[i32]) -> Result<Offsets, KafkaError> {
        self.look_up(name, partitions, Offset::End)
    }

    /// The first offsets that were appended at that time or later; none where all is older.
    pub(crate) fn at_time(
        &self,
        name: &str,
        partitions: &[i32],
        time: Micros,
    ) -> Result<Offsets, KafkaError> {
        self.look_up(name, partitions, Offset::Offset(time.millis().max(0)))
    }

    fn look_up(&self, name: &str, partitions: &[i32], at: Offset) -> Result<Offsets, KafkaError> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition_offset(name, *partition, at).map_err(setup)?;
        }
        let found = || look_up(self.consumer, &list);
        Ok(known(&admin::patiently(self.settings, self.consumer, found)?))
    }
}

/// What is assigned begins at its end, where there is nothing to read yet. As a number: the client would go back to a word such
/// as "end" when its look-up is overtaken by the offset that the loop says.
pub(crate) fn start_at_the_end<C: ConsumerContext>(consumer: &BaseConsumer<C>, list: &TopicPartitionList) {
    let ends = patiently(|| {
        let mut asked = list.clone();
        asked.set_all_offsets(Offset::End)?;
        look_up(consumer, &asked)
    });
    for mut element in list.elements() {
        let end = ends.as_ref().and_then(|ends| ends.find_partition(element.topic(), element.partition()));
        let set = end.is_some_and(|end| element.set_offset(end.offset()).is_ok());
        if !set {
            // The loop asks next, and makes the client anew when there is still no answer.
            tracing::warn!(
                topic = element.topic(),
                partition = element.partition(),
                "the end is not to be had"
            );
        }
    }
}

/// The offsets that stand for words; refused as a whole when one of them is not to be had.
pub(crate) fn look_up<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    asked: &TopicPartitionList,
) -> Result<TopicPartitionList, ClientError> {
    // A rebalance may assign nothing, and the client takes no question about nothing.
    if asked.count() == 0 {
        return Ok(asked.clone());
    }
    let found = consumer.offsets_for_times(asked.clone(), ASK)?;
    found.elements().iter().try_for_each(|element| element.error())?;
    Ok(found)
}

/// Asks until there is an answer, or nothing when there is none before a client is made anew.
pub(crate) fn patiently<T>(mut ask: impl FnMut() -> Result<T, ClientError>) -> Option<T> {
    let started = Instant::now();
    while started.elapsed() < RENEW_AFTER {
        match ask() {
            Ok(answer) => return Some(answer),
            Err(error) => tracing::info!(%error, "positions are not to be had yet"),
        }
        // An answer that says no comes at once.
        std::thread::park_timeout(PAUSE);
    }
    None
}

fn known(list: &TopicPartitionList) -> Offsets {
    let offset = |offset: Offset| offset.to_raw().filter(|offset| *offset >= 0);
    let elements = list.elements();
    let known = elements.iter().filter_map(|element| {
        Some(((element.topic().to_owned(), element.partition()), offset(element.offset())?))
    });
    known.collect()
}

/// Commits positions in the name of the consumer's group; the broker refuses it while the group has members.
///
/// # Errors
/// What the broker said.
pub(crate) fn commit(consumer: &BaseConsumer, positions: Vec<(String, i32, i64)>) -> Result<(), String> {
    if positions.is_empty() {
        return Ok(());
    }
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset) in positions {
        list.add_partition_offset(&topic, partition, Offset::Offset(offset)).map_err(|e| e.to_string())?;
    }
    consumer.commit(&list, CommitMode::Sync).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use rdkafka::{ClientConfig, mocking::MockCluster};

    use super::*;

    #[test]
    fn what_is_assigned_begins_at_a_number_and_not_at_a_word() {
        let broker = MockCluster::new(1).unwrap();
        broker.create_topic("events", 2, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.bootstrap_servers()).set("group.id", "group");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_range("events", 0, 1);
        start_at_the_end(&consumer, &list);
        let starts: Vec<Offset> = list.elements().iter().map(|element| element.offset()).collect();
        assert_eq!(starts, [Offset::Offset(0), Offset::Offset(0)]);
    }
}
