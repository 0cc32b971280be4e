//! What follows from the end of one try at a delivery. One pure function: the retry ladder is a table, read here.
//!
//! | the try ended with | then |
//! |---|---|
//! | 2xx | done |
//! | another answer, or none; or a skip because the circuit is open | attempt number + 1: the ladder's tier, or a longer one that the receiver asked for; after the last attempt the dead letters |
//! | nothing sent: no room | put back, same attempt number: the tier that its endpoint's queue chose; after three days the dead letters |
//! | nothing sent: paused, rights unknown | put back, same attempt number: the longest tier that is not above the delivery's age; after three days the dead letters |
//! | the subscription is gone, or may no longer receive | dropped |
//! | the record is no delivery, or work on it panicked | the dead letters |

use std::time::Duration;

use event::{
    AttemptOutcome, Micros, NOT_PERMITTED,
    topics::{self, MAX_ATTEMPTS, TIERS},
};

use crate::caught::REASON;

/// How one try at a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The receiver answered.
    Answered {
        /// The HTTP status.
        status: u16,
        /// How long the receiver asks us to wait.
        retry_after: Option<Duration>,
    },
    /// It did not, and why.
    Unanswered(String),
    /// The endpoint keeps failing and is being probed.
    Skipped,
    /// Nothing was sent, for a reason that may pass.
    PutBack(PutBack),
    /// Nothing will be sent.
    Dropped(Dropped),
    /// The record is not a delivery.
    Unreadable(String),
    /// Work on it panicked.
    Fault,
}

impl Ended {
    /// Whether a request went out.
    pub(crate) const fn was_sent(&self) -> bool {
        match self {
            Self::Answered { .. } | Self::Unanswered(_) => true,
            Self::Skipped | Self::PutBack(_) | Self::Dropped(_) | Self::Unreadable(_) | Self::Fault => false,
        }
    }
}

/// Why a delivery is put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutBack {
    /// Its endpoint's lane is full; the queue says to which tier.
    QueueFull {
        /// Its place in [`TIERS`].
        tier: usize,
    },
    /// Its subscription is paused.
    Paused,
    /// Its subscription is not validated.
    NotValidated,
    /// Nobody could say whether the subscription may receive it.
    RightsUnknown,
    /// Our view of the subscriptions stays behind the delivery.
    ViewBehind,
}

/// Why a delivery ends without having arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// Its subscription no longer exists.
    Gone,
    /// Its subscription may not receive it.
    Refused,
}

impl Ended {
    /// Whether the delivery log may name the event: not where its subscriber may not receive it, or nobody could say.
    pub(crate) const fn tells_the_event(&self) -> bool {
        !matches!(self, Self::Dropped(Dropped::Refused) | Self::PutBack(PutBack::RightsUnknown))
    }
}

impl PutBack {
    /// The reason, for metrics and for the delivery log.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::QueueFull { .. } => "queue-full",
            Self::Paused => "paused",
            Self::NotValidated => "not-validated",
            Self::RightsUnknown => "rights-unknown",
            Self::ViewBehind => "view-behind",
        }
    }
}

impl Dropped {
    /// The reason, for metrics and for the delivery log.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Gone => "subscription-gone",
            Self::Refused => NOT_PERMITTED,
        }
    }
}

/// Where a delivery goes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nowhere: it arrived, or it was dropped.
    Nowhere,
    /// To a tier, by its place in [`TIERS`].
    Tier(usize),
    /// To the dead letters, with the reason.
    Dead(String),
}

/// What is written about a try, and where the delivery goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What the attempt record says.
    pub(crate) outcome: AttemptOutcome,
    /// The number of the attempt, from 1.
    pub(crate) attempt: u8,
    /// Attempts made by now; goes into the next record's header.
    pub(crate) made: u8,
    /// Where the delivery goes.
    pub(crate) next: Next,
}

/// The delays of the tiers as they are in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ladder {
    /// Divides every delay; 1 except in tests.
    pub(crate) divisor: u32,
}

/// A delivery that has been put back for this long becomes a dead letter.
const OLDEST: Duration = Duration::from_secs(3 * 24 * 3_600);
/// The longest tier for a delivery that is put back.
const LONGEST_PUT_BACK: Duration = Duration::from_secs(3_600);

impl Ladder {
    /// The delay of a tier.
    pub(crate) fn delay(self, tier: usize) -> Duration {
        let (_, delay) = TIERS.get(tier).copied().unwrap_or_default();
        self.divided(delay)
    }

    /// A time of the design as it is in force.
    pub(crate) fn divided(self, delay: Duration) -> Duration {
        delay / self.divisor.max(1)
    }

