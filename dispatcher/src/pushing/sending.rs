//! One send: a last look at view and rights, the request, its outcome.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use access::Decision;
use event::Micros;

use crate::{
    caught::caught_in,
    pushing::{
        Push, Ready,
        endpoint::EndpointKey,
        outcome::{Dropped, Ended, PutBack},
        permits::Permit,
        queue::{Finished, Learnt},
        webhook_client::{Answer, Fault, Request},
    },
    subscriptions::{Standing, Target},
};

/// Rights that were permitted longer ago are asked about again before the send.
const FRESH: Duration = Duration::from_secs(5);

/// The permit of a send. Dropped, it goes back, and the next delivery may start.
struct Slot {
    push: Arc<Push>,
    key: EndpointKey,
    permit: Permit,
    finished: Option<Finished>,
}

impl Slot {
    /// Still no answer: leave the quick pool.
    fn slowed(&mut self) {
        self.permit = self.push.queue().slowed(&self.key, self.permit, Instant::now());
        self.push.start();
        self.push.give_back(&self.key);
    }

    /// Gives the permit back with what is known of the outcome.
    fn finish(mut self, succeeded: bool, started: Instant) -> Unsettled {
        self.finished = Some(Finished { succeeded, started, now: Instant::now() });
        Unsettled(Arc::clone(&self.push))
    }
}

/// A send has ended and its outcome is not on the log yet. Dropped when it is; then the next delivery may start.
struct Unsettled(Arc<Push>);

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.0.queue().settled();
        self.0.start();
    }
}

/// How a try ended.
struct Tried {
    ended: Ended,
    took: Duration,
    unsettled: Option<Unsettled>,
}

impl Tried {
    /// Nothing was sent.
    const fn unsent(ended: Ended) -> Self {
        Self { ended, took: Duration::ZERO, unsettled: None }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let learnt = match self.finished {
            Some(finished) => self.push.queue().finished(&self.key, self.permit, finished),
            None => {
                self.push.queue().abandoned(&self.key, self.permit);
                Learnt::default()
            }
        };
        if learnt.circuit_opened {
            self.push.metrics.circuits_opened.inc();
            // Of the key only the host: a path may hold a secret.
            let host = self.key.split('/').nth(2).unwrap_or_default();
            tracing::warn!(endpoint.host = host, "an endpoint keeps failing; it is probed from now on");
        }
        if learnt.pace {
            self.push.give_back(&self.key);
        }
        self.push.start();
    }
}

/// Sends a delivery whose turn has come, and settles it.
///
/// One whose partition was taken away is not: it is looked at before anything is asked, and again before the request.
pub(crate) async fn send(push: Arc<Push>, key: EndpointKey, permit: Permit, mut ready: Box<Ready>) {
    let slot = Slot { push: Arc::clone(&push), key, permit, finished: None };
    let tried = caught_in(try_to_send(&push, slot, &mut ready)).await;
    if let Some(Tried { ended, took, unsettled }) =
        tried.unwrap_or_else(|_| Some(Tried::unsent(Ended::Fault)))
    {
        push.settle(ready.delivery, ended, took).await;
        drop(unsettled);
    }
}

/// How the try ended; nothing when the delivery is the next owner's.
async fn try_to_send(push: &Arc<Push>, mut slot: Slot, ready: &mut Ready) -> Option<Tried> {
    if !ready.delivery.is_held() {
        return None;
    }
    let target = match last_look(push, ready).await {
        Ok(target) => target,
        Err(ended) => return Some(Tried::unsent(ended)),
    };
    let delivery = &mut ready.delivery;
    if !delivery.is_held() {
        return None;
    }
    let request = Request {
        address: target.endpoint,
        body: delivery.body.clone(),
        delivery: delivery.headers.delivery,
        now: Micros::now(),
    };
    let started = Instant::now();
    let answer = post(push, request, &mut slot).await;
    let took = started.elapsed();
    push.metrics.send_seconds.observe(took.as_secs_f64());
    let (succeeded, ended) = match answer {
        Ok(Answer { status, retry_after }) => {
            (status.is_success(), Ended::Answered { status: status.as_u16(), retry_after })
        }
        Err(fault) => (false, Ended::Unanswered(fault.to_string())),
    };
    let unsettled = Some(slot.finish(succeeded, started));
    Some(Tried { ended, took, unsettled })
}

/// What changed while the delivery waited for its turn. The view is judged last, also after rights: what its owner changes from
/// then on finds a send on its way.
async fn last_look(push: &Push, ready: &Ready) -> Result<Target, Ended> {
    if let Some(question) = &ready.question
        && ready.permitted.elapsed() > FRESH
    {
        match push.access.decide_one(question.clone()).await {
            Decision::Permit => {}
            Decision::Refuse => return Err(Ended::Dropped(Dropped::Refused)),
            Decision::Unknown => return Err(Ended::PutBack(PutBack::RightsUnknown)),
        }
    }
    match push.view.standing(&ready.delivery.headers) {
        Standing::Goes(target) => Ok(target),
        Standing::Behind => Err(Ended::PutBack(PutBack::ViewBehind)),
        Standing::Ends(ended) => Err(ended),
    }
}

/// The request, in all within the timeout; it moves to the slow pool when its answer takes long.
async fn post(push: &Push, request: Request, slot: &mut Slot) -> Result<Answer, Fault> {
    let timeout = push.config.timeout;
    let slow_after = push.config.limits.slow_after.max(Duration::from_millis(1));
    let started = Instant::now();
    let mut answer = Box::pin(push.client.post(request));
    loop {
        let left = timeout.saturating_sub(started.elapsed());
        let wait = if slot.permit.is_slow() { left } else { left.min(slow_after) };
        match tokio::time::timeout(wait, &mut answer).await {
            Ok(answer) => return answer,
            Err(_) if started.elapsed() >= timeout => return Err(Fault::TimedOut),
            Err(_) => slot.slowed(),
        }
    }
}
