//! Whether the database answers, told to whoever asks: one question a second at most, whoever many ask.

use std::time::{Duration, Instant};

use service::prometheus::IntCounter;
use store::Store;
use tokio::sync::Mutex;

/// How long an answer counts.
const AGE_MAX: Duration = Duration::from_secs(1);
/// How long one is waited for.
const WAIT: Duration = Duration::from_secs(2);

/// The last answer. Who comes while it is asked for waits for it.
#[derive(Debug)]
pub struct Health {
    last: Mutex<Option<(Instant, bool)>>,
    asked: IntCounter,
}

impl Health {
    /// Nobody has asked yet. `asked` counts questions to the database.
    pub fn new(asked: IntCounter) -> Self {
        Self { last: Mutex::new(None), asked }
    }

    /// Whether the database answers, or did a moment ago.
    pub async fn is_well(&self, store: &Store) -> bool {
        let mut last = self.last.lock().await;
        if let Some((_, is_well)) = last.filter(|(at, _)| at.elapsed() < AGE_MAX) {
            return is_well;
        }
        self.asked.inc();
        let is_well = store.answers(WAIT).await.is_ok();
        *last = Some((Instant::now(), is_well));
        is_well
    }
}
