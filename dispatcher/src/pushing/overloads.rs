//! Tells which endpoints are slower than their events, and how much they were put back: for whoever shows a subscription, and for
//! the next owner of the endpoint, which counts on from there.
//!
//! Only what changed is written, at most every two seconds; without the database it is written when that is back. Bound: the
//! endpoints with a backlog, [`TOGETHER`] in one statement.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use store::{EndpointBacklog, Store, StoreError};

use super::Push;
use crate::pushing::{endpoint::EndpointKey, queue::Overload};

/// How often it is told.
const EVERY: Duration = Duration::from_secs(2);
/// Endpoints of one statement.
const TOGETHER: usize = 500;

/// What is to be told.
struct Overloads {
    store: Store,
    untold: HashMap<EndpointKey, Overload>,
    /// Endpoints whose earlier owner was asked about.
    known: HashSet<EndpointKey>,
}

impl Push {
    /// Tells until the stop.
    pub(super) fn run_overloads(self: &Arc<Self>, store: Store) {
        let push = Arc::clone(self);
        let mut overloads = Overloads { store, untold: HashMap::new(), known: HashSet::new() };
        self.spawn(async move {
            let stop = push.stop.clone();
            while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
                let told = stop.run_until_cancelled(overloads.tell(&push)).await;
                if let Some(Err(error)) = told {
                    tracing::debug!(%error, "the backlogs of endpoints could not be written; the next time holds them");
                }
            }
        });
    }
}

impl Overloads {
    async fn tell(&mut self, push: &Push) -> Result<(), StoreError> {
        let changed = {
            let mut queue = push.queue();
            push.metrics.overloaded.set(i64::try_from(queue.overloaded()).unwrap_or(i64::MAX));
            queue.overloads(Instant::now())
        };
        self.untold.extend(changed.into_iter().map(|overload| (Arc::clone(&overload.key), overload)));
        while !self.untold.is_empty() {
            let some: Vec<Overload> = self.untold.values().take(TOGETHER).cloned().collect();
            self.inherit(push, &some).await?;
            let rows: Vec<(&str, EndpointBacklog)> = some.iter().map(row).collect();
            self.store.write_backlogs(&rows).await?;
            for overload in some {
                self.untold.remove(&overload.key);
                if overload.deliveries == 0 {
                    self.known.remove(&overload.key);
                }
            }
        }
        Ok(())
    }

    /// What an earlier owner put back and nobody has seen again is ours now.
    async fn inherit(&mut self, push: &Push, overloads: &[Overload]) -> Result<(), StoreError> {
        let new = overloads.iter().filter(|overload| !self.known.contains(&overload.key));
        let keys: Vec<String> = new.map(|overload| overload.key.to_string()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let found = self.store.backlogs_of(&keys).await?;
        let mut queue = push.queue();
        for key in keys {
            let key: EndpointKey = key.into();
            if let Some(backlog) = found.get(&*key) {
                queue.inherit(&key, u64::try_from(backlog.deliveries).unwrap_or(0), Instant::now());
            }
            self.known.insert(key);
        }
        Ok(())
    }
}

fn row(overload: &Overload) -> (&str, EndpointBacklog) {
    let deliveries = i64::try_from(overload.deliveries).unwrap_or(i64::MAX);
    (&overload.key, EndpointBacklog { deliveries, takes: overload.takes })
}
