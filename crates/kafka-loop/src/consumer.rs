//! What both loops share: a consumer on its own thread, and what its rebalance callback may do.
//!
//! The callback runs inside `poll`, on the loop's thread. It reports and returns, with one exception: positions of partitions
//! that are being taken away are committed there, because afterwards the broker no longer accepts them from us. A ledger loop
//! makes them at that moment ([`Revoked`]). All other commits go through [`Committer`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Message, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance},
    error::{KafkaError as ClientError, RDKafkaErrorCode},
    topic_partition_list::Offset,
};

use crate::{
    clients::{Watched, let_go},
    committer::Committer,
    error::{KafkaError, LoopError},
    offsets::{ASK, look_up, patiently, start_at_the_end},
    pulse::Pulses,
    record::Record,
    settings::KafkaSettings,
    watch::Verdict,
};

pub(crate) use crate::reports::{CommitPoint, Place, Report, Reports, Revoked};

/// Where a partition starts that is assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Starts {
    /// At the group's committed position, which must be there.
    Committed,
    /// Where the loop says, with [`Member::start_at`]; no committed position is asked for.
    Told,
}

pub(crate) struct LoopContext {
    reports: Reports,
    pulses: Pulses,
    starts: Starts,
}

impl ClientContext for LoopContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.pulses.log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.pulses.take_statistics(statistics);
    }

    fn error(&self, error: ClientError, reason: &str) {
        self.pulses.error(error, reason);
    }
}

impl ConsumerContext for LoopContext {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance
            && self.starts == Starts::Told
        {
            start_at_the_end(consumer, list);
        }
        if let Rebalance::Revoke(list) = rebalance {
            let names = names(list);
            let places: Vec<Place> =
                names.iter().map(|(topic, partition)| (Arc::from(topic.as_str()), *partition)).collect();
            // What was lost is another's by now, who takes no commit of ours; and who lost it because the broker hangs must not wait.
            let lost = consumer.assignment_lost();
            let points = self.reports.give_up(&places, lost);
            self.reports.push(Report::Revoked(names));
            let points = points.iter().map(|((topic, partition), point)| (&**topic, *partition, point));
            if let Err(error) = commit(consumer, points) {
                tracing::info!(%error, "positions of partitions taken away were not committed; their records are repeated");
            }
        }
    }

    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            self.reports.push(Report::Assigned(names(list)));
        }
    }
}

fn names(list: &TopicPartitionList) -> Vec<(String, i32)> {
    list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

/// Commits these positions and waits for the answer.
pub(crate) fn commit<'a>(
    consumer: &BaseConsumer<LoopContext>,
    points: impl IntoIterator<Item = (&'a str, i32, &'a CommitPoint)>,
) -> Result<(), ClientError> {
    let mut list = TopicPartitionList::new();
    for (topic, partition, point) in points {
        let mut element = list.add_partition(topic, partition);
        element.set_offset(Offset::Offset(point.offset))?;
        element.set_metadata(&point.metadata);
    }
    if list.count() == 0 { Ok(()) } else { consumer.commit(&list, CommitMode::Sync) }
}

/// Partitions by topic and number, and what was committed of them.
type Committed = Vec<(String, i32, CommitPoint)>;

/// One group member with what its loop needs to know about it. Lives on the loop's thread.
pub(crate) struct Member {
    /// Ends before the consumer, so that the consumer is closed on the loop's thread.
    pub(crate) committer: Committer,
    consumer: Arc<BaseConsumer<LoopContext>>,
    pub(crate) reports: Reports,
    pub(crate) group: String,
    short_group: &'static str,
    starts: Starts,
    settings: KafkaSettings,
    topics: Vec<String>,
    watched: Watched,
    looked: Instant,
    /// How often in a row the group's positions were asked for in vain.
    unanswered: u32,
    names: BTreeMap<String, (Arc<str>, Arc<str>)>,
    paused: bool,
}

/// What is made anew together.
struct Client {
    committer: Committer,
    consumer: Arc<BaseConsumer<LoopContext>>,
    reports: Reports,
}

/// How often in a row a loop asks for positions, [`patiently`] each time, before it gives up and lets the process end.
pub(crate) const UNANSWERED_MAX: u32 = 6;
/// How often a loop looks whether its client is in touch.
const LOOK: Duration = Duration::from_millis(250);

impl Client {
    fn make(
        settings: &KafkaSettings,
        group: &str,
        pulses: Pulses,
        starts: Starts,
    ) -> Result<Self, KafkaError> {
        let reports = Reports::default();
        let context = LoopContext { reports: reports.clone(), pulses, starts };
        let mut config = settings.consumer(group);
        Pulses::ask(&mut config);
        let consumer: BaseConsumer<LoopContext> =
            config.create_with_context(context).map_err(|error| KafkaError::Setup(error.to_string()))?;
        let consumer = Arc::new(consumer);
        Ok(Self { committer: Committer::new(&consumer, &reports)?, consumer, reports })
    }
}

