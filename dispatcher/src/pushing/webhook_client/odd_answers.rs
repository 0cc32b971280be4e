//! Receivers whose answers are odd but readable: the status line counts, and what cannot be read after it is ignored.
//!
//! A delivery whose 200 were taken as a broken connection would be sent again, eleven times, to somebody who has it. Limits on size
//! stay: [`HEADERS_MAX`] headers, and the client's own 400 KiB for all of them.

use reqwest::ClientBuilder;

/// Most headers of an answer.
const HEADERS_MAX: usize = 1_000;

/// Lets the client read `Name : value`, folded headers, lines that are no header, and many headers.
pub(super) fn read(builder: ClientBuilder) -> ClientBuilder {
    builder
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_max_headers(HEADERS_MAX)
}

#[cfg(test)]
mod tests {
    use event::{DeliveryId, Micros};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        task::JoinSet,
    };

    use super::{
        super::{Answer, Fault, Request, tests::client},
        *,
    };

    /// The answer of a receiver that writes these bytes and closes.
    async fn answered(bytes: Vec<u8>) -> Result<Answer, Fault> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/hook", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4_096];
            let mut read = 0;
            while !request[..read].ends_with(b"{}") {
                read += stream.read(&mut request[read..]).await.unwrap();
            }
            stream.write_all(&bytes).await.unwrap();
        });
        let body = bytes::Bytes::from_static(b"{}");
        client(true).post(Request { address, body, delivery: DeliveryId(1), now: Micros(0) }).await
    }

    fn with_head(lines: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n").into_bytes()
    }

    #[tokio::test]
    async fn a_status_counts_whatever_cannot_be_read_after_it() {
        let many = (0..150).map(|n| format!("x-{n}: y")).collect::<Vec<_>>().join("\r\n");
        let mut broken = Vec::new();
        for head in [
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
        ] {
            let answer = answered(with_head(head)).await;
            if answer.map(|answer| answer.status.as_u16()) != Ok(200) {
                broken.push(head);
            }
        }
        for answer in [
            "HTTP/1.1 200\r\n\r\n",
            "HTTP/1.1 200 OK\n\n",
            "HTTP/1.1 103 Early Hints\r\nLink : <x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            if answered(answer.into()).await.map(|answer| answer.status.as_u16()) != Ok(200) {
                broken.push(answer);
            }
        }
        assert_eq!(broken, Vec::<&str>::new());
    }

    #[tokio::test]
    async fn a_wish_to_wait_is_read_between_odd_lines() {
        let head = "HTTP/1.1 503 Busy\r\nodd\r\nRetry-After : 120\r\nx: a\u{7}b\r\n\r\n";
        let answer = answered(head.into()).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.retry_after.map(|wait| wait.as_secs())), (503, Some(120)));
    }

    /// Two lengths, or bytes with which one answer is hidden in another: the client library refuses them on purpose.
    #[tokio::test]
    async fn an_answer_whose_end_cannot_be_told_is_no_answer() {
        for head in [
            "x-nul: a\u{0}b",
            "x-return: a\rb",
            "Content-Length: -1",
            "Content-Length: 1\r\nContent-Length: 2",
        ] {
            assert_eq!(answered(with_head(head)).await, Err(Fault::Broken), "{head:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_http_or_too_large_is_no_answer() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
        let many = (0..=HEADERS_MAX).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
        for bytes in
            ["SSH-2.0-x\r\n".to_owned(), String::new(), long, format!("HTTP/1.1 200 OK\r\n{many}\r\n")]
        {
            let start: String = bytes.chars().take(30).collect();
            assert_eq!(answered(bytes.into()).await, Err(Fault::Broken), "{start:?}");
        }
    }
}
