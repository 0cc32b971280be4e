//! What an endpoint that is slower than its events has been put back, and where the next one goes. Pure: the clock comes in as an
//! argument.
//!
//! A delivery that finds no room is put on a tier and comes back after its delay, together with all that were put there in the
//! same moment. So what counts is not how much is away but *when it comes back*: the next one goes to the longest tier whose delay
//! ends before the endpoint would have nothing to do. "Away ÷ rate" alone sends whole waves to the same long tier, and the
//! endpoint idles until they come: a simulation of both is in the tests.
//!
//! Bounds: [`SLOTS`] moments a tier.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::pushing::outcome::Ladder;

/// Moments of a tier that are told apart.
const SLOTS: u32 = 16;
/// Tiers for put back: the first seven, 10 s to 1 h.
const TIERS: usize = 7;
/// What was due and is not seen in this time went elsewhere.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// What comes back at one moment.
#[derive(Clone, Copy, Debug)]
struct Slot {
    due: Instant,
    count: u64,
}

/// What one endpoint was put back.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    away: u64,
    tiers: [VecDeque<Slot>; TIERS],
    /// When the last of them is due.
    last_due: Option<Instant>,
}

/// What an endpoint has to do, as its queue knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// Deliveries in its lanes.
    pub(crate) waiting: usize,
    /// Deliveries that it takes in a second.
    pub(crate) rate: f64,
}

impl Work {
    fn seconds(self, count: u64) -> f64 {
        count as f64 / self.rate.max(f64::MIN_POSITIVE)
    }
}

impl Backlog {
    /// Deliveries put back and not seen again.
    pub(crate) fn away(&self) -> u64 {
        self.away
    }

    /// Puts `count` deliveries back at once; tells their tier.
    pub(crate) fn put_back(&mut self, ladder: Ladder, work: Work, now: Instant, count: u64) -> usize {
        let tier = ladder.tier_within(self.busy(work, now));
        let delay = ladder.delay(tier);
        self.away += count;
        if let Some(slots) = self.tiers.get_mut(tier) {
            let due = now + delay;
            self.last_due = self.last_due.max(Some(due));
            match slots.back_mut() {
                Some(last) if due < last.due + delay / SLOTS => last.count += count,
                Some(_) | None => slots.push_back(Slot { due, count }),
            }
        }
        tier
    }

    /// One that was put back is here again.
    pub(crate) fn seen(&mut self) {
        self.away = self.away.saturating_sub(1);
    }

    /// An earlier owner of the endpoint has put back so many, which nobody here has seen again.
    pub(crate) fn inherit(&mut self, ladder: Ladder, now: Instant, count: u64) {
        self.away += count;
        self.last_due = self.last_due.max(Some(now + ladder.delay(TIERS - 1)));
    }

    /// How long the endpoint has something to do without a break: what waits, and what comes back before that is done.
    fn busy(&mut self, work: Work, now: Instant) -> Duration {
        self.forget(now);
        let mut seconds = work.seconds(u64::try_from(work.waiting).unwrap_or(u64::MAX));
        let mut ahead: [_; TIERS] =
            std::array::from_fn(|tier| self.tiers.get(tier).into_iter().flatten().peekable());
        loop {
            let before = seconds;
            for slots in &mut ahead {
                while let Some(slot) =
                    slots.next_if(|slot| slot.due.duration_since(now).as_secs_f64() <= seconds)
                {
                    seconds += work.seconds(slot.count);
                }
            }
            if seconds <= before {
                return Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            }
        }
    }

    /// How long all of it will take the endpoint.
    pub(crate) fn takes(&self, work: Work) -> Duration {
        let all = self.away.saturating_add(u64::try_from(work.waiting).unwrap_or(u64::MAX));
        Duration::try_from_secs_f64(work.seconds(all)).unwrap_or(Duration::MAX)
    }

    /// What was due is on its way here.
    fn forget(&mut self, now: Instant) {
        for slots in &mut self.tiers {
            while slots.front().is_some_and(|slot| slot.due <= now) {
                slots.pop_front();
            }
        }
    }

    /// Whether nothing comes back any more.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.away == 0 || self.last_due.is_none_or(|due| now > due + LOST_AFTER)
    }
}

#[cfg(test)]
mod tests;
