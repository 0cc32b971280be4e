//! The limits of HTTP/2, frame by frame (RFC 9113).

use std::time::Duration;

use service::doors::DoorSettings;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::host::{GET, Host, PATIENCE, patient, rest, until};

const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM_AND_HEADERS: u8 = 5;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// GET of a path, in fields that need no table of their own.
fn get(stream: u32, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    let fields = [&[0x82, 0x86, 0x04, length], path.as_bytes()].concat();
    frame(HEADERS, END_STREAM_AND_HEADERS, stream, &fields)
}

/// A connection that has said hello, with these settings.
async fn hello(host: &Host, settings: &[u8]) -> TcpStream {
    let mut stream = host.said(2, PREFACE).await;
    stream.write_all(&frame(SETTINGS, 0, 0, settings)).await.unwrap();
    stream
}

/// The next frame; none when the other side has closed.
async fn next(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.ok()?;
    Some((head[3], payload))
}

/// The payload of the next frame of this kind.
async fn of_kind(stream: &mut TcpStream, kind: u8) -> Vec<u8> {
    let reading = async {
        loop {
            let (next, payload) = next(stream).await.expect("the frame comes");
            if next == kind {
                break payload;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the frame comes")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_told_how_many_streams_and_how_large_a_head_there_may_be() {
    let host = Host::start(patient());
    let told = of_kind(&mut hello(&host, &[]).await, SETTINGS).await;
    let settings: Vec<(u16, u32)> = told
        .chunks(6)
        .map(|one| (u16::from_be_bytes([one[0], one[1]]), u32::from_be_bytes(one[2..].try_into().unwrap())))
        .collect();
    assert!(settings.contains(&(3, 100)), "SETTINGS_MAX_CONCURRENT_STREAMS: {settings:?}");
    assert!(settings.contains(&(6, 65_536)), "SETTINGS_MAX_HEADER_LIST_SIZE: {settings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_resets_ends_its_connection_and_no_other() {
    let host = Host::start(patient());
    let mut other = hello(&host, &[]).await;
    let mut flood = hello(&host, &[]).await;
    let frames: Vec<u8> = (0..10_000)
        .flat_map(|n| [get(2 * n + 1, "/wait"), frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])].concat())
        .collect();
    // It is closed in the middle of it.
    flood.write_all(&frames).await.ok();
    until("it is closed", || host.open() == 1).await;
    other.write_all(&get(1, "/small")).await.unwrap();
    of_kind(&mut other, HEADERS).await;
    assert_eq!(host.asks(3, GET).await, Some(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_opens_no_window_is_closed_as_one_that_does_not_read() {
    let write_timeout = Duration::from_millis(400);
    let host = Host::start(DoorSettings { write_timeout, ..patient() });
    // SETTINGS_INITIAL_WINDOW_SIZE: nothing of an answer may be sent.
    let mut stream = hello(&host, &[0, 4, 0, 0, 0, 0]).await;
    stream.write_all(&get(1, "/page")).await.unwrap();
    until("it is closed", || host.metric("http_connections_closed_total", "write") == 1).await;
    assert!(rest(&mut stream).await < 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_peer_is_told_before_it_is_closed() {
    let idle_timeout = Duration::from_millis(400);
    let host = Host::start(DoorSettings { idle_timeout, ..patient() });
    let mut stream = hello(&host, &[]).await;
    stream.write_all(&get(1, "/small")).await.unwrap();
    of_kind(&mut stream, GOAWAY).await;
    assert_eq!(host.metric("http_connections_closed_total", "idle"), 1);
}
