//! How many connections there may be, in all and of one address.

use service::doors::DoorSettings;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::host::{GET, Host, answer, patient, rest, until};

/// Connections from one address, until one is closed at once, at most so many.
async fn opened(host: &Host, last: u8, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = host.said(last, GET).await;
        if answer(&mut stream).await == Some((200, 2)) {
            streams.push(stream);
        }
    }
    streams
}

/// How many of them are answered once more.
async fn living(streams: &mut [TcpStream]) -> usize {
    let mut count = 0;
    for stream in streams {
        stream.write_all(GET.as_bytes()).await.unwrap();
        count += usize::from(answer(stream).await == Some((200, 2)));
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_bound_of_an_address_new_ones_are_refused_and_the_old_ones_live() {
    let proxies = vec!["127.0.0.9/32".parse().unwrap()];
    let host = Host::start(DoorSettings { connections_per_address: 20, proxies, ..patient() });
    let mut one = opened(&host, 2, 30).await;
    assert_eq!((one.len(), host.metric("http_connections_refused_total", "address-full")), (20, 10));
    assert_eq!(living(&mut one).await, 20);
    assert_eq!(opened(&host, 3, 20).await.len(), 20, "another address has its own");
    assert_eq!(opened(&host, 9, 50).await.len(), 50, "many clients stand behind a proxy");
    one.truncate(15);
    until("five have gone", || host.open() == 15).await;
    assert_eq!(opened(&host, 2, 6).await.len(), 5, "places that are given back are taken again");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_bound_of_all_new_ones_are_refused_and_the_old_ones_live() {
    let proxies = vec!["127.0.0.9/32".parse().unwrap()];
    let host = Host::start(DoorSettings { connections_max: 40, proxies, ..patient() });
    let mut all = opened(&host, 2, 20).await;
    all.extend(opened(&host, 9, 30).await);
    assert_eq!((all.len(), host.metric("http_connections_refused_total", "full")), (40, 10));
    assert_eq!(rest(&mut host.connect(3).await).await, 0, "who says nothing is closed at once, too");
    assert_eq!(living(&mut all).await, 40);
    drop(all);
    until("all have gone", || host.open() == 0).await;
    assert_eq!(opened(&host, 3, 40).await.len(), 40);
}
