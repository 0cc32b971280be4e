//! Peers who make us wait: they cost others nothing, and they are waited for within a bound.

use std::{sync::Arc, time::Duration};

use service::doors::DoorSettings;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use crate::host::{GET, Host, PAGE, all_closed, answer, patient, rest, until};

const HALF_HEAD: &str = "GET /small HTTP/1.1\r\nhost: x\r\nx-slow: ";
const HALF_BODY: &str = "POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nabc";
const PAGE_ASKED: &str = "GET /page HTTP/1.1\r\nhost: x\r\n\r\n";

/// So many connections on which this was said, from 127.0.0.2 and up.
async fn said(host: &Arc<Host>, count: usize, text: &'static str) -> Vec<TcpStream> {
    let mut saying = JoinSet::new();
    for client in 0..20_usize {
        let (host, last) = (Arc::clone(host), 2 + u8::try_from(client).unwrap());
        saying.spawn(async move {
            let mut streams = Vec::new();
            for _ in 0..count / 20 {
                streams.push(host.said(last, text).await);
            }
            streams
        });
    }
    saying.join_all().await.into_iter().flatten().collect()
}

/// Ordinary requests from 127.0.0.1, half of them on connections of their own; how many were answered 200.
async fn ordinary(host: &Arc<Host>, count: usize) -> usize {
    let mut asking = JoinSet::new();
    for _ in 0..16 {
        let host = Arc::clone(host);
        asking.spawn(async move {
            let (mut well, mut kept) = (0, host.connect(1).await);
            for _ in 0..count / 32 {
                well += usize::from(host.asks(1, GET).await == Some(200));
                kept.write_all(GET.as_bytes()).await.unwrap();
                well += usize::from(answer(&mut kept).await.is_some_and(|(status, _)| status == 200));
            }
            well
        });
    }
    asking.join_all().await.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_slow_connections_of_each_kind_leave_ordinary_requests_alone() {
    const EACH: usize = 2_000;
    let host = Arc::new(Host::start(DoorSettings { connections_per_address: 400, ..patient() }));
    let mut heads = said(&host, EACH, HALF_HEAD).await;
    let mut bodies = said(&host, EACH, HALF_BODY).await;
    let mut readers = said(&host, EACH, PAGE_ASKED).await;
    until("all are in", || host.open() == 3 * EACH).await;
    assert_eq!(ordinary(&host, 1_600).await, 1_600);
    until("the slow ones are there yet, and none else", || host.open() == 3 * EACH).await;
    let mut well = [0; 3];
    for ((head, body), reader) in heads.iter_mut().zip(&mut bodies).zip(&mut readers).take(100) {
        head.write_all(b"no more\r\n\r\n").await.unwrap();
        well[0] += usize::from(answer(head).await == Some((200, 2)));
        body.write_all(&[b'x'; 997]).await.unwrap();
        well[1] += usize::from(answer(body).await == Some((200, 4)));
        well[2] += usize::from(answer(reader).await == Some((200, PAGE)));
    }
    assert_eq!(well, [100; 3], "the slow ones are served, too");
}

/// Everybody is waited for so long.
fn impatient() -> DoorSettings {
    let short = Duration::from_millis(400);
    DoorSettings {
        head_timeout: short,
        body_timeout: short / 2,
        idle_timeout: short,
        write_timeout: short,
        ..patient()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_us_wait_for_too_long_is_closed_and_the_others_live() {
    let host = Arc::new(Host::start(impatient()));
    let mut waits = host.said(1, "GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let silent = said(&host, 100, "").await;
    let heads = said(&host, 100, HALF_HEAD).await;
    let preface = said(&host, 100, "PRI * HTTP/2.0\r\n\r\nSM").await;
    assert_eq!(all_closed(silent).await + all_closed(heads).await + all_closed(preface).await, 300);
    assert_eq!(host.metric("http_connections_closed_total", "head"), 300);
    assert_eq!(all_closed(said(&host, 100, HALF_BODY).await).await, 100);
    assert_eq!(host.metric("http_connections_closed_total", "body"), 100);
    assert_eq!(all_closed(said(&host, 100, GET).await).await, 100);
    assert_eq!(host.metric("http_connections_closed_total", "idle"), 100);
    let readers = said(&host, 100, PAGE_ASKED).await;
    until("none of them is there", || host.open() == 1).await;
    assert_eq!(host.metric("http_connections_closed_total", "write"), 100);
    let mut cut = 0;
    for mut reader in readers {
        cut += usize::from(rest(&mut reader).await < PAGE);
    }
    assert_eq!(cut, 100, "who comes back late has not the whole page");
    host.gate.add_permits(1);
    assert_eq!(answer(&mut waits).await, Some((200, 6)), "what we work for is waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_dribbles_is_given_up() {
    let host = Host::start(impatient());
    let mut stream = host.said(2, HALF_HEAD).await;
    let dribbling = async {
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::host::PATIENCE, dribbling).await.expect("it is closed");
    assert_eq!(host.metric("http_connections_closed_total", "head"), 1);
}