impl Member {
    /// A member that reads these topics with its group, or none yet. `name` is what it is called where it is shown.
    pub(crate) fn new(
        settings: &KafkaSettings,
        group: &'static str,
        name: &'static str,
        topics: Vec<String>,
        starts: Starts,
    ) -> Result<Self, KafkaError> {
        let watched = settings.clients.consumer(name);
        let Client { committer, consumer, reports } =
            Client::make(settings, group, watched.pulses(), starts)?;
        let member = Self {
            committer,
            consumer,
            reports,
            group: settings.group(group),
            short_group: group,
            starts,
            settings: settings.clone(),
            topics,
            watched,
            looked: Instant::now(),
            unanswered: 0,
            names: BTreeMap::new(),
            paused: false,
        };
        member.subscribe()?;
        Ok(member)
    }

    fn subscribe(&self) -> Result<(), KafkaError> {
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        if topics.is_empty() {
            return Ok(());
        }
        self.consumer.subscribe(&topics).map_err(|error| KafkaError::Setup(error.to_string()))
    }

    /// Renews a client that is out of touch.
    fn keep_in_touch(&mut self) -> Result<(), LoopError> {
        let now = Instant::now();
        if now.saturating_duration_since(self.looked) < LOOK {
            return Ok(());
        }
        self.looked = now;
        match self.watched.look(now) {
            Verdict::Keep => Ok(()),
            Verdict::Renew => self.renew(),
            Verdict::GiveUp => {
                Err(LoopError::OutOfTouch { group: self.group.clone(), silent: self.watched.silent() })
            }
        }
    }

    /// Makes the client anew. All partitions are as revoked, without a last commit: the old client cannot make one, and the
    /// group has given its partitions to others if it could.
    fn renew(&mut self) -> Result<(), LoopError> {
        let failed =
            |error: KafkaError| LoopError::Consumer { group: self.group.clone(), reason: error.to_string() };
        let gone = self.assigned();
        let revoked = self.reports.abandon();
        let pulses = self.watched.renewed();
        let new = Client::make(&self.settings, self.short_group, pulses, self.starts).map_err(failed)?;
        let old = (
            std::mem::replace(&mut self.committer, new.committer),
            std::mem::replace(&mut self.consumer, new.consumer),
            std::mem::replace(&mut self.reports, new.reports),
        );
        let_go(old);
        self.reports.inherit(gone, revoked);
        self.subscribe().map_err(failed)
    }

    /// The full and the short name of a topic, shared by all its records.
    fn names_of(&mut self, topic: &str) -> (Arc<str>, Arc<str>) {
        if let Some(names) = self.names.get(topic) {
            return names.clone();
        }
        let short = topic.strip_prefix(self.settings.prefix.as_str()).unwrap_or(topic);
        let names: (Arc<str>, Arc<str>) = (Arc::from(topic), Arc::from(short));
        self.names.insert(topic.to_owned(), names.clone());
        names
    }

    /// The next record, or `None` when there is none within the wait or the client mends itself.
    ///
    /// # Errors
    /// [`LoopError`] for errors from which the client does not recover.
    pub(crate) fn poll(&mut self, wait: Duration) -> Result<Option<(Place, Record)>, LoopError> {
        let polled = match self.consumer.poll(wait) {
            None => None,
            Some(Ok(message)) => Some((message.topic().to_owned(), Record::from_message(&message))),
            Some(Err(error)) => self.judge(&error).map(|()| None)?,
        };
        self.keep_in_touch()?;
        let Some((topic, mut record)) = polled else { return Ok(None) };
        let (full, short) = self.names_of(&topic);
        record.topic = short;
        Ok(Some(((full, record.partition), record)))
    }