    /// The tier after attempt number `attempt` (1 to 11), or a longer one that the receiver asked for; at most the longest.
    fn tier_after(self, attempt: u8, asked: Option<Duration>) -> usize {
        let last = TIERS.len() - 1;
        let of_ladder = topics::ladder().get(usize::from(attempt).saturating_sub(1)).copied().unwrap_or(last);
        let asked = asked.unwrap_or_default();
        (of_ladder..last).find(|tier| self.delay(*tier) >= asked).unwrap_or(last)
    }

    /// The tier on which something waits that was first held at `created`; nothing when it has waited for too long.
    pub(crate) fn waits_on(self, created: Micros, now: Micros) -> Option<&'static str> {
        let age = Duration::from_micros(u64::try_from(now.0.saturating_sub(created.0)).unwrap_or(0));
        let (topic, _) = TIERS.get(self.tier_within(age))?;
        (age <= self.divided(OLDEST)).then_some(*topic)
    }

    fn tier_of_put_back(self, why: PutBack, age: Duration) -> usize {
        match why {
            PutBack::QueueFull { tier } => tier,
            PutBack::Paused | PutBack::NotValidated | PutBack::RightsUnknown | PutBack::ViewBehind => {
                self.tier_within(age)
            }
        }
    }

    /// The longest tier that is not above this time, within the bounds of put back: how long an endpoint will be busy, or how old
    /// a delivery is.
    pub(crate) fn tier_within(self, time: Duration) -> usize {
        let most = time.min(self.divided(LONGEST_PUT_BACK));
        (0..TIERS.len()).rev().find(|tier| self.delay(*tier) <= most).unwrap_or(0)
    }
}

