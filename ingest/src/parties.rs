//! Where each event goes: its key on the log, and its canonical subject where that differs from the publisher's text.
//!
//! A subject that is an organisation's or a person's number is looked up in Register, so that all events about a party share a
//! key. A person's number is never part of a key. No answer → 503; a number nobody knows → the key is the source.

use std::collections::HashMap;

use access::{Access, Unavailable};
use event::{
    Event,
    subject::{PartyNumber, party_number},
};

use crate::error::Refusal;

/// Where an event goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The key of its record.
    pub(crate) key: String,
    /// The canonical subject, when it differs from the event's own.
    pub(crate) subject: Option<String>,
}

/// The party ids that were looked up; none for a number that Register does not know.
type Known<'a> = HashMap<PartyNumber<'a>, Option<i64>>;

/// The places of the events, in their order.
pub(crate) async fn places(access: &Access, events: &[Event]) -> Result<Vec<Place>, Refusal> {
    let numbers: Known<'_> = events.iter().filter_map(number).map(|number| (number, None)).collect();
    let look_ups = numbers.into_keys().map(|number| look_up(access, number));
    let known: Known<'_> = futures::future::try_join_all(look_ups)
        .await
        .map_err(|_: Unavailable| Refusal::PartiesUnknown)?
        .into_iter()
        .collect();
    Ok(events.iter().map(|event| place(event, &known)).collect())
}

fn number(event: &Event) -> Option<PartyNumber<'_>> {
    event.subject().and_then(party_number)
}

async fn look_up<'a>(
    access: &Access,
    number: PartyNumber<'a>,
) -> Result<(PartyNumber<'a>, Option<i64>), Unavailable> {
    let party = match number {
        PartyNumber::Organisation(digits) => access.party_of_organisation(digits).await?,
        PartyNumber::Person(digits) => access.party_of_person(digits).await?,
    };
    Ok((number, party))
}

fn place(event: &Event, known: &Known<'_>) -> Place {
    match number(event).map(|number| known.get(&number).copied().flatten()) {
        Some(Some(party)) => {
            let subject = format!("/party/{party}");
            Place { key: subject.clone(), subject: Some(subject) }
        }
        Some(None) => Place { key: event.source().to_owned(), subject: None },
        None => {
            let canonical = event.canonical_subject().filter(|subject| event.subject() != Some(subject));
            Place { key: event.kafka_key(), subject: canonical }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(subject: Option<&str>, known: &Known<'_>) -> (String, Option<String>) {
        let subject = subject.map(|subject| format!(r#","subject":"{subject}""#)).unwrap_or_default();
        let json = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","resource":"urn:altinn:resource:x"{subject}}}"#
        );
        let Place { key, subject } = place(&Event::stored(json.as_bytes()).unwrap(), known);
        (key, subject)
    }

    #[test]
    fn the_key_is_the_party_or_the_source_and_never_a_persons_number() {
        let known = Known::from([
            (PartyNumber::Organisation("991825827"), Some(50_000_001)),
            (PartyNumber::Person("02857010054"), Some(50_001_337)),
            (PartyNumber::Person("01010112345"), None),
        ]);
        let pair = |key: &str, subject: Option<&str>| (key.to_owned(), subject.map(str::to_owned));
        for (subject, expected) in [
            (Some("/party/1"), pair("/party/1", None)),
            (Some("party/1"), pair("/party/1", Some("/party/1"))),
            (Some("free text"), pair("free text", None)),
            (None, pair("/s", None)),
            (
                Some("urn:altinn:organization:identifier-no:991825827"),
                pair("/party/50000001", Some("/party/50000001")),
            ),
            (Some("/org/ttd"), pair("/org/ttd", None)),
            (
                Some("urn:altinn:person:identifier-no:02857010054"),
                pair("/party/50001337", Some("/party/50001337")),
            ),
            (Some("/person/01010112345"), pair("/s", None)),
            (Some("/person/odd"), pair("/s", None)),
        ] {
            assert_eq!(placed(subject, &known), expected, "{subject:?}");
        }
    }
}
