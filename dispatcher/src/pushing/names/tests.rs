use std::{
    fmt,
    future::{pending, ready},
    pin::pin,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::{
    FutureExt,
    future::{Either, join_all, select},
};
use service::prometheus::Opts;
use tokio::{sync::Semaphore, time::advance};

use super::{lines::EACH, *};

type Answer = Box<dyn Fn(&str, usize) -> BoxFuture<'static, Result<Found, NoAddress>> + Send + Sync>;

/// A directory that answers as it is told, and remembers what it was asked.
pub(crate) struct Told {
    /// By host, and how many were asked for before it.
    answer: Answer,
    asked: Mutex<Vec<String>>,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Told {
    fn new(
        answer: impl Fn(&str, usize) -> BoxFuture<'static, Result<Found, NoAddress>> + Send + Sync + 'static,
    ) -> Self {
        let [now, most] = [0, 0].map(AtomicUsize::new);
        Self { answer: Box::new(answer), asked: Mutex::default(), now, most }
    }

    /// Knows nobody.
    pub(crate) fn nothing() -> Self {
        Self::new(|_, _| ready(Err(NoAddress::Unknown)).boxed())
    }

    /// Says the same of every host.
    pub(crate) fn always(addresses: &[&str]) -> Self {
        let found = found(addresses, 60);
        Self::new(move |_, _| ready(Ok(found.clone())).boxed())
    }

    /// The hosts, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Told")
    }
}

impl Directory for Told {
    fn look_up(&self, host: String) -> BoxFuture<'_, Result<Found, NoAddress>> {
        let count = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(host.clone());
            asked.len() - 1
        };
        Box::pin(async move {
            let _under_way = UnderWay::new(self);
            (self.answer)(&host, count).await
        })
    }
}

/// Counts look-ups at once, also those that are given up.
struct UnderWay<'a>(&'a Told);

