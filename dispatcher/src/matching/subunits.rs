//! Events about sub-units, for subscriptions that include them (contract §6.5).
//!
//! Register is asked beside the match, many at once, and the answers come in the order of the events. An event waits for its answer
//! for a moment only; without one the undecided part of it goes to a tier (`crate::matching::undecided`), because no answer never means "no
//! main unit".

use std::time::Duration;

use access::Access;
use event::{
    Event,
    subject::{self, PartyNumber},
};
use futures::{StreamExt, stream::FuturesOrdered};
use tokio::sync::{
    Semaphore,
    mpsc::{UnboundedReceiver, UnboundedSender},
};

use crate::append::Backoff;

/// Questions that are asked at the same time.
const AT_ONCE: usize = 32;
/// How long an event waits for its answer.
const HELD_FOR: Duration = Duration::from_secs(2);
/// Events that wait at the same time while Register answers; while it does not, no further one waits.
pub(crate) const HELD_MAX: usize = 512;

/// The subject whose main unit an event may be about: its own, in canonical form, when that is an organisation's number, or a
/// party that the alternative subject says is an organisation. Of the alternative subject only that counts: its number may be
/// another party's.
pub(crate) fn unit_of(event: &Event, canonical: Option<&str>) -> Option<String> {
    let subject = event.subject()?;
    let is_unit = is_organisation(subject)
        || (subject::party_id(subject).is_some()
            && event.alternative_subject().is_some_and(names_organisation));
    if !is_unit {
        return None;
    }
    Some(canonical.map_or_else(|| subject::canonical(subject), str::to_owned))
}

fn is_organisation(text: &str) -> bool {
    matches!(subject::party_number(text), Some(PartyNumber::Organisation(_)))
}

fn names_organisation(alternative: &str) -> bool {
    let text = alternative.to_ascii_lowercase();
    ["/org/", "/organisation/", "/organization/"].iter().any(|prefix| text.starts_with(prefix))
        || is_organisation(&text)
}

/// An event whose main unit is asked for.
pub(crate) struct Asked<T> {
    /// The subject whose main unit it is.
    pub(crate) unit: String,
    /// The event.
    pub(crate) event: T,
}

/// What came of it.
pub(crate) struct Answered<T> {
    /// The main unit's canonical subject; nothing when the event is about no sub-unit.
    pub(crate) main_unit: Result<Option<String>, NoAnswer>,
    /// The event.
    pub(crate) event: T,
}

/// Register has not told the main unit of this subject in time.
pub(crate) struct NoAnswer {
    pub(crate) unit: String,
}

/// Answers in the order of the questions, until both ends are closed. Who asks bounds how many wait ([`HELD_MAX`]).
pub(crate) async fn ask_all<T>(
    access: &Access,
    mut asked: UnboundedReceiver<Asked<T>>,
    answers: UnboundedSender<Answered<T>>,
) {
    let permits = Semaphore::new(AT_ONCE);
    let mut in_hand = FuturesOrdered::new();
    loop {
        tokio::select! {
            biased;
            Some(answered) = in_hand.next() => {
                if answers.send(answered).is_err() {
                    return;
                }
            }
            Some(asked) = asked.recv() => in_hand.push_back(ask(access, &permits, asked)),
            else => return,
        }
    }
}

async fn ask<T>(access: &Access, permits: &Semaphore, Asked { unit, event }: Asked<T>) -> Answered<T> {
    let answer = tokio::time::timeout(HELD_FOR, told(access, permits, &unit)).await;
    let main_unit = answer.map_err(|_| NoAnswer { unit });
    Answered { main_unit, event }
}

/// Asks until there is an answer.
async fn told(access: &Access, permits: &Semaphore, unit: &str) -> Option<String> {
    let mut backoff = Backoff::new();
    loop {
        let permit = permits.acquire().await;
        match access.main_unit_of(unit).await {
            Ok(main) => return main.map(|party| format!("/party/{party}")),
            Err(error) => tracing::debug!(%error, "a main unit is asked for again"),
        }
        drop(permit);
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
        access.main_unit_of("/party/50000004").await.unwrap();
        local.register().set(Mode::Fail(500));
        let (ask, asked) = mpsc::unbounded_channel();
        let (answer, mut answered) = mpsc::unbounded_channel();
        for (event, party) in [51_000_003, 50_000_004, 999].into_iter().enumerate() {
            assert!(ask.send(Asked { unit: format!("/party/{party}"), event }).is_ok());
        }
        drop(ask);
        let mend = async {
            while local.register().requests() < 3 {
                tokio::task::yield_now().await;
            }
            assert!(answered.is_empty());
            local.register().set(Mode::Answer);
            let mut found = Vec::new();
            while let Some(Answered { main_unit, event }) = answered.recv().await {
                found.push((event, main_unit.ok().expect("Register answers within the time")));
            }
            found
        };
        let ((), found) = tokio::join!(ask_all(&access, asked, answer), mend);
        let party = |id: &str| Some(format!("/party/{id}"));
        assert_eq!(found, [(0, party("51000002")), (1, party("50000003")), (2, None)]);
    }

    #[tokio::test]
    async fn without_an_answer_the_wait_ends() {
        let (local, access) = platform().await;
        local.register().set(Mode::Hang);
        let (ask, asked) = mpsc::unbounded_channel();
        let (answer, mut answered) = mpsc::unbounded_channel();
        for event in 0..3 * AT_ONCE {
            assert!(ask.send(Asked { unit: format!("/party/{event}"), event }).is_ok());
        }
        drop(ask);
        ask_all(&access, asked, answer).await;
        for event in 0..3 * AT_ONCE {
            let told = answered.recv().await.unwrap();
            assert_eq!(told.event, event);
            assert!(told.main_unit.is_err_and(|none| none.unit == format!("/party/{event}")));
        }
    }

    fn unit(subject: &str, alternative: &str) -> Option<String> {
        let json = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","resource":"urn:altinn:resource:x","subject":"{subject}","alternativesubject":"{alternative}"}}"#
        );
        unit_of(&Event::parse(json.as_bytes()).unwrap(), None)
    }

    #[test]
    fn the_main_unit_is_that_of_the_subject_and_never_that_of_the_alternative_subject() {
        let (urn, organisation) =
            ("urn:altinn:organization:identifier-no:312601931", "/organisation/312601931");
        for alternative in [urn, organisation, "/org/312601931", "/org/testorg", "/Organization/x"] {
            assert_eq!(unit("/party/1", alternative).as_deref(), Some("/party/1"), "{alternative}");
            assert_eq!(unit("party/1", alternative).as_deref(), Some("/party/1"), "{alternative}");
        }
        assert_eq!(unit(urn, "").as_deref(), Some(urn));
        assert_eq!(unit(organisation, "/person/02857010054").as_deref(), Some(organisation));
        for (subject, alternative) in [
            ("/party/1", ""),
            ("/party/1", "/person/02857010054"),
            ("/party/1", "testorg"),
            ("/party/x", organisation),
            ("urn:altinn:person:identifier-no:02857010054", organisation),
            ("urn:altinn:organization:identifier-no:1", organisation),
            ("free text", organisation),
        ] {
            assert_eq!(unit(subject, alternative), None, "{subject} {alternative}");
        }
    }

    #[test]
    fn a_number_that_register_resolved_is_asked_by_its_party() {
        let json = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","resource":"urn:altinn:resource:x","subject":"/organisation/312601931"}"#;
        let event = Event::parse(json).unwrap();
        assert_eq!(unit_of(&event, Some("/party/51000003")).as_deref(), Some("/party/51000003"));
    }
}
