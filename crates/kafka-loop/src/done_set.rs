//! The offsets above the committed position that are already settled, as text for a commit's metadata.
//!
//! After a crash the next owner of the partition skips them, so that only what was really in flight is repeated. The text is
//! `1:` and base64 of runs: (gap from the previous run, length), each an unsigned LEB128 number, the first gap counted from the
//! committed position. What does not fit is left out, the latest first: it will be repeated, which is allowed. After a `;` stand
//! the marks of a journal, if there is one ([`crate::journal`]).
//!
//! Invariant: what decodes as done is a subset of what was done. A run is never shortened, because the next gap counts from its
//! end; what cannot be read ends the decoding. Writing and reading cost as much as there are runs in the text, however long
//! they are.

use std::ops::Range;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

/// Longest metadata a broker takes by default (`offset.metadata.max.bytes`).
pub const TEXT_MAX: usize = 4_096;

/// The text, of at most `room` bytes, for these runs of offsets: ascending, apart from each other and at or above `base`. Empty
/// when there are none. With it the first offset that is done and was left out.
pub fn encode(base: i64, runs: impl IntoIterator<Item = Range<i64>>, room: usize) -> (String, Option<i64>) {
    let bytes_max = room.saturating_sub(2) / 4 * 3;
    let mut bytes = Vec::new();
    let mut at = base;
    let mut left_out = None;
    for run in runs {
        let (gap, length) = (u64::try_from(run.start - at), u64::try_from(run.end - run.start));
        let before = bytes.len();
        push_number(&mut bytes, gap.unwrap_or_default());
        push_number(&mut bytes, length.unwrap_or_default());
        if bytes.len() > bytes_max {
            bytes.truncate(before);
            left_out = Some(run.start);
            break;
        }
        at = run.end;
    }
    let text = if bytes.is_empty() { String::new() } else { format!("1:{}", STANDARD_NO_PAD.encode(bytes)) };
    (text, left_out)
}

/// The marks behind the runs in a text; empty when there are none.
pub fn marks_of(text: &str) -> &str {
    text.split_once(';').map_or("", |(_, marks)| marks)
}

/// The runs in a text, ascending; none when the text is empty, of another version or damaged (then more is repeated, nothing
/// is lost).
pub fn decode(base: i64, text: &str) -> Vec<Range<i64>> {
    let text = text.split_once(';').map_or(text, |(runs, _)| runs);
    let Some(bytes) = text.strip_prefix("1:").and_then(|text| STANDARD_NO_PAD.decode(text).ok()) else {
        return Vec::new();
    };
    let mut numbers = bytes.as_slice();
    let mut runs = Vec::new();
    let mut at = base;
    while let Some(run) = take_run(&mut numbers, at) {
        at = run.end;
        runs.push(run);
    }
    runs
}

fn take_run(numbers: &mut &[u8], at: i64) -> Option<Range<i64>> {
    let gap = i64::try_from(take_number(numbers)?).ok()?;
    let length = i64::try_from(take_number(numbers)?).ok()?;
    let first = at.checked_add(gap)?;
    Some(first..first.checked_add(length)?)
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
    use proptest::prelude::*;

    use super::*;

    /// Runs with holes between them, from one offset to far above any bound on a span.
    fn runs() -> impl Strategy<Value = (i64, Vec<Range<i64>>)> {
        let length = prop_oneof![1_i64..50, (1_i64 << 20) - 2..(1 << 20) + 2, 1_i64..1 << 40];
        (0_i64..1 << 40, prop::collection::vec((1_i64..5_000, length), 0..800)).prop_map(|(base, runs)| {
            let mut at = base;
            let runs = runs.into_iter().map(|(gap, length)| {
                let run = at + gap..at + gap + length;
                at = run.end;
                run
            });
            (base, runs.collect())
        })
    }

    proptest! {
        #[test]
        fn what_decodes_as_done_is_a_subset_of_what_was_done((base, done) in runs()) {
            let (text, left_out) = encode(base, done.iter().cloned(), TEXT_MAX);
            prop_assert!(text.len() <= TEXT_MAX);
            let read = decode(base, &format!("{text};1:2"));
            prop_assert_eq!(&read[..], &done[..read.len()], "the first runs, whole");
            prop_assert_eq!(left_out, done.get(read.len()).map(|run| run.start));
            prop_assert!(read.len() == done.len() || read.len() > 200, "{} of {}", read.len(), done.len());
        }

        #[test]
        fn damaged_text_never_panics(base in 0_i64..i64::MAX, bytes in prop::collection::vec(any::<u8>(), 0..60), text in ".{0,60}") {
            let runs = decode(base, &format!("1:{}", STANDARD_NO_PAD.encode(bytes)));
            prop_assert!(runs.iter().all(|run| run.start >= base && run.end >= run.start));
            decode(7, &text);
        }
    }

    #[test]
    fn the_text_never_grows_past_what_a_broker_takes() {
        let done = (0..20_000).map(|n| n * 1_000..n * 1_000 + 1);
        let (text, _) = encode(0, done.clone(), TEXT_MAX);
        assert!(text.len() <= TEXT_MAX);
        let kept = decode(0, &text);
        assert!(kept.len() > 500 && kept.into_iter().eq(done.take(decode(0, &text).len())));
    }
}
