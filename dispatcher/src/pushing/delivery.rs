//! A delivery in hand: read from a record, written to the next one.

use std::time::Duration;

use access::{Question, question};
use bytes::Bytes;
use event::{
    AttemptOutcome, AttemptRecord, DeliveryHeaders, DeliveryKind, Event, HeaderError, Micros,
    topics::{self, TIERS},
};
use kafka_loop::{Record, Settle};
use serde::Deserialize;

use crate::{
    append::{self, OwnedRecord},
    caught::{self, caught},
    config::LIGHTEST,
    pushing::{
        outcome::{Ended, Ladder, Next, PutBack, Verdict},
        settled::InHand,
    },
};

/// A delivery, and the hold on its record.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Its state, as the record's headers tell it.
    pub(crate) headers: DeliveryHeaders,
    /// The event, as it is stored.
    pub(crate) body: Bytes,
    key: Bytes,
    about: About,
    /// Until the question about it is built.
    event: Option<Event>,
    readable: bool,
    hand: InHand<Settle>,
}

/// What the delivery log says of the event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct About {
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    resource: String,
}

/// One try and its consequences, for the records that follow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Try<'a> {
    /// How it ended.
    pub(crate) ended: &'a Ended,
    /// What follows.
    pub(crate) verdict: &'a Verdict,
    /// How long the receiver took.
    pub(crate) took: Duration,
    /// When it ended.
    pub(crate) now: Micros,
}

/// What a try leaves on the log, in the order in which it must be acknowledged. The other way round an attempt could be taken for
/// settled whose retry never came to the log.
#[derive(Debug)]
pub(crate) struct Told {
    /// How it ended.
    pub(crate) outcome: AttemptOutcome,
    /// The delivery on its next topic, if it goes on.
    pub(crate) next: Option<OwnedRecord>,
    /// What happened.
    pub(crate) attempt: Option<OwnedRecord>,
}

/// Reads the headers of a record.
///
/// # Errors
/// [`HeaderError`] when they are not those of a delivery.
pub(crate) fn headers_of(record: &Record) -> Result<DeliveryHeaders, HeaderError> {
    DeliveryHeaders::from_pairs(record.header_pairs())
}

/// The record with which something that is no delivery goes to the dead letters, as it came.
pub(crate) fn parked(key: Bytes, value: Bytes, reason: String) -> OwnedRecord {
    OwnedRecord { topic: topics::DEAD, key, value, headers: append::headers(vec![("reason", reason)]) }
}

impl Delivery {
    /// Opens a record whose headers were read.
    pub(crate) fn open(headers: DeliveryHeaders, record: Record, hand: InHand<Settle>) -> Self {
        let body = Bytes::from(record.value.unwrap_or_default());
        let read = caught(|| match headers.kind {
            DeliveryKind::Event => Event::stored(&body).ok().map(|event| (About::of(&event), Some(event))),
            DeliveryKind::Validation => serde_json::from_slice(&body).ok().map(|about| (about, None)),
        });
        let read = read.unwrap_or_default();
        let readable = read.is_some();
        let (about, event) = read.unwrap_or_default();
        Self { headers, body, key: Bytes::from(record.key), about, event, readable, hand }
    }

    /// Whether its event could be read.
    pub(crate) fn is_readable(&self) -> bool {
        self.readable
    }

    /// The question whether a consumer may receive it; none for a validation, whose subscription was checked when it was made.
    /// Can be asked for once: the event is let go, so that what waits stays small.
    pub(crate) fn take_question(&mut self, consumer: &str) -> Option<Question> {
        self.event.take().map(|event| question::push(consumer, &event))
    }

    /// Whether it comes back from a tier because its endpoint's lane was full.
    pub(crate) fn had_no_room(&self) -> bool {
        let full = text_of(&Ended::PutBack(PutBack::QueueFull { tier: 0 }));
        self.headers.put_backs > 0 && self.headers.last_outcome.as_ref() == Some(&full)
    }

