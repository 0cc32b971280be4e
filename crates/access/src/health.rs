//! Whether a neighbour is worth asking, told by how its last answers went. Pure: moments come as arguments.
//!
//! A request that failed says little: somebody may ask what no neighbour can answer. When more of the last requests failed than were
//! answered, and at least [`FAILURES_MIN`] did, nobody asks for [`SILENCE`]: everybody is told so at once. Then as many may try, and the
//! first answer ends the silence.

use std::time::Duration;

use tokio::time::Instant;

/// How long failures answer for the neighbour.
const SILENCE: Duration = Duration::from_secs(1);
/// Fewer failures silence nobody; after a silence so many try.
const FAILURES_MIN: u32 = 3;
/// Half of the time over which answers are counted.
const WINDOW: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    answered: u32,
    failed: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Asked,
    /// Nobody asks before this moment.
    Silent(Instant),
    /// So many may still try. Who has not told by that moment never will, and others may.
    Tried {
        left: u32,
        until: Instant,
    },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Health {
    state: State,
    /// The window that is being filled, since when, and the one before it.
    now: Counts,
    since: Option<Instant>,
    before: Counts,
}

impl Default for Health {
    fn default() -> Self {
        Self { state: State::Asked, now: Counts::default(), since: None, before: Counts::default() }
    }
}

/// What has changed for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is not asked for a while.
    Silenced,
    /// It answers again.
    Back,
}

impl Health {
    /// Whether nobody may ask now.
    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        matches!(self.state, State::Silent(until) if now < until)
    }

    /// Whether it may be asked now. `patience`: how long a try takes at most.
    pub(crate) fn admits(&mut self, now: Instant, patience: Duration) -> bool {
        let over = match self.state {
            State::Asked => return true,
            State::Silent(until) => now >= until,
            State::Tried { left: 0, until } => now >= until,
            State::Tried { left, until } => {
                self.state = State::Tried { left: left - 1, until };
                return true;
            }
        };
        if over {
            self.clear();
            self.state = State::Tried { left: FAILURES_MIN - 1, until: now + patience };
        }
        over
    }

    /// An answer came.
    pub(crate) fn answered(&mut self, now: Instant) -> Option<Change> {
        if matches!(self.state, State::Asked) {
            self.window(now).answered += 1;
            return None;
        }
        self.clear();
        self.state = State::Asked;
        Some(Change::Back)
    }

    /// None came, or one that is none.
    pub(crate) fn failed(&mut self, now: Instant) -> Option<Change> {
        if matches!(self.state, State::Silent(_)) {
            return None;
        }
        self.window(now).failed += 1;
        let failed = self.now.failed + self.before.failed;
        if failed < FAILURES_MIN || failed <= self.now.answered + self.before.answered {
            return None;
        }
        let was_asked = matches!(self.state, State::Asked);
        self.state = State::Silent(now + SILENCE);
        was_asked.then_some(Change::Silenced)
    }

    fn window(&mut self, now: Instant) -> &mut Counts {
        let age = self.since.map(|since| now.saturating_duration_since(since));
        if age.is_none_or(|age| age >= WINDOW) {
            self.before = if age.is_some_and(|age| age < 2 * WINDOW) { self.now } else { Counts::default() };
            self.now = Counts::default();
            self.since = Some(now);
        }
        &mut self.now
    }

    fn clear(&mut self) {
        (self.now, self.before, self.since) = (Counts::default(), Counts::default(), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn seconds(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    fn silenced(health: &mut Health, now: Instant) {
        assert_eq!([(); 3].map(|()| health.failed(now)), [None, None, Some(Change::Silenced)]);
    }

    #[test]
    fn failures_that_are_fewer_than_answers_silence_nobody() {
        let (mut health, start) = (Health::default(), Instant::now());
        for n in 0..1_000_u32 {
            let now = seconds(start, f64::from(n) / 10.0);
            assert!(health.admits(now, PATIENCE), "{n}");
            let change = if n % 2 == 0 { health.answered(now) } else { health.failed(now) };
            assert_eq!(change, None, "{n}");
        }
    }

    #[test]
    fn two_failures_silence_nobody_and_a_third_does_for_a_second() {
        let (mut health, start) = (Health::default(), Instant::now());
        assert_eq!([health.failed(start), health.failed(start)], [None, None]);
        assert!(health.admits(start, PATIENCE));
        assert_eq!(health.failed(start), Some(Change::Silenced));
        assert!(!health.admits(seconds(start, 0.9), PATIENCE));
        assert!(health.admits(seconds(start, 1.0), PATIENCE));
    }

    #[test]
    fn after_a_silence_three_try_and_the_first_answer_ends_it() {
        let (mut health, start) = (Health::default(), Instant::now());
        silenced(&mut health, start);
        let later = seconds(start, 1.0);
        assert_eq!([(); 4].map(|()| health.admits(later, PATIENCE)), [true, true, true, false]);
        assert_eq!([health.failed(later), health.failed(later)], [None, None], "two of three");
        assert_eq!(health.answered(later), Some(Change::Back));
        assert!(health.admits(later, PATIENCE));
    }

    #[test]
    fn a_silence_goes_on_when_all_who_try_fail() {
        let (mut health, start) = (Health::default(), Instant::now());
        silenced(&mut health, start);
        let later = seconds(start, 1.0);
        assert!((0..3).all(|_| health.admits(later, PATIENCE)));
        assert_eq!([(); 3].map(|()| health.failed(later)), [None; 3], "that is no news");
        assert!(!health.admits(seconds(start, 1.9), PATIENCE));
        assert!(health.admits(seconds(start, 2.0), PATIENCE));
    }

    #[test]
    fn who_tries_and_never_tells_keeps_nobody_from_trying() {
        let (mut health, start) = (Health::default(), Instant::now());
        silenced(&mut health, start);
        assert!((0..3).all(|_| health.admits(seconds(start, 1.0), PATIENCE)));
        assert!(!health.admits(seconds(start, 2.9), PATIENCE));
        assert!(health.admits(seconds(start, 3.0), PATIENCE));
    }

    #[test]
    fn what_was_long_ago_does_not_count() {
        let (mut health, start) = (Health::default(), Instant::now());
        (0..100).for_each(|_| assert_eq!(health.answered(start), None));
        let later = seconds(start, 11.0);
        assert_eq!([(); 3].map(|()| health.failed(later)), [None, None, Some(Change::Silenced)]);
        let (mut health, start) = (Health::default(), Instant::now());
        for n in 0..10 {
            assert_eq!(health.failed(seconds(start, f64::from(n) * 6.0)), None, "{n}");
        }
    }
}
