//! Bodies that came compressed (RFC 9110 §8.4): read whole first, within the limit, then decompressed within the same limit.
//!
//! What is over the limit is never held: decompression stops at the first byte too many, whatever the compressed size says.

use std::io::{self, Read};

use http::{HeaderMap, header};

/// What is read, as the header `Accept-Encoding` of a refusal says it.
pub const ACCEPTED: &str = "gzip, zstd";
/// Largest window of a zstd frame, as a power of two: the 8 MiB that RFC 9659 allows senders.
const WINDOW_LOG_MAX: u32 = 23;
/// Longest name of an encoding that a refusal repeats.
const NAME_SHOWN_MAX: usize = 20;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// An encoding that is not read, by its name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the content encoding {0} is not read; send the body as it is, or as {ACCEPTED}")]
pub struct UnknownEncoding(String);

/// Why a body cannot be decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is larger than it may be.
    #[error("the body is too large when it is decompressed")]
    TooLarge,
    /// It is not what its encoding says.
    #[error("the body is not what its content encoding says")]
    Broken,
}

impl UnknownEncoding {
    /// Of that name; of one that is no name only that it is none.
    pub fn of(name: &str) -> Self {
        let is_name = name.len() <= NAME_SHOWN_MAX
            && name.bytes().all(|b| b.is_ascii_alphabetic() || b", -".contains(&b));
        Self(if is_name { name } else { "of that name" }.to_owned())
    }
}

impl Encoding {
    /// The encoding that the headers state.
    ///
    /// # Errors
    /// [`UnknownEncoding`] for any other, and for several on top of each other.
    pub fn of(headers: &HeaderMap) -> Result<Self, UnknownEncoding> {
        let values = headers.get_all(header::CONTENT_ENCODING).iter();
        let text =
            values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect::<Vec<_>>().join(",");
        let stated: Vec<String> = text
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase())
            .filter(|name| !name.is_empty() && name != "identity")
            .collect();
        match stated.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => Ok(Self::Identity),
            ["gzip" | "x-gzip"] => Ok(Self::Gzip),
            ["zstd"] => Ok(Self::Zstd),
            [..] => Err(UnknownEncoding::of(&stated.join(", "))),
        }
    }

    /// The body without its encoding, of at most `max` bytes.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode<B: AsRef<[u8]> + From<Vec<u8>>>(self, body: B, max: usize) -> Result<B, DecodeError> {
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => bounded(flate2::read::MultiGzDecoder::new(body.as_ref()), max).map(B::from),
            Self::Zstd => zstd(body.as_ref(), max).map(B::from),
        }
    }
}

fn zstd(body: &[u8], max: usize) -> Result<Vec<u8>, DecodeError> {
    let broken = |_: io::Error| DecodeError::Broken;
    let mut decoder = ::zstd::stream::read::Decoder::with_buffer(body).map_err(broken)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(broken)?;
    bounded(decoder, max)
}

fn bounded(decoder: impl Read, max: usize) -> Result<Vec<u8>, DecodeError> {
    let most = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let mut whole = Vec::new();
    decoder.take(most).read_to_end(&mut whole).map_err(|_| DecodeError::Broken)?;
    if whole.len() > max { Err(DecodeError::TooLarge) } else { Ok(whole) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        ::zstd::stream::encode_all(text, 3).unwrap()
    }

    fn of(values: &[&str]) -> Result<Encoding, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
        }
        Encoding::of(&headers).map_err(|unknown| unknown.0)
    }

    #[test]
    fn the_header_tells_the_encoding_and_others_are_named() {
        for (values, expected) in [
            (&[][..], Encoding::Identity),
            (&["identity"], Encoding::Identity),
            (&["GZip"], Encoding::Gzip),
            (&["x-gzip, identity"], Encoding::Gzip),
            (&["zstd", ""], Encoding::Zstd),
        ] {
            assert_eq!(of(values), Ok(expected), "{values:?}");
        }
        for (values, named) in [
            (&["br"][..], "br"),
            (&["gzip, zstd"], "gzip, zstd"),
            (&["gzip", "gzip"], "gzip, gzip"),
            (&["01010112345"], "of that name"),
        ] {
            assert_eq!(of(values), Err(named.to_owned()), "{values:?}");
        }
    }

    #[test]
    fn the_limit_holds_after_decompression_and_to_the_byte() {
        for (encoding, encode) in [(Encoding::Gzip, gzip as fn(&[u8]) -> Vec<u8>), (Encoding::Zstd, zstd)] {
            let text = vec![b'x'; 100_000];
            let small = encode(&text);
            assert!(small.len() < 1_000);
            assert_eq!(encoding.decode(small.clone(), 100_000), Ok(text), "{encoding:?}");
            assert_eq!(encoding.decode(small.clone(), 99_999), Err(DecodeError::TooLarge), "{encoding:?}");
            let twice = [encode(b"a"), encode(b"b")].concat();
            assert_eq!(encoding.decode(twice, 10), Ok(b"ab".to_vec()), "{encoding:?}");
            for broken in [b"".to_vec(), b"no".to_vec(), small[..small.len() - 1].to_vec()] {
                assert_eq!(encoding.decode(broken, 200_000), Err(DecodeError::Broken), "{encoding:?}");
            }
        }
        assert_eq!(
            Encoding::Identity.decode(b"x".to_vec(), 0),
            Ok(b"x".to_vec()),
            "was measured when it was read"
        );
    }

    #[test]
    fn a_frame_that_wants_a_window_beyond_the_limit_is_refused_before_memory_is_taken() {
        // Magic number, a header without content size, a window of 2^27 bytes, and an empty last block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00];
        assert_eq!(Encoding::Zstd.decode(frame.to_vec(), 100), Err(DecodeError::Broken));
        let allowed = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 0x01, 0x00, 0x00];
        assert_eq!(Encoding::Zstd.decode(allowed.to_vec(), 100), Ok(Vec::new()));
    }
}