    /// Its size in memory, roughly, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.body.len() + self.key.len() + LIGHTEST
    }

    /// What is told when not even its own records could be made.
    pub(crate) fn parked(&self) -> Told {
        let next = Some(parked(self.key.clone(), self.body.clone(), caught::REASON.to_owned()));
        Told { outcome: AttemptOutcome::Dead, next, attempt: None }
    }

    /// The records that a try leaves. Of put backs only the first of a delivery is told: it is no attempt.
    pub(crate) fn records(&self, done: Try<'_>, ladder: Ladder) -> Told {
        let next = match &done.verdict.next {
            Next::Nowhere => None,
            Next::Tier(tier) => TIERS.get(*tier).map(|(topic, _)| self.next_record(topic, done, None)),
            Next::Dead(reason) => Some(self.next_record(topics::DEAD, done, Some(reason))),
        };
        let is_again = done.verdict.outcome == AttemptOutcome::PutBack && self.headers.put_backs > 0;
        let attempt = (!is_again).then(|| self.attempt_record(done, ladder));
        Told { outcome: done.verdict.outcome, next, attempt }
    }

    fn next_record(&self, topic: &'static str, done: Try<'_>, reason: Option<&String>) -> OwnedRecord {
        let was_tried = done.verdict.made > self.headers.attempt;
        let was_put_back = done.verdict.outcome == AttemptOutcome::PutBack;
        let headers = DeliveryHeaders {
            attempt: done.verdict.made,
            put_backs: self.headers.put_backs.saturating_add(u32::from(was_put_back)),
            first_failure: self.headers.first_failure.or(was_tried.then_some(done.now)),
            last_outcome: Some(text_of(done.ended)),
            reason: reason.cloned(),
            ..self.headers.clone()
        };
        let headers = append::headers(headers.to_pairs());
        OwnedRecord { topic, key: self.key.clone(), value: self.body.clone(), headers }
    }

    fn attempt_record(&self, done: Try<'_>, ladder: Ladder) -> OwnedRecord {
        let next_due = match done.verdict.next {
            Next::Tier(tier) => Some(done.now.plus(ladder.delay(tier)).to_rfc3339()),
            Next::Nowhere | Next::Dead(_) => None,
        };
        let (status, detail) = match done.ended {
            Ended::Answered { status: status @ 200..=299, .. } => (Some(*status), None),
            Ended::Answered { status, .. } => (Some(*status), Some(text_of(done.ended))),
            Ended::Unanswered(_)
            | Ended::Skipped
            | Ended::PutBack(_)
            | Ended::Dropped(_)
            | Ended::Unreadable(_)
            | Ended::Fault => (None, Some(text_of(done.ended))),
        };
        let mut record = AttemptRecord {
            delivery: self.headers.delivery.to_string(),
            subscription: self.headers.subscription.0,
            mark: self.headers.mark.map(|mark| mark.to_string()),
            endpoint_revision: self.headers.endpoint_revision,
            kind: self.headers.kind,
            event_id: self.about.id.clone(),
            event_source: self.about.source.clone(),
            event_type: self.about.kind.clone(),
            resource: self.about.resource.clone(),
            attempt: done.verdict.attempt,
            outcome: done.verdict.outcome,
            status,
            duration_ms: u32::try_from(done.took.as_millis()).unwrap_or(u32::MAX),
            at: done.now.to_rfc3339(),
            next_due,
            detail,
        };
        if !done.ended.tells_the_event() {
            record.hide_event();
        }
        let value = serde_json::to_vec(&record).expect("a record of texts and numbers is JSON");
        OwnedRecord {
            topic: topics::ATTEMPTS,
            key: Bytes::from(self.headers.subscription.to_string()),
            value: Bytes::from(value),
            headers: Vec::new(),
        }
    }

    /// Whether something may still be started for it; see [`InHand::is_held`].
    pub(crate) fn is_held(&mut self) -> bool {
        self.hand.is_held(Settle::is_held)
    }

    /// It is about to be put back; see [`InHand::release`].
    pub(crate) fn release(&mut self) {
        self.hand.release();
    }

    /// Its record, and every copy of it that came meanwhile, is finished. `remember`: see [`InHand::done`].
    pub(crate) fn settle(self, remember: bool) {
        self.hand.done(remember, Settle::done);
    }
}

impl About {
    fn of(event: &Event) -> Self {
        Self {
            id: event.id().to_owned(),
            source: event.source().to_owned(),
            kind: event.event_type().to_owned(),
            resource: event.resource().to_owned(),
        }
    }
}

/// How a try ended, in words without anything the receiver wrote.
fn text_of(ended: &Ended) -> String {
    match ended {
        Ended::Answered { status, .. } => format!("answered {status}"),
        Ended::Unanswered(why) => why.clone(),
        Ended::Skipped => "skipped: the endpoint keeps failing".to_owned(),
        Ended::PutBack(why) => format!("put back: {}", why.text()),
        Ended::Dropped(why) => why.text().to_owned(),
        Ended::Unreadable(why) => format!("unreadable: {why}"),
        Ended::Fault => caught::REASON.to_owned(),
    }
}
