//! Whether a new event may be one that a waiting reader waits for. Pure.
//!
//! A reader who is woken reads for itself, so *yes* may be wrong and *no* must not be: what only the database can tell (a
//! pattern with wildcards, letters beyond ASCII, times) counts as yes.

use event::{Event, subject::alternative};
use store::FeedFilter;

/// Whether `event`, whose canonical subject is `subject`, may be in the feed of `filter`.
pub fn may_match(filter: &FeedFilter, event: &Event, subject: Option<&str>) -> bool {
    let same = |wanted: &Option<String>, found: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
    };
    same(&filter.resource, Some(event.resource()))
        && (filter.subjects.is_empty()
            || subject.is_some_and(|subject| filter.subjects.iter().any(|one| one == subject)))
        && same(&filter.alternative_subject, event.alternative_subject().map(alternative).as_deref())
        && same(&filter.instance, event.resource_instance())
        && any(&filter.types, |pattern| may_be_like(pattern, event.event_type()))
        && any(&filter.types_any_case, |pattern| may_be_ilike(pattern, event.event_type()))
        && any(&filter.sources_any_case, |pattern| may_be_ilike(pattern, event.source()))
}

fn any(patterns: &[String], matches: impl Fn(&str) -> bool) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern))
}

fn is_plain(pattern: &str) -> bool {
    !pattern.contains(['%', '_', '\\'])
}

fn may_be_like(pattern: &str, text: &str) -> bool {
    !is_plain(pattern) || pattern == text
}

fn may_be_ilike(pattern: &str, text: &str) -> bool {
    let is_certain = is_plain(pattern) && pattern.is_ascii() && text.is_ascii();
    !is_certain || pattern.eq_ignore_ascii_case(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let json = br#"{"specversion":"1.0","id":"1","source":"https://x.no/A","type":"app.created","subject":"party/1","alternativesubject":"/org/1","resource":"urn:altinn:resource:r"}"#;
        Event::parse(json).unwrap()
    }

    fn of_resource() -> FeedFilter {
        FeedFilter { resource: Some("urn:altinn:resource:r".into()), ..FeedFilter::default() }
    }

    #[test]
    fn what_is_certainly_another_event_wakes_nobody() {
        let filter = of_resource();
        assert!(may_match(&filter, &event(), Some("/party/1")));
        for other in [
            FeedFilter { resource: Some("urn:altinn:resource:s".into()), ..filter.clone() },
            FeedFilter { subjects: vec!["/party/2".into()], ..filter.clone() },
            FeedFilter { alternative_subject: Some("/org/2".into()), ..filter.clone() },
            FeedFilter { instance: Some("1/2".into()), ..filter.clone() },
            FeedFilter { types: vec!["app.Created".into()], ..filter.clone() },
            FeedFilter { types_any_case: vec!["app.deleted".into()], ..filter },
        ] {
            assert!(!may_match(&other, &event(), Some("/party/1")), "{other:?}");
        }
    }

    #[test]
    fn what_only_the_database_can_tell_wakes() {
        let filter = of_resource();
        for perhaps in [
            FeedFilter { subjects: vec!["/party/2".into(), "/party/1".into()], ..filter.clone() },
            FeedFilter { types: vec!["x".into(), "app.%".into()], ..filter.clone() },
            FeedFilter { types_any_case: vec!["APP.created".into()], ..filter.clone() },
            FeedFilter { sources_any_case: vec!["https://x.no/a".into()], ..filter.clone() },
            FeedFilter { types_any_case: vec!["blåbær".into()], ..filter.clone() },
            FeedFilter { from: Some(event::Micros(i64::MAX)), ..filter },
        ] {
            assert!(may_match(&perhaps, &event(), Some("/party/1")), "{perhaps:?}");
        }
    }
}
