//! Events about sub-units, for subscriptions that include them (contract §6.5).
//!
//! Register is asked beside the match, many at once, and the answers come in the order of the events. An event that waits for its
//! answer holds its own record only; without an answer Register is asked again, because no answer never means "no main unit".

use access::Access;
use event::{
    Event,
    subject::{self, PartyNumber},
};
use futures::{StreamExt, stream::FuturesOrdered};
use service::prometheus::IntGauge;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::append::Backoff;

/// Events whose main units are asked for at the same time.
const AT_ONCE: usize = 32;

/// The number of the organisation that an event is about, which may be a sub-unit: as its subject, or beside a party id.
pub(crate) fn unit_of(event: &Event) -> Option<String> {
    let subject = event.subject()?;
    let number = match organisation_number(subject) {
        Some(number) => number,
        None => subject::party_id(subject).and_then(|_| organisation_number(event.alternative_subject()?))?,
    };
    Some(number.to_owned())
}

fn organisation_number(text: &str) -> Option<&str> {
    match subject::party_number(text)? {
        PartyNumber::Organisation(number) => Some(number),
        PartyNumber::Person(_) => None,
    }
}

/// An event whose main unit is asked for.
pub(crate) struct Asked<T> {
    /// The number of the organisation that it is about.
    pub(crate) unit: String,
    /// The event.
    pub(crate) event: T,
}

/// An event whose main unit is known.
pub(crate) struct Answered<T> {
    /// The main unit's canonical subject; nothing when the event is about no sub-unit.
    pub(crate) main_unit: Option<String>,
    /// The event.
    pub(crate) event: T,
}

/// Answers in the order of the questions, until both ends are closed.
///
/// The queues have no bound of their own: what is in them is unsettled, so the budget of the loop bounds it.
pub(crate) async fn ask_all<T>(
    access: &Access,
    mut asked: UnboundedReceiver<Asked<T>>,
    answers: UnboundedSender<Answered<T>>,
    waiting: &IntGauge,
) {
    let mut in_hand = FuturesOrdered::new();
    loop {
        tokio::select! {
            biased;
            Some(answered) = in_hand.next() => {
                waiting.dec();
                if answers.send(answered).is_err() {
                    return;
                }
            }
            Some(asked) = asked.recv(), if in_hand.len() < AT_ONCE => in_hand.push_back(ask(access, asked)),
            else => return,
        }
    }
}

async fn ask<T>(access: &Access, Asked { unit, event }: Asked<T>) -> Answered<T> {
    let mut backoff = Backoff::new();
    loop {
        match access.main_unit_of(&unit).await {
            Ok(main) => return Answered { main_unit: main.map(|party| format!("/party/{party}")), event },
            Err(error) => tracing::debug!(%error, "a main unit is asked for again"),
        }
        backoff.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use access::AccessSettings;
    use local_altinn::{LocalAltinn, Mode};
    use tokio::sync::mpsc;

    use super::*;

    async fn platform() -> (LocalAltinn, Access) {
        let local = local_altinn::start(local_altinn::Options::default()).await.unwrap();
        let access = Access::new(&AccessSettings::local(&local.base_url)).unwrap();
        (local, access)
    }

    #[tokio::test]
    async fn an_answer_that_is_known_does_not_overtake_one_that_is_waited_for() {
        let (local, access) = platform().await;
        access.main_unit_of("314000110").await.unwrap();
        local.register().set(Mode::Fail(500));
        let (ask, asked) = mpsc::unbounded_channel();
        let (answer, mut answered) = mpsc::unbounded_channel();
        for (event, number) in ["312601931", "314000110", "999999999"].into_iter().enumerate() {
            assert!(ask.send(Asked { unit: number.to_owned(), event }).is_ok());
        }
        drop(ask);
        let waiting = IntGauge::new("waiting", "waiting").unwrap();
        waiting.set(3);
        let mend = async {
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            assert!(answered.is_empty() && local.register().requests() > 1);
            local.register().set(Mode::Answer);
            let mut found = Vec::new();
            while let Some(Answered { main_unit, event }) = answered.recv().await {
                found.push((event, main_unit));
            }
            found
        };
        let ((), found) = tokio::join!(ask_all(&access, asked, answer, &waiting), mend);
        let party = |id: &str| Some(format!("/party/{id}"));
        assert_eq!(found, [(0, party("51000002")), (1, party("50000003")), (2, None)]);
        assert_eq!(waiting.get(), 0);
    }

    fn unit(subject: &str, alternative: &str) -> Option<String> {
        let json = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","resource":"urn:altinn:resource:x","subject":"{subject}","alternativesubject":"{alternative}"}}"#
        );
        unit_of(&Event::parse(json.as_bytes()).unwrap())
    }

    #[test]
    fn only_events_that_name_an_organisation_by_number_are_about_a_unit() {
        let (urn, organisation) =
            ("urn:altinn:organization:identifier-no:312601931", "/organisation/312601931");
        let number = Some("312601931".to_owned());
        for (subject, alternative) in [
            (urn, ""),
            (organisation, ""),
            ("/party/1", urn),
            ("party/1", organisation),
            ("/party/1", "/org/312601931"),
        ] {
            assert_eq!(unit(subject, alternative), number, "{subject} {alternative}");
        }
        for (subject, alternative) in [
            ("/party/1", ""),
            ("/party/1", "/person/02857010054"),
            ("/party/1", "/org/ttd"),
            ("/party/x", organisation),
            ("urn:altinn:person:identifier-no:02857010054", organisation),
            ("urn:altinn:organization:identifier-no:1", organisation),
            ("free text", organisation),
        ] {
            assert_eq!(unit(subject, alternative), None, "{subject} {alternative}");
        }
    }
}
