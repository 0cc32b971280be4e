//! The view of the subscriptions: loaded whole, then following every change by position.
//!
//! Invariant: the view holds every change up to [`View::position`]. It only moves forward, but for a reload after the database
//! lost changes (failover) or forgot tombstones that we have not seen. With the database down the view stays as it is; its age is
//! a gauge.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use event::{DeliveryHeaders, DeliveryKind, Subscription};
use service::lifecycle::Ready;
use store::{Store, StoreError};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    append::Backoff,
    index::Index,
    metrics::Metrics,
    outcome::{Dropped, Ended, PutBack},
};

/// Changes that are asked for at once.
const PAGE: i64 = 2_000;
/// How long one answer of the database may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Tombstones are kept for seven days; a view that old can no longer follow.
const OLDEST: Duration = Duration::from_secs(6 * 24 * 3_600);
/// A poll that was asked for comes no sooner than this after the last.
const SHORTEST: Duration = Duration::from_millis(20);

/// The view. One a dispatcher, shared by its parts.
#[derive(Debug)]
pub(crate) struct View {
    index: RwLock<Index>,
    position: watch::Sender<i64>,
    loaded: watch::Sender<bool>,
    wanted: Notify,
}

/// Where a delivery goes now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The webhook address.
    pub(crate) endpoint: String,
    /// Whose subscription it is.
    pub(crate) consumer: String,
}

/// What the view says about a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It goes there.
    Goes(Target),
    /// The view does not reach the position in the headers: it may not judge.
    Behind,
    /// It does not go.
    Ends(Ended),
}

impl View {
    /// An empty view that has not been loaded.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            index: RwLock::default(),
            position: watch::Sender::new(0),
            loaded: watch::Sender::new(false),
            wanted: Notify::new(),
        })
    }

    /// Reads the index. Keep it short: changes wait.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Index) -> T) -> T {
        read(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How far the view has come.
    pub(crate) fn position(&self) -> i64 {
        *self.position.borrow()
    }

    /// Tells of every poll that was answered.
    pub(crate) fn polls(&self) -> watch::Receiver<i64> {
        self.position.subscribe()
    }

    /// Asks for a poll soon: something waits for it.
    pub(crate) fn hurry(&self) {
        self.wanted.notify_one();
    }

    /// Waits until the view is whole.
    pub(crate) async fn whole(&self) {
        let mut loaded = self.loaded.subscribe();
        loaded.wait_for(|loaded| *loaded).await.expect("the sender is part of self");
    }

    /// Judges a delivery.
    pub(crate) fn standing(&self, headers: &DeliveryHeaders) -> Standing {
        if self.position() < headers.position {
            return Standing::Behind;
        }
        self.read(|index| match index.get(headers.subscription) {
            None => Standing::Ends(Ended::Dropped(Dropped::Gone)),
            Some(found) if found.paused => Standing::Ends(Ended::PutBack(PutBack::Paused)),
            Some(found) if !found.validated && headers.kind == DeliveryKind::Event => {
                Standing::Ends(Ended::PutBack(PutBack::NotValidated))
            }
            Some(found) => Standing::Goes(Target {
                endpoint: found.endpoint.to_owned(),
                consumer: found.consumer.to_owned(),
            }),
        })
    }

    /// Takes changes in the order of their positions.
    pub(crate) fn apply(&self, changes: Vec<Subscription>) {
        let Some(last) = changes.last().map(|change| change.position) else { return };
        {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            changes.into_iter().for_each(|change| index.apply(change));
        }
        self.position.send_replace(last);
    }

    /// Puts a freshly loaded index in place of the old one.
    fn replace(&self, index: Index, position: i64) {
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
        self.position.send_replace(position);
        self.loaded.send_replace(true);
    }
}

/// The database gave no answer; the view stays as it is.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the database did not answer in time")]
    TimedOut,
}

/// Bounds the wait for one answer: a connection that is half gone would keep us waiting for minutes.
async fn answer<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, NoAnswer> {
    Ok(tokio::time::timeout(ANSWER, asked).await.map_err(|_| NoAnswer::TimedOut)??)
}

/// Keeps a view up to date.
pub(crate) struct Follower {
    view: Arc<View>,
    store: Store,
    metrics: Arc<Metrics>,
    ready: Ready,
    poll: Duration,
    /// When the last answer was asked for that made the view complete.
    answered: Instant,
    /// The history that the view belongs to; a failover begins another.
    timeline: i64,
}

impl Follower {
    /// Follows with a poll this often; `ready` is set once the view is whole.
    pub(crate) fn new(
        view: Arc<View>,
        store: Store,
        metrics: Arc<Metrics>,
        ready: Ready,
        poll: Duration,
    ) -> Self {
        Self { view, store, metrics, ready, poll, answered: Instant::now(), timeline: 0 }
    }

