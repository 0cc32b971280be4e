use super::*;

const LIMITS: Limits = Limits {
    quick: 8,
    slow: 16,
    slow_after: Duration::from_secs(2),
    window: 6,
    lane: 10,
    waiting: Load { count: 400, bytes: 1 << 20 },
    circuit: CircuitSettings { failures: 2, lasting: Duration::ZERO },
};

fn key(name: &str) -> EndpointKey {
    Arc::from(name)
}

fn waiting(item: u32) -> Waiting<u32> {
    Waiting { item, weight: 10, is_last_attempt: false }
}

fn offer(queue: &mut Queue<u32>, name: &str, items: impl IntoIterator<Item = u32>) -> usize {
    items.into_iter().filter(|item| queue.offer(&key(name), Lane::Fresh, waiting(*item)).is_ok()).count()
}

fn start_all(queue: &mut Queue<u32>) -> Vec<(EndpointKey, Pool, u32)> {
    let mut started = Vec::new();
    while let Some(start) = queue.next() {
        match start {
            Start::Send(key, pool, item) => started.push((key, pool, item)),
            Start::Skip(item) => panic!("{item} was skipped"),
        }
    }
    started
}

fn ended(succeeded: bool, after: Duration) -> Finished {
    let started = Instant::now();
    Finished { succeeded, started, now: started + after }
}

/// A send ends, and its outcome is on the log.
fn finish(queue: &mut Queue<u32>, key: &EndpointKey, pool: Pool, finished: Finished) -> bool {
    let opened = queue.finished(key, pool, finished);
    queue.settled();
    opened
}

#[test]
fn a_send_whose_outcome_is_not_on_the_log_counts_as_one_on_its_way() {
    let mut queue = Queue::new(Limits { quick: 2, ..LIMITS });
    for name in ["a", "b"] {
        offer(&mut queue, name, 0..10);
    }
    let Some(Start::Send(key, pool, _)) = queue.next() else { panic!("nothing starts") };
    assert!(matches!(queue.next(), Some(Start::Send(..))));
    queue.finished(&key, pool, ended(true, Duration::ZERO));
    assert_eq!(queue.next(), None);
    queue.settled();
    assert!(matches!(queue.next(), Some(Start::Send(..))));
}

#[test]
fn endpoints_take_turns_and_each_keeps_its_order() {
    let mut queue = Queue::new(LIMITS);
    offer(&mut queue, "a", 0..4);
    offer(&mut queue, "b", 10..12);
    let order: Vec<u32> = start_all(&mut queue).into_iter().map(|(_, _, item)| item).collect();
    assert_eq!(order, [0, 10, 1, 11, 2, 3]);
}

#[test]
fn a_window_starts_small_and_grows_with_every_success() {
    let mut queue = Queue::new(LIMITS);
    offer(&mut queue, "a", 0..10);
    assert_eq!(start_all(&mut queue).len(), 4);
    finish(&mut queue, &key("a"), Pool::Quick, ended(true, Duration::ZERO));
    assert_eq!(start_all(&mut queue).len(), 2);
    for _ in 0..3 {
        finish(&mut queue, &key("a"), Pool::Quick, ended(true, Duration::ZERO));
    }
    start_all(&mut queue);
    assert_eq!(queue.in_flight(Pool::Quick), 6, "never above the limit");
}

#[test]
fn a_slow_send_gives_its_quick_permit_back() {
    let mut queue = Queue::new(Limits { quick: 2, ..LIMITS });
    offer(&mut queue, "hangs", 0..4);
    assert_eq!(start_all(&mut queue).len(), 2);
    offer(&mut queue, "well", 10..12);
    assert!(queue.next().is_none());
    assert!(queue.slowed(&key("hangs")));
    assert!(queue.slowed(&key("hangs")));
    let started = start_all(&mut queue);
    let pools: Vec<(&str, Pool)> = started.iter().map(|(key, pool, _)| (&**key, *pool)).collect();
    let expect = [("well", Pool::Quick), ("well", Pool::Quick), ("hangs", Pool::Slow), ("hangs", Pool::Slow)];
    assert_eq!(pools, expect, "the endpoint that hangs goes on in the slow pool");
}

#[test]
fn an_endpoint_that_answers_quickly_again_leaves_the_slow_pool() {
    let mut queue = Queue::new(LIMITS);
    offer(&mut queue, "a", 0..1);
    start_all(&mut queue);
    queue.slowed(&key("a"));
    finish(&mut queue, &key("a"), Pool::Slow, ended(true, Duration::from_secs(3)));
    offer(&mut queue, "a", 1..2);
    assert!(matches!(queue.next(), Some(Start::Send(_, Pool::Slow, 1))));
    finish(&mut queue, &key("a"), Pool::Slow, ended(true, Duration::from_millis(5)));
    offer(&mut queue, "a", 2..3);
    assert!(matches!(queue.next(), Some(Start::Send(_, Pool::Quick, 2))));
}

/// An endpoint whose sends are known to take long.
fn slow(queue: &mut Queue<u32>, name: &str) {
    offer(queue, name, 1_000..1_001);
    start_all(queue);
    queue.slowed(&key(name));
    queue.abandoned(&key(name), Pool::Slow);
}