impl<'a> UnderWay<'a> {
    fn new(told: &'a Told) -> Self {
        let now = told.now.fetch_add(1, Ordering::SeqCst) + 1;
        told.most.fetch_max(now, Ordering::SeqCst);
        Self(told)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

const STRICT: AddressPolicy = AddressPolicy { allow_loopback: false };
const PUBLIC: &str = "93.184.216.34";

/// Look-ups in this directory.
pub(crate) fn names(policy: AddressPolicy, told: &Arc<Told>, lookups: usize) -> PublicNames {
    let counted = IntCounterVec::new(Opts::new("lookups", "by outcome"), &["outcome"]).unwrap();
    let directory: Arc<dyn Directory> = Arc::<Told>::clone(told);
    PublicNames::new(policy, directory, lookups, counted)
}

fn ips(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

fn found(addresses: &[&str], seconds: u64) -> Found {
    Found { addresses: ips(addresses).into(), holds: Duration::from_secs(seconds) }
}

fn counted(names: &PublicNames, outcome: &str) -> u64 {
    names.counted.with_label_values(&[outcome]).get()
}

const REFUSED: Result<Vec<IpAddr>, NoAddress> = Err(NoAddress::Refused(AddressRefusal::NotPublic));

#[tokio::test]
async fn a_name_that_changes_its_mind_leads_nowhere_but_to_public_addresses() {
    let told = Arc::new(Told::new(|_, count| {
        let answers: [&[&str]; 4] =
            [&[PUBLIC], &["10.0.0.1"], &[PUBLIC, "10.0.0.1", "::1"], &["::1", PUBLIC]];
        ready(Ok(found(answers[count], 0))).boxed()
    }));
    let names = names(STRICT, &told, 16);
    let mut given = Vec::new();
    for _ in 0..4 {
        given.push(names.of("hooks.example.com").await);
    }
    let public = || Ok(ips(&[PUBLIC]));
    assert_eq!(given, [public(), REFUSED, public(), public()]);
    assert_eq!(told.asked().len(), 4, "an answer that does not hold is not kept");
}

#[tokio::test]
async fn every_address_of_an_answer_is_judged() {
    for inner in [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "168.63.129.16",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "fc00::1",
        "fe80::1",
        "ff02::1",
    ] {
        let alone = names(STRICT, &Arc::new(Told::always(&[inner])), 16);
        assert_eq!(alone.of("a.example").await, REFUSED, "{inner}");
        assert_eq!(alone.of("a.example").await, REFUSED, "{inner}, kept");
        let mixed = names(STRICT, &Arc::new(Told::always(&[inner, PUBLIC, inner])), 16);
        assert_eq!(mixed.of("a.example").await, Ok(ips(&[PUBLIC])), "{inner}");
    }
    let local =
        names(AddressPolicy { allow_loopback: true }, &Arc::new(Told::always(&["10.0.0.1", "::1"])), 16);
    assert_eq!(local.of("hooks.localhost").await, Ok(ips(&["::1"])));
}

#[tokio::test]
async fn two_hundred_look_ups_of_one_host_ask_once() {
    let gate = Arc::new(Semaphore::new(0));
    let opens = Arc::clone(&gate);
    let told = Arc::new(Told::new(move |_, _| {
        let gate = Arc::clone(&gate);
        async move { gate.acquire().await.map(|_| found(&[PUBLIC], 60)).map_err(|_| NoAddress::Unknown) }
            .boxed()
    }));
    let names = names(STRICT, &told, 16);
    let all = join_all((0..200).map(|_| names.of("hooks.example.com")));
    let (all, ()) = tokio::join!(all, async { opens.add_permits(1) });
    assert_eq!(all, vec![Ok(ips(&[PUBLIC])); 200]);
    assert_eq!((told.asked().len(), counted(&names, "found")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_dead_names_of_one_owner_keep_nobody_else_waiting() {
    let told = Arc::new(Told::new(|host, _| match host.ends_with(".dead.example") {
        true => pending().boxed(),
        false => ready(Ok(found(&[PUBLIC], 60))).boxed(),
    }));
    let names = names(STRICT, &told, 16);
    let ask = async |host: String| names.of(&host).await;
    let dead = pin!(join_all((0..300).map(|n| ask(format!("{n}.dead.example")))));
    let alive = pin!(join_all((0..300).map(|n| ask(format!("hooks.alive-{n}.example")))));
    // The dead ones are first in line.
    let Either::Right((alive, dead)) = select(dead, alive).await else { panic!("the dead came first") };
    assert_eq!(alive, vec![Ok(ips(&[PUBLIC])); 300]);
    assert_eq!(told.now.load(Ordering::SeqCst), EACH, "all others wait for these");
    let dead = dead.await;
    let count = |why: NoAddress| dead.iter().filter(|dead| **dead == Err(why)).count();
    assert_eq!((count(NoAddress::TimedOut), count(NoAddress::Crowded)), (EACH, 300 - EACH));
    assert_eq!(told.asked().iter().filter(|host| host.ends_with(".dead.example")).count(), EACH);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_kept_as_long_as_it_holds_and_for_half_a_minute_at_most() {
    let told = Arc::new(Told::new(|host, _| {
        let answer = match host {
            "short.example" => Ok(found(&[PUBLIC], 10)),
            "long.example" => Ok(found(&[PUBLIC], 86_400)),
            _ => Err(NoAddress::Unknown),
        };
        ready(answer).boxed()
    }));
    let names = names(STRICT, &told, 16);
    for (host, kept) in [("short.example", 10), ("long.example", 30), ("none.example", 5)] {
        let asked = || told.asked().iter().filter(|asked| *asked == host).count();
        let first = names.of(host).await;
        advance(Duration::from_secs(kept) - Duration::from_millis(1)).await;
        assert_eq!((names.of(host).await, asked()), (first.clone(), 1), "{host}");
        advance(Duration::from_millis(1)).await;
        assert_eq!((names.of(host).await, asked()), (first, 2), "{host}");
    }
    assert_eq!((counted(&names, "found"), counted(&names, "unknown")), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_was_refused_its_turn_is_tried_again() {
    let told = Arc::new(Told::new(|host, _| match host {
        "hooks.example" => ready(Ok(found(&[PUBLIC], 60))).boxed(),
        _ => pending().boxed(),
    }));
    let names = names(STRICT, &told, 1);
    let mut hangs = Box::pin(names.of("dead.example"));
    assert_eq!(hangs.as_mut().now_or_never(), None);
    assert_eq!(names.of("hooks.example").await, Err(NoAddress::Crowded));
    assert_eq!(hangs.await, Err(NoAddress::TimedOut));
    assert_eq!(names.of("hooks.example").await, Ok(ips(&[PUBLIC])));
    assert_eq!((counted(&names, "crowded"), counted(&names, "timed_out")), (1, 1));
}

/// Whoever asked first may leave; the others are answered all the same.
#[tokio::test]
async fn who_gives_up_takes_no_answer_from_others() {
    let told = Arc::new(Told::new(|_, count| match count {
        0 => pending().boxed(),
        _ => ready(Ok(found(&[PUBLIC], 60))).boxed(),
    }));
    let names = names(STRICT, &told, 16);
    let (mut first, mut second) = (Box::pin(names.of("a.example")), Box::pin(names.of("a.example")));
    assert_eq!((first.as_mut().now_or_never(), second.as_mut().now_or_never()), (None, None));
    drop(first);
    assert_eq!(second.await, Ok(ips(&[PUBLIC])));
}
