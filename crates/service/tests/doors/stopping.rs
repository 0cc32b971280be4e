//! Stopping finishes what is in hand, and waits for nobody who makes us wait.

use std::sync::Arc;

use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use crate::host::{GET, Host, all_closed, answer, patient, until};

async fn said(host: &Host, count: usize, text: &str) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(host.said(2, text).await);
    }
    streams
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_hand_is_finished_and_the_slow_ones_are_ended() {
    let host = Host::start(patient());
    let mut worked_for = said(&host, 50, "GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut slow = said(&host, 50, "GET /small HTTP/1.1\r\nhost:").await;
    slow.extend(said(&host, 50, "POST /take HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n").await);
    slow.extend(said(&host, 50, "GET /page HTTP/1.1\r\nhost: x\r\n\r\n").await);
    let mut idle = said(&host, 50, GET).await;
    for stream in &mut idle {
        assert_eq!(answer(stream).await, Some((200, 2)));
    }
    until("all are in", || host.open() == 250).await;
    host.stop.cancel();
    assert_eq!(all_closed(idle).await, 50);
    until("nobody is let in", || host.open() <= 200).await;
    assert!(host.try_connect(3).await.is_err());
    assert_eq!(all_closed(slow).await, 150);
    host.gate.add_permits(50);
    let mut well = 0;
    for stream in &mut worked_for {
        well += usize::from(answer(stream).await == Some((200, 6)));
    }
    assert_eq!(well, 50);
    host.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_answered_while_it_stops_are_all_answered_whole() {
    let host = Arc::new(Host::start(patient()));
    let mut asking = JoinSet::new();
    for last in 1..=16 {
        let host = Arc::clone(&host);
        asking.spawn(async move {
            let (mut stream, mut begun, mut well) = (host.connect(last).await, 0, 0);
            // What is written to a connection that is closed at that moment was not read by anybody.
            while stream.write_all(GET.as_bytes()).await.is_ok() {
                begun += 1;
                match answer(&mut stream).await {
                    Some((200, 2)) => well += 1,
                    other => {
                        assert_eq!(other, None);
                        break;
                    }
                }
            }
            (begun, well)
        });
    }
    until("all are in", || host.open() == 16).await;
    host.stop.cancel();
    for (begun, well) in asking.join_all().await {
        assert!(well >= begun - 1, "{well} of {begun}: only the one that met the end is not answered");
    }
}
