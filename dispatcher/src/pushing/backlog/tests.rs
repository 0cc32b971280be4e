//! A simulation: bursts and steady overload for endpoints of every speed, with the real choice of tiers.

use std::collections::BTreeMap;

use super::*;

const REAL: Ladder = Ladder { divisor: 1 };
/// One step of the simulation.
const STEP: Duration = Duration::from_millis(250);
/// From the end of a delay until the delivery is read again.
const ON_THE_WAY: Duration = Duration::from_millis(300);
/// Deliveries that the log hands out in a second.
const READ: u64 = 10_000;

/// What comes, and who takes it.
#[derive(Clone, Copy, Debug)]
struct Case {
    burst: u64,
    /// Deliveries that the endpoint takes in a second.
    rate: u64,
    /// Further deliveries a second, and for how many seconds.
    steady: (u64, u64),
    /// When another process takes over and knows nothing of what is away, in seconds.
    restart: Option<u64>,
}

fn burst(burst: u64, rate: u64) -> Case {
    Case { burst, rate, steady: (0, 0), restart: None }
}

/// What the rules made of it.
#[derive(Debug)]
struct Outcome {
    /// The part of the time in which the endpoint had something to do until all was done.
    busy: f64,
    /// How often the unluckiest delivery was put back.
    most: u32,
    /// How often a delivery was put back, on average.
    mean: f64,
    hours: f64,
}

type Choose = fn(&mut Backlog, Work, Instant, u64) -> usize;

/// The rule.
fn ours(backlog: &mut Backlog, work: Work, now: Instant, count: u64) -> usize {
    backlog.put_back(REAL, work, now, count)
}

/// The simpler rule that looks only at how much is away.
fn by_amount(backlog: &mut Backlog, work: Work, _: Instant, count: u64) -> usize {
    backlog.away += count;
    REAL.tier_within(Duration::from_secs_f64(work.seconds(backlog.away)))
}

struct Simulation {
    case: Case,
    choose: Choose,
    now: Instant,
    backlog: Backlog,
    lanes: [u64; 2],
    /// What is away, by the time at which it is here again: how many, and how often each was put back.
    away: BTreeMap<Instant, Vec<(u64, u32)>>,
    most: u32,
    put_backs: u64,
}

impl Simulation {
    /// As `queue` does it, a chunk at a time.
    fn offer(&mut self, lane: usize, mut count: u64, put_backs: u32) {
        let bound = (15 * self.case.rate).max(64) * u64::from(1 + put_backs.saturating_sub(5).min(15));
        while count > 0 {
            let chunk = count.min((self.case.rate / 4).max(1));
            let room = bound.saturating_sub(self.lanes[lane]).min(chunk);
            self.lanes[lane] += room;
            count -= room;
            if room == 0 {
                count -= chunk;
                self.put_back(chunk, put_backs + 1);
            }
        }
    }

    fn put_back(&mut self, count: u64, put_backs: u32) {
        let waiting = usize::try_from(self.lanes.iter().sum::<u64>()).unwrap();
        let work = Work { waiting, rate: self.case.rate as f64 };
        let tier = (self.choose)(&mut self.backlog, work, self.now, count);
        let again = self.now + REAL.delay(tier) + ON_THE_WAY;
        self.away.entry(again).or_default().push((count, put_backs));
        self.most = self.most.max(put_backs);
        self.put_backs += count;
    }

    fn come_back(&mut self) {
        let later = self.away.split_off(&(self.now + Duration::from_nanos(1)));
        for (count, put_backs) in std::mem::replace(&mut self.away, later).into_values().flatten() {
            self.backlog.away -= count.min(self.backlog.away);
            self.offer(1, count, put_backs);
        }
    }

    /// What the endpoint takes in a step; the lanes take turns while both hold something.
    fn take(&mut self, wish: u64) -> u64 {
        let due = self.lanes[1].min((wish / 2).max(wish.saturating_sub(self.lanes[0])));
        let fresh = self.lanes[0].min(wish - due);
        self.lanes = [self.lanes[0] - fresh, self.lanes[1] - due];
        due + fresh
    }
}