    /// Loads, then follows, until `stop`. Never fails: a database that is down is asked again.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        stop.run_until_cancelled(self.follow()).await;
        Ok(())
    }

    async fn follow(&mut self) {
        self.load().await;
        self.ready.set(true);
        loop {
            self.wait().await;
            if let Err(error) = self.changes().await {
                tracing::debug!(%error, "the subscriptions could not be asked for; the view stays");
            }
            self.observe();
        }
    }

    async fn load(&mut self) {
        let mut backoff = Backoff::new();
        while let Err(error) = self.load_once().await {
            tracing::warn!(%error, "the subscriptions could not be loaded; trying again");
            backoff.wait().await;
        }
        let (count, bytes) = self.view.read(|index| (index.len(), index.bytes()));
        tracing::info!(
            subscriptions = count,
            bytes,
            position = self.view.position(),
            "the subscriptions are loaded"
        );
        self.observe();
    }

    async fn load_once(&mut self) -> Result<(), NoAnswer> {
        let asked = Instant::now();
        let timeline = answer(self.store.feed_head()).await?.timeline;
        let head = answer(self.store.subscription_head()).await?;
        let mut index = Index::new();
        let mut position = 0;
        loop {
            let page = answer(self.store.subscription_changes(position, PAGE)).await?;
            let Some(last) = page.last() else { break };
            position = last.position;
            page.into_iter().for_each(|change| index.apply(change));
        }
        self.view.replace(index, position.max(head));
        self.timeline = timeline;
        self.answered = asked;
        Ok(())
    }

    async fn wait(&self) {
        tokio::time::sleep(SHORTEST).await;
        let rest = self.poll.saturating_sub(SHORTEST);
        // Either is a reason to ask.
        tokio::time::timeout(rest, self.view.wanted.notified()).await.unwrap_or_default();
    }

    async fn changes(&mut self) -> Result<(), NoAnswer> {
        let asked = Instant::now();
        let timeline = answer(self.store.feed_head()).await?.timeline;
        let head = answer(self.store.subscription_head()).await?;
        let view = self.view.position();
        if timeline != self.timeline || head < view || self.answered.elapsed() > OLDEST {
            tracing::warn!(head, view, timeline, "the view cannot follow any more and is loaded anew");
            return self.load_once().await;
        }
        while self.view.position() < head {
            let page = answer(self.store.subscription_changes(self.view.position(), PAGE)).await?;
            if page.is_empty() {
                break;
            }
            self.view.apply(page);
        }
        self.answered = asked;
        // Also without a change: who waits for a poll may go on. What was purged leaves no row at its position.
        self.view.position.send_modify(|position| *position = head.max(*position));
        Ok(())
    }

    fn observe(&self) {
        let age = self.answered.elapsed().as_millis();
        self.metrics.view_age_ms.set(i64::try_from(age).unwrap_or(i64::MAX));
        let (count, bytes) = self.view.read(|index| (index.len(), index.bytes()));
        self.metrics.subscriptions.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.metrics.subscriptions_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use event::{DeliveryId, Micros, SubscriptionId};

    use super::*;

    fn subscription(position: i64) -> Subscription {
        Subscription {
            id: SubscriptionId(7),
            position,
            endpoint: "https://example.com/hook".into(),
            source_filter: None,
            resource_filter: Some("urn:altinn:resource:r".into()),
            subject_filter: None,
            type_filter: None,
            include_subunits: false,
            consumer: "/org/ttd".into(),
            created_by: "/org/ttd".into(),
            created: Micros(0),
            validated: true,
            paused: false,
            deleted: false,
        }
    }

    fn headers(position: i64, kind: DeliveryKind) -> DeliveryHeaders {
        DeliveryHeaders {
            subscription: SubscriptionId(7),
            position,
            delivery: DeliveryId(1),
            attempt: 0,
            put_backs: 0,
            created: Micros(0),
            first_failure: None,
            last_outcome: None,
            kind,
            traceparent: None,
            reason: None,
        }
    }

    #[test]
    fn a_view_that_is_behind_may_not_judge() {
        let view = View::new();
        assert_eq!(view.standing(&headers(5, DeliveryKind::Event)), Standing::Behind);
        view.apply(vec![subscription(5)]);
        assert!(matches!(view.standing(&headers(5, DeliveryKind::Event)), Standing::Goes(_)));
        assert_eq!(view.standing(&headers(6, DeliveryKind::Event)), Standing::Behind);
    }

    #[test]
    fn gone_means_absent_from_a_view_that_has_come_far_enough() {
        let view = View::new();
        view.apply(vec![subscription(5)]);
        view.apply(vec![Subscription { deleted: true, ..subscription(6) }]);
        let gone = Standing::Ends(Ended::Dropped(Dropped::Gone));
        assert_eq!(view.standing(&headers(5, DeliveryKind::Event)), gone);
    }

    #[test]
    fn paused_and_not_validated_are_put_back_but_a_validation_goes() {
        let view = View::new();
        view.apply(vec![Subscription { paused: true, ..subscription(5) }]);
        let paused = Standing::Ends(Ended::PutBack(PutBack::Paused));
        assert_eq!(view.standing(&headers(5, DeliveryKind::Event)), paused);
        view.apply(vec![Subscription { validated: false, ..subscription(6) }]);
        let not_validated = Standing::Ends(Ended::PutBack(PutBack::NotValidated));
        assert_eq!(view.standing(&headers(6, DeliveryKind::Event)), not_validated);
        assert!(matches!(view.standing(&headers(6, DeliveryKind::Validation)), Standing::Goes(_)));
    }
}
