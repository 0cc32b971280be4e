use super::*;

const POOLS: Pools = Pools { quick: 256, slow: 128, validations: 8, sends: 800 };
/// The shares are small: sixteen unproven ones, two for each.
const SMALL: Pools = Pools { quick: 64, ..POOLS };
const LIMITS: Limits = Limits {
    pools: POOLS,
    slow_after: Duration::from_secs(2),
    window: 6,
    lane: 10,
    waiting_bytes: 1 << 20,
    ladder: Ladder { divisor: 1 },
    circuit: CircuitSettings { failures: 2, lasting: Duration::ZERO },
};

type Sent = (EndpointKey, Permit, u32);

fn key(name: &str) -> EndpointKey {
    Arc::from(name)
}

/// Each endpoint has a host of its own, and each delivery a consumer.
fn waiting(name: &str, item: u32) -> Waiting<u32> {
    let whose = Whose::new(name, &item.to_string());
    Waiting {
        item,
        since: Instant::now(),
        weight: 10,
        put_backs: 0,
        whose,
        is_pending: false,
        is_validation: false,
        is_last_attempt: false,
    }
}

fn offer_one(queue: &mut Queue<u32>, name: &str, lane: Lane, waiting: Waiting<u32>) -> bool {
    queue.offer(&key(name), lane, waiting, Instant::now()).is_ok()
}

fn offer(queue: &mut Queue<u32>, name: &str, items: impl IntoIterator<Item = u32>) -> usize {
    items.into_iter().filter(|item| offer_one(queue, name, Lane::Fresh, waiting(name, *item))).count()
}

fn start_all(queue: &mut Queue<u32>) -> Vec<Sent> {
    let mut started = Vec::new();
    while let Some(start) = queue.next() {
        match start {
            Start::Send(key, permit, item) => started.push((key, permit, item)),
            Start::Skip(item) => panic!("{item} was skipped"),
        }
    }
    started
}

fn items(sent: &[Sent]) -> Vec<u32> {
    sent.iter().map(|(_, _, item)| *item).collect()
}

fn ended(succeeded: bool, after: Duration) -> Finished {
    let started = Instant::now();
    Finished { succeeded, started, now: started + after }
}

fn finish(queue: &mut Queue<u32>, (key, permit, _): &Sent, succeeded: bool, after: Duration) -> Learnt {
    let learnt = queue.finished(key, *permit, ended(succeeded, after));
    queue.settled();
    learnt
}

/// The send is unanswered for long.
fn slow(queue: &mut Queue<u32>, (key, permit, item): &Sent) -> Sent {
    (Arc::clone(key), queue.slowed(key, *permit, Instant::now()), *item)
}

/// An endpoint that has answered one delivery well.
fn answers(queue: &mut Queue<u32>, name: &str, after: Duration) {
    offer(queue, name, 1_000..1_001);
    let sent = start_all(queue);
    finish(queue, &sent[0], true, after);
}

/// An endpoint whose one send has not been answered for long.
fn hangs(queue: &mut Queue<u32>, name: &str) -> Sent {
    offer(queue, name, 1_000..1_001);
    let sent = start_all(queue);
    slow(queue, &sent[0])
}

#[test]
fn endpoints_take_turns_and_each_keeps_its_order() {
    let mut queue = Queue::new(LIMITS);
    offer(&mut queue, "a", 0..4);
    offer(&mut queue, "b", 10..12);
    assert_eq!(items(&start_all(&mut queue)), [0, 10, 1, 11, 2, 3]);
}

#[test]
fn those_that_have_answered_and_those_that_have_not_take_turns() {
    let mut queue = Queue::new(LIMITS);
    answers(&mut queue, "proven", Duration::ZERO);
    offer(&mut queue, "proven", 0..3);
    offer(&mut queue, "new", 10..13);
    let mut order = items(&start_all(&mut queue));
    assert_eq!(order.len(), 6);
    order.truncate(4);
    order.sort_unstable();
    assert_eq!(order, [0, 1, 10, 11]);
}

#[test]
fn a_window_starts_small_and_grows_with_every_success() {
    let mut queue = Queue::new(LIMITS);
    offer(&mut queue, "a", 0..10);
    let sent = start_all(&mut queue);
    assert_eq!(sent.len(), 4);
    finish(&mut queue, &sent[0], true, Duration::ZERO);
    assert_eq!(start_all(&mut queue).len(), 2);
    for one in &sent[1..] {
        finish(&mut queue, one, true, Duration::ZERO);
    }
    start_all(&mut queue);
    assert_eq!(queue.in_flight().0, 6, "never above the limit");
}

