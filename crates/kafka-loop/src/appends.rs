//! Whether what a producer is given reaches the log. Written by every append, so without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// How long appends may be tried, with none acknowledged, before that is told.
const STARVED: Duration = Duration::from_secs(10);

/// When appends were tried. Times are milliseconds since `start`, plus one; 0 is never.
#[derive(Debug)]
pub(crate) struct Appends {
    start: Instant,
    first_since_ack: AtomicU64,
    last: AtomicU64,
}

impl Appends {
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, first_since_ack: AtomicU64::new(0), last: AtomicU64::new(0) }
    }

    fn at(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.start).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX - 1) + 1
    }

    /// A record was handed over.
    pub(crate) fn tried(&self, now: Instant) {
        let at = self.at(now);
        self.last.store(at, Ordering::Relaxed);
        if self.first_since_ack.load(Ordering::Relaxed) == 0 {
            self.first_since_ack.store(at, Ordering::Relaxed);
        }
    }

    /// A record was acknowledged.
    pub(crate) fn acknowledged(&self) {
        self.first_since_ack.store(0, Ordering::Relaxed);
    }

    /// Appends have been tried for a while, until now, and none was acknowledged. When nobody tries any more that ends, so that
    /// it is tried again.
    pub(crate) fn starve(&self, now: Instant) -> bool {
        let (first, last) = (self.first_since_ack.load(Ordering::Relaxed), self.last.load(Ordering::Relaxed));
        let long = u64::try_from(STARVED.as_millis()).unwrap_or(u64::MAX);
        let at = self.at(now);
        let is_over = at.saturating_sub(last) >= long;
        if is_over {
            self.first_since_ack.store(0, Ordering::Relaxed);
        }
        first > 0 && !is_over && at.saturating_sub(first) >= long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_starve_when_they_are_tried_for_ten_seconds_and_none_is_acknowledged() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let appends = Appends::new(start);
        assert!(!appends.starve(at(100)), "nobody tried");
        (100..=109).for_each(|second| appends.tried(at(second)));
        assert!(!appends.starve(at(109)));
        assert!(appends.starve(at(110)));
        appends.acknowledged();
        assert!(!appends.starve(at(110)));
        appends.tried(at(111));
        assert!(!appends.starve(at(121)), "one that was tried long ago says nothing about now");
        appends.tried(at(122));
        assert!(!appends.starve(at(123)), "a new attempt begins anew");
    }
}
