//! Guarantee 7: changes take effect at once, and what the API shows is in force. Two dispatchers, and not a moment between the
//! answer and the event.

use std::collections::BTreeMap;

use platform_tests::{
    client::{Client, generic},
    process::Process,
    wait::until,
    world::{RESOURCE, World},
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::probe;

/// Changes of each kind.
const ROUNDS: usize = 100;
/// Changes that are under way together.
const AT_ONCE: usize = 5;

/// Subscriptions by their number, which is also the party whose events they want.
type Subscriptions = BTreeMap<usize, i64>;

fn endpoint(number: usize) -> String {
    format!("changes-{number}")
}

async fn publish(client: &Client, what: &str, number: usize) {
    let event = generic(&format!("{what}-{number}"), &format!("/party/{number}"));
    assert_eq!(client.publish(&event).await.unwrap(), 200);
}

/// Publishes to every partition, so that whoever matches any has something to match.
async fn publish_everywhere(client: &Client) {
    for party in ROUNDS + 1..ROUNDS + 13 {
        publish(client, &format!("before-{}", uuid::Uuid::new_v4()), party).await;
    }
}

/// Does something for each number, some at a time.
async fn for_each<T: Send + 'static, F>(
    numbers: impl Iterator<Item = usize>,
    work: impl Fn(usize) -> F,
) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let (mut running, mut done) = (JoinSet::new(), Vec::new());
    for number in numbers {
        if running.len() == AT_ONCE {
            done.push(running.join_next().await.unwrap().unwrap());
        }
        running.spawn(work(number));
    }
    done.extend(running.join_all().await);
    done
}

/// Subscribes, and publishes the moment that the subscription is shown as validated.
async fn subscribe_and_publish(
    world: &World,
    client: &Client,
    numbers: std::ops::Range<usize>,
) -> Subscriptions {
    let made = for_each(numbers, |number| {
        let (client, url) = (client.clone(), world.receiver.url(&endpoint(number)));
        async move {
            let subject = format!("/party/{number}");
            let body = json!({"endPoint": url, "resourceFilter": RESOURCE, "subjectFilter": subject});
            let id = client.subscribe_with(&body).await;
            client.validated(id).await;
            publish(&client, "wanted", number).await;
            (number, id)
        }
    });
    made.await.into_iter().collect()
}

/// Deletes, and publishes the moment that the deletion is told to be in force.
async fn delete_and_publish(client: &Client, subscriptions: Subscriptions) {
    for_each(subscriptions.clone().into_keys(), |number| {
        let (client, id) = (client.clone(), subscriptions[&number]);
        async move {
            let path = format!("/events/api/v1/subscriptions/{id}");
            let answer = client.delete(&path).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            let position = answer.headers()["position"].clone();
            if answer.headers()["in-force"] != "true" {
                until("the deletion is in force", || async {
                    let answer = client.get(&path).send().await.unwrap();
                    assert_eq!((answer.status().as_u16(), &answer.headers()["position"]), (404, &position));
                    if answer.headers()["in-force"] == "true" { Ok(()) } else { Err("it is not".to_owned()) }
                })
                .await;
            }
            publish(&client, "unwanted", number).await;
        }
    })
    .await;
}

/// Every subscription got what was published when it was validated.
async fn nothing_is_missed(world: &World, numbers: std::ops::Range<usize>) {
    for number in numbers {
        until("the event is delivered", || async {
            let delivered = probe::delivered(world, &endpoint(number));
            let wanted = format!("wanted-{number}");
            if delivered.contains_key(&wanted) { Ok(()) } else { Err(format!("{wanted} is not")) }
        })
        .await;
    }
}

/// Nothing went out that was published after a deletion was in force.
async fn nothing_is_sent_after_a_deletion(world: &World, numbers: std::ops::Range<usize>) {
    probe::nothing_is_left_to_push(world).await;
    for number in numbers {
        let sent = world.receiver.events(&endpoint(number));
        let unwanted = sent.iter().filter(|event| event.event_id().starts_with("unwanted")).count();
        assert_eq!(unwanted, 0, "{} was deleted", endpoint(number));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_take_effect_at_once() {
    let mut world = World::new("changes").await;
    let platform = world.start("ingest,projector,query-api,dispatcher").await;
    // The slower one decides.
    world.set("SUBSCRIPTIONS_POLL_MS", "400");
    let other = world.start("dispatcher").await;
    let client = world.client(platform.address());
    for services in [&platform, &other] {
        until("both dispatchers match", || async {
            publish_everywhere(&client).await;
            let matched = services.metric("dispatcher_matched_events_total");
            if matched > 0.0 { Ok(()) } else { Err("one does not".to_owned()) }
        })
        .await;
    }
    let subscriptions = subscribe_and_publish(&world, &client, 1..ROUNDS + 1).await;
    nothing_is_missed(&world, 1..ROUNDS + 1).await;
    delete_and_publish(&client, subscriptions).await;
    nothing_is_sent_after_a_deletion(&world, 1..ROUNDS + 1).await;
    other.stop().await;
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_take_effect_beside_a_dispatcher_that_is_frozen_and_killed() {
    let world = World::new("frozen").await;
    let platform = world.start("ingest,projector,query-api").await;
    let client = world.client(platform.address());
    let lasting = Process::start(&world, "dispatcher").await;
    let mut fallible = Process::start(&world, "dispatcher").await;
    let both_match = async |fallible: &Process| {
        let matched = [lasting.metric("dispatcher_matched_events_total").await, 0.0];
        until("both dispatchers match", || async {
            publish_everywhere(&client).await;
            let more = lasting.metric("dispatcher_matched_events_total").await > matched[0];
            let own = fallible.metric("dispatcher_matched_events_total").await > matched[1];
            if more && own { Ok(()) } else { Err("one does not".to_owned()) }
        })
        .await;
    };
    let half = ROUNDS / 2 + 1;
    both_match(&fallible).await;
    fallible.freeze();
    let mut subscriptions = subscribe_and_publish(&world, &client, 1..half).await;
    fallible.kill();
    subscriptions.extend(subscribe_and_publish(&world, &client, half..ROUNDS + 1).await);
    nothing_is_missed(&world, 1..ROUNDS + 1).await;

    fallible.restart(&world);
    fallible.ready().await;
    both_match(&fallible).await;
    fallible.freeze();
    let later = subscriptions.split_off(&half);
    delete_and_publish(&client, subscriptions).await;
    fallible.kill();
    delete_and_publish(&client, later).await;
    nothing_is_sent_after_a_deletion(&world, 1..ROUNDS + 1).await;
    platform.stop().await;
}
