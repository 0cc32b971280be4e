//! Where groups start. By itself a group starts only on a topic that was created now or never written; anywhere else a position
//! that is absent was lost, or belongs to a partition that was added, and a person decides (`altinn-events topics --start`).
//!
//! A group that a release adds is told from one that lost its positions by a marker in the store: [`judge`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use rdkafka::{
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::BaseConsumer,
};

use crate::{
    admin::{blocking, setup, topics_with_partitions, unreachable},
    error::KafkaError,
    groups::{self, Group, Kept, Start},
    offsets::{Asking, Offsets, commit},
    settings::KafkaSettings,
};

/// A partition on which a group cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The partition.
    pub partition: i32,
    /// The group's position, when it has one that is outside of what is kept.
    pub position: Option<i64>,
    /// The oldest kept offset.
    pub oldest: i64,
    /// The offset that the next record gets.
    pub end: i64,
}

/// A topic on which a group has no position to start from, on some partitions or on all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The group, without prefix.
    pub group: &'static str,
    /// The topic's short name.
    pub topic: &'static str,
    /// The partitions.
    pub missing: Vec<Missing>,
}

/// One partition's step to a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The topic's short name.
    pub topic: &'static str,
    /// The partition.
    pub partition: i32,
    /// The position that it has and that is outside of what is kept.
    pub from: Option<i64>,
    /// The offset at which it will start.
    pub to: i64,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, topic, missing } = self;
        let named: Vec<String> = missing.iter().map(Missing::to_string).collect();
        write!(
            f,
            "group {group} cannot go on where it was on {topic}: {}. {}",
            named.join("; "),
            mended_by(group)
        )
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, position, oldest, end } = self;
        match position {
            Some(position) => {
                write!(
                    f,
                    "its position on partition {partition} is {position}, outside of what is kept, {oldest} to {end}"
                )
            }
            None => write!(f, "it has no position on partition {partition}, which keeps {oldest} to {end}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partition, from, to } = self;
        match from {
            Some(from) => {
                write!(f, "{topic}, partition {partition}: from {from}, which is not kept, to {to}")
            }
            None => write!(f, "{topic}, partition {partition}: from nowhere to {to}"),
        }
    }
}

/// The sentence that names the command that mends an absent position of a group (without prefix).
pub(crate) fn mended_by(group: &str) -> String {
    format!(
        "The broker forgot the position, what it stood at has expired, or the partition was added. Stop what reads in the group, then run `altinn-events topics --start {group}=oldest` (all that is kept, again), `{group}=newest` (only what comes) or `{group}=TIME`; it shows what it would do, and does it with --yes"
    )
}

/// Which gaps are those of groups that are new on a topic, and which positions were lost. `started` are the (group, topic) that
/// the store knows to have started; a store that knows none is new itself and cannot tell.
pub fn judge(gaps: Vec<Gap>, started: &BTreeSet<(String, String)>) -> (Vec<Gap>, Vec<Gap>) {
    let is_known = |gap: &Gap| started.contains(&(gap.group.to_owned(), gap.topic.to_owned()));
    gaps.into_iter().partition(|gap| !started.is_empty() && !is_known(gap))
}

/// What the groups lack that keep their positions in Kafka.
///
/// # Errors
/// [`KafkaError::Unreachable`].
pub async fn gaps(settings: &KafkaSettings) -> Result<Vec<Gap>, KafkaError> {
    let settings = settings.clone();
    blocking(move || {
        let topics = topics_with_partitions(&settings)?;
        let mut gaps = Vec::new();
        for group in groups::all().iter().filter(|group| group.kept == Kept::Kafka) {
            gaps.extend(with_client(&settings, group, |asking| gaps_of(asking, group, &topics))?);
        }
        Ok(gaps)
    })
    .await
}

