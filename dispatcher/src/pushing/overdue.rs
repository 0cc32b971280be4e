//! What has stood in a lane for long is put back: its endpoint, or who shares a part of the pools with it, takes less than came. Its
//! record is not held any longer, so that what stands behind it in the log is committed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::Push;
use crate::pushing::outcome::PutBack;

/// How often it is looked for.
const EVERY: Duration = Duration::from_secs(30);

impl Push {
    /// Looks until the stop.
    pub(super) fn run_overdue(self: &Arc<Self>) {
        let push = Arc::clone(self);
        self.spawn(async move {
            let stop = push.stop.clone();
            while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
                let overdue = push.queue().overdue(Instant::now());
                for (ready, tier) in overdue {
                    push.put_backs.take(ready.delivery, PutBack::QueueFull { tier });
                }
            }
        });
    }
}
