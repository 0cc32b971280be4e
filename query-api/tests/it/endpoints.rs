//! What a subscription tells about its endpoint.

use std::time::Duration;

use event::{Proof, address::endpoint_key};
use http::Method;
use serde_json::{Value, json};
use store::EndpointBacklog;

use crate::world::{RESOURCE, World};

const PATH: &str = "/events/api/v1/subscriptions";

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_told_to_who_has_proved_the_endpoint_and_to_nobody_else() {
    let world = World::with_log(&[]).await;
    let (endpoint, bearer) = ("https://hooks.example.no/a", format!("Bearer {}", world.ttd()));
    let backlog = EndpointBacklog { deliveries: 1_000, takes: Duration::from_secs(10_000) };
    world.store.write_backlogs(&[(&endpoint_key(endpoint), backlog)]).await.unwrap();
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({"endPoint": endpoint, "resourceFilter": RESOURCE}).to_string();
    let made = world.send(Method::POST, PATH, &headers, body).await.json();
    let one = format!("{PATH}/{}", made["id"]);
    let list = world.get(&world.ttd(), PATH).await.json()["subscriptions"][0].clone();
    for shown in [made, world.get(&world.ttd(), &one).await.json(), list] {
        assert_eq!(shown["overloaded"], false, "{shown}");
        assert_eq!((&shown["backlog"], &shown["backlogSeconds"]), (&Value::Null, &Value::Null));
    }
    let stored = world.store.subscriptions_of("/org/ttd", 1).await.unwrap().remove(0);
    let proof =
        Proof { subscription: stored.id, mark: stored.mark, endpoint_revision: stored.endpoint_revision };
    world.store.set_validated(proof).await.unwrap();
    let shown = world.get(&world.ttd(), &one).await.json();
    assert_eq!(shown["overloaded"], true, "{shown}");
    assert!(shown["backlog"].is_i64() && shown["backlogSeconds"].is_u64(), "{shown}");
}