fn simulate(case: Case, choose: Choose) -> Outcome {
    let start = Instant::now();
    let mut sim = Simulation {
        case,
        choose,
        now: start,
        backlog: Backlog::default(),
        lanes: [0; 2],
        away: BTreeMap::new(),
        most: 0,
        put_backs: 0,
    };
    let (mut unread, mut taken, mut could) = (case.burst, 0_u64, 0_u64);
    let (steady, until) = case.steady;
    let total = case.burst + steady * until;
    let mut step = 0_u64;
    while taken < total {
        let second = step / 4;
        if case.restart == Some(second) && step.is_multiple_of(4) {
            sim.backlog = Backlog::default();
        }
        let quarter = |a_second: u64| (step + 1) * a_second / 4 - step * a_second / 4;
        let fresh = unread.min(READ / 4);
        unread -= fresh;
        sim.offer(0, fresh + if second < until { quarter(steady) } else { 0 }, 0);
        sim.come_back();
        let wish = quarter(case.rate);
        taken += sim.take(wish);
        could += wish;
        sim.now += STEP;
        step += 1;
        assert!(step < 4 * 86_400 * 3, "{case:?} is not done in three days");
    }
    let mean = sim.put_backs as f64 / total as f64;
    Outcome { busy: taken as f64 / could as f64, most: sim.most, mean, hours: step as f64 / 14_400.0 }
}

/// Busy for 95 % of the time until all is done, and nobody put back more than ten times, or once more for each hour.
fn holds(case: Case) {
    let outcome = simulate(case, ours);
    assert!(outcome.busy >= 0.95, "{case:?}: {outcome:?}");
    assert!(
        f64::from(outcome.most) <= 10.0 + (outcome.hours - 1.0).max(0.0).floor(),
        "{case:?}: {outcome:?}"
    );
    assert!(outcome.mean <= 6.0 + outcome.hours, "{case:?}: {outcome:?}");
}

const BURSTS: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
const RATES: [u64; 7] = [1, 3, 10, 30, 100, 300, 1_000];

/// Bursts that their endpoint can take within some hours, and that do not find room at once.
fn bursts() -> impl Iterator<Item = Case> {
    let all = BURSTS.into_iter().flat_map(|count| RATES.map(|rate| burst(count, rate)));
    all.filter(|case| (16..20_000).contains(&(case.burst / case.rate)))
}

#[test]
fn an_endpoint_is_busy_until_its_backlog_is_empty_and_nothing_circles() {
    assert!(bursts().count() >= 15);
    bursts().for_each(holds);
}

#[test]
fn the_same_with_a_restart_in_the_middle() {
    for (number, case) in (0..).zip(bursts()) {
        let part = [20, 2][number % 2];
        holds(Case { restart: Some(case.burst / case.rate / part), ..case });
    }
}

#[test]
fn the_same_under_steady_overload() {
    for (rate, steady, seconds) in [
        (90, 116, 300),
        (90, 116, 3_600),
        (1, 2, 3_600),
        (10, 15, 7_200),
        (300, 400, 1_800),
        (1_000, 2_000, 600),
    ] {
        let case = Case { burst: 0, rate, steady: (steady, seconds), restart: None };
        holds(case);
        holds(Case { restart: Some(seconds / 2), ..case });
    }
}

/// Why the rule looks at when things come back.
#[test]
fn by_the_amount_alone_the_endpoint_would_idle_and_deliveries_circle() {
    let outcome = simulate(burst(100_000, 100), by_amount);
    assert!(outcome.busy < 0.5 && outcome.most > 12, "{outcome:?}");
}

#[test]
fn what_was_due_long_ago_is_forgotten() {
    let now = Instant::now();
    let mut backlog = Backlog::default();
    let work = Work { waiting: 64, rate: 1.0 };
    assert_eq!(backlog.put_back(REAL, work, now, 10), 2, "a minute");
    backlog.seen();
    assert_eq!((backlog.away(), backlog.takes(work)), (9, Duration::from_secs(73)));
    assert!(!backlog.is_over(now + Duration::from_secs(119)));
    assert!(backlog.is_over(now + Duration::from_secs(121)));
}

#[test]
fn what_an_earlier_owner_put_back_is_counted_until_it_must_have_come() {
    let now = Instant::now();
    let mut backlog = Backlog::default();
    backlog.inherit(REAL, now, 2);
    assert!(!backlog.is_over(now + Duration::from_secs(3_600)));
    (0..2).for_each(|_| backlog.seen());
    assert!(backlog.is_over(now));
}
