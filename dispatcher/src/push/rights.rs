//! What may be sent goes into its endpoint's lane: rights are asked for, and what they forbid or leave open ends here.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use access::{Decision, Question};
use event::{DeliveryKind, topics::MAX_ATTEMPTS};

use super::{Going, Push, RIGHTS_INLINE, Ready};
use crate::{
    delivery::Delivery,
    endpoint::{EndpointKey, key_of},
    lane::{Lane, Waiting},
    outcome::{Dropped, Ended, PutBack},
    permits::Whose,
    subscriptions::Target,
};

impl Push {
    /// Asks for the rights to all of them together. What is known is known at once, and the order stays.
    pub(super) async fn ask(self: &Arc<Self>, going: Vec<Going>, lane: Lane) {
        let questions: Vec<Question> = going.iter().filter_map(|going| going.question.clone()).collect();
        if questions.is_empty() {
            self.admit(going, Vec::new(), lane);
            return;
        }
        let access = self.access.clone();
        let mut answer = Box::pin(async move { access.decide(questions).await });
        match tokio::time::timeout(RIGHTS_INLINE, &mut answer).await {
            Ok(decisions) => self.admit(going, decisions, lane),
            Err(_) => {
                let push = Arc::clone(self);
                self.spawn(async move {
                    let decisions = answer.await;
                    push.admit(going, decisions, lane);
                });
            }
        }
    }

    /// Puts what may be sent into its endpoint's lane.
    pub(super) fn admit(self: &Arc<Self>, going: Vec<Going>, decisions: Vec<Decision>, lane: Lane) {
        if self.stop.is_cancelled() {
            return;
        }
        let mut decisions = decisions.into_iter();
        for Going { delivery, target, question } in going {
            let decision = match question {
                Some(_) => decisions.next().unwrap_or(Decision::Unknown),
                None => Decision::Permit,
            };
            match decision {
                Decision::Permit => self.offer(delivery, question, &target, lane),
                Decision::Refuse => self.conclude(delivery, Ended::Dropped(Dropped::Refused), Duration::ZERO),
                Decision::Unknown => {
                    self.conclude(delivery, Ended::PutBack(PutBack::RightsUnknown), Duration::ZERO);
                }
            }
        }
        self.start();
    }

    fn offer(self: &Arc<Self>, delivery: Delivery, question: Option<Question>, target: &Target, lane: Lane) {
        let (weight, attempt) = (delivery.weight(), delivery.headers.attempt);
        let is_validation = delivery.headers.kind == DeliveryKind::Validation;
        let (put_backs, had_no_room) = (delivery.headers.put_backs, delivery.had_no_room());
        let item = Box::new(Ready { delivery, question, permitted: Instant::now() });
        let is_last_attempt = attempt.saturating_add(1) >= MAX_ATTEMPTS;
        let key = key_of(&target.endpoint);
        let whose = Whose::new(&key, &target.consumer);
        let waiting = Waiting { item, weight, put_backs, whose, is_validation, is_last_attempt };
        let offered = {
            let mut queue = self.queue();
            if had_no_room {
                queue.seen_again(&key);
            }
            queue.offer(&key, lane, waiting, Instant::now())
        };
        if let Err((full, tier)) = offered {
            self.put_backs.take(full.delivery, PutBack::QueueFull { tier });
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
