//! The meeting point of a loop, its consumer's rebalance callback (on the same thread) and its committer.

use std::{
    collections::BTreeSet,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use rdkafka::error::KafkaError as ClientError;

/// A partition by its topic's full name.
pub(crate) type Place = (Arc<str>, i32);

/// A position with the metadata that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommitPoint {
    pub(crate) offset: i64,
    pub(crate) metadata: String,
}

/// What a rebalance did.
#[derive(Clone, Debug)]
pub(crate) enum Report {
    Assigned(Vec<(String, i32)>),
    Revoked(Vec<(String, i32)>),
    /// A commit that the loop did not wait for was refused: positions have to be committed again.
    CommitFailed,
}

/// Whom the callback asks when partitions are taken away.
pub(crate) trait Revoked: Send + Sync {
    /// What is ours, as the loop has it: the client may have lost some of it without a word.
    fn held(&self) -> Vec<Place>;
    /// Nothing of them may be started from now on.
    fn release(&self, places: &[Place]);
    /// They are given up now: what is still to be committed.
    fn close(&self, places: &[Place]) -> Vec<(Place, CommitPoint)>;
}

/// The meeting point of the loop, its callback (on the same thread) and its committer.
#[derive(Clone, Default)]
pub(crate) struct Reports(Arc<(Mutex<Shared>, Condvar)>);

#[derive(Default)]
struct Shared {
    reports: Vec<Report>,
    revoked: Option<Arc<dyn Revoked>>,
    committing: bool,
}

impl Reports {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody is asked any more. Whom it asked.
    pub(crate) fn abandon(&self) -> Option<Arc<dyn Revoked>> {
        self.lock().revoked.take()
    }

    /// Gives up what another client held, by its own word or by the loop's: whom that one asked is asked from now on.
    pub(crate) fn inherit(&self, mut held: BTreeSet<(String, i32)>, revoked: Option<Arc<dyn Revoked>>) {
        if let Some(revoked) = &revoked {
            held.extend(revoked.held().into_iter().map(|(topic, partition)| (topic.to_string(), partition)));
            let places: Vec<Place> =
                held.iter().map(|(topic, partition)| (Arc::from(topic.as_str()), *partition)).collect();
            revoked.release(&places);
            // The client that could commit it is gone; the journal tells the rest.
            drop(revoked.close(&places));
        }
        let mut shared = self.lock();
        shared.revoked = revoked;
        shared.reports.push(Report::Revoked(held.into_iter().collect()));
    }

    pub(crate) fn push(&self, report: Report) {
        self.lock().reports.push(report);
    }

    pub(crate) fn take(&self) -> Vec<Report> {
        std::mem::take(&mut self.lock().reports)
    }

    /// Whom to ask for what must be committed when partitions are taken away.
    pub(crate) fn on_revoke(&self, revoked: Arc<dyn Revoked>) {
        self.lock().revoked = Some(revoked);
    }

    /// Gives partitions up: what must be committed of them, nothing of those that are lost. Waits for a commit that is on its way,
    /// which holds older positions.
    pub(crate) fn give_up(&self, places: &[Place], lost: bool) -> Vec<(Place, CommitPoint)> {
        let revoked = self.lock().revoked.clone();
        if let Some(revoked) = &revoked {
            revoked.release(places);
        }
        if !lost {
            self.wait_for_commit();
        }
        let points = revoked.map(|revoked| revoked.close(places)).unwrap_or_default();
        if lost { Vec::new() } else { points }
    }

    pub(crate) fn is_committing(&self) -> bool {
        self.lock().committing
    }

    pub(crate) fn commit_begins(&self) {
        self.lock().committing = true;
    }

    pub(crate) fn commit_ended(&self, result: Result<(), ClientError>) {
        let mut shared = self.lock();
        shared.committing = false;
        if let Err(error) = result {
            tracing::debug!(%error, "positions were not committed; they are committed again");
            shared.reports.push(Report::CommitFailed);
        }
        self.0.1.notify_all();
    }

    /// Waits until no commit is on its way.
    pub(crate) fn wait_for_commit(&self) {
        let waited = self.0.1.wait_while(self.lock(), |shared| shared.committing);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loop that holds these partitions until they are closed.
    struct Holds(Mutex<Vec<Place>>);

    impl Revoked for Holds {
        fn held(&self) -> Vec<Place> {
            self.0.lock().unwrap().clone()
        }

        fn release(&self, _: &[Place]) {}

        fn close(&self, places: &[Place]) -> Vec<(Place, CommitPoint)> {
            self.0.lock().unwrap().retain(|place| !places.contains(place));
            Vec::new()
        }
    }

    #[test]
    fn with_a_client_goes_all_that_its_loop_holds_also_what_the_client_does_not_tell_of() {
        let place = |partition| (Arc::from("topic"), partition);
        let holds = Arc::new(Holds(Mutex::new(vec![place(1), place(2)])));
        let reports = Reports::default();
        reports.inherit([("topic".to_owned(), 1)].into(), Some(Arc::clone(&holds) as Arc<dyn Revoked>));
        assert!(holds.held().is_empty());
        let told = reports.take();
        assert!(matches!(&told[..], [Report::Revoked(places)] if places.len() == 2), "{told:?}");
    }
}
