//! Reads a journal back for partitions that were taken over, beside the loop, which serves its callbacks meanwhile.
//!
//! Read is what lies from the marks of their commits to the journal's end as it then stands; a partition without records beyond its
//! position reads nothing. A client that gets no answers is made anew, as the loops' are: it may have forgotten its brokers.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
};

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::{
    admin::setup,
    books::Hold,
    consumer::{Place, UNANSWERED_MAX},
    error::KafkaError,
    journal::{Journal, Marks},
    offsets::{ASK, patiently},
    settings::KafkaSettings,
    watch::RENEW_AFTER,
    whole::{self, Reading},
};

/// What its clients are called.
const CLIENT: &str = "journal";

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
        let recalled = catch_unwind(AssertUnwindSafe(|| recall(&settings, &journal, &waiting)));
        let panicked = |_| Err(KafkaError::Setup("reading the journal panicked".to_owned()));
        // A loop that has ended does not need it any more.
        answer.send(recalled.unwrap_or_else(panicked)).ok();
    };
    let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(work);
    thread.map(drop).map_err(|error| KafkaError::Setup(error.to_string()))
}

/// Reads it, each time with a new client, until it is read. Reading an entry twice tells nothing new.
fn recall(settings: &KafkaSettings, journal: &Journal, waiting: &[Waiting]) -> Recalled {
    let mut failed = 0;
    loop {
        match recall_once(settings, journal, waiting) {
            // Nobody waits any more.
            Err(_) if waiting.iter().all(|waiting| !waiting.hold.lasts()) => return Ok(Vec::new()),
            Err(error) if failed + 1 < UNANSWERED_MAX => {
                tracing::warn!(topic = journal.topic, %error, "the journal was not read; it is read anew");
                failed += 1;
            }
            ended => return ended,
        }
    }
}

fn recall_once(settings: &KafkaSettings, journal: &Journal, waiting: &[Waiting]) -> Recalled {
    let consumer: BaseConsumer = settings.consumer(CLIENT).create().map_err(setup)?;
    let silent = || KafkaError::Unreachable {
        brokers: settings.brokers.clone(),
        reason: "the journal's ends are not to be had".to_owned(),
    };
    let watermarks = |topic: &str, partition| {
        patiently(|| consumer.fetch_watermarks(topic, partition, ASK)).ok_or_else(silent)
    };
    let topic = settings.topic(journal.topic);
    let mut recalled = Vec::new();
    let mut from = Marks::new();
    for Waiting { place, hold, position, marks } in waiting {
        let (_, end) = watermarks(&place.0, place.1)?;
        if end > *position {
            for (partition, mark) in marks {
                let first = from.entry(*partition).or_insert(*mark);
                *first = (*mark).min(*first);
            }
        }
        recalled.push((place.clone(), hold.clone(), end));
    }
    let mut ends = Marks::new();
    for partition in patiently(|| whole::partitions(&consumer, &topic)).ok_or_else(silent)? {
        let (low, end) = watermarks(&topic, partition)?;
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
    let reading = Reading { settings, client: CLIENT, topic: journal.topic, silence: RENEW_AFTER };
    reading.between(&from, &ends, |record| {
        count += 1;
        journal.recall(&record);
    })?;
    if count > 0 {
        tracing::info!(topic, count, "the journal was read for partitions that were taken over");
    }
    Ok(recalled)
}