#[test]
fn a_send_that_is_unanswered_leaves_the_quick_pool_in_any_case_and_its_endpoint_goes_on_in_the_slow_one() {
    let pools = Pools { quick: 4, slow: 1, ..POOLS };
    let mut queue = Queue::new(Limits { pools, ..LIMITS });
    answers(&mut queue, "hangs", Duration::ZERO);
    offer(&mut queue, "hangs", 0..6);
    let sent = start_all(&mut queue);
    assert_eq!((sent.len(), queue.in_flight()), (4, (4, 0)));
    let moved: Vec<Sent> = sent.iter().map(|sent| slow(&mut queue, sent)).collect();
    assert_eq!(queue.in_flight(), (0, 4), "the slow pool holds more than its bound for a while");
    assert!(queue.next().is_none(), "and lets nothing start that would end there");
    for one in &moved {
        finish(&mut queue, one, true, Duration::from_secs(3));
    }
    let again = start_all(&mut queue);
    assert!(again.iter().all(|(_, permit, _)| permit.class == Class::Slow) && again.len() == 1);
}

#[test]
fn an_endpoint_that_answers_quickly_again_leaves_the_slow_pool() {
    let mut queue = Queue::new(LIMITS);
    answers(&mut queue, "a", Duration::ZERO);
    let sent = hangs(&mut queue, "a");
    finish(&mut queue, &sent, true, Duration::from_secs(3));
    offer(&mut queue, "a", 1..2);
    let sent = start_all(&mut queue);
    assert_eq!(sent[0].1.class, Class::Slow);
    finish(&mut queue, &sent[0], true, Duration::from_millis(5));
    offer(&mut queue, "a", 2..3);
    assert_eq!(start_all(&mut queue)[0].1.class, Class::Proven);
}

#[test]
fn unproven_endpoints_of_a_slow_host_start_in_the_slow_pool_and_proven_ones_do_not() {
    let mut queue = Queue::new(LIMITS);
    let [good, dead, new] = ["https://host/good", "https://host/dead", "https://host/new"];
    answers(&mut queue, good, Duration::ZERO);
    hangs(&mut queue, dead);
    offer(&mut queue, good, 0..1);
    offer(&mut queue, new, 1..2);
    let classes: Vec<_> =
        start_all(&mut queue).iter().map(|(_, permit, item)| (*item, permit.class)).collect();
    assert_eq!(classes, [(0, Class::Proven), (1, Class::Slow)]);
}

#[test]
fn many_dead_paths_of_one_host_and_many_unknown_endpoints_that_hang_leave_the_quick_pool_to_the_others() {
    let mut queue = Queue::new(Limits { pools: SMALL, ..LIMITS });
    answers(&mut queue, "healthy", Duration::ZERO);
    for path in 0..200 {
        offer(&mut queue, &format!("https://dead/{path}"), 0..4);
    }
    for host in 0..300 {
        offer(&mut queue, &format!("https://unknown{host}/"), 1_000 + host * 4..1_004 + host * 4);
    }
    let mut healthy = 0;
    for round in 0..100 {
        let mut sent = start_all(&mut queue);
        assert!(queue.in_flight().0 <= 64 / 4, "round {round}: {:?}", queue.in_flight());
        let of_dead = sent.iter().filter(|(key, ..)| key.starts_with("https://dead")).count();
        assert!(of_dead <= 128 / 8, "round {round}: {of_dead} to one host");
        assert_eq!(offer(&mut queue, "healthy", 5_000..5_004), 4);
        let to_healthy = start_all(&mut queue);
        assert!(to_healthy.iter().all(|(key, ..)| &**key == "healthy"), "{to_healthy:?}");
        healthy += to_healthy.len();
        for one in &to_healthy {
            finish(&mut queue, one, true, Duration::ZERO);
        }
        for one in sent.drain(..).filter(|(_, permit, _)| !permit.is_slow()).collect::<Vec<_>>() {
            slow(&mut queue, &one);
        }
    }
    assert_eq!(healthy, 400);
    assert!(queue.in_flight().1 <= 128 + 64 / 4, "{:?}", queue.in_flight());
}

