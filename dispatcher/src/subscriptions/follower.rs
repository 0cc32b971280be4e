//! Keeps the view of the subscriptions up to date, and writes down which changes are in force here.
//!
//! One statement a poll tells the changes, the newest position and the server's history, all at one moment. After an answered
//! poll the follower writes the position that the view holds into a row of its own, when it moved or each second: that is the
//! dispatcher's heartbeat, and a follower that is stuck counts as gone. While it loads anew the row says 0.
//!
//! Invariants: the row never says more than the view holds. Nobody judges by the view before its row stands and a poll was
//! answered after that, so that no change is called in force meanwhile which the view has not. The follower is the last to stop.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use service::lifecycle::Ready;
use store::{Changes, LEASE, Store, StoreError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    append::Backoff,
    metrics::Metrics,
    subscriptions::{View, index::Index},
};

/// Changes that are asked for at once.
const PAGE: i64 = 2_000;
/// How long one answer of the database may take: a connection that is half gone costs less than the lease.
const ANSWER: Duration = Duration::from_secs(3);
/// A view that is older than this is loaded anew, whatever the changes since then.
const OLDEST: Duration = Duration::from_secs(7 * 24 * 3_600);
/// A poll that was asked for comes no sooner than this after the last.
const SHORTEST: Duration = Duration::from_millis(20);
/// How often the row is written while nothing changes.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The database gave no answer; the view stays as it is.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the database did not answer in time")]
    TimedOut,
    #[error("the server began another history while the subscriptions were loaded")]
    OtherHistory,
}

/// Bounds the wait for one answer: a connection that is half gone would keep us waiting for minutes.
async fn answer<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, NoAnswer> {
    Ok(tokio::time::timeout(ANSWER, asked).await.map_err(|_| NoAnswer::TimedOut)??)
}

/// What the row of this dispatcher says, as far as we know.
#[derive(Debug)]
struct Row {
    id: Uuid,
    /// What was written last; none when there is no row, or an answer is missing.
    says: Option<i64>,
    /// Whether it may be there.
    stands: bool,
    /// When the last write that was answered was begun.
    written: Instant,
}

/// Keeps a view up to date.
pub(crate) struct Follower {
    view: Arc<View>,
    store: Store,
    metrics: Arc<Metrics>,
    ready: Ready,
    poll: Duration,
    row: Row,
    /// When the last answer was asked for that made the view complete.
    answered: Instant,
    /// The history that the view belongs to.
    timeline: i64,
    /// The view cannot follow any more: it is loaded anew.
    lost: bool,
}

impl Follower {
    /// Follows with a poll this often; `ready` is set while the dispatcher holds what is in force.
    pub(crate) fn new(
        view: Arc<View>,
        store: Store,
        metrics: Arc<Metrics>,
        ready: Ready,
        poll: Duration,
    ) -> Self {
        let now = Instant::now();
        let row = Row { id: Uuid::new_v4(), says: None, stands: false, written: now };
        Self { view, store, metrics, ready, poll, row, answered: now, timeline: 0, lost: true }
    }

