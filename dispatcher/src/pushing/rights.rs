//! What may be sent goes into its endpoint's lane: rights are asked for, and what they forbid or leave open ends here.
//!
//! The loop never waits for an answer. A delivery enters its lane at once; where the rights to it are not known yet it is pending
//! there, counts in the lane's bounds, and what stands behind it waits, so that the order stays. No other lane waits. All questions of
//! a lane are asked at once; what has no answer after [`PATIENCE`] is put back.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use access::{Decision, Question};
use event::{DeliveryKind, topics::MAX_ATTEMPTS};
use futures::FutureExt;

use super::{Going, Push, Ready};
use crate::pushing::{
    endpoint::{EndpointKey, key_of},
    lane::{Lane, Number, Waiting},
    outcome::{Dropped, Ended, PutBack},
    permits::Whose,
};

/// How long a delivery may stand in its lane without an answer about its rights.
const PATIENCE: Duration = Duration::from_secs(2);

impl Push {
    /// Puts all of them into their lanes. What is known of their rights is known at once.
    pub(super) fn ask(self: &Arc<Self>, going: Vec<Going>, lane: Lane) {
        if self.stop.is_cancelled() {
            return;
        }
        // Questions of many lanes go out together; after that each lane waits for its own answers only.
        match self.known(&going) {
            Some(decisions) => self.admit(going, decisions, lane),
            None => {
                for going in by_endpoint(going) {
                    match self.known(&going) {
                        Some(decisions) => self.admit(going, decisions, lane),
                        None => self.pend(going, lane),
                    }
                }
            }
        }
        self.start();
    }

    /// The decisions about these deliveries if all of them are known; if not, they are being asked for now.
    fn known(&self, going: &[Going]) -> Option<Vec<Decision>> {
        let questions = questions(going);
        if questions.is_empty() { Some(Vec::new()) } else { self.access.decide(questions).now_or_never() }
    }

    /// Puts what may be sent into its lane.
    fn admit(self: &Arc<Self>, going: Vec<Going>, decisions: Vec<Decision>, lane: Lane) {
        let mut decisions = decisions.into_iter();
        for going in going {
            let decision = match going.question {
                Some(_) => decisions.next().unwrap_or(Decision::Unknown),
                None => Decision::Permit,
            };
            match forbidden(decision) {
                None => {
                    self.offer(going, lane, false);
                }
                Some(ended) => self.conclude(going.delivery, ended, Duration::ZERO),
            }
        }
    }

    /// Puts deliveries to one endpoint into its lane, and lets them go when their rights are known.
    fn pend(self: &Arc<Self>, going: Vec<Going>, lane: Lane) {
        let questions = questions(&going);
        let Some(key) = going.first().map(|going| key_of(&going.target.endpoint)) else { return };
        let numbers: Vec<Option<Number>> = going
            .into_iter()
            .map(|going| {
                let is_pending = going.question.is_some();
                (self.offer(going, lane, is_pending), is_pending)
            })
            .filter_map(|(number, is_pending)| is_pending.then_some(number))
            .collect();
        let (push, access) = (Arc::clone(self), self.access.clone());
        self.spawn(async move {
            let answer = tokio::time::timeout(PATIENCE, access.decide(questions)).await;
            let mut decisions = answer.unwrap_or_default().into_iter();
            for number in numbers {
                let decision = decisions.next().unwrap_or(Decision::Unknown);
                if let Some(number) = number {
                    push.decided(&key, lane, number, decision);
                }
            }
            push.start();
        });
    }

    fn decided(self: &Arc<Self>, key: &EndpointKey, lane: Lane, number: Number, decision: Decision) {
        let ended = forbidden(decision);
        let taken = self.queue().decided(key, lane, number, ended.is_none());
        if let (Some(ready), Some(ended)) = (taken, ended) {
            self.conclude(ready.delivery, ended, Duration::ZERO);
        }
    }

    /// Offers a delivery to its lane; its number there, nothing when it is put back because there is no room.
    fn offer(self: &Arc<Self>, going: Going, lane: Lane, is_pending: bool) -> Option<Number> {
        let Going { delivery, target, question } = going;
        let key = key_of(&target.endpoint);
        let had_no_room = delivery.had_no_room();
        let now = Instant::now();
        let waiting = Waiting {
            since: now,
            weight: delivery.weight(),
            put_backs: delivery.headers.put_backs,
            whose: Whose::new(&key, &target.consumer),
            is_pending,
            is_validation: delivery.headers.kind == DeliveryKind::Validation,
            is_last_attempt: delivery.headers.attempt.saturating_add(1) >= MAX_ATTEMPTS,
            item: Box::new(Ready { delivery, question, permitted: now }),
        };
        let offered = {
            let mut queue = self.queue();
            if had_no_room {
                queue.seen_again(&key);
            }
            queue.offer(&key, lane, waiting, now)
        };
        match offered {
            Ok(number) => Some(number),
            Err((full, tier)) => {
                self.put_backs.take(full.delivery, PutBack::QueueFull { tier });
                None
            }
        }
    }

    /// An endpoint has turned out to be slower: what it holds beyond its bounds makes room for others.
    pub(crate) fn give_back(self: &Arc<Self>, key: &EndpointKey) {
        let given = self.queue().give_back(key, Instant::now());
        for (ready, tier) in given {
            self.put_backs.take(ready.delivery, PutBack::QueueFull { tier });
        }
    }
}

fn questions(going: &[Going]) -> Vec<Question> {
    going.iter().filter_map(|going| going.question.clone()).collect()
}

/// How a delivery ends that may not be sent now.
fn forbidden(decision: Decision) -> Option<Ended> {
    match decision {
        Decision::Permit => None,
        Decision::Refuse => Some(Ended::Dropped(Dropped::Refused)),
        Decision::Unknown => Some(Ended::PutBack(PutBack::RightsUnknown)),
    }
}

/// The same deliveries by their endpoints, each in its order.
fn by_endpoint(going: Vec<Going>) -> Vec<Vec<Going>> {
    let mut places: HashMap<EndpointKey, usize> = HashMap::new();
    let mut lanes: Vec<Vec<Going>> = Vec::new();
    for going in going {
        let place = *places.entry(key_of(&going.target.endpoint)).or_insert(lanes.len());
        match lanes.get_mut(place) {
            Some(lane) => lane.push(going),
            None => lanes.push(vec![going]),
        }
    }
    lanes
}
