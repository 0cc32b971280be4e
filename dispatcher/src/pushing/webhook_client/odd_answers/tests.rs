use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use event::{DeliveryId, address::AddressPolicy};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{
    super::{
        Fault, Request, WebhookClient,
        connection::connector,
        tests::{client, client_with},
    },
    *,
};
use crate::pushing::names::tests::{Told, names};

/// Reads one request to its end; nothing when there is none any more.
async fn asked(stream: &mut (impl AsyncRead + Unpin)) -> Option<()> {
    let (mut request, mut read) = (vec![0; 4_096], 0);
    while !request[..read].ends_with(b"{}") {
        read += stream.read(&mut request[read..]).await.ok().filter(|more| *more > 0)?;
    }
    Some(())
}

/// Answers a request with these bytes and closes.
async fn answer_once(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) {
    asked(&mut stream).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
}

async fn post(client: &WebhookClient, address: String) -> Result<Answer, Fault> {
    let body = Bytes::from_static(b"{}");
    client.post(Request { address, body, delivery: DeliveryId(1), now: Micros(0) }).await
}

/// The answer of a receiver that writes these bytes and closes.
async fn answered(bytes: Vec<u8>) -> Result<Answer, Fault> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/hook", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { answer_once(listener.accept().await.unwrap().0, &bytes).await });
    post(&client(true), address).await
}

fn with_head(lines: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n").into_bytes()
}

/// Those that are not taken for a 200.
async fn not_read(answers: impl IntoIterator<Item = Vec<u8>>) -> Vec<String> {
    let mut broken = Vec::new();
    for answer in answers {
        let start = String::from_utf8_lossy(&answer).chars().take(80).collect();
        if answered(answer).await.map(|answer| answer.status.as_u16()) != Ok(200) {
            broken.push(start);
        }
    }
    broken
}

#[tokio::test]
async fn a_status_counts_whatever_cannot_be_read_after_it() {
    let many = (0..150).map(|n| format!("x-{n}: y")).collect::<Vec<_>>().join("\r\n");
    let heads = [
        "Content-Type : text/plain",
        "Content-Type: text/plain;\r\n charset=utf-8",
        " folded: before any other",
        "no colon at all",
        ": no name",
        "x-ø: y",
        "x-bell: a\u{7}b",
        "Content-Length: 0\nx-newline: alone",
        "Content-Length: 100\r\n\r\ncut",
        "Transfer-Encoding: chunked\r\n\r\nzz",
        &many,
    ];
    let answers = [
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 103 Early Hints\r\nLink : <x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ];
    let all = heads.into_iter().map(with_head).chain(answers.into_iter().map(|answer| answer.into()));
    assert_eq!(not_read(all).await, Vec::<String>::new());
}

