//! Events and subscriptions like those of production: about 420 bytes an event, one party each.

use event::{DeliveryHeaders, DeliveryId, Event, Micros, Subscription};

/// The resource of the app whose events the feeds hold.
pub(crate) const APP: &str = "urn:altinn:resource:app_ttd_apps-test";
/// The resource of everything else.
pub(crate) const GENERIC: &str = platform_tests::world::RESOURCE;
/// The type of all of them.
pub(crate) const TYPE: &str = "app.instance.process.completed";
/// What parties are numbered from.
pub(crate) const FIRST_PARTY: usize = 50_000_000;
/// Events of one instance of the app. Generic events have one source a party: rights are asked for once a source, and what that
/// costs is in rows of its own.
const PER_INSTANCE: usize = 4;

/// An event about a party. `run` tells the ids of different rounds apart.
pub(crate) fn json(resource: &str, run: &str, number: usize, party: usize) -> String {
    let instance = if resource == APP { number / PER_INSTANCE } else { party };
    let instance = format!("6fb3f738-6800-4f29-9f3e-{instance:012x}");
    let party = FIRST_PARTY + party;
    format!(
        r#"{{"specversion":"1.0","id":"{run}-{number:010}","source":"https://ttd.apps.altinn.no/ttd/apps-test/instances/{party}/{instance}","type":"{TYPE}","subject":"/party/{party}","time":"2026-03-01T12:00:00.123456Z","resource":"{resource}","data":{{"instance":"{party}/{instance}","task":"Task_1","amount":1250.50}}}}"#
    )
}

/// The same, read.
pub(crate) fn event(resource: &str, run: &str, number: usize, party: usize) -> anyhow::Result<Event> {
    Event::parse(json(resource, run, number, party).as_bytes()).map_err(|wrong| anyhow::anyhow!("{wrong}"))
}

/// The number in an event's id, wherever in a text it stands first.
pub(crate) fn number_in(json: &str, run: &str) -> Option<usize> {
    let after = json.split_once("\"id\":\"")?.1.strip_prefix(run)?.strip_prefix('-')?;
    after.get(..10)?.parse().ok()
}

/// The headers of the delivery of an event to a subscription.
pub(crate) fn delivery(subscription: &Subscription, event: &Event) -> DeliveryHeaders {
    DeliveryHeaders::first(subscription, DeliveryId::of(subscription.id, event.identity()), Micros::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_are_valid_and_of_the_stated_size() {
        let event = event(APP, "round1", 1_234, 7).unwrap();
        assert_eq!(event.subject(), Some("/party/50000007"));
        assert!((400..480).contains(&event.json().len()), "{} bytes", event.json().len());
    }

    #[test]
    fn the_number_is_found_again_in_the_own_run_alone() {
        let json = json(GENERIC, "a", 77, 1);
        assert_eq!(number_in(&json, "a"), Some(77));
        assert_eq!(number_in(&json, "b"), None);
    }
}