/// Decides. `made`: attempts before this try. `created`: when the delivery was matched.
pub(crate) fn decide(ladder: Ladder, made: u8, created: Micros, ended: &Ended, now: Micros) -> Verdict {
    let attempt = made.saturating_add(1).min(MAX_ATTEMPTS);
    let verdict = |outcome, made, next| Verdict { outcome, attempt, made, next };
    let failed = |outcome: AttemptOutcome, asked, reason: String| {
        if attempt >= MAX_ATTEMPTS {
            verdict(AttemptOutcome::Dead, attempt, Next::Dead(reason))
        } else {
            verdict(outcome, attempt, Next::Tier(ladder.tier_after(attempt, asked)))
        }
    };
    match ended {
        Ended::Answered { status: 200..=299, .. } => {
            verdict(AttemptOutcome::Delivered, attempt, Next::Nowhere)
        }
        Ended::Answered { status, retry_after } => {
            failed(AttemptOutcome::Failed, *retry_after, format!("the last attempt was answered {status}"))
        }
        Ended::Unanswered(why) => {
            failed(AttemptOutcome::Failed, None, format!("the last attempt failed: {why}"))
        }
        Ended::Skipped => failed(AttemptOutcome::Skipped, None, "the endpoint kept failing".to_owned()),
        Ended::PutBack(why) => {
            let age = Duration::from_micros(u64::try_from(now.0.saturating_sub(created.0)).unwrap_or(0));
            if age > ladder.divided(OLDEST) {
                let reason = format!("put back for three days: {}", why.text());
                verdict(AttemptOutcome::Dead, made, Next::Dead(reason))
            } else {
                verdict(AttemptOutcome::PutBack, made, Next::Tier(ladder.tier_of_put_back(*why, age)))
            }
        }
        Ended::Dropped(_) => verdict(AttemptOutcome::Dropped, made, Next::Nowhere),
        Ended::Unreadable(why) => {
            verdict(AttemptOutcome::Dead, made, Next::Dead(format!("unreadable: {why}")))
        }
        Ended::Fault => verdict(AttemptOutcome::Dead, made, Next::Dead(REASON.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: Ladder = Ladder { divisor: 1 };
    const NOW: Micros = Micros(1_800_000_000_000_000);

    fn seconds_ago(seconds: i64) -> Micros {
        Micros(NOW.0 - seconds * 1_000_000)
    }

    fn delay_after(made: u8, retry_after: Option<u64>) -> u64 {
        let ended = Ended::Answered { status: 503, retry_after: retry_after.map(Duration::from_secs) };
        let verdict = decide(REAL, made, NOW, &ended, NOW);
        assert_eq!((verdict.outcome, verdict.made), (AttemptOutcome::Failed, made + 1));
        let Next::Tier(tier) = verdict.next else { panic!("{verdict:?}") };
        REAL.delay(tier).as_secs()
    }

    #[test]
    fn eleven_failures_climb_the_ladder_and_the_twelfth_ends_in_the_dead_letters() {
        let waits: Vec<u64> = (0..11).map(|made| delay_after(made, None)).collect();
        assert_eq!(waits, [10, 30, 60, 300, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 43_200]);
        let verdict = decide(REAL, 11, NOW, &Ended::Unanswered("timed out".into()), NOW);
        assert_eq!((verdict.outcome, verdict.attempt), (AttemptOutcome::Dead, 12));
        assert_eq!(verdict.next, Next::Dead("the last attempt failed: timed out".into()));
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_wait_and_never_for_a_shorter_one() {
        assert_eq!(delay_after(0, Some(1)), 10);
        assert_eq!(delay_after(0, Some(10)), 10);
        assert_eq!(delay_after(0, Some(11)), 30);
        assert_eq!(delay_after(0, Some(7_200)), 10_800);
        assert_eq!(delay_after(5, Some(60)), 1_800);
        assert_eq!(delay_after(0, Some(1_000_000)), 43_200);
    }

    #[test]
    fn any_2xx_is_done() {
        for status in [200, 201, 202, 204, 299] {
            let verdict = decide(REAL, 3, NOW, &Ended::Answered { status, retry_after: None }, NOW);
            assert_eq!((verdict.outcome, verdict.attempt), (AttemptOutcome::Delivered, 4));
            assert_eq!(verdict.next, Next::Nowhere);
        }
        for status in [199, 300, 302, 410, 425, 500] {
            let verdict = decide(REAL, 3, NOW, &Ended::Answered { status, retry_after: None }, NOW);
            assert_eq!(verdict.outcome, AttemptOutcome::Failed, "{status}");
        }
    }

    #[test]
    fn a_skipped_attempt_counts_and_moves_down_the_ladder() {
        let verdict = decide(REAL, 3, NOW, &Ended::Skipped, NOW);
        assert_eq!((verdict.outcome, verdict.made), (AttemptOutcome::Skipped, 4));
        assert_eq!(verdict.next, Next::Tier(3));
    }

    #[test]
    fn put_back_waits_as_long_as_the_delivery_is_old_within_bounds() {
        let wait = |age| {
            let verdict = decide(REAL, 2, seconds_ago(age), &Ended::PutBack(PutBack::RightsUnknown), NOW);
            assert_eq!(
                (verdict.outcome, verdict.made),
                (AttemptOutcome::PutBack, 2),
                "no attempt is used up"
            );
            let Next::Tier(tier) = verdict.next else { panic!("{verdict:?}") };
            REAL.delay(tier).as_secs()
        };
        let waits = [-5, 0, 9, 10, 29, 30, 59, 60, 299, 300, 3_599, 3_600, 100_000].map(wait);
        assert_eq!(waits, [10, 10, 10, 10, 10, 30, 30, 60, 60, 300, 1_800, 3_600, 3_600]);
    }

    #[test]
    fn what_finds_no_room_goes_to_the_tier_that_its_queue_chose() {
        let full = Ended::PutBack(PutBack::QueueFull { tier: 4 });
        let verdict = decide(REAL, 2, seconds_ago(1), &full, NOW);
        assert_eq!(
            (verdict.outcome, verdict.made, verdict.next),
            (AttemptOutcome::PutBack, 2, Next::Tier(4))
        );
        assert!(matches!(decide(REAL, 2, seconds_ago(3 * 86_400 - 1), &full, NOW).next, Next::Tier(4)));
        assert!(matches!(decide(REAL, 2, seconds_ago(3 * 86_400 + 1), &full, NOW).next, Next::Dead(_)));
    }

    #[test]
    fn put_back_for_three_days_ends_in_the_dead_letters_with_the_reason() {
        let verdict =
            decide(REAL, 2, seconds_ago(3 * 86_400 + 1), &Ended::PutBack(PutBack::RightsUnknown), NOW);
        assert_eq!(verdict.next, Next::Dead("put back for three days: rights-unknown".into()));
    }

    #[test]
    fn work_that_panicked_ends_in_the_dead_letters_with_the_reason() {
        let verdict = decide(REAL, 2, NOW, &Ended::Fault, NOW);
        assert_eq!((verdict.outcome, verdict.made), (AttemptOutcome::Dead, 2));
        assert_eq!(verdict.next, Next::Dead(REASON.into()));
    }

    #[test]
    fn divided_delays_keep_the_rules() {
        let ladder = Ladder { divisor: 1_000 };
        assert_eq!(ladder.delay(0), Duration::from_millis(10));
        let asked = Some(Duration::from_millis(11));
        let verdict = decide(ladder, 0, NOW, &Ended::Answered { status: 500, retry_after: asked }, NOW);
        assert_eq!(verdict.next, Next::Tier(1));
        let old = Micros(NOW.0 - 300_000_000);
        let verdict = decide(ladder, 0, old, &Ended::PutBack(PutBack::Paused), NOW);
        assert!(matches!(verdict.next, Next::Dead(_)));
    }
}