    /// Loads, then follows, until `stop` and until nobody judges by the view any more. Never fails: a database that is down is
    /// asked again.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let view = Arc::clone(&self.view);
        let over = async {
            stop.cancelled().await;
            view.unused().await;
        };
        tokio::select! {
            () = over => {}
            () = self.follow() => {}
        }
        if self.row.stands
            && let Err(error) = answer(self.store.forget_dispatcher(self.row.id)).await
        {
            tracing::debug!(%error, "changes wait for this dispatcher until its lease is over");
        }
        Ok(())
    }

    async fn follow(&mut self) {
        self.begin().await;
        self.view.set_whole();
        loop {
            self.wait().await;
            if let Err(error) = self.poll().await {
                tracing::debug!(%error, "the subscriptions could not be asked for; the view stays");
            }
            self.observe();
        }
    }

    /// Up to the moment from which the view may be judged by.
    async fn begin(&mut self) {
        let mut backoff = Backoff::new();
        while let Err(error) = self.begin_once().await {
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

    /// Loads, writes the row, and polls once more: a change that was in force before the row stood is in the view then.
    async fn begin_once(&mut self) -> Result<(), NoAnswer> {
        if self.lost {
            self.load().await?;
        }
        let began = Instant::now();
        self.hold(self.view.position(), self.timeline).await?;
        self.poll().await?;
        // Beyond the lease the row did not stand all the time.
        if began.elapsed() < LEASE { Ok(()) } else { Err(NoAnswer::TimedOut) }
    }

    async fn wait(&self) {
        tokio::time::sleep(SHORTEST).await;
        let rest = self.poll.saturating_sub(SHORTEST);
        // Either is a reason to ask.
        tokio::time::timeout(rest, self.view.wanted()).await.unwrap_or_default();
    }

    /// Takes all changes that there are, and writes down what is held then.
    async fn poll(&mut self) -> Result<(), NoAnswer> {
        loop {
            let asked = Instant::now();
            let changes = self.changes_after(self.view.position()).await?;
            if self.cannot_follow(&changes) {
                self.load().await?;
                return self.hold(self.view.position(), self.timeline).await;
            }
            let is_all = is_all(&changes);
            self.view.apply(changes.changed);
            if is_all {
                self.view.reached(changes.head);
                self.answered = asked;
            }
            self.hold(self.view.position(), self.timeline).await?;
            if is_all {
                return Ok(());
            }
        }
    }

    async fn changes_after(&self, position: i64) -> Result<Changes, NoAnswer> {
        answer(self.store.subscription_changes(position, PAGE)).await
    }

    fn cannot_follow(&mut self, changes: &Changes) -> bool {
        let view = self.view.position();
        let is_lost =
            changes.timeline != self.timeline || changes.head < view || self.answered.elapsed() > OLDEST;
        if is_lost && !self.lost {
            let Changes { head, timeline, .. } = changes;
            tracing::warn!(head, view, timeline, "the view cannot follow any more and is loaded anew");
        }
        // It stays so until a load succeeds: the head may have passed the old view's position by then.
        self.lost |= is_lost;
        self.lost
    }

    /// Loads everything and puts it in place of what was held.
    async fn load(&mut self) -> Result<(), NoAnswer> {
        let mut index = Index::new();
        let (mut position, mut history) = (0, None);
        loop {
            let asked = Instant::now();
            let page = self.changes_after(position).await?;
            if *history.get_or_insert(page.timeline) != page.timeline {
                return Err(NoAnswer::OtherHistory);
            }
            let is_all = is_all(&page);
            position = page.changed.last().map_or(position, |last| last.position);
            page.changed.into_iter().for_each(|change| index.apply(change));
            if is_all {
                self.view.replace(index, position.max(page.head));
                (self.timeline, self.answered, self.lost) = (page.timeline, asked, false);
                // A server that has lost changes may have lost the row as well.
                self.row.says = None;
                return Ok(());
            }
            if self.row.stands {
                self.hold(0, page.timeline).await?;
            }
        }
    }

    /// Writes the row when it says something else, or is due again.
    async fn hold(&mut self, position: i64, timeline: i64) -> Result<(), NoAnswer> {
        if self.row.says == Some(position) && self.row.written.elapsed() < HEARTBEAT {
            return Ok(());
        }
        let began = Instant::now();
        // An answer that does not come may still have been carried out.
        (self.row.says, self.row.stands) = (None, true);
        answer(self.store.hold_changes(self.row.id, position, timeline)).await?;
        (self.row.says, self.row.written) = (Some(position), began);
        Ok(())
    }

    fn observe(&self) {
        let is_live = self.row.written.elapsed() < LEASE;
        self.ready.set(is_live);
        self.metrics.view_beyond_lease.set(i64::from(!is_live));
        let age = self.answered.elapsed().as_millis();
        self.metrics.view_age_ms.set(i64::try_from(age).unwrap_or(i64::MAX));
        let (count, bytes) = self.view.read(|index| (index.len(), index.bytes()));
        self.metrics.subscriptions.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.metrics.subscriptions_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

/// Whether nothing was left out.
fn is_all(changes: &Changes) -> bool {
    i64::try_from(changes.changed.len()).is_ok_and(|count| count < PAGE)
}
