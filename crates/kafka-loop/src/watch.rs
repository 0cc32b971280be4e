//! Whether a client is in touch with a broker, as one pure state machine: what the client tells, and the clock, come in.
//!
//! A client that lost touch mends itself in most cases. In one it never does: a broker that is just being let in again answers a
//! request for metadata with topics and no brokers, and the client library then forgets every broker it knows, the given
//! addresses among them. So a client that knows no broker is made anew after [`LOST`], one that hears nothing after
//! [`RENEW_AFTER`], and a minute of silence ([`GIVE_UP`]) is for the owner of the process to judge.
//!
//! Silence is counted by looks, at most [`STEP_MAX`] for each: time in which this process did not run is nobody's silence.

use std::time::{Duration, Instant};

/// How long a client may know no broker at all before it is made anew. One look is not enough: brokers come and go.
pub(crate) const LOST: Duration = Duration::from_secs(2);
/// How long a client may hear nothing before it is made anew.
pub(crate) const RENEW_AFTER: Duration = Duration::from_secs(10);
/// How long nothing may be heard, whatever was made anew meanwhile.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(60);
/// What one look adds to the silence at most.
const STEP_MAX: Duration = Duration::from_secs(2);

/// What a client tells about itself, once a second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pulse {
    /// It knows a broker that it can try to reach.
    pub(crate) knows_brokers: bool,
    /// A connection to a broker stands.
    pub(crate) connected: bool,
    /// Answers it has received since it was made.
    pub(crate) answers: u64,
    /// It waits for an answer, or has something to send.
    pub(crate) waits: bool,
}

/// What to do about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Keep,
    /// Make it anew.
    Renew,
    /// Nothing has helped.
    GiveUp,
}

/// How long one client, and those it was made anew as, have been out of touch.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    looked: Instant,
    give_up: bool,
    last: Pulse,
    silent: Duration,
    /// The part of the silence that belongs to the client as it was made last.
    silent_anew: Duration,
    lost: Duration,
}

impl Watch {
    /// A watch that gives up after [`GIVE_UP`], or never.
    pub(crate) fn new(now: Instant, give_up: bool) -> Self {
        let none = Duration::ZERO;
        Self { looked: now, give_up, last: Self::fresh(), silent: none, silent_anew: none, lost: none }
    }

    /// A new client knows the addresses that it was given, and no more.
    fn fresh() -> Pulse {
        Pulse { knows_brokers: true, ..Pulse::default() }
    }

    /// Takes what the client has told since the last look, if anything.
    pub(crate) fn look(&mut self, news: Option<Pulse>, now: Instant) -> Verdict {
        let step = now.saturating_duration_since(self.looked).min(STEP_MAX);
        self.looked = now;
        self.silent += step;
        self.silent_anew += step;
        self.lost += step;
        if let Some(pulse) = news {
            self.hear(pulse);
        }
        if self.last.knows_brokers {
            self.lost = Duration::ZERO;
        }
        if self.give_up && self.silent >= GIVE_UP {
            Verdict::GiveUp
        } else if self.lost >= LOST || self.silent_anew >= RENEW_AFTER {
            Verdict::Renew
        } else {
            Verdict::Keep
        }
    }

    fn hear(&mut self, pulse: Pulse) {
        let answered = pulse.answers > self.last.answers;
        let idle = pulse.connected && !pulse.waits;
        if pulse.knows_brokers && (answered || idle) {
            self.silent = Duration::ZERO;
            self.silent_anew = Duration::ZERO;
        }
        self.last = pulse;
    }

    /// The client was made anew.
    pub(crate) fn renewed(&mut self) {
        self.last = Self::fresh();
        self.silent_anew = Duration::ZERO;
        self.lost = Duration::ZERO;
    }

    /// For how long nothing was heard.
    pub(crate) fn silent(&self) -> Duration {
        self.silent
    }

    /// Whether a connection to a broker stands, and the other end answers.
    pub(crate) fn is_connected(&self) -> bool {
        self.last.connected && self.silent_anew < RENEW_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(answers: u64) -> Pulse {
        Pulse { knows_brokers: true, connected: true, answers, waits: true }
    }

    /// A look a second at what `told` says of each; the verdicts that are not `Keep`, with their second.
    fn verdicts(seconds: u64, told: impl Fn(u64) -> Option<Pulse>) -> Vec<(u64, Verdict)> {
        judged(Watch::new(Instant::now(), true), seconds, told)
    }

    fn judged(mut watch: Watch, seconds: u64, told: impl Fn(u64) -> Option<Pulse>) -> Vec<(u64, Verdict)> {
        let start = watch.looked;
        let mut verdicts = Vec::new();
        for second in 1..=seconds {
            let verdict = watch.look(told(second), start + Duration::from_secs(second));
            if verdict != Verdict::Keep {
                verdicts.push((second, verdict));
                watch.renewed();
            }
        }
        verdicts
    }

    #[test]
    fn a_client_that_is_answered_is_kept() {
        assert_eq!(verdicts(300, |second| Some(pulse(second))), []);
    }

    #[test]
    fn a_client_that_is_connected_and_waits_for_nothing_is_kept() {
        assert_eq!(verdicts(300, |_| Some(Pulse { waits: false, ..pulse(1) })), []);
    }

    #[test]
    fn a_client_that_hears_nothing_is_made_anew_every_ten_seconds_and_given_up_after_a_minute() {
        let connected_to_a_stopped_broker = verdicts(60, |_| Some(pulse(0)));
        let renewed = (1..=5).map(|time| (time * 10, Verdict::Renew));
        let expected: Vec<_> = renewed.chain([(60, Verdict::GiveUp)]).collect();
        assert_eq!(connected_to_a_stopped_broker, expected);
        assert_eq!(verdicts(60, |_| Some(Pulse::default())).last(), Some(&(60, Verdict::GiveUp)));
        assert_eq!(verdicts(60, |_| None), expected, "a client that tells nothing hears nothing");
        let never = judged(Watch::new(Instant::now(), false), 600, |_| None);
        assert_eq!(never.len(), 60);
        assert!(never.iter().all(|(_, verdict)| *verdict == Verdict::Renew), "it goes on trying for ever");
    }

    #[test]
    fn a_client_that_knows_no_broker_is_made_anew_at_once_even_while_something_answers() {
        let lost = |second| {
            let knows_brokers = second < 5;
            Some(Pulse { knows_brokers, ..pulse(second) })
        };
        assert_eq!(verdicts(7, lost), [(6, Verdict::Renew)]);
    }

    #[test]
    fn an_answer_after_a_renewal_ends_the_silence() {
        let back = |second| Some(pulse(if second > 15 { second } else { 0 }));
        assert_eq!(verdicts(200, back), [(10, Verdict::Renew)]);
    }

    #[test]
    fn time_in_which_nobody_looked_is_no_silence() {
        let start = Instant::now();
        let mut watch = Watch::new(start, true);
        assert_eq!(watch.look(Some(pulse(1)), start), Verdict::Keep);
        assert_eq!(watch.look(None, start + Duration::from_secs(3_600)), Verdict::Keep);
        assert!(watch.silent() <= STEP_MAX);
    }
}