/// The client library gives these up on purpose: what comes after them cannot be told apart.
#[tokio::test]
async fn a_status_counts_also_where_nobody_can_tell_the_end_of_its_answer() {
    let heads = [
        "x-nul: a\u{0}b",
        "x-return: a\rb",
        "Content-Length: -1",
        "Content-Length: many",
        "Content-Length: 1\r\nContent-Length: 2",
    ];
    let answers = [
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 O\u{0}K\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early\r\nLink : <x>\r\n\r\nHTTP/1.1 200 OK\r\nx: a\u{0}b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: te",
    ];
    let all = heads.into_iter().map(with_head).chain(answers.into_iter().map(|answer| answer.into()));
    assert_eq!(not_read(all).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_wish_to_wait_is_read_between_odd_lines() {
    for (head, expected) in [
        ("odd\r\nRetry-After : 120\r\nx: a\u{7}b", Some(120)),
        ("odd\r\nretry-after :  120 \r\nx: a\u{0}b", Some(120)),
        ("x: a\u{0}b\r\nRetry-After:120\r\nContent-Length: -1", Some(120)),
        ("x: a\u{0}b\r\nRetry-After: 1\r2", None),
        ("x: a\u{0}b", None),
        ("x: a\u{0}b\r\n\r\nRetry-After: 120", None),
    ] {
        let answer = answered(format!("HTTP/1.1 503 Busy\r\n{head}\r\n\r\n").into()).await.unwrap();
        let wait = answer.retry_after.map(|wait| wait.as_secs());
        assert_eq!((answer.status.as_u16(), wait), (503, expected), "{head:?}");
    }
}

#[tokio::test]
async fn what_is_no_http_or_too_large_is_no_answer() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let many = (0..=HEADERS_MAX).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    for bytes in [
        "SSH-2.0-x\r\n",
        "",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/3.0 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
        &long,
        &format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
    ] {
        let start: String = bytes.chars().take(30).collect();
        assert_eq!(answered(bytes.into()).await, Err(Fault::Broken), "{start:?}");
    }
}

/// A receiver that answers the requests of each connection in turn, and then closes it. How many connections there were.
async fn in_turn(answers: &'static [&'static str], tasks: &mut JoinSet<()>) -> (String, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/hook", listener.local_addr().unwrap());
    let connections = Arc::new(Mutex::new(0));
    let count = Arc::clone(&connections);
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            *count.lock().unwrap() += 1;
            for answer in answers {
                if asked(&mut stream).await.is_some() {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        }
    });
    (address, connections)
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn an_answer_is_never_taken_for_the_one_after_it() {
    const ANSWERS: [[&str; 2]; 3] = [[GOOD, ""], [GOOD, "x"], [GOOD, "HTTP/1.1 2"]];
    let mut tasks = JoinSet::new();
    for answers in &ANSWERS {
        let (address, connections) = in_turn(answers, &mut tasks).await;
        let client = client(true);
        assert_eq!(post(&client, address.clone()).await.unwrap().status, StatusCode::OK);
        assert_eq!(post(&client, address).await, Err(Fault::Broken), "{answers:?}");
        assert_eq!(*connections.lock().unwrap(), 1, "both on one connection");
    }
}

#[tokio::test]
async fn a_connection_is_not_used_again_after_an_answer_whose_end_nobody_can_tell() {
    const HIDDEN: &str =
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 40\r\n\r\nHTTP/1.1 500 Hidden\r\n\r\n";
    let mut tasks = JoinSet::new();
    let (address, connections) = in_turn(&[HIDDEN, GOOD], &mut tasks).await;
    let client = client(true);
    for expected in [1, 2] {
        assert_eq!(post(&client, address.clone()).await.unwrap().status, StatusCode::OK);
        assert_eq!(*connections.lock().unwrap(), expected);
    }
}

/// A receiver with a certificate for this name that answers every connection with these bytes, and a client that trusts it.
async fn with_tls(name: &str, bytes: &'static [u8], tasks: &mut JoinSet<()>) -> (String, WebhookClient) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let certificate = CertificateDer::from(made.cert.der().to_vec());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{name}:{}/hook", listener.local_addr().unwrap().port());
    let acceptor = TlsAcceptor::from(Arc::new(server));
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                answer_once(stream, bytes).await;
            }
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let trusting = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let policy = AddressPolicy { allow_loopback: true };
    let names = names(policy, &Arc::new(Told::always(&["127.0.0.1"])), 16);
    (address, WebhookClient::over(connector(names, trusting), policy, 4, 100))
}

#[tokio::test]
async fn a_status_counts_above_tls_too() {
    let mut tasks = JoinSet::new();
    let odd = b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: -1\r\n\r\n";
    let (address, client) = with_tls("hooks.example.com", odd, &mut tasks).await;
    let answer =
        Answer { status: StatusCode::SERVICE_UNAVAILABLE, retry_after: Some(Duration::from_secs(120)) };
    assert_eq!(post(&client, address.clone()).await, Ok(answer));
    let stranger = client_with(true, &Arc::new(Told::always(&["127.0.0.1"])), 100);
    assert_eq!(post(&stranger, address).await, Err(Fault::Connect), "its certificate is not trusted");
}
