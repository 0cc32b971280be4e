//! Receivers whose answers are odd but readable: the status line counts, and what cannot be read after it is ignored.
//!
//! A delivery whose 200 were taken as a broken connection would be sent again, eleven times, to somebody who has it. The client library
//! reads most odd answers when it is asked to; what it still gives up after a whole status line is read here from what came
//! ([`Beginning`]), and the connection is gone. Limits on size stay: [`HEADERS_MAX`] headers, and the library's own 400 KiB for all of them.

use std::error::Error as _;

use event::Micros;
use http::{Extensions, HeaderValue, StatusCode, header};
use hyper_util::client::legacy::{Builder, Error};

use super::{Answer, connection::Beginning, retry_after};

/// Most headers of an answer.
const HEADERS_MAX: usize = 1_000;

/// Lets the client read `Name : value`, folded headers, lines that are no header, and many headers.
pub(super) fn read(builder: &mut Builder) {
    builder
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        .http1_max_headers(HEADERS_MAX);
}

/// What the receiver had answered before it failed: the status line, and the wish to wait where that came.
pub(super) fn before(error: &Error, now: Micros) -> Option<Answer> {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<hyper::Error>());
    if cause.is_some_and(hyper::Error::is_parse_too_large) {
        return None;
    }
    let mut extras = Extensions::new();
    error.connect_info()?.get_extras(&mut extras);
    answer(&extras.get::<Beginning>()?.take(), now)
}

/// The first answer that is not an interim one, as far as whole lines go. Pure.
fn answer(came: &[u8], now: Micros) -> Option<Answer> {
    let mut lines = came
        .split_inclusive(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_suffix(b"\n"))
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    loop {
        let status = status(lines.find(|line| !line.is_empty())?)?;
        let mut headers = lines.by_ref().take_while(|line| !line.is_empty());
        if !status.is_informational() {
            let wish = headers.find_map(wish_to_wait);
            return Some(Answer { status, retry_after: wish.and_then(|wish| retry_after::read(&wish, now)) });
        }
        headers.for_each(drop);
    }
}

/// `HTTP/1.1 200`, whatever follows after a blank.
fn status(line: &[u8]) -> Option<StatusCode> {
    let rest = line.strip_prefix(b"HTTP/1.1 ").or_else(|| line.strip_prefix(b"HTTP/1.0 "))?;
    let (code, reason) = rest.split_at_checked(3)?;
    if reason.first().is_none_or(|byte| *byte == b' ') { StatusCode::from_bytes(code).ok() } else { None }
}

fn wish_to_wait(line: &[u8]) -> Option<HeaderValue> {
    let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
    let is_wish = name.trim_ascii().eq_ignore_ascii_case(header::RETRY_AFTER.as_str().as_bytes());
    if is_wish { HeaderValue::from_bytes(value.strip_prefix(b":")?.trim_ascii()).ok() } else { None }
}

#[cfg(test)]
mod tests;
