//! Guarantee 2: the feed has no gaps and no waiting room.

use std::collections::BTreeSet;

use platform_tests::{
    client::{Client, generic},
    process::Process,
    wait::until,
    world::{RESOURCE, World},
};
use serde_json::Value;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

const PUBLISHERS: usize = 8;
/// How many more events each reader must see before the next thing happens.
const MORE: usize = 200;

fn id_of(event: &Value) -> String {
    event["id"].as_str().unwrap().to_owned()
}

/// Publishes until the stop; what was accepted.
async fn publish(client: Client, publisher: usize, stop: CancellationToken) -> BTreeSet<String> {
    let mut accepted = BTreeSet::new();
    while !stop.is_cancelled() {
        let n = accepted.len();
        let id = format!("{publisher}-{n}");
        assert_eq!(client.publish(&generic(&id, &format!("/party/{}", n % 7))).await.unwrap(), 200);
        accepted.insert(id);
    }
    accepted
}

/// Follows the feed by its cursor for ever, in pages of this size.
async fn follow(client: Client, size: usize, seen: watch::Sender<Vec<String>>) {
    let mut after = "0".to_owned();
    loop {
        let path = format!("/events/api/v1/events?resource={RESOURCE}&after={after}&size={size}&wait=2");
        let page = client.try_page(&path).await.expect("the feed answers");
        assert_eq!(page.status, 200);
        after = page.cursor.unwrap();
        seen.send_modify(|seen| seen.extend(page.events.iter().map(id_of)));
    }
}

/// Readers who follow while the events come.
struct Readers(Vec<(watch::Receiver<Vec<String>>, JoinHandle<()>)>);

impl Readers {
    fn start(client: &Client) -> Self {
        let start = |size| {
            let (sender, receiver) = watch::channel(Vec::new());
            (receiver, tokio::runtime::Handle::current().spawn(follow(client.clone(), size, sender)))
        };
        Self([7, 50, 1_000].map(start).into())
    }

    /// Waits until each has seen so many.
    async fn have_seen(&self, count: usize) {
        for (seen, task) in &self.0 {
            until("the readers go on", || async {
                assert!(!task.is_finished(), "a reader failed");
                let now = seen.borrow().len();
                if now >= count { Ok(()) } else { Err(format!("{now} of {count}")) }
            })
            .await;
        }
    }

    async fn go_on(&self) {
        let furthest = self.0.iter().map(|(seen, _)| seen.borrow().len()).max().unwrap();
        self.have_seen(furthest + MORE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_has_no_gaps() {
    let mut world = World::new("gaps").await;
    world.set("READS_PER_SECOND_PER_CALLER", "100000");
    let platform = world.start("ingest,query-api").await;
    let mut first = Process::start(&world, "projector").await;
    let client = world.client(platform.address());
    let readers = Readers::start(&client);
    let (stop, mut publishers) = (CancellationToken::new(), JoinSet::new());
    for publisher in 0..PUBLISHERS {
        publishers.spawn(publish(client.clone(), publisher, stop.clone()));
    }
    readers.go_on().await;
    // A second projector joins, the first is killed and comes back, the second leaves.
    let second = world.start("projector").await;
    until("the second projector has its share", || async {
        let stored = second.metric("projector_stored_total");
        if stored > 0.0 { Ok(()) } else { Err("it has none".to_owned()) }
    })
    .await;
    readers.go_on().await;
    first.kill();
    readers.go_on().await;
    first.restart(&world);
    first.ready().await;
    readers.go_on().await;
    second.stop().await;
    readers.go_on().await;
    stop.cancel();
    let published: BTreeSet<String> = publishers.join_all().await.into_iter().flatten().collect();
    readers.have_seen(published.len()).await;
    let all = (event::Sequence(0), event::Sequence(i64::MAX));
    let stored = world.store().rows_between(all.0, all.1, 1_000_000).await.unwrap();
    let stored: Vec<String> =
        stored.iter().map(|row| id_of(&serde_json::from_str(&row.json).unwrap())).collect();
    assert_eq!(stored.iter().cloned().collect::<BTreeSet<_>>(), published, "what is stored");
    for (seen, task) in readers.0 {
        assert_eq!(*seen.borrow(), stored, "a reader saw something twice, not at all, or in another order");
        task.abort();
    }
    println!("{} events", published.len());
    assert!(first.ended().is_none(), "it died by itself: {}", first.log());
    platform.stop().await;
}