#[test]
fn who_is_held_up_by_a_hosts_share_goes_on_when_a_permit_is_back() {
    let mut queue = Queue::new(Limits { pools: SMALL, ..LIMITS });
    for path in 0..5 {
        offer(&mut queue, &format!("https://host/{path}"), path..=path);
    }
    let sent = start_all(&mut queue);
    assert_eq!(items(&sent), [0, 1], "an eighth of a quarter");
    finish(&mut queue, &sent[0], false, Duration::ZERO);
    assert_eq!(items(&start_all(&mut queue)), [2]);
    queue.abandoned(&sent[1].0, sent[1].1);
    assert_eq!(items(&start_all(&mut queue)), [3]);
}

#[test]
fn validations_start_whatever_else_is_on_its_way_and_tell_nothing_of_their_endpoint() {
    let mut queue = Queue::new(LIMITS);
    for host in 0..300 {
        offer(&mut queue, &format!("https://unknown{host}/"), host..=host);
    }
    start_all(&mut queue);
    let validation = |item| Waiting { is_validation: true, ..waiting("a", item) };
    for item in 0..3 {
        assert!(offer_one(&mut queue, "a", Lane::Fresh, validation(item)));
    }
    let sent = start_all(&mut queue);
    assert_eq!(items(&sent), [0], "an eighth of eight for one host");
    finish(&mut queue, &sent[0], true, Duration::ZERO);
    assert_eq!(items(&start_all(&mut queue)), [1]);
    assert_eq!(queue.class_of(&key("a"), 0), Class::Unproven, "a validation does not count");
}

#[test]
fn a_consumer_with_many_validations_or_hosts_that_hang_holds_up_its_own_alone() {
    let mut queue = Queue::new(LIMITS);
    let validation = |host: u32, consumer: &str, item| {
        let name = format!("https://host{host}/");
        let whose = Whose::new(&name, consumer);
        (name, Waiting { is_validation: true, whose, ..waiting("", item) })
    };
    let mut offered = 0;
    for item in 0..1_000 {
        let (name, waiting) = validation(item, "many", item);
        offered += usize::from(offer_one(&mut queue, &name, Lane::Fresh, waiting));
    }
    assert_eq!(offered, 32, "what is beyond is put back");
    let hanging = start_all(&mut queue);
    assert_eq!(hanging.len(), 1, "an eighth of eight for one consumer");
    let (name, waiting) = validation(5_000, "few", 5_000);
    assert!(offer_one(&mut queue, &name, Lane::Fresh, waiting));
    assert_eq!(items(&start_all(&mut queue)), [5_000], "who comes later does not wait for them");
    finish(&mut queue, &hanging[0], false, Duration::ZERO);
    assert_eq!(start_all(&mut queue).len(), 1);
    assert_eq!(queue.clear().len(), 30);
}

#[test]
fn what_has_stood_in_a_lane_for_long_is_put_back_and_what_came_later_stays() {
    let mut queue = Queue::new(LIMITS);
    assert_eq!(offer(&mut queue, "a", 0..8), 8);
    let sent = start_all(&mut queue);
    let left = 8 - u32::try_from(sent.len()).unwrap();
    let later = Instant::now() + Duration::from_secs(601);
    let young = Waiting { since: later, ..waiting("a", 100) };
    assert!(queue.offer(&key("a"), Lane::Fresh, young, later).is_ok());
    assert!(queue.overdue(Instant::now()).is_empty());
    let overdue: Vec<u32> = queue.overdue(later).into_iter().map(|(item, _)| item).collect();
    assert_eq!(overdue, (8 - left..8).collect::<Vec<u32>>());
    assert_eq!(queue.load(Lane::Fresh).count, 1);
    finish(&mut queue, &sent[0], true, Duration::ZERO);
    assert_eq!(items(&start_all(&mut queue)), [100]);
}

