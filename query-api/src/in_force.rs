//! Whether a change of a subscription is in force on every dispatcher that lives.
//!
//! One part a process reads what all of them hold while anybody waits. Bounds: a wait ends after [`WAIT`]; at most
//! [`WAITERS_MAX`] wait at once, and who finds no place looks once.

use std::{sync::Arc, time::Duration};

use store::{Held, Store};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// How long the answer to a change waits until the change is in force.
const WAIT: Duration = Duration::from_secs(1);
/// Most answers that wait at once.
const WAITERS_MAX: usize = 1_000;
/// Time between two looks while somebody waits.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Who waits, and what was read last.
#[derive(Debug)]
pub struct InForce {
    held: watch::Sender<Held>,
    somebody: Notify,
    places: Semaphore,
}

impl Default for InForce {
    fn default() -> Self {
        Self {
            held: watch::Sender::new(Held::NOTHING),
            somebody: Notify::new(),
            places: Semaphore::new(WAITERS_MAX),
        }
    }
}

impl InForce {
    /// Waits until the change at this position is in force, within a bound. What all dispatchers held at last.
    pub async fn wait(&self, store: &Store, position: i64) -> Held {
        let Ok(_place) = self.places.try_acquire() else { return look(store).await };
        let mut held = self.held.subscribe();
        self.somebody.notify_one();
        let mut last = Held::NOTHING;
        let reached = async {
            // Only what is read from now on: it is told again also when it says the same.
            while !last.covers(position) && held.changed().await.is_ok() {
                last = *held.borrow_and_update();
            }
        };
        // Without an end to the wait it is what was read last.
        timeout(WAIT, reached).await.unwrap_or_default();
        last
    }

    /// Reads what is held while somebody waits, until `stop`.
    ///
    /// # Errors
    /// Never; the signature is that of a part.
    pub async fn watch(self: Arc<Self>, store: Store, stop: CancellationToken) -> anyhow::Result<()> {
        stop.run_until_cancelled(self.keep_watching(&store)).await;
        Ok(())
    }

    async fn keep_watching(&self, store: &Store) {
        loop {
            while self.held.receiver_count() == 0 {
                self.somebody.notified().await;
            }
            let now = look(store).await;
            self.held.send_replace(now);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// What all dispatchers hold now; nothing while the database does not answer.
async fn look(store: &Store) -> Held {
    store.held_everywhere().await.unwrap_or_else(|error| {
        tracing::debug!(%error, "what the dispatchers hold cannot be read");
        Held::NOTHING
    })
}
