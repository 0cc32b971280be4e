//! Alone in its process, whose limit of descriptors it lowers.

#![allow(clippy::unwrap_used, reason = "a test fails at the line that is wrong")]

use std::{net::Ipv4Addr, time::Duration};

use axum::{extract::Request, response::Response};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use service::{
    doors::{self, Door, DoorMetrics, DoorSettings},
    env::Env,
    prometheus::Registry,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

async fn is_answered(mut stream: TcpStream) -> bool {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).await.unwrap();
    told.starts_with("HTTP/1.1 200")
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_descriptor_is_left_new_ones_wait_and_are_served_when_there_is_one() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (address, registry) = (listener.local_addr().unwrap(), Registry::new());
    let metrics = DoorMetrics::new(&registry).unwrap().port("public");
    let door = Door { settings: DoorSettings::from_env(&Env::from_pairs([]), &[]), metrics };
    let mut serving = JoinSet::new();
    let answer = async |_: Request| Response::new("well".into());
    serving.spawn(doors::serve(listener, door, answer, CancellationToken::new()));
    assert!(is_answered(TcpStream::connect(address).await.unwrap()).await);

    let before = getrlimit(Resource::Nofile);
    let used = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    // Room for five ends of our own, and for none of the server's.
    let mut clients = Vec::new();
    setrlimit(Resource::Nofile, Rlimit { current: Some(used + 4), ..before }).unwrap();
    while let Ok(client) = TcpStream::connect(address).await {
        clients.push(client);
    }
    let failed = || {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == "http_accept_errors_total").unwrap();
        family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum::<f64>()
    };
    let failing = async {
        while failed() < 2.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), failing).await.expect("accepting fails");
    setrlimit(Resource::Nofile, before).unwrap();
    clients.push(TcpStream::connect(address).await.unwrap());
    assert!(clients.len() > 1);
    for client in clients {
        assert!(is_answered(client).await);
    }
    assert!(serving.try_join_next().is_none(), "it goes on");
}
