//! Where a reader is in a feed, as text. Pure.
//!
//! `c1.` and base64url of: sequence number (8 bytes), digest of the filter (4), checksum over both (4). A cursor carries no
//! authority: rights are asked for at every read. It belongs to one filter, because the same number in another feed would be a
//! position that this reader never reached.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use event::{EventIdentity, Sequence, subject};
use store::FeedFilter;

const PREFIX: &str = "c1.";

/// Why a text that looks like a cursor is none for this feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorError {
    /// It was changed on the way.
    Damaged,
    /// It belongs to a feed with another filter.
    OtherFilter,
}

fn digest(text: &[&str]) -> [u8; 4] {
    let bits = EventIdentity::of("cursor", &text.join("\u{1f}"), "").0.to_be_bytes();
    bits.first_chunk().copied().unwrap_or_default()
}

/// A person's number leaves no trace in a cursor: there are too few of them for a digest to hide one.
fn traceable(text: &str) -> &str {
    if subject::is_person_number(text) { "person" } else { text }
}

fn all_traceable(texts: &[String]) -> Vec<&str> {
    texts.iter().map(|text| traceable(text)).collect()
}

/// What must stay the same from page to page; `from` and `to` may be left out of a link without harm.
fn filter_digest(filter: &FeedFilter) -> [u8; 4] {
    let FeedFilter {
        resource, subjects, alternative_subject, types, types_any_case, sources_any_case, ..
    } = filter;
    let lists = [types, types_any_case, sources_any_case].map(|list| all_traceable(list).join("\u{1e}"));
    let texts = [resource, alternative_subject, &filter.instance]
        .map(|text| text.as_deref().map(traceable).unwrap_or_default());
    let lists = lists.iter().map(String::as_str);
    let all: Vec<&str> = texts.into_iter().chain(lists).chain(all_traceable(subjects)).collect();
    digest(&all)
}

/// The cursor of a position in a feed.
pub fn encode(position: Sequence, filter: &FeedFilter) -> String {
    let mut bytes = position.0.to_be_bytes().to_vec();
    bytes.extend(filter_digest(filter));
    bytes.extend(checksum(&bytes));
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    digest(&["checksum", &URL_SAFE_NO_PAD.encode(bytes)])
}

/// Reads a cursor; none when the text is not one at all (then it may be an event's id).
pub fn decode(text: &str, filter: &FeedFilter) -> Option<Result<Sequence, CursorError>> {
    let body = text.strip_prefix(PREFIX)?;
    Some(read(body, filter))
}

fn read(body: &str, filter: &FeedFilter) -> Result<Sequence, CursorError> {
    let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| CursorError::Damaged)?;
    let (payload, sum) = bytes.split_at_checked(12).ok_or(CursorError::Damaged)?;
    if sum != checksum(payload) {
        return Err(CursorError::Damaged);
    }
    let (sequence, belongs) = payload.split_first_chunk::<8>().ok_or(CursorError::Damaged)?;
    if belongs != filter_digest(filter) {
        return Err(CursorError::OtherFilter);
    }
    Ok(Sequence(i64::from_be_bytes(*sequence)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(resource: &str) -> FeedFilter {
        FeedFilter { resource: Some(resource.to_owned()), ..FeedFilter::default() }
    }

    #[test]
    fn a_cursor_is_read_as_it_is_written_and_only_for_its_filter() {
        let text = encode(Sequence(123_456), &filter("a"));
        assert_eq!(decode(&text, &filter("a")), Some(Ok(Sequence(123_456))));
        assert_eq!(decode(&text, &filter("b")), Some(Err(CursorError::OtherFilter)));
        assert_eq!(decode("6f1c7d0e", &filter("a")), None);
    }

    #[test]
    fn a_cursor_says_nothing_about_a_persons_number() {
        let of = |subject: &str, alternative: &str| {
            let names = FeedFilter {
                subjects: vec![subject.to_owned()],
                alternative_subject: Some(alternative.to_owned()),
                ..filter("a")
            };
            encode(Sequence(1), &names)
        };
        let first = of("urn:altinn:person:identifier-no:02857010054", "/person/02857010054");
        assert_eq!(first, of("urn:altinn:person:identifier-no:14918520067", "/person/14918520067"));
        assert_ne!(first, of("/party/1", "/person/02857010054"));
        let free = |number: &str| of(&format!("urn:altinn:ssn:{number}"), &format!(" /person/{number}"));
        assert_eq!(free("02857010054"), free("14918520067"));
    }

    #[test]
    fn every_damaged_cursor_is_noticed() {
        let text = encode(Sequence(7), &filter("a"));
        for at in 3..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(damaged).unwrap();
            if damaged != text {
                assert!(matches!(decode(&damaged, &filter("a")), Some(Err(_))), "{damaged}");
            }
        }
        assert_eq!(decode("c1.", &filter("a")), Some(Err(CursorError::Damaged)));
    }
}
