//! How fast an endpoint takes deliveries. Pure: the clock comes in as an argument.
//!
//! Counted while something waits for it: then it is the endpoint that decides. Before that, what its answers take tells how many it
//! could take with all its sends on their way.

use std::time::{Duration, Instant};

/// Answers are counted for this long at least.
const OVER: Duration = Duration::from_secs(1);
/// So many answers make a rate.
const ANSWERS: u32 = 8;
/// A count from longer ago tells nothing any more.
const OLDEST: Duration = Duration::from_secs(60);

/// The pace of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    /// How long an answer takes, of late.
    pace: Option<Duration>,
    answered: Option<Instant>,
    since: Option<Instant>,
    answers: u32,
    counted: Option<(f64, Instant)>,
}

impl Drain {
    /// An answer came, or the time for it was over. `is_busy`: something waits. True when a new rate is known.
    pub(crate) fn ended(&mut self, took: Duration, now: Instant, is_busy: bool) -> bool {
        let is_first = self.pace.is_none();
        self.answered = Some(now);
        self.pace = Some(self.pace.map_or(took, |pace| (pace * 3 + took) / 4));
        if !is_busy {
            self.since = None;
            return is_first;
        }
        let since = *self.since.get_or_insert_with(|| {
            self.answers = 0;
            now
        });
        self.answers += u32::from(since < now);
        let over = now.saturating_duration_since(since);
        if over < OVER || self.answers < ANSWERS {
            return is_first;
        }
        let sample = f64::from(self.answers) / over.as_secs_f64();
        let rate = self.counted_lately(now).map_or(sample, |rate| (rate + sample) / 2.0);
        self.counted = Some((rate, now));
        self.since = Some(now);
        self.answers = 0;
        true
    }

    /// A send has not been answered for this long. When none was meanwhile, what was known counts no more.
    pub(crate) fn unanswered(&mut self, waited: Duration, now: Instant) {
        if self.answered.is_none_or(|answered| now.saturating_duration_since(answered) >= waited) {
            *self = Self::default();
        }
    }

    /// Whether anything is known.
    pub(crate) fn is_known(&self) -> bool {
        self.pace.is_some()
    }

    /// Deliveries a second with at most so many on their way; nothing before the first answer.
    pub(crate) fn rate(&self, window: usize, now: Instant) -> Option<f64> {
        let of_pace = || {
            let pace = self.pace?.max(Duration::from_micros(1));
            Some(f64::from(u32::try_from(window).unwrap_or(u32::MAX)) / pace.as_secs_f64())
        };
        self.counted_lately(now).or_else(of_pace)
    }

    fn counted_lately(&self, now: Instant) -> Option<f64> {
        let (rate, at) = self.counted?;
        (now.saturating_duration_since(at) <= OLDEST).then_some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn before_anything_was_counted_the_answers_tell() {
        let now = Instant::now();
        let mut drain = Drain::default();
        assert_eq!(drain.rate(32, now), None);
        assert!(drain.ended(Duration::from_millis(400), now, true), "the first answer tells something");
        assert_eq!(drain.rate(32, now), Some(80.0));
    }

    #[test]
    fn while_something_waits_its_answers_are_counted() {
        let mut now = Instant::now();
        let mut drain = Drain::default();
        for _ in 0..100 {
            now += SECOND / 10;
            drain.ended(32 * SECOND, now, true);
        }
        let rate = drain.rate(32, now).unwrap();
        assert!((9.0..11.0).contains(&rate), "ten a second, not {rate}");
        assert_eq!(drain.rate(32, now + 61 * SECOND), Some(1.0), "a count of long ago is none");
    }

    #[test]
    fn one_that_does_not_answer_any_more_is_not_what_it_was() {
        let now = Instant::now();
        let mut drain = Drain::default();
        drain.ended(SECOND, now, false);
        drain.unanswered(2 * SECOND, now + SECOND);
        assert_eq!(drain.rate(32, now + SECOND), Some(32.0), "others were answered meanwhile");
        drain.unanswered(2 * SECOND, now + 2 * SECOND);
        assert_eq!(drain.rate(32, now + 2 * SECOND), None);
    }

    #[test]
    fn an_endpoint_that_has_nothing_to_do_is_not_slow() {
        let mut now = Instant::now();
        let mut drain = Drain::default();
        for _ in 0..100 {
            now += SECOND;
            drain.ended(Duration::from_millis(10), now, false);
        }
        assert_eq!(drain.rate(32, now), Some(3_200.0));
    }
}
