//! What the records of each topic become: events, attempts with the outcome of validations, dead letters.

use event::{AttemptRecord, DeliveryHeaders, Micros, Proof, SubscriptionId, topics};
use kafka_loop::Record;
use store::{Advance, AttemptRow, DeadRow, NewEvent, Refusal, Store, StoreError};

use crate::{
    decode::{self, Reject},
    metrics::Metrics,
    projection::Kind,
};

/// Conflicts of a batch that are told one by one; all of them are counted.
const CONFLICTS_TOLD: usize = 20;

/// `events` becomes the feed.
#[derive(Debug)]
pub struct Events;

impl Kind for Events {
    const TOPIC: &'static str = topics::EVENTS;
    type Row = NewEvent;

    fn row(record: &Record) -> Result<Option<NewEvent>, Reject> {
        decode::event(record).map(Some)
    }

    async fn write(
        store: &Store,
        metrics: &Metrics,
        rows: &[NewEvent],
        steps: &[Advance],
    ) -> Result<(), StoreError> {
        let outcome = store.write_batch(Self::TOPIC, rows, steps).await?;
        metrics.stored.inc_by(outcome.stored);
        metrics.repeated.inc_by(outcome.repeated);
        metrics.conflicting.inc_by(u64::try_from(outcome.conflicts.len()).unwrap_or(u64::MAX));
        for conflict in outcome.conflicts.iter().take(CONFLICTS_TOLD) {
            tracing::warn!(
                kept.partition = conflict.kept.0,
                kept.offset = conflict.kept.1,
                dropped.partition = conflict.dropped.0,
                dropped.offset = conflict.dropped.1,
                "an event was published again with other content; the first one is kept"
            );
        }
        metrics.head.set(outcome.head);
        if outcome.leapt {
            tracing::warn!(
                feed.head = outcome.head,
                "the database has a new timeline; readers may see events again"
            );
        }
        Ok(())
    }
}

/// `delivery-attempts` becomes the delivery log, and says which subscriptions are validated, and which are refused.
#[derive(Debug)]
pub struct Attempts;

/// An attempt beside what it says about its subscription.
#[derive(Clone, Debug)]
pub struct Attempt {
    row: AttemptRow,
    proof: Option<Proof>,
    refusal: Option<Refusal>,
}

impl Kind for Attempts {
    const TOPIC: &'static str = topics::ATTEMPTS;
    type Row = Attempt;

    fn row(record: &Record) -> Result<Option<Attempt>, Reject> {
        let text = std::str::from_utf8(decode::value(record)?).map_err(Reject::undecodable)?;
        let attempt: AttemptRecord = serde_json::from_str(text).map_err(Reject::undecodable)?;
        let row = AttemptRow {
            at: Micros::parse_rfc3339(&attempt.at).unwrap_or(Micros::from_millis(record.timestamp_ms)),
            subscription: SubscriptionId(attempt.subscription),
            mark: attempt.subscription_mark(),
            kafka_partition: record.partition,
            kafka_offset: record.offset,
            record: text.to_owned(),
        };
        let refusal = attempt.refusal().map(|reason| Refusal {
            subscription: row.subscription,
            mark: row.mark,
            at: row.at,
            reason: reason.to_owned(),
        });
        Ok(Some(Attempt { row, proof: attempt.proof(), refusal }))
    }

    async fn write(
        store: &Store,
        metrics: &Metrics,
        rows: &[Attempt],
        steps: &[Advance],
    ) -> Result<(), StoreError> {
        // Before the position moves: validating twice changes nothing, missing it would.
        for proof in rows.iter().filter_map(|attempt| attempt.proof) {
            if store.set_validated(proof).await?.is_some() {
                metrics.validated.inc();
            }
        }
        let refusals: Vec<Refusal> = rows.iter().filter_map(|attempt| attempt.refusal.clone()).collect();
        if !refusals.is_empty() {
            store.note_refusals(&refusals).await?;
        }
        let rows: Vec<AttemptRow> = rows.iter().map(|attempt| attempt.row.clone()).collect();
        store.write_attempts(Self::TOPIC, &rows, steps).await?;
        metrics.attempts.inc_by(u64::try_from(rows.len()).unwrap_or(0));
        Ok(())
    }
}

/// `deliveries.dead` becomes the dead letters that their owners see.
#[derive(Debug)]
pub struct Dead;

impl Kind for Dead {
    const TOPIC: &'static str = topics::DEAD;
    type Row = DeadRow;