/// Where a group would start on the partitions on which it has no position to start from. `stored` are the positions of a group
/// that keeps them in the store, by topic and partition: one that is not there is no gap.
///
/// # Errors
/// [`KafkaError::Unreachable`].
pub async fn plan(
    settings: &KafkaSettings,
    group: &Group,
    start: Start,
    stored: Option<BTreeMap<(String, i32), i64>>,
) -> Result<Vec<Step>, KafkaError> {
    let (settings, group) = (settings.clone(), group.clone());
    blocking(move || {
        let topics = topics_with_partitions(&settings)?;
        with_client(&settings, &group, |asking| {
            let gaps = match &stored {
                None => gaps_of(asking, &group, &topics)?,
                Some(stored) => gaps_of_stored(asking, &group, &topics, stored)?,
            };
            let steps: Result<Vec<_>, _> = gaps.iter().map(|gap| steps(asking, gap, start)).collect();
            Ok(steps?.concat())
        })
    })
    .await
}

/// Commits the starts of a group (without prefix) that keeps its positions in Kafka.
///
/// # Errors
/// [`KafkaError::Refused`] while the group has members, [`KafkaError::Unreachable`].
pub async fn set(settings: &KafkaSettings, group: &str, steps: Vec<Step>) -> Result<(), KafkaError> {
    let (settings, group) = (settings.clone(), group.to_owned());
    blocking(move || {
        let consumer: BaseConsumer = settings.consumer(&group).create().map_err(setup)?;
        let starts = steps.iter().map(|step| (settings.topic(step.topic), step.partition, step.to));
        commit(&consumer, starts.collect()).map_err(|reason| KafkaError::Refused {
            what: format!("the start of group {group}, which nobody may be reading in"),
            reason,
        })
    })
    .await
}

/// Makes the broker forget the positions of a group (without prefix) that has no members, as it does after a while, for tests.
///
/// # Errors
/// [`KafkaError::Refused`] while the group has members.
#[doc(hidden)]
pub async fn forget_for_test(settings: &KafkaSettings, group: &str) -> Result<(), KafkaError> {
    let name = settings.group(group);
    let admin: AdminClient<DefaultClientContext> = settings.client().create().map_err(setup)?;
    let outcomes = admin.delete_groups(&[&name], &AdminOptions::new()).await;
    let refused = match outcomes.map_err(|error| unreachable(settings, &error))?.pop() {
        Some(Err((_, code))) => code.to_string(),
        Some(Ok(_)) | None => return Ok(()),
    };
    Err(KafkaError::Refused { what: format!("to forget group {group}"), reason: refused })
}

/// Gives every group its start on what was created now or never written; the (group, topic) that got one, by full names.
pub(crate) fn start_on_unwritten(
    settings: &KafkaSettings,
    topics: &BTreeMap<String, Vec<i32>>,
    created: &[String],
) -> Result<Vec<(String, String)>, KafkaError> {
    let mut done = Vec::new();
    for group in groups::all() {
        with_client(settings, &group, |asking| {
            let mut starts = Vec::new();
            for gap in gaps_of(asking, &group, topics)? {
                let name = settings.topic(gap.topic);
                if created.contains(&name) || is_unwritten(asking, &name, topics)? {
                    starts.extend(gap.missing.iter().map(|at| (name.clone(), at.partition, at.oldest)));
                    done.push((settings.group(group.name), name));
                }
            }
            if let Err(error) = commit(asking.consumer, starts) {
                // Another process may have set them and joined since; the loop itself checks for positions.
                tracing::info!(group = group.name, error, "start positions were not committed");
            }
            Ok(())
        })?;
    }
    Ok(done)
}

