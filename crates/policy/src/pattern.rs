//! Regular expressions of XPath, evaluated exactly or refused (XACML 3.0 core A.3.13; XPath functions §7.6.1; XML Schema part 2
//! appendix F).
//!
//! XPath's language is close to that of the `regex` crate and not the same: some escapes exist in one only, `\s` and `\w` mean
//! other characters, and brackets inside brackets subtract here and add there. The pattern is therefore rewritten character by
//! character, and what has no counterpart is refused. A match may begin and end anywhere unless `^` and `$` say otherwise.

use std::{iter::Peekable, str::Chars};

use regex::{Regex, RegexBuilder};

/// Characters of a pattern.
const CHARACTERS_MAX: usize = 1_000;
/// Bytes of a compiled pattern; large enough for several Unicode classes.
const COMPILED_BYTES_MAX: usize = 512 * 1024;
/// Parentheses within parentheses.
const DEPTH_MAX: u32 = 32;

/// What `\s` and `\w` are in XPath.
const SPACE: (&str, &str) = (r"[ \t\n\r]", r"[^ \t\n\r]");
const WORD: (&str, &str) = (r"[^\p{P}\p{Z}\p{C}]", r"[\p{P}\p{Z}\p{C}]");

/// The pattern ready for use, or why it is refused.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.chars().count() > CHARACTERS_MAX {
        return Err(format!("it has more than {CHARACTERS_MAX} characters"));
    }
    let rewritten = Rewriting::of(pattern)?;
    RegexBuilder::new(&rewritten)
        .size_limit(COMPILED_BYTES_MAX)
        .nest_limit(DEPTH_MAX)
        .build()
        .map_err(|error| error.to_string())
}

struct Rewriting<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
    is_in_class: bool,
}

impl<'a> Rewriting<'a> {
    fn of(pattern: &'a str) -> Result<String, String> {
        let mut rewriting = Self { rest: pattern.chars().peekable(), out: String::new(), is_in_class: false };
        while let Some(character) = rewriting.rest.next() {
            if rewriting.is_in_class {
                rewriting.in_class(character)?;
            } else {
                rewriting.outside(character)?;
            }
        }
        Ok(rewriting.out)
    }

    fn outside(&mut self, character: char) -> Result<(), String> {
        match character {
            '\\' => return self.escape(),
            '[' => {
                self.is_in_class = true;
                self.out.push('[');
                if self.rest.next_if_eq(&'^').is_some() {
                    self.out.push('^');
                }
                if self.rest.peek() == Some(&']') {
                    return Err("an empty class".to_owned());
                }
                return Ok(());
            }
            ']' => return Err("`]` without `[`".to_owned()),
            '(' if self.rest.peek() == Some(&'?') => return Err("`(?`".to_owned()),
            _literal_or_operator => {}
        }
        self.out.push(character);
        Ok(())
    }

    fn in_class(&mut self, character: char) -> Result<(), String> {
        match character {
            '\\' => return self.escape(),
            '[' => return Err("a class within a class".to_owned()),
            ']' => self.is_in_class = false,
            '-' if self.rest.peek() == Some(&'-') => return Err("`--` in a class".to_owned()),
            // Two of them would be an operator.
            '&' | '~' => self.out.push('\\'),
            _literal_or_range => {}
        }
        self.out.push(character);
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        let Some(character) = self.rest.next() else { return Err("`\\` at the end".to_owned()) };
        match character {
            'n' | 'r' | 't' | '\\' | '|' | '.' | '?' | '*' | '+' | '(' | ')' | '{' | '}' | '-' | '['
            | ']' | '^' | '$' => {
                self.out.extend(['\\', character]);
                Ok(())
            }
            's' => self.class(SPACE.0),
            'S' => self.class(SPACE.1),
            'w' => self.class(WORD.0),
            'W' => self.class(WORD.1),
            'd' => self.class(r"\p{Nd}"),
            'D' => self.class(r"\P{Nd}"),
            'p' | 'P' => {
                let category = self.category()?;
                self.class(&format!(r"\{character}{{{category}}}"))
            }
            other => Err(format!("`\\{other}`")),
        }
    }

    /// A class as a whole; it cannot be the end of a range.
    fn class(&mut self, class: &str) -> Result<(), String> {
        let is_after_hyphen = self.is_in_class && self.out.ends_with('-') && !self.out.ends_with("\\-");
        if is_after_hyphen && !self.out.ends_with("[-") && !self.out.ends_with("[^-") {
            return Err("a range that ends in a class".to_owned());
        }
        self.out.push_str(class);
        Ok(())
    }

    /// `{L}` or `{Lu}`: a general category of Unicode, no block.
    fn category(&mut self) -> Result<String, String> {
        let is_open = self.rest.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(letter) = self.rest.next_if(char::is_ascii_alphabetic) {
            name.push(letter);
        }
        let is_closed = self.rest.next_if_eq(&'}').is_some();
        let is_known = name.starts_with(|first| "LMNPZSC".contains(first))
            && name.len() <= 2
            && name.chars().skip(1).all(|second| second.is_ascii_lowercase());
        if is_open && is_closed && is_known { Ok(name) } else { Err(format!("the category `{name}`")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_xpath_says() {
        for (pattern, text, expected) in [
            ("b", "abc", true),
            ("^b", "abc", false),
            ("^abc$", "abc", true),
            ("^abc$", "abc\n", false),
            ("", "anything", true),
            (r"^app_[a-z]+_.*$", "app_ttd_apps-test", true),
            (r"^\d{9}$", "310075728", true),
            (r"^\d{9}$", "31007572x", false),
            (r"^\w+$", "a_b", false),
            (r"^\w+$", "a$b", true),
            (r"^[\w_]+$", "a_b", true),
            (r"^\W$", "_", true),
            (r"^\s$", "\u{a0}", false),
            (r"^\S$", "\u{a0}", true),
            (r"^[\s-]+$", " -\t", true),
            (r"^[-\d]+$", "-1", true),
            (r"^[^-\d]+$", "ab", true),
            ("^[a&&b~~]+$", "a&b~", true),
            (r"^\p{Lu}\p{Ll}+$", "Ærlig", true),
            (r"^\P{L}$", "1", true),
            (r"^a\.b\$\^\-\[\]$", "a.b$^-[]", true),
            ("a.b", "a\nb", false),
            ("(ab|cd){2}", "xabcdx", true),
            ("a*?b", "aab", true),
        ] {
            let compiled = compile(pattern).unwrap();
            assert_eq!(compiled.is_match(text), expected, "{pattern} {text:?}");
        }
    }

    #[test]
    fn what_has_no_exact_counterpart_is_refused() {
        let (long, huge) = ("a".repeat(1_001), "((a{100}){100}){100}");
        for pattern in [
            r"\bword",
            r"\1",
            r"\i\c*",
            r"\A",
            r"\z",
            r"\x41",
            r"\p{IsBasicLatin}",
            r"\pL",
            r"\p{L",
            "(?i)a",
            "(?:a)",
            "[a-z-[aeiou]]",
            "[[:alpha:]]",
            "[+--]",
            r"[+-\s]",
            "[]",
            "[^]",
            "]",
            "[a",
            "(a",
            "a)",
            "*a",
            "a\\",
            &long,
            huge,
        ] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }
}
