use axum::{Router, extract::State, http::HeaderMap as Headers, response::IntoResponse, routing::post};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpListener, sync::watch, task::JoinSet};

use super::*;
use crate::pushing::names::tests::{Told, names};

#[derive(Clone, Default)]
struct Sink {
    seen: Arc<Mutex<Vec<(Headers, String)>>>,
}

/// A receiver on a port of its own; the set ends it.
async fn receiver(sink: Sink) -> (String, JoinSet<()>) {
    async fn take(State(sink): State<Sink>, headers: Headers, body: String) -> StatusCode {
        sink.seen.lock().unwrap().push((headers, body));
        StatusCode::ACCEPTED
    }
    async fn elsewhere() -> impl IntoResponse {
        (StatusCode::FOUND, [("location", "/hook")])
    }
    async fn later() -> impl IntoResponse {
        (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "120")])
    }
    async fn long() -> impl IntoResponse {
        (StatusCode::OK, "x".repeat(4 << 20))
    }
    let routes = Router::new()
        .route("/hook", post(take))
        .route("/hooks.slack.com", post(take))
        .route("/elsewhere", post(elsewhere))
        .route("/later", post(later))
        .route("/long", post(long))
        .with_state(sink);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (base, tasks)
}

/// A client that knows no names.
pub(super) fn client(allow_loopback: bool) -> WebhookClient {
    client_with(allow_loopback, &Arc::new(Told::nothing()), 100)
}

pub(super) fn client_with(allow_loopback: bool, told: &Arc<Told>, idle: usize) -> WebhookClient {
    let policy = AddressPolicy { allow_loopback };
    WebhookClient::new(policy, names(policy, told, 16), 4, idle).unwrap()
}

fn request(address: &str) -> Request {
    Request {
        address: address.to_owned(),
        body: Bytes::from_static(b"{\"id\": 1}"),
        delivery: DeliveryId(0xabc),
        now: Micros(1_700_000_000_500_000),
    }
}

#[tokio::test]
async fn the_event_goes_out_as_it_is_stored_with_its_delivery_id() {
    let sink = Sink::default();
    let (base, _tasks) = receiver(sink.clone()).await;
    let answer = client(true).post(request(&format!("{base}/hook"))).await.unwrap();
    assert_eq!(answer, Answer { status: StatusCode::ACCEPTED, retry_after: None });
    let seen = sink.seen.lock().unwrap();
    let (headers, body) = &seen[0];
    assert_eq!(body, "{\"id\": 1}");
    assert_eq!(headers["content-type"], "application/json; charset=utf-8");
    assert_eq!(headers["webhook-id"], "00000000000000000000000000000abc");
    assert_eq!(headers["webhook-timestamp"], "1700000000");
}

#[tokio::test]
async fn slack_gets_a_text() {
    let sink = Sink::default();
    let (base, _tasks) = receiver(sink.clone()).await;
    client(true).post(request(&format!("{base}/hooks.slack.com"))).await.unwrap();
    assert_eq!(sink.seen.lock().unwrap()[0].1, r#"{"text":"{\"id\": 1}"}"#);
}

#[tokio::test]
async fn redirects_are_not_followed_and_long_answers_not_read() {
    let sink = Sink::default();
    let (base, _tasks) = receiver(sink.clone()).await;
    let client = client(true);
    assert_eq!(client.post(request(&format!("{base}/elsewhere"))).await.unwrap().status, StatusCode::FOUND);
    assert_eq!(client.post(request(&format!("{base}/long"))).await.unwrap().status, StatusCode::OK);
    assert!(sink.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_receivers_wish_to_wait_is_read() {
    let (base, _tasks) = receiver(Sink::default()).await;
    let answer = client(true).post(request(&format!("{base}/later"))).await.unwrap();
    assert_eq!(answer.retry_after, Some(Duration::from_secs(120)));
}

#[tokio::test]
async fn names_and_numbers_of_loopback_are_refused_without_a_connection() {
    let sink = Sink::default();
    let (base, _tasks) = receiver(sink.clone()).await;
    let port = base.rsplit(':').next().unwrap();
    let client = client(false);
    for host in ["localhost", "127.0.0.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]"] {
        let fault = client.post(request(&format!("https://{host}:{port}/hook"))).await.unwrap_err();
        assert_eq!(fault, Fault::Refused(AddressRefusal::NotPublic), "{host}");
    }
    assert_eq!(client.post(request(&base)).await, Err(Fault::Refused(AddressRefusal::NotHttps)));
    assert_eq!(client.post(request("no address")).await, Err(Fault::Refused(AddressRefusal::NotAUrl)));
    assert!(sink.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_name_is_looked_up_where_the_client_is_told_to() {
    let sink = Sink::default();
    let (base, _tasks) = receiver(sink.clone()).await;
    let told = Arc::new(Told::always(&["127.0.0.1"]));
    let address = format!("{base}/hook").replace("127.0.0.1", "hooks.localhost");
    let answer = client_with(true, &told, 100).post(request(&address)).await.unwrap();
    assert_eq!((answer.status, told.asked()), (StatusCode::ACCEPTED, vec!["hooks.localhost".to_owned()]));
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_without_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://hooks.example.com:{}/hook", listener.local_addr().unwrap().port());
    let connections = Arc::new(Mutex::new(0));
    let (mut tasks, count) = (JoinSet::new(), Arc::clone(&connections));
    tasks.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            *count.lock().unwrap() += 1;
            drop(socket);
        }
    });
    for inside in ["127.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1"] {
        let client = client_with(false, &Arc::new(Told::always(&[inside])), 100);
        let fault = client.post(request(&address)).await.unwrap_err();
        assert_eq!(fault, Fault::Refused(AddressRefusal::NotPublic), "{inside}");
    }
    assert_eq!(*connections.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_no_connection() {
    assert_eq!(client(false).post(request("https://hooks.example.com/x")).await, Err(Fault::Connect));
}

#[tokio::test]
async fn nobody_listening_is_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/hook", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(client(true).post(request(&address)).await, Err(Fault::Connect));
}

/// Answers one request after the other on each connection; how many connections are open.
async fn counting(open: &watch::Sender<usize>, tasks: &mut JoinSet<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/hook", listener.local_addr().unwrap());
    let open = open.clone();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            open.send_modify(|open| *open += 1);
            let open = open.clone();
            connections.spawn(async move {
                let mut buffer = vec![0; 4_096];
                while socket.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                }
                open.send_modify(|open| *open -= 1);
            });
        }
    });
    address
}

#[tokio::test]
async fn idle_sockets_are_bounded_over_all_hosts() {
    let (open, mut count) = watch::channel(0);
    let mut tasks = JoinSet::new();
    let client = client_with(true, &Arc::new(Told::nothing()), 3);
    for _ in 0..10 {
        let address = counting(&open, &mut tasks).await;
        for _ in 0..2 {
            assert_eq!(client.post(request(&address)).await.unwrap().status, StatusCode::OK);
        }
    }
    let bounded = count.wait_for(|open| *open <= 3);
    assert!(tokio::time::timeout(Duration::from_secs(10), bounded).await.is_ok(), "too many stay open");
    assert!(*open.borrow() > 0, "some stay open to be used again");
}
