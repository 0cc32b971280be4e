//! The doors of the whole platform: every route gives up a body that does not come, an early refusal arrives, and slow peers do not keep
//! a process from stopping.

use std::{net::SocketAddr, time::Duration};

use platform_tests::{
    client::generic,
    process::Process,
    wait::{LIMIT, until},
    world::{ALL, World},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::callers::{ALL_SCOPES, routes};

/// Status of a request whose body comes byte by byte and never whole.
async fn dribbled(address: SocketAddr, head: &str) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{head}host: x\r\ncontent-length: 50000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let dribbling = async {
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await;
    };
    let answered = async {
        let mut told = Vec::new();
        while !told.windows(4).any(|end| end == b"\r\n\r\n") {
            assert_ne!(reading.read_buf(&mut told).await.unwrap(), 0, "{}", String::from_utf8_lossy(&told));
        }
        String::from_utf8_lossy(&told)[9..12].parse().unwrap()
    };
    tokio::select! {
        () = dribbling => panic!("it goes on for ever"),
        status = tokio::time::timeout(LIMIT, answered) => status.unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_gives_up_a_body_that_does_not_come() {
    let mut world = World::new("bodies").await;
    world.set("HTTP_BODY_TIMEOUT_MS", "500");
    let platform = world.start(ALL).await;
    let ttd = world.altinn.enterprise_token(Some("ttd"), "991825827", &ALL_SCOPES);
    let app = world.altinn.platform_token("ttd", "apps-test");
    let mut asking = JoinSet::new();
    for (method, route, path, _) in routes() {
        let path = path.replace("{id}", "1");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nauthorization: Bearer {ttd}\r\nplatformaccesstoken: {app}\r\ncontent-type: application/json\r\nce-specversion: 1.0\r\n"
        );
        let address = platform.address();
        asking.spawn(async move { (format!("{method} {route}"), dribbled(address, &head).await) });
    }
    let mut late: Vec<String> = asking
        .join_all()
        .await
        .into_iter()
        .filter(|(_, status)| *status == 408)
        .map(|(route, _)| route)
        .collect();
    late.sort();
    assert_eq!(
        late,
        [
            "POST /events",
            "POST /events/api/v1/app",
            "POST /events/api/v1/app/party",
            "POST /events/api/v1/events",
            "POST /events/api/v1/subscriptions",
            "POST /events/instanceeventsforparty",
        ],
        "those that read a body; the others answered without it"
    );
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_refusals_that_came_before_the_body_was_read_are_each_read_by_the_client() {
    let world = World::new("early").await;
    let platform = world.start(ALL).await;
    let client = world.client(platform.address());
    let base = client.base.clone();
    let mut asking = JoinSet::new();
    for worker in 0..16_usize {
        let (client, base) = (client.clone(), base.clone());
        // One pool, so that a connection that ended without a word would be used again.
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        asking.spawn(async move {
            let mut told = [0; 5];
            for number in 0..200 / 16 + 1 {
                let large = generic("large", &"x".repeat(100_000 + worker * number)).to_string();
                let posted = |path: &str, what: &str| client.post(path).header("content-type", what);
                let post = |path: &str| posted(path, "application/cloudevents+json");
                let unknown = http.post(format!("{base}/events/api/v1/events")).bearer_auth("x");
                let unknown = unknown.header("content-type", "application/cloudevents+json");
                for (at, (request, status)) in [
                    (post("/events/api/v1/events").body(large.clone()), 413),
                    (posted("/events/api/v1/subscriptions", "text/plain").body(large.clone()), 415),
                    (unknown.try_clone().unwrap().body("{}"), 401),
                    (unknown.body(large), 401),
                    (post("/nowhere").body("{}"), 404),
                ]
                .into_iter()
                .enumerate()
                {
                    let answer = request.send().await;
                    told[at] += usize::from(answer.is_ok_and(|answer| answer.status() == status));
                }
            }
            told
        });
    }
    let told = asking
        .join_all()
        .await
        .into_iter()
        .fold([0; 5], |sum, one| std::array::from_fn(|at| sum[at] + one[at]));
    assert_eq!(told, [16 * 13; 5]);
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_peers_do_not_keep_a_process_from_stopping() {
    let world = World::new("slowstop").await;
    let mut process = Process::start(&world, ALL).await;
    let token = world.altinn.enterprise_token(Some("ttd"), "991825827", &ALL_SCOPES);
    let mut slow = Vec::new();
    for _ in 0..100 {
        for text in [
            "GET /health HTTP/1.1\r\nhost: ".to_owned(),
            format!(
                "POST /events/api/v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/cloudevents+json\r\ncontent-length: 900\r\n\r\n{{"
            ),
        ] {
            let mut stream = TcpStream::connect(process.public).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            slow.push(stream);
        }
    }
    until("all are in", || async {
        let open = process.metric("http_connections_open").await;
        if open >= 200.0 { Ok(()) } else { Err(open.to_string()) }
    })
    .await;
    let client = world.client(process.public);
    assert_eq!(client.publish(&generic("beside", "/party/1")).await.unwrap(), 200);
    assert_eq!(client.get("/events/api/v1/subscriptions").send().await.unwrap().status(), 200);
    let status = process.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", process.log());
    drop(slow);
}