#[test]
fn behind_a_pending_delivery_its_lane_waits_and_no_other_does() {
    let mut queue = Queue::new(LIMITS);
    let pending = |name, item| Waiting { is_pending: true, ..waiting(name, item) };
    let offered = |queue: &mut Queue<u32>, item| {
        queue.offer(&key("a"), Lane::Fresh, pending("a", item), Instant::now()).unwrap()
    };
    let first = offered(&mut queue, 0);
    assert_eq!(offer(&mut queue, "a", 1..2), 1);
    let third = offered(&mut queue, 2);
    assert!(offer_one(&mut queue, "a", Lane::Due, waiting("a", 10)));
    assert_eq!(offer(&mut queue, "b", 20..21), 1);
    assert_eq!(
        items(&start_all(&mut queue)),
        [10, 20],
        "the other lane of the endpoint, and another endpoint"
    );
    assert_eq!(queue.load(Lane::Fresh).count, 3, "pending ones count");
    assert_eq!(queue.decided(&key("a"), Lane::Fresh, third, false), Some(2));
    assert_eq!(queue.decided(&key("a"), Lane::Fresh, first, true), None);
    assert_eq!(items(&start_all(&mut queue)), [0, 1]);
    assert_eq!(queue.decided(&key("a"), Lane::Fresh, first, false), None, "it is on its way");
    assert_eq!(queue.load(Lane::Fresh), Load::default());
}

#[test]
fn a_full_lane_refuses_and_others_still_take() {
    let mut queue = Queue::new(LIMITS);
    hangs(&mut queue, "a");
    assert_eq!(offer(&mut queue, "a", 0..50), 10);
    assert_eq!(offer(&mut queue, "b", 0..3), 3);
    assert!(offer_one(&mut queue, "a", Lane::Due, waiting("a", 99)), "the other lane has room of its own");
}

#[test]
fn an_endpoint_that_turns_out_to_be_slow_gives_back_what_it_holds_beyond_its_bound() {
    let mut queue = Queue::new(LIMITS);
    assert_eq!(offer(&mut queue, "a", 0..100), 100, "nothing is known of it yet");
    let sent = start_all(&mut queue);
    assert_eq!(sent.len(), 4);
    slow(&mut queue, &sent[0]);
    let given = queue.give_back(&key("a"), Instant::now());
    let first = given.first().map(|(item, _)| *item);
    assert_eq!((first, given.len()), (Some(99), 86), "the newest first; ten are left");
    assert_eq!(queue.load(Lane::Fresh), Load { count: 10, bytes: 100 });
    assert!(queue.give_back(&key("a"), Instant::now()).is_empty());
}

#[test]
fn a_lane_holds_what_its_endpoint_takes_in_fifteen_seconds() {
    let mut queue = Queue::new(LIMITS);
    answers(&mut queue, "a", Duration::from_millis(100));
    assert_eq!(offer(&mut queue, "a", 0..2_000), 900, "six at once, ten times a second, for fifteen seconds");
    let mut scaled = Queue::new(Limits { ladder: Ladder { divisor: 10 }, ..LIMITS });
    answers(&mut scaled, "a", Duration::from_millis(100));
    assert_eq!(offer(&mut scaled, "a", 0..2_000), 90);
}

#[test]
fn who_was_put_back_often_finds_more_room_up_to_a_bound() {
    let mut queue = Queue::new(LIMITS);
    answers(&mut queue, "a", Duration::from_secs(60));
    assert_eq!(offer(&mut queue, "a", 0..50), 10);
    let mut more = |put_backs| {
        let one = |item| Waiting { put_backs, ..waiting("a", item) };
        (0..300).filter(|item| offer_one(&mut queue, "a", Lane::Fresh, one(*item))).count()
    };
    assert_eq!([5, 6, 7, 1_000].map(&mut more), [0, 10, 10, 130]);
}

#[test]
fn an_endpoint_that_is_put_back_to_is_overloaded_until_all_is_seen_again() {
    let (mut queue, now) = (Queue::new(LIMITS), Instant::now());
    answers(&mut queue, "a", Duration::from_secs(6));
    assert_eq!(offer(&mut queue, "a", 0..30), 15);
    let seen = queue.overloads(now);
    assert_eq!(seen, [Overload { key: key("a"), deliveries: 15, takes: Duration::from_secs(30) }]);
    assert!(queue.overloads(now).is_empty(), "nothing has changed");
    queue.inherit(&key("a"), 1, now);
    (0..15).for_each(|_| queue.seen_again(&key("a")));
    assert_eq!(queue.overloads(now).first().map(|overload| overload.deliveries), Some(1));
    queue.seen_again(&key("a"));
    assert_eq!(queue.overloads(now).first().map(|overload| overload.deliveries), Some(0));
    queue.seen_again(&key("a"));
    assert!(queue.overloads(now).is_empty());
}