fn with_client<T>(
    settings: &KafkaSettings,
    group: &Group,
    work: impl FnOnce(&Asking<'_>) -> Result<T, KafkaError>,
) -> Result<T, KafkaError> {
    let consumer: BaseConsumer = settings.consumer(group.name).create().map_err(setup)?;
    work(&Asking { settings, consumer: &consumer })
}

fn gaps_of(
    asking: &Asking<'_>,
    group: &Group,
    topics: &BTreeMap<String, Vec<i32>>,
) -> Result<Vec<Gap>, KafkaError> {
    let mut places = Vec::new();
    for name in group.topics.iter().map(|topic| asking.settings.topic(topic)) {
        let partitions = topics.get(&name).into_iter().flatten();
        places.extend(partitions.map(|partition| (name.clone(), *partition)));
    }
    let committed = asking.committed(&places)?;
    let mut gaps = Vec::new();
    for topic in &group.topics {
        let name = asking.settings.topic(topic);
        let missing = outside(asking, &name, topics, &committed)?;
        if !missing.is_empty() {
            gaps.push(Gap { group: group.name, topic, missing });
        }
    }
    Ok(gaps)
}

fn gaps_of_stored(
    asking: &Asking<'_>,
    group: &Group,
    topics: &BTreeMap<String, Vec<i32>>,
    stored: &BTreeMap<(String, i32), i64>,
) -> Result<Vec<Gap>, KafkaError> {
    let mut gaps = Vec::new();
    for topic in &group.topics {
        let name = asking.settings.topic(topic);
        let of_topic = stored.iter().filter(|((stored_topic, _), _)| stored_topic == topic);
        let positions = of_topic.map(|((_, partition), offset)| ((name.clone(), *partition), *offset));
        let mut missing = outside(asking, &name, topics, &positions.collect())?;
        missing.retain(|missing| missing.position.is_some());
        gaps.push(Gap { group: group.name, topic, missing });
    }
    Ok(gaps)
}

/// The partitions of a topic whose position is absent or outside of what is kept.
fn outside(
    asking: &Asking<'_>,
    name: &str,
    topics: &BTreeMap<String, Vec<i32>>,
    positions: &Offsets,
) -> Result<Vec<Missing>, KafkaError> {
    let partitions = topics.get(name).map_or(&[][..], Vec::as_slice);
    // After the positions, which never move beyond the end.
    let (oldest, ends) = (asking.oldest(name, partitions)?, asking.ends(name, partitions)?);
    let missing = partitions.iter().filter_map(|partition| {
        let place = (name.to_owned(), *partition);
        let (oldest, end) = (*oldest.get(&place)?, *ends.get(&place)?);
        let position = positions.get(&place).copied();
        let is_kept = position.is_some_and(|position| (oldest..=end).contains(&position));
        (!is_kept).then_some(Missing { partition: *partition, position, oldest, end })
    });
    Ok(missing.collect())
}

fn is_unwritten(
    asking: &Asking<'_>,
    name: &str,
    topics: &BTreeMap<String, Vec<i32>>,
) -> Result<bool, KafkaError> {
    let partitions = topics.get(name).map_or(&[][..], Vec::as_slice);
    Ok(asking.ends(name, partitions)?.values().all(|end| *end == 0))
}

fn steps(asking: &Asking<'_>, gap: &Gap, start: Start) -> Result<Vec<Step>, KafkaError> {
    let name = asking.settings.topic(gap.topic);
    let partitions: Vec<i32> = gap.missing.iter().map(|missing| missing.partition).collect();
    let at_time = match start {
        Start::At(time) => asking.at_time(&name, &partitions, time)?,
        Start::Oldest | Start::Newest => Offsets::new(),
    };
    let to = |missing: &Missing| match start {
        Start::Oldest => missing.oldest,
        Start::Newest => missing.end,
        // Nothing is that young: what comes is first.
        Start::At(_) => at_time.get(&(name.clone(), missing.partition)).copied().unwrap_or(missing.end),
    };
    let step =
        |at: &Missing| Step { topic: gap.topic, partition: at.partition, from: at.position, to: to(at) };
    Ok(gap.missing.iter().map(step).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_store_that_knows_others_tells_a_new_group_from_a_lost_position() {
        let gap = |group| Gap { group, topic: "events", missing: Vec::new() };
        let gaps = || vec![gap("old"), gap("new")];
        let started = BTreeSet::from([("old".to_owned(), "events".to_owned())]);
        assert_eq!(judge(gaps(), &started), (vec![gap("new")], vec![gap("old")]));
        assert_eq!(judge(gaps(), &BTreeSet::new()), (Vec::new(), gaps()), "a store that was made anew");
    }

    #[test]
    fn a_gap_says_what_happened_and_names_the_command() {
        let missing = |partition, position| Missing { partition, position, oldest: 5, end: 9 };
        let missing = vec![missing(1, None), missing(2, Some(3))];
        let told = Gap { group: groups::PUSH, topic: "deliveries", missing }.to_string();
        assert!(told.contains("no position on partition 1, which keeps 5 to 9"), "{told}");
        assert!(told.contains("partition 2 is 3, outside of what is kept, 5 to 9"), "{told}");
        assert!(told.contains("`altinn-events topics --start dispatcher.push=oldest`"), "{told}");
    }
}
