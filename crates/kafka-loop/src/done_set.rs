//! The offsets above the committed position that are already settled, as text for a commit's metadata.
//!
//! After a crash the next owner of the partition skips them, so that only what was really in flight is repeated. The text is
//! `1:` and base64 of runs: (gap from the previous run, length), each an unsigned LEB128 number, the first gap counted from the
//! committed position. What does not fit into [`TEXT_MAX`] is left out: it will be repeated, which is allowed.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

/// Longest metadata a broker takes by default (`offset.metadata.max.bytes`).
pub const TEXT_MAX: usize = 4_096;
const BYTES_MAX: usize = (TEXT_MAX - 2) / 4 * 3;

/// The text for these offsets, ascending and all at or above `base`; empty when there are none.
pub fn encode(base: i64, done: impl IntoIterator<Item = i64>) -> String {
    let mut bytes = Vec::new();
    let mut at = base;
    for (first, length) in runs(done) {
        let mut run = Vec::with_capacity(6);
        push_number(&mut run, u64::try_from(first - at).unwrap_or(0));
        push_number(&mut run, length);
        if bytes.len() + run.len() > BYTES_MAX {
            break;
        }
        bytes.extend_from_slice(&run);
        at = first + i64::try_from(length).unwrap_or(0);
    }
    if bytes.is_empty() { String::new() } else { format!("1:{}", STANDARD_NO_PAD.encode(bytes)) }
}

/// The offsets in a text; none when the text is empty, of another version or damaged (then more is repeated, nothing is lost).
pub fn decode(base: i64, text: &str) -> Vec<i64> {
    let Some(bytes) = text.strip_prefix("1:").and_then(|text| STANDARD_NO_PAD.decode(text).ok()) else {
        return Vec::new();
    };
    let mut numbers = bytes.as_slice();
    let mut done = Vec::new();
    let mut at = base;
    while let (Some(gap), Some(length)) = (take_number(&mut numbers), take_number(&mut numbers)) {
        let (Ok(gap), Ok(length)) = (i64::try_from(gap), i64::try_from(length.min(1 << 20))) else { break };
        let Some(first) = at.checked_add(gap) else { break };
        done.extend(first..first.saturating_add(length));
        at = first.saturating_add(length);
    }
    done
}

fn runs(done: impl IntoIterator<Item = i64>) -> Vec<(i64, u64)> {
    let mut runs: Vec<(i64, u64)> = Vec::new();
    for offset in done {
        match runs.last_mut() {
            Some((first, length)) if i64::try_from(*length).is_ok_and(|length| *first + length == offset) => {
                *length += 1;
            }
            Some(_) | None => runs.push((offset, 1)),
        }
    }
    runs
}

fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(base in 0_i64..1_000_000, gaps in prop::collection::btree_set(0_i64..5_000, 0..200)) {
            let done: Vec<i64> = gaps.into_iter().map(|gap| base + gap).collect();
            prop_assert_eq!(decode(base, &encode(base, done.iter().copied())), done);
        }

        #[test]
        fn damaged_text_never_panics(text in ".{0,60}") {
            decode(7, &text);
        }
    }

    #[test]
    fn the_text_never_grows_past_what_a_broker_takes() {
        let done: Vec<i64> = (0..20_000).map(|n| n * 1_000).collect();
        let text = encode(0, done.iter().copied());
        assert!(text.len() <= TEXT_MAX);
        let kept: BTreeSet<i64> = decode(0, &text).into_iter().collect();
        assert!(kept.len() > 500 && kept.is_subset(&done.into_iter().collect()));
    }
}