#[test]
fn many_sick_endpoints_leave_room_for_a_healthy_one() {
    let pools = Pools { slow: 4_096, sends: 8_192, ..POOLS };
    let mut queue = Queue::new(Limits { pools, waiting_bytes: 4_000, ..LIMITS });
    for sick in 0..1_000 {
        offer(&mut queue, &format!("sick{sick}"), 0..50);
        for sent in start_all(&mut queue) {
            slow(&mut queue, &sent);
            queue.give_back(&sent.0, Instant::now());
        }
    }
    assert!(queue.load(Lane::Fresh).bytes <= 4_000);
    assert_eq!(offer(&mut queue, "healthy", 99_999..100_000), 1);
    assert_eq!(items(&start_all(&mut queue)), [99_999]);
}

#[test]
fn bytes_are_bounded_as_well() {
    let mut queue = Queue::new(Limits { waiting_bytes: 800, ..LIMITS });
    hangs(&mut queue, "a");
    assert_eq!(offer(&mut queue, "a", 0..50), 9, "an eighth of what is free, not more");
    assert_eq!(offer(&mut queue, "b", 0..1), 1);
}

#[test]
fn due_deliveries_get_one_start_in_four() {
    let mut queue = Queue::new(Limits { window: 1, ..LIMITS });
    for item in 0..6 {
        assert!(offer_one(&mut queue, "a", Lane::Fresh, waiting("a", item)));
        assert!(offer_one(&mut queue, "a", Lane::Due, waiting("a", 100 + item)));
    }
    let mut order = Vec::new();
    while let Some(Start::Send(key, permit, item)) = queue.next() {
        order.push(item);
        queue.finished(&key, permit, ended(true, Duration::ZERO));
    }
    assert_eq!(order, [0, 1, 2, 100, 3, 4, 5, 101, 102, 103, 104, 105]);
}

#[test]
fn while_open_one_probe_is_sent_and_the_rest_is_skipped() {
    let mut queue = Queue::new(LIMITS);
    offer(&mut queue, "a", 0..2);
    let sent = start_all(&mut queue);
    assert!(!finish(&mut queue, &sent[0], false, Duration::ZERO).circuit_opened);
    assert!(finish(&mut queue, &sent[1], false, Duration::ZERO).circuit_opened);
    offer(&mut queue, "a", 10..13);
    let last = Waiting { is_last_attempt: true, ..waiting("a", 20) };
    assert!(offer_one(&mut queue, "a", Lane::Fresh, last));
    let Some(Start::Send(key, permit, 10)) = queue.next() else { panic!("no probe") };
    assert_eq!(queue.next(), Some(Start::Skip(11)));
    assert_eq!(queue.next(), Some(Start::Skip(12)));
    assert!(matches!(queue.next(), Some(Start::Send(_, _, 20))));
    assert_eq!(queue.next(), None);
    queue.finished(&key, permit, ended(true, Duration::ZERO));
    offer(&mut queue, "a", 30..32);
    assert_eq!(start_all(&mut queue).len(), 2, "closed again");
}

#[test]
fn every_permit_comes_back() {
    let mut queue = Queue::new(LIMITS);
    for name in ["a", "b", "c"] {
        offer(&mut queue, name, 0..10);
    }
    let mut rounds = 0;
    while queue.load(Lane::Fresh).count > 0 || queue.in_flight() != (0, 0) {
        let starts: Vec<_> = std::iter::from_fn(|| queue.next()).collect();
        for (at, start) in starts.into_iter().enumerate() {
            let Start::Send(key, permit, item) = start else { continue };
            let sent = (key, permit, item);
            match at % 4 {
                0 => queue.abandoned(&sent.0, sent.1),
                1 if !permit.is_slow() => {
                    let sent = slow(&mut queue, &sent);
                    finish(&mut queue, &sent, false, Duration::from_secs(45));
                }
                _ => {
                    finish(&mut queue, &sent, at % 2 == 0, Duration::ZERO);
                }
            }
        }
        rounds += 1;
        assert!(rounds < 100);
    }
    assert_eq!(queue.load(Lane::Fresh), Load::default());
}

#[test]
fn what_waits_at_the_end_is_given_back() {
    let mut queue = Queue::new(LIMITS);
    offer(&mut queue, "a", 0..10);
    let started = start_all(&mut queue);
    assert_eq!(queue.clear().len(), 10 - started.len());
    finish(&mut queue, &started[0], true, Duration::ZERO);
    assert!(queue.next().is_none());
}
