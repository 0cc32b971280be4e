//! Answers that are given before their request was read whole: each arrives, also at a client who reads only after it has written all,
//! and who gives up where it cannot write.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use crate::host::{Host, answer, patient, until};

const REQUESTS: usize = 200;

/// How many requests with this head and so long a body get this status, eight at a time.
async fn answered(host: &Arc<Host>, head: &str, body: usize, status: u16) -> usize {
    let mut asking = JoinSet::new();
    for _ in 0..8 {
        let (host, head) = (Arc::clone(host), head.to_owned());
        asking.spawn(async move {
            let (mut well, body) = (0, vec![b'x'; body]);
            for _ in 0..REQUESTS / 8 {
                let mut stream = host.said(2, &head).await;
                let is_written = stream.write_all(&body).await.is_ok();
                let told = answer(&mut stream).await.map(|(told, _)| told);
                well += usize::from(is_written && told == Some(status));
            }
            well
        });
    }
    asking.join_all().await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_bodies_that_are_too_large_or_not_wanted_each_get_their_answer() {
    let host = Arc::new(Host::start(patient()));
    for (path, size, status) in [
        ("/take", 70_000, 413),
        ("/take", 1_500_000, 413),
        ("/refuse", 200_000, 401),
        ("/nowhere", 200_000, 404),
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n");
        assert_eq!(answered(&host, &head, size, status).await, REQUESTS, "{path} {size}");
    }
    until("nobody lingers", || host.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_chunked_bodies_that_are_too_large_each_get_their_answer() {
    let host = Arc::new(Host::start(patient()));
    let head = "POST /take HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffff\r\n";
    assert_eq!(answered(&host, head, 300_000, 413).await, REQUESTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_heads_that_are_too_large_each_get_their_answer() {
    let host = Arc::new(Host::start(patient()));
    let head = "GET /small HTTP/1.1\r\nhost: x\r\nx-long: ";
    assert_eq!(answered(&host, head, 300_000, 431).await, REQUESTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_small_bodies_that_nobody_wants_leave_their_connection_as_it_is() {
    let host = Host::start(patient());
    let mut stream = host.connect(2).await;
    let mut well = 0;
    for _ in 0..REQUESTS {
        let head = "POST /refuse HTTP/1.1\r\nhost: x\r\ncontent-length: 30000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        // The head is answered, or read at least, before the body comes.
        tokio::task::yield_now().await;
        stream.write_all(&[b'x'; 30_000]).await.unwrap();
        well += usize::from(answer(&mut stream).await == Some((401, 0)));
    }
    assert_eq!((well, host.open()), (REQUESTS, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_body_is_not_read_to_its_end_is_told_that_the_connection_ends() {
    let host = Host::start(patient());
    for (more, body) in [("content-length: 70000", 70_000), ("content-length: 9\r\nexpect: 100-continue", 0)]
    {
        let mut stream = host.said(2, &format!("POST /refuse HTTP/1.1\r\nhost: x\r\n{more}\r\n\r\n")).await;
        stream.write_all(&vec![b'x'; body]).await.unwrap();
        let mut told = String::new();
        stream.read_to_string(&mut told).await.unwrap();
        assert!(told.starts_with("HTTP/1.1 401") && told.contains("connection: close"), "{told}");
    }
}
