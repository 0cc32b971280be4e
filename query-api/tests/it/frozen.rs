//! A database that hangs: what is asked meanwhile is answered, and afterwards all is as before.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use local_stack::{Stack, StackOptions};
use serde_json::json;

use crate::world::{Answer, PATIENCE, RESOURCE, World};

const PATH: &str = "/events/api/v1/subscriptions";

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_are_answered_while_the_database_hangs_and_in_force_when_it_is_back() {
    let stack = Stack::start(StackOptions::temporary(), |_| {}).await.unwrap();
    let world = World::on(&stack.database_url(), &stack.brokers(), &[]).await;
    let bearer = format!("Bearer {}", world.ttd());
    let ask = async |method: Method, path: &str| -> Answer {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = json!({"endPoint": "https://hooks.example.no/a", "resourceFilter": RESOURCE}).to_string();
        world.send(method, path, &headers, body).await
    };
    let made = ask(Method::POST, PATH).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let one = format!("{PATH}/{}", made.json()["id"]);
    let frozen = stack.freeze_postgres().unwrap();
    let all = async {
        tokio::join!(
            ask(Method::POST, PATH),
            ask(Method::GET, PATH),
            ask(Method::GET, &one),
            ask(Method::DELETE, &one)
        )
    };
    let (post, list, show, delete) = tokio::time::timeout(PATIENCE, all).await.expect("all are answered");
    for answer in [post, list, show, delete] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    }
    drop(frozen);
    let until = Instant::now() + PATIENCE;
    loop {
        let again = ask(Method::POST, PATH).await;
        if again.status == StatusCode::CREATED && again.json()["inForce"] == true {
            break;
        }
        assert!(Instant::now() < until, "{again:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
