//! What was published, read and delivered. It closes, or says what is missing.

use std::collections::{BTreeMap, BTreeSet};

/// The books of one test.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Ids that were answered with a success.
    pub published: BTreeSet<String>,
    /// How often each id stands in the feed.
    pub in_feed: BTreeMap<String, usize>,
    /// How often each id was delivered.
    pub delivered: BTreeMap<String, usize>,
    /// Ids of deliveries that became dead letters.
    pub dead: BTreeSet<String>,
}

impl Ledger {
    /// The totals, one line.
    pub fn totals(&self) -> String {
        let repeated: usize = self.delivered.values().map(|count| count - 1).sum();
        format!(
            "ledger: published {}, in feed {}, delivered {}, repeated {repeated}, dead {}",
            self.published.len(),
            self.in_feed.values().sum::<usize>(),
            self.delivered.len(),
            self.dead.len(),
        )
    }

    /// Fails the test unless every published event is in the feed exactly once, and delivered at least once or a dead letter.
    ///
    /// An event whose publish was not answered may be there or not, but never twice in the feed.
    pub fn must_close(&self) {
        println!("{}", self.totals());
        let lost: Vec<_> = self.published.iter().filter(|id| !self.in_feed.contains_key(*id)).collect();
        let twice: Vec<_> = self.in_feed.iter().filter(|(_, count)| **count != 1).collect();
        let arrived = |id: &String| self.delivered.contains_key(id) || self.dead.contains(id);
        let nowhere: Vec<_> = self.published.iter().filter(|id| !arrived(id)).collect();
        assert!(lost.is_empty(), "{} accepted and not in the feed, such as {:?}", lost.len(), lost.first());
        assert!(twice.is_empty(), "{} in the feed more than once, such as {:?}", twice.len(), twice.first());
        assert!(
            nowhere.is_empty(),
            "{} accepted and neither delivered nor dead letters, such as {:?}",
            nowhere.len(),
            nowhere.first()
        );
    }
}
