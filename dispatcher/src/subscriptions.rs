//! The view of the subscriptions, by which both loops judge. [`follower`] keeps it up to date.
//!
//! Invariant: the view holds every change up to [`View::position`]. It only moves forward, but for a reload after the database
//! lost changes (failover) or forgot tombstones that we have not seen. With the database down the view stays as it is.

use std::sync::{Arc, PoisonError, RwLock};

use event::{DeliveryHeaders, DeliveryKind, Subscription};
use tokio::sync::{Notify, watch};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use crate::{
    pushing::outcome::{Dropped, Ended, PutBack},
    subscriptions::index::Index,
};

pub(crate) mod follower;
pub mod index;
mod interner;
mod source_filter;

/// The view. One a dispatcher, shared by its parts.
#[derive(Debug)]
pub(crate) struct View {
    index: RwLock<Index>,
    position: watch::Sender<i64>,
    loaded: watch::Sender<bool>,
    wanted: Notify,
    users: TaskTracker,
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
            users: TaskTracker::new(),
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

    /// Waits until somebody wants a poll.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Somebody who judges by the view: it is kept up to date until the token is dropped.
    pub(crate) fn user(&self) -> TaskTrackerToken {
        self.users.token()
    }

    /// Waits until nobody judges by the view any more. Nobody may begin to after the call.
    pub(crate) async fn unused(&self) {
        self.users.close();
        self.users.wait().await;
    }

    /// Waits until the view may be judged by; false when the stop came first.
    pub(crate) async fn whole(&self, stop: &CancellationToken) -> bool {
        let mut loaded = self.loaded.subscribe();
        // The sender is part of self.
        stop.run_until_cancelled(loaded.wait_for(|loaded| *loaded)).await.is_some()
    }

    /// The view may be judged by.
    pub(crate) fn set_whole(&self) {
        self.loaded.send_replace(true);
    }

    /// Judges a delivery.
    pub(crate) fn standing(&self, headers: &DeliveryHeaders) -> Standing {
        if self.position() < headers.position {
            return Standing::Behind;
        }
        self.read(|index| match index.get(headers.subscription) {
            None => Standing::Ends(Ended::Dropped(Dropped::Gone)),
            // Its number was given again: what is there now is another's.
            Some(found) if headers.mark.is_some_and(|mark| mark != found.mark) => {
                Standing::Ends(Ended::Dropped(Dropped::Gone))
            }
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

    /// Every change up to here has been taken. Also told when it is where it was: who waits for a poll may go on.
    pub(crate) fn reached(&self, head: i64) {
        // What was purged leaves no row at its position.
        self.position.send_modify(|position| *position = head.max(*position));
    }

    /// Puts a freshly loaded index in place of the old one.
    pub(crate) fn replace(&self, index: Index, position: i64) {
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
        self.position.send_replace(position);
    }
}

#[cfg(test)]
mod tests {
    use event::{DeliveryId, Micros, SubscriptionId, SubscriptionMark};

    use super::*;

    fn subscription(position: i64) -> Subscription {
        Subscription {
            id: SubscriptionId(7),
            position,
            mark: SubscriptionMark(7),
            endpoint: "https://example.com/hook".into(),
            endpoint_revision: 1,
            source_filter: None,
            resource_filter: Some("urn:altinn:resource:r".into()),
            subject_filter: None,
            subject_sent: None,
            type_filter: None,
            include_subunits: false,
            consumer: "/org/ttd".into(),
            created_by: "/org/ttd".into(),
            created: Micros(0),
            validated: true,
            validated_position: Some(1),
            paused: false,
            deleted: false,
        }
    }

    fn headers(position: i64, kind: DeliveryKind) -> DeliveryHeaders {
        DeliveryHeaders {
            subscription: SubscriptionId(7),
            position,
            mark: Some(SubscriptionMark(7)),
            endpoint_revision: None,
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
    fn what_was_for_one_that_had_the_number_before_goes_to_nobody() {
        let view = View::new();
        view.apply(vec![Subscription { mark: SubscriptionMark(8), ..subscription(5) }]);
        for kind in [DeliveryKind::Event, DeliveryKind::Validation] {
            let gone = Standing::Ends(Ended::Dropped(Dropped::Gone));
            assert_eq!(view.standing(&headers(5, kind)), gone);
            let unmarked = DeliveryHeaders { mark: None, ..headers(5, kind) };
            assert!(matches!(view.standing(&unmarked), Standing::Goes(_)), "from before there were marks");
        }
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
