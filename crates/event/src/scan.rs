//! What is wrong with a JSON text as a whole, wherever it stands. The text is known to be JSON.
//!
//! These are texts that are JSON and that some reader after us cannot hold: Postgres has no U+0000 and no half of a surrogate
//! pair, and parsers stop at a depth (the existing service's at 64). One such event would poison every consumer.

use crate::limits::DEPTH_MAX;

/// Everything that is wrong, as sentences without a subject.
pub(crate) fn wrongs(json: &str) -> Vec<&'static str> {
    let (nul, half) = escapes(json);
    let mut wrong = Vec::new();
    if nul {
        wrong.push("holds the character U+0000");
    }
    if half {
        wrong.push("holds half of a surrogate pair");
    }
    if is_too_deep(json) {
        wrong.push("holds more than 64 objects and arrays within each other");
    }
    wrong
}

/// Whether U+0000 and whether half a surrogate pair stands there as an escape; unescaped, neither is JSON.
fn escapes(json: &str) -> (bool, bool) {
    let (mut nul, mut half) = (false, false);
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        rest = rest.get(at + 1..).unwrap_or_default();
        let Some(unit) = unit(rest) else {
            // A short escape; what it escapes may be a backslash.
            rest = rest.get(1..).unwrap_or_default();
            continue;
        };
        rest = rest.get(5..).unwrap_or_default();
        match unit {
            0 => nul = true,
            0xd800..=0xdbff => match rest.strip_prefix('\\').and_then(self::unit) {
                Some(0xdc00..=0xdfff) => rest = rest.get(6..).unwrap_or_default(),
                Some(_) | None => half = true,
            },
            0xdc00..=0xdfff => half = true,
            _ => {}
        }
    }
    (nul, half)
}

/// The UTF-16 unit of `uXXXX` at the start of a text.
fn unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix('u')?.get(..4)?, 16).ok()
}

fn is_too_deep(json: &str) -> bool {
    let is_opening = |byte: u8| byte == b'{' || byte == b'[';
    // Nearly every event ends here; the exact count costs several times as much.
    if json.bytes().filter(|byte| is_opening(*byte)).count() <= DEPTH_MAX {
        return false;
    }
    let mut depth = 0_usize;
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => pass_string(&mut bytes),
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Goes on behind the quote that ends a string.
fn pass_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => _ = bytes.next(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_is_found_as_an_escape_and_only_there() {
        assert_eq!(escapes(r#"{"a":"x\u0000"}"#), (true, false));
        assert_eq!(escapes(r#"{"a":"x\\u0000"}"#), (false, false));
        assert_eq!(escapes(r#"{"a":"x\\\u0000"}"#), (true, false));
        assert_eq!(escapes(r#"{"a\u0000":1}"#), (true, false));
        assert_eq!(escapes(r#"["\n\u0001\"æ"]"#), (false, false));
    }

    #[test]
    fn half_of_a_surrogate_pair_is_found() {
        assert_eq!(escapes(r#"["\ud83d\ude00"]"#), (false, false));
        for half in [r#"["\ud83d"]"#, r#"["\ude00"]"#, r#"["\ud83dx\ude00"]"#, r#"["\uD83D\n"]"#] {
            assert_eq!(escapes(half), (false, true), "{half}");
        }
        assert_eq!(escapes(r#"["\ud83d\u0000"]"#), (true, true));
    }

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!is_too_deep(&nested(DEPTH_MAX)));
        assert!(is_too_deep(&nested(DEPTH_MAX + 1)));
        assert!(!is_too_deep(&format!(r#"["{}\"[{{"]"#, "[".repeat(200))));
        assert!(!is_too_deep(&"[],".repeat(200)));
    }
}