    fn row(record: &Record) -> Result<Option<DeadRow>, Reject> {
        let headers = match DeliveryHeaders::from_pairs(record.header_pairs()) {
            Ok(headers) => headers,
            // The dispatcher has parked it here because it is no delivery (`schemas/records.md`): it has no owner to show it to.
            Err(_) if record.header("reason").is_some() => return Ok(None),
            Err(wrong) => return Err(Reject::undecodable(wrong)),
        };
        let event = std::str::from_utf8(decode::value(record)?).map_err(Reject::undecodable)?;
        Ok(Some(DeadRow {
            at: Micros::from_millis(record.timestamp_ms),
            subscription: headers.subscription,
            mark: headers.mark,
            delivery: headers.delivery,
            reason: headers.reason.unwrap_or_default(),
            attempts: i32::from(headers.attempt),
            kafka_partition: record.partition,
            kafka_offset: record.offset,
            event: event.to_owned(),
        }))
    }

    async fn write(
        store: &Store,
        metrics: &Metrics,
        rows: &[DeadRow],
        steps: &[Advance],
    ) -> Result<(), StoreError> {
        store.write_dead(Self::TOPIC, rows, steps).await?;
        metrics.dead_letters.inc_by(u64::try_from(rows.len()).unwrap_or(0));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use event::SubscriptionMark;

    use super::*;
    use crate::decode::Reason;

    fn record(value: &str, headers: &[(&str, &str)]) -> Record {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
        Record {
            topic: "any".into(),
            partition: 1,
            offset: 2,
            timestamp_ms: 1_700_000_000_000,
            key: Vec::new(),
            value: Some(value.as_bytes().to_vec()),
            headers: headers.iter().map(own).collect(),
        }
    }

    fn attempt(kind: &str, outcome: &str, at: &str) -> Attempt {
        attempt_of(r#""mark":"00000000000000000000000000000009","endpointRevision":3,"#, kind, outcome, at)
    }

    fn attempt_of(members: &str, kind: &str, outcome: &str, at: &str) -> Attempt {
        let json = format!(
            r#"{{"delivery":"00","subscription":7,{members}"kind":"{kind}","eventId":"1","eventSource":"s","eventType":"t","resource":"r","attempt":1,"outcome":"{outcome}","durationMs":5,"at":"{at}"}}"#
        );
        Attempts::row(&record(&json, &[])).unwrap().unwrap()
    }

    #[test]
    fn only_a_delivered_validation_validates() {
        let at = "2026-01-02T03:04:05Z";
        let proof =
            Proof { subscription: SubscriptionId(7), mark: SubscriptionMark(9), endpoint_revision: 3 };
        assert_eq!(attempt("validation", "delivered", at).proof, Some(proof));
        assert_eq!(attempt("validation", "failed", at).proof, None);
        assert_eq!(attempt("event", "delivered", at).proof, None);
        // From before there were marks: it may be about another subscription by now.
        assert_eq!(attempt_of("", "validation", "delivered", at).proof, None);
    }

    #[test]
    fn only_a_dropped_event_that_is_not_permitted_is_a_refusal() {
        let at = "2026-01-02T03:04:05Z";
        let with = |outcome: &str, detail: &str| {
            let json = format!(
                r#"{{"delivery":"00","subscription":7,"kind":"event","resource":"r","attempt":0,"outcome":"{outcome}","durationMs":0,"at":"{at}","detail":"{detail}"}}"#
            );
            Attempts::row(&record(&json, &[])).unwrap().unwrap().refusal
        };
        let refusal = with("dropped", "not-permitted").unwrap();
        assert_eq!((refusal.at.to_rfc3339().as_str(), refusal.reason.as_str()), (at, "not-permitted"));
        assert_eq!(with("dropped", "subscription-gone"), None);
        assert_eq!(with("put-back", "not-permitted"), None);
        assert_eq!(attempt("event", "dropped", at).refusal, None);
    }

    #[test]
    fn an_attempt_without_a_readable_time_gets_the_time_of_its_record() {
        assert_eq!(
            attempt("event", "failed", "2026-01-02T03:04:05Z").row.at.to_rfc3339(),
            "2026-01-02T03:04:05Z"
        );
        assert_eq!(attempt("event", "failed", "soon").row.at, Micros::from_millis(1_700_000_000_000));
    }

    #[test]
    fn a_dead_letter_without_an_owner_is_no_row_and_no_reject() {
        assert!(matches!(Dead::row(&record("x", &[("reason", "not a delivery")])), Ok(None)));
        let reject = Dead::row(&record("x", &[])).map(|_| ()).unwrap_err();
        assert_eq!(reject.reason, Reason::Undecodable);
        assert!(reject.detail.contains("kind"), "{}", reject.detail);
    }
}