    fn judge(&self, error: &ClientError) -> Result<(), LoopError> {
        let reason = error.to_string();
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::AutoOffsetReset) {
            return Err(LoopError::Outside { group: self.short_group.to_owned(), reason });
        }
        if code == Some(RDKafkaErrorCode::Fatal) || matches!(error, ClientError::MessageConsumptionFatal(_)) {
            return Err(LoopError::Consumer { group: self.group.clone(), reason });
        }
        tracing::info!(group = self.group, reason, "the consumer reports an error and goes on");
        Ok(())
    }

    /// Committed positions with their metadata; every partition must have one. `None`, when no answer is to be had: then the
    /// client is made anew, nothing is ours, and what the old client reported counts no more.
    pub(crate) fn committed(&mut self, places: &[(String, i32)]) -> Result<Option<Committed>, LoopError> {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in places {
            list.add_partition(topic, *partition);
        }
        let asked = patiently(|| self.consumer.committed_offsets(list.clone(), ASK));
        let Some(committed) = self.unless_silent(asked)? else { return Ok(None) };
        let mut points = Vec::new();
        for element in committed.elements() {
            let (topic, partition) = (element.topic().to_owned(), element.partition());
            let Offset::Offset(offset) = element.offset() else {
                let group = self.short_group.to_owned();
                return Err(LoopError::NoPosition { group, topic, partition });
            };
            points.push((topic, partition, CommitPoint { offset, metadata: element.metadata().to_owned() }));
        }
        Ok(Some(points))
    }

    /// The oldest offset that each partition keeps; nothing when no answer is to be had, as for [`Member::committed`].
    pub(crate) fn oldest(&mut self, places: &[(String, i32)]) -> Result<Vec<(i32, i64)>, LoopError> {
        let mut asked = TopicPartitionList::new();
        for (topic, partition) in places {
            asked.add_partition_offset(topic, *partition, Offset::Beginning).map_err(|e| self.failed(&e))?;
        }
        let asked = patiently(|| look_up(&self.consumer, &asked));
        let Some(oldest) = self.unless_silent(asked)? else { return Ok(Vec::new()) };
        let offsets = oldest.elements();
        Ok(offsets.iter().filter_map(|place| Some((place.partition(), place.offset().to_raw()?))).collect())
    }

    /// An answer, or nothing: then the client is made anew. Too often in a row ends the loop.
    fn unless_silent<T>(&mut self, answer: Option<T>) -> Result<Option<T>, LoopError> {
        if answer.is_some() {
            self.unanswered = 0;
            return Ok(answer);
        }
        self.unanswered += 1;
        if self.unanswered >= UNANSWERED_MAX {
            let reason = "its positions are not to be had".to_owned();
            return Err(LoopError::Consumer { group: self.group.clone(), reason });
        }
        self.renew()?;
        Ok(None)
    }

    fn failed(&self, error: &ClientError) -> LoopError {
        LoopError::Consumer { group: self.group.clone(), reason: error.to_string() }
    }

    /// Starts these partitions at these offsets, also when they were started elsewhere before.
    pub(crate) fn start_at(&self, places: &[(String, i32, i64)], again: bool) -> Result<(), LoopError> {
        if places.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        let mut bare = TopicPartitionList::new();
        for (topic, partition, offset) in places {
            bare.add_partition(topic, *partition);
            if list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).is_err() {
                tracing::error!(topic, partition, offset, "an offset below zero was asked for");
            }
        }
        let done = if again {
            self.consumer.incremental_unassign(&bare).and_then(|()| self.consumer.incremental_assign(&list))
        } else {
            self.consumer.incremental_assign(&list)
        };
        done.map_err(|error| self.failed(&error))
    }

    /// What is assigned now, by full names.
    pub(crate) fn assigned(&self) -> BTreeSet<(String, i32)> {
        self.consumer.assignment().map(|list| names(&list).into_iter().collect()).unwrap_or_default()
    }

    /// Takes partitions out of a manual assignment.
    pub(crate) fn drop_places(&self, places: &BTreeSet<(String, i32)>) {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in places {
            list.add_partition(topic, *partition);
        }
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            tracing::info!(group = self.group, %error, "partitions could not be unassigned");
        }
    }

    /// Stops fetching everything that is assigned now; `poll` then only serves callbacks. Repeated calls include what was
    /// assigned in between.
    pub(crate) fn pause_all(&mut self) {
        self.paused = true;
        if let Ok(list) = self.consumer.assignment()
            && let Err(error) = self.consumer.pause(&list)
        {
            tracing::debug!(group = self.group, %error, "partitions could not be paused");
        }
    }

    /// Fetches again what [`Member::pause_all`] stopped, but for `except`.
    pub(crate) fn resume_all(&mut self, except: impl Fn(&str, i32) -> bool) {
        if !std::mem::take(&mut self.paused) {
            return;
        }
        if let Ok(assigned) = self.consumer.assignment() {
            let mut list = TopicPartitionList::new();
            for (topic, partition) in names(&assigned) {
                if !except(&topic, partition) {
                    list.add_partition(&topic, partition);
                }
            }
            if let Err(error) = self.consumer.resume(&list) {
                tracing::debug!(group = self.group, %error, "partitions could not be resumed");
            }
        }
    }

    /// Pauses or resumes one partition.
    pub(crate) fn set_paused(&self, place: &Place, paused: bool) {
        let mut list = TopicPartitionList::new();
        list.add_partition(&place.0, place.1);
        let done = if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        if let Err(error) = done {
            tracing::debug!(group = self.group, %error, "a partition could not be paused or resumed");
        }
    }
}
