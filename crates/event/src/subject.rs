//! Whom an event is about, in one canonical form.

/// The canonical form: `party/1` and `/party/1` are `/party/1`; any other text is itself.
pub fn canonical(subject: &str) -> String {
    match party_id(subject) {
        Some(id) => format!("/party/{id}"),
        None => subject.to_owned(),
    }
}

/// The party id of `party/{id}` or `/party/{id}`.
pub fn party_id(subject: &str) -> Option<i64> {
    let digits = subject.strip_prefix('/').unwrap_or(subject).strip_prefix("party/")?;
    let plain = !digits.is_empty() && digits.len() <= 18 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// A party named by the number it has outside of the platform. Register knows its party id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartyNumber<'a> {
    /// An organisation, by its nine digits.
    Organisation(&'a str),
    /// A person, by eleven digits that are never logged.
    Person(&'a str),
}

const ORGANISATIONS: [&str; 4] =
    ["urn:altinn:organization:identifier-no:", "/organisation/", "/organization/", "/org/"];
const PERSONS: [&str; 2] = ["urn:altinn:person:identifier-no:", "/person/"];

/// The number that a subject names a party by; nothing for a party id, a service owner's name or free text.
pub fn party_number(subject: &str) -> Option<PartyNumber<'_>> {
    let after = |prefixes: &[&str], digits: usize| {
        let number = prefixes.iter().find_map(|prefix| subject.strip_prefix(prefix))?;
        (number.len() == digits && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
    };
    after(&ORGANISATIONS, 9)
        .map(PartyNumber::Organisation)
        .or_else(|| after(&PERSONS, 11).map(PartyNumber::Person))
}

/// Whether the text is an organisation's number, which anybody may read.
pub fn is_organisation_number(subject: &str) -> bool {
    matches!(party_number(subject), Some(PartyNumber::Organisation(_)))
}

/// Whether the text is a person's number: eleven figures, of which the last two check the others. Outside, a number that is none can fail
/// a whole request.
pub fn has_check_figures(number: &str) -> bool {
    const FIRST: [u32; 10] = [3, 7, 6, 1, 8, 9, 4, 5, 2, 1];
    const SECOND: [u32; 11] = [5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1];
    let figures: Vec<u32> = number.chars().map_while(|figure| figure.to_digit(10)).collect();
    let checks = |weights: &[u32]| {
        let products = figures.iter().zip(weights).map(|(figure, weight)| figure * weight);
        products.sum::<u32>().is_multiple_of(11)
    };
    figures.len() == 11 && number.len() == 11 && checks(&FIRST) && checks(&SECOND)
}

/// Whether a subject has the form of a person's number and is none.
pub fn is_no_persons_number(subject: &str) -> bool {
    let number = PERSONS.iter().find_map(|prefix| subject.strip_prefix(prefix));
    number.is_some_and(|number| !has_check_figures(number))
}

/// An alternative subject in one spelling: `/organisation/{number}` or `/person/{number}`; any other text is itself.
pub fn alternative(text: &str) -> String {
    match party_number(text) {
        Some(PartyNumber::Organisation(number)) => format!("/organisation/{number}"),
        Some(PartyNumber::Person(number)) => format!("/person/{number}"),
        None => text.to_owned(),
    }
}

/// Whether the text may hold a person's number: it says that it names a person, or has eleven digits in a row anywhere. Digits of a
/// longer row are none, nor are those of a UUID. Such a text is never a Kafka key, a label, a part of an address or of a log line.
pub fn is_person_number(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    let named = ["urn:altinn:person:", "/person/", "person/"].iter().any(|prefix| text.starts_with(prefix));
    let mut words = text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '-'));
    named || words.any(|word| !is_uuid(word) && has_row_of_eleven(word))
}

fn has_row_of_eleven(word: &str) -> bool {
    word.split(|char: char| !char.is_ascii_digit()).any(|row| row.len() == 11)
}

/// In the form with four dashes or with none.
fn is_uuid(word: &str) -> bool {
    let dashes: Vec<usize> = word.match_indices('-').map(|(at, _)| at).collect();
    let digits = word.bytes().filter(u8::is_ascii_hexdigit).count();
    digits == 32 && digits + dashes.len() == word.len() && (dashes.is_empty() || dashes == [8, 13, 18, 23])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_party_are_one() {
        assert_eq!(canonical("party/123"), "/party/123");
        assert_eq!(canonical("/party/0123"), "/party/123");
        assert_eq!(canonical("/party/12x"), "/party/12x");
        assert_eq!(canonical("/party/"), "/party/");
        assert_eq!(
            canonical("urn:altinn:organization:identifier-no:991825827"),
            "urn:altinn:organization:identifier-no:991825827"
        );
    }

    #[test]
    fn a_number_is_told_from_other_subjects() {
        for text in
            ["urn:altinn:organization:identifier-no:991825827", "/organisation/991825827", "/org/991825827"]
        {
            assert!(party_number(text) == Some(PartyNumber::Organisation("991825827")), "{text}");
        }
        for text in ["urn:altinn:person:identifier-no:01010112345", "/person/01010112345"] {
            assert!(party_number(text) == Some(PartyNumber::Person("01010112345")), "{text}");
        }
        for text in ["/org/ttd", "/party/991825827", "/person/1", "991825827", "free text"] {
            assert!(party_number(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_last_two_figures_of_a_persons_number_check_the_others() {
        for number in ["02857010054", "14918520067", "30819230052"] {
            assert!(has_check_figures(number), "{number}");
            for wrong in [number.replacen('0', "1", 1), number[..10].to_owned(), format!("{number}0")] {
                assert!(!has_check_figures(&wrong), "{wrong}");
            }
        }
        for (subject, is_none) in [
            ("/person/02857010053", true),
            ("urn:altinn:person:identifier-no:02857010053", true),
            ("/person/1", true),
            ("/person/02857010054", false),
            ("urn:altinn:person:identifier-no:02857010054", false),
            ("02857010053", false),
            ("/party/1", false),
        ] {
            assert_eq!(is_no_persons_number(subject), is_none, "{subject}");
        }
        for wrong in ["", "0285701005x", "02857010045", "01010112345", "٠٢٨٥٧٠١٠٠٥٤"] {
            assert!(!has_check_figures(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_spellings_of_an_alternative_subject_are_one() {
        for text in
            ["/org/991825827", "/organisation/991825827", "urn:altinn:organization:identifier-no:991825827"]
        {
            assert_eq!(alternative(text), "/organisation/991825827");
        }
        assert_eq!(alternative("urn:altinn:person:identifier-no:01010112345"), "/person/01010112345");
        assert_eq!(alternative("/org/ttd"), "/org/ttd");
    }

    #[test]
    fn person_numbers_are_known_in_every_spelling() {
        for text in [
            "urn:altinn:person:identifier-no:01010112345",
            "/person/01010112345",
            "01010112345",
            "urn:altinn:ssn:01010112345",
            " /person/01010112345",
            "Person/1",
            "æ01010112345-x",
            "/a01010112345",
            "a-01010112345-b",
        ] {
            assert!(is_person_number(text), "{text}");
        }
        for text in [
            "/party/50001337",
            "/organisation/991825827",
            "urn:uuid:6fb3f738-6800-4f29-9f3e-12345678901a",
            "/things/6fb3f73868004f299f3e12345678901a",
            "/things/1764384045123",
            "0101011234",
            "010101-12345",
        ] {
            assert!(!is_person_number(text), "{text}");
        }
    }
}
