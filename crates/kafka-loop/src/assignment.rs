//! The partitions of a loop, and the loops that follow it there.
//!
//! A follower reads the same partitions of another topic without being a member of the group. The leader commits for both, in
//! one request and as a member: a broker takes it only from a member of the present generation, so that an owner who does not
//! know that it has lost its partitions cannot rewind those of the next one. When partitions are taken away the leader ends the
//! follower's hold first, then its own, and commits both before it gives them up.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::{
    books::Books,
    consumer::{CommitPoint, Place, Revoked},
};

/// The partitions that a loop holds (of its first topic), for a loop that follows it. Clones share it.
#[derive(Clone, Debug)]
pub struct Assignment(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    topic: String,
    partitions: watch::Sender<BTreeSet<i32>>,
    own: Arc<Books>,
    followers: Mutex<Vec<Arc<Books>>>,
}

impl Assignment {
    /// Of a loop with these books; `topic` is the full name of its first topic.
    pub(crate) fn new(topic: &str, own: Arc<Books>) -> Self {
        let partitions = watch::Sender::new(BTreeSet::new());
        Self(Arc::new(Shared { topic: topic.to_owned(), partitions, own, followers: Mutex::default() }))
    }

    fn followers(&self) -> MutexGuard<'_, Vec<Arc<Books>>> {
        self.0.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partitions that are held now.
    pub fn now(&self) -> BTreeSet<i32> {
        self.0.partitions.borrow().clone()
    }

    /// Follows them, with these books.
    pub(crate) fn add(&self, follower: Arc<Books>) {
        self.followers().push(follower);
    }

    /// The books of the loop and of those that follow it.
    pub(crate) fn all(&self) -> Vec<Arc<Books>> {
        let mut all = vec![Arc::clone(&self.0.own)];
        all.extend(self.followers().iter().cloned());
        all
    }

    /// Tells the followers what is held now.
    pub(crate) fn announce(&self) {
        let ours = self.0.own.partitions_of(&self.0.topic);
        self.0.partitions.send_if_modified(|now| {
            let changed = *now != ours;
            if changed {
                now.clone_from(&ours);
            }
            changed
        });
    }

    fn of_first_topic(&self, places: &[Place]) -> BTreeSet<i32> {
        let ours = places.iter().filter(|(topic, _)| **topic == *self.0.topic);
        ours.map(|(_, partition)| *partition).collect()
    }
}

impl Revoked for Assignment {
    fn held(&self) -> Vec<Place> {
        self.0.own.open_places()
    }

    fn release(&self, places: &[Place]) {
        let gone = self.of_first_topic(places);
        // First the list, then the holds: a follower that opens a partition meanwhile looks at the list afterwards.
        self.0.partitions.send_modify(|now| now.retain(|partition| !gone.contains(partition)));
        for follower in self.followers().iter() {
            follower.release(|place| gone.contains(&place.1));
        }
        self.0.own.release(|place| places.contains(place));
    }

    fn close(&self, places: &[Place]) -> Vec<(Place, CommitPoint)> {
        let gone = self.of_first_topic(places);
        let mut last = Vec::new();
        for follower in self.followers().iter() {
            last.extend(follower.close(|place| gone.contains(&place.1)));
        }
        last.extend(self.0.own.close(|place| places.contains(place)));
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{books::Hold, record::Record};

    fn place(topic: &str, partition: i32) -> Place {
        (Arc::from(topic), partition)
    }

    /// A partition that was opened at 0, with its first record settled.
    fn moved(books: &Arc<Books>, place: &Place) -> Hold {
        let hold = books.open(place.clone(), CommitPoint { offset: 0, metadata: String::new() });
        let (topic, partition) = (Arc::clone(&place.0), place.1);
        let (offset, timestamp_ms, key, value, headers) = (0, 0, Vec::new(), None, Vec::new());
        let record = Record { topic, partition, offset, timestamp_ms, key, value, headers };
        let (settle, _) = books.take(place, &record).unwrap();
        settle.done();
        hold
    }

    #[test]
    fn with_a_leaders_partition_goes_its_followers_and_the_leader_commits_both() {
        let (own, follower) = (Books::new(None, None), Books::new(None, None));
        let assignment = Assignment::new("fresh", Arc::clone(&own));
        assignment.add(Arc::clone(&follower));
        let [taken, kept] = [0, 1].map(|partition| {
            [moved(&own, &place("fresh", partition)), moved(&follower, &place("due", partition))]
        });
        assignment.announce();
        let gone = [place("fresh", 0)];
        assignment.release(&gone);
        assert!(taken.iter().all(|hold| !hold.lasts()), "nothing may be started, of neither topic");
        assert!(kept.iter().all(Hold::lasts));
        assert_eq!(assignment.now(), BTreeSet::from([1]));
        let last = assignment.close(&gone).into_iter().map(|(place, point)| (place, point.offset));
        assert_eq!(last.collect::<Vec<_>>(), [(place("due", 0), 1), (place("fresh", 0), 1)]);
        assert_eq!(follower.partitions_of("due"), BTreeSet::from([1]));
    }
}
