//! Reads a journal back for partitions that were taken over, beside the loop, which serves its callbacks meanwhile.
//!
//! Read is what lies from the marks of their commits to the journal's end as it then stands; a partition without records beyond its
//! position reads nothing.

use std::{sync::mpsc, time::Duration};

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::{
    admin::{patiently, setup},
    books::Hold,
    consumer::Place,
    error::KafkaError,
    journal::{Journal, Marks},
    settings::KafkaSettings,
    whole,
};

/// Longest single wait for an answer.
const ASK: Duration = Duration::from_secs(5);

/// A partition that waits for the journal.
pub(crate) struct Waiting {
    pub(crate) place: Place,
    pub(crate) hold: Hold,
    pub(crate) position: i64,
    pub(crate) marks: Marks,
}

/// The partitions for which the journal was read, each with its end when that began.
pub(crate) type Recalled = Result<Vec<(Place, Hold, i64)>, KafkaError>;

/// Begins to read.
///
/// # Errors
/// [`KafkaError::Setup`] when the thread cannot be started.
pub(crate) fn begin(
    settings: &KafkaSettings,
    journal: &Journal,
    waiting: Vec<Waiting>,
    answer: mpsc::Sender<Recalled>,
) -> Result<(), KafkaError> {
    let (settings, journal) = (settings.clone(), journal.clone());
    let work = move || {
        // A loop that has ended does not need it any more.
        answer.send(recall(&settings, &journal, waiting)).ok();
    };
    let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(work);
    thread.map(drop).map_err(|error| KafkaError::Setup(error.to_string()))
}

fn recall(settings: &KafkaSettings, journal: &Journal, waiting: Vec<Waiting>) -> Recalled {
    let consumer: BaseConsumer = settings.consumer("journal").create().map_err(setup)?;
    let topic = settings.topic(journal.topic);
    let mut recalled = Vec::new();
    let mut from = Marks::new();
    for Waiting { place, hold, position, marks } in waiting {
        let (_, end) = patiently(settings, &consumer, || consumer.fetch_watermarks(&place.0, place.1, ASK))?;
        if end > position {
            for (partition, mark) in marks {
                let first = from.entry(partition).or_insert(mark);
                *first = mark.min(*first);
            }
        }
        recalled.push((place, hold, end));
    }
    let mut ends = Marks::new();
    for partition in patiently(settings, &consumer, || whole::partitions(&consumer, &topic))? {
        let (low, end) =
            patiently(settings, &consumer, || consumer.fetch_watermarks(&topic, partition, ASK))?;
        ends.insert(partition, end);
        // What the marks do not know of is younger than they are.
        if !from.is_empty() {
            let first = from.entry(partition).or_insert(low);
            *first = low.max(*first);
        }
    }
    journal.know(&ends);
    from.retain(|partition, first| ends.get(partition).is_some_and(|end| *first < *end));
    let mut count = 0;
    whole::read_between(settings, journal.topic, &from, &ends, |record| {
        count += 1;
        journal.recall(&record);
    })?;
    if count > 0 {
        tracing::info!(topic, count, "the journal was read for partitions that were taken over");
    }
    Ok(recalled)
}