#[test]
fn a_full_lane_refuses_and_others_still_take() {
    let mut queue = Queue::new(LIMITS);
    slow(&mut queue, "a");
    assert_eq!(offer(&mut queue, "a", 0..50), 10);
    assert_eq!(offer(&mut queue, "b", 0..3), 3);
    assert!(queue.offer(&key("a"), Lane::Due, waiting(99)).is_ok(), "the other lane has room of its own");
}

#[test]
fn an_endpoint_that_turns_out_to_be_slow_gives_back_what_it_holds_beyond_its_share() {
    let mut queue = Queue::new(LIMITS);
    assert_eq!(offer(&mut queue, "a", 0..100), 100, "nothing is known of it yet");
    assert_eq!(start_all(&mut queue).len(), 4);
    assert!(queue.slowed(&key("a")));
    let given = queue.give_back(&key("a"));
    assert_eq!((given.first(), given.len()), (Some(&99), 87), "the newest first; nine are left");
    assert_eq!(queue.load(Lane::Fresh), Load { count: 9, bytes: 90 });
    assert!(queue.give_back(&key("a")).is_empty());
}

#[test]
fn a_lane_holds_what_its_endpoint_answers_in_a_second() {
    let mut queue = Queue::new(LIMITS);
    offer(&mut queue, "a", 0..1);
    start_all(&mut queue);
    finish(&mut queue, &key("a"), Pool::Quick, ended(true, Duration::from_millis(100)));
    assert_eq!(offer(&mut queue, "a", 1..100), 50, "ten rounds of five");
    start_all(&mut queue);
    queue.slowed(&key("a"));
    assert_eq!(offer(&mut queue, "a", 100..200), 0, "its answers do not come any more");
}

#[test]
fn many_sick_endpoints_leave_room_for_a_healthy_one() {
    let mut queue = Queue::new(Limits { slow: 4_096, ..LIMITS });
    for sick in 0..1_000 {
        offer(&mut queue, &format!("sick{sick}"), 0..50);
        for (key, _, _) in start_all(&mut queue) {
            queue.slowed(&key);
            queue.give_back(&key);
        }
    }
    assert!(queue.load(Lane::Fresh).count <= LIMITS.waiting.count);
    assert_eq!(offer(&mut queue, "healthy", 0..1), 1);
    assert_eq!(start_all(&mut queue).len(), 1);
}

#[test]
fn bytes_are_bounded_as_well() {
    let mut queue = Queue::new(Limits { waiting: Load { count: 400, bytes: 800 }, ..LIMITS });
    slow(&mut queue, "a");
    assert_eq!(offer(&mut queue, "a", 0..50), 9, "an eighth of what is free, not more");
    assert_eq!(offer(&mut queue, "b", 0..1), 1);
}

#[test]
fn due_deliveries_get_one_start_in_four() {
    let mut queue = Queue::new(Limits { window: 1, ..LIMITS });
    let a = key("a");
    for item in 0..6 {
        queue.offer(&a, Lane::Fresh, waiting(item)).unwrap();
        queue.offer(&a, Lane::Due, waiting(100 + item)).unwrap();
    }
    let mut order = Vec::new();
    while let Some(Start::Send(key, pool, item)) = queue.next() {
        order.push(item);
        finish(&mut queue, &key, pool, ended(true, Duration::ZERO));
    }
    assert_eq!(order, [0, 1, 2, 100, 3, 4, 5, 101, 102, 103, 104, 105]);
}

#[test]
fn while_open_one_probe_is_sent_and_the_rest_is_skipped() {
    let mut queue = Queue::new(LIMITS);
    let a = key("a");
    offer(&mut queue, "a", 0..2);
    start_all(&mut queue);
    assert!(!finish(&mut queue, &a, Pool::Quick, ended(false, Duration::ZERO)));
    assert!(finish(&mut queue, &a, Pool::Quick, ended(false, Duration::ZERO)));
    offer(&mut queue, "a", 10..13);
    let last = Waiting { item: 20, weight: 10, is_last_attempt: true };
    queue.offer(&a, Lane::Fresh, last).unwrap();
    assert_eq!(queue.next(), Some(Start::Send(key("a"), Pool::Quick, 10)));
    assert_eq!(queue.next(), Some(Start::Skip(11)));
    assert_eq!(queue.next(), Some(Start::Skip(12)));
    assert_eq!(queue.next(), Some(Start::Send(key("a"), Pool::Quick, 20)));
    assert_eq!(queue.next(), None);
    finish(&mut queue, &a, Pool::Quick, ended(true, Duration::ZERO));
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
    while queue.load(Lane::Fresh).count > 0 || queue.in_flight(Pool::Quick) + queue.in_flight(Pool::Slow) > 0
    {
        let starts: Vec<_> = std::iter::from_fn(|| queue.next()).collect();
        for (at, start) in starts.into_iter().enumerate() {
            let Start::Send(key, pool, _) = start else { continue };
            match at % 4 {
                0 => queue.abandoned(&key, pool),
                1 if pool == Pool::Quick && queue.slowed(&key) => {
                    finish(&mut queue, &key, Pool::Slow, ended(false, Duration::from_secs(45)));
                }
                _ => {
                    finish(&mut queue, &key, pool, ended(at % 2 == 0, Duration::ZERO));
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
    finish(&mut queue, &key("a"), Pool::Quick, ended(true, Duration::ZERO));
    assert!(queue.next().is_none());
}
