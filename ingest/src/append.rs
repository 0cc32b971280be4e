//! The events of a request to the log, all in flight together; done when every one is acknowledged by all in-sync replicas.

use std::time::Duration;

use event::{Event, media, topics};
use kafka_loop::{Ack, AppendError, Outgoing, Producer};

use crate::{error::Refusal, parties::Place};

/// Appends the events in their order and waits for the log, at most `wait`. After an error some of them may be on the log;
/// publishing them again is harmless.
pub(crate) async fn append(
    producer: &Producer,
    events: &[Event],
    places: &[Place],
    wait: Duration,
) -> Result<(), Refusal> {
    let acks = events.iter().zip(places).map(|(event, place)| enqueue(producer, event, place));
    let acks: Vec<Ack> = acks.collect::<Result<_, _>>().map_err(Refusal::Log)?;
    let all = async {
        for ack in acks {
            ack.await?;
        }
        Ok(())
    };
    let appended = tokio::time::timeout(wait, all).await.unwrap_or(Err(AppendError::Timeout));
    if let Err(error) = &appended {
        tracing::warn!(%error, events = events.len(), "events were not acknowledged");
    }
    appended.map_err(Refusal::Log)
}

fn enqueue(producer: &Producer, event: &Event, place: &Place) -> Result<Ack, AppendError> {
    let content_type: (&str, &[u8]) = ("content-type", media::EVENT.as_bytes());
    let with_subject;
    let headers: &[(&str, &[u8])] = match &place.subject {
        Some(subject) => {
            with_subject = [content_type, ("subject", subject.as_bytes())];
            &with_subject
        }
        None => &[content_type],
    };
    producer.enqueue(Outgoing {
        topic: topics::EVENTS,
        partition: None,
        key: place.key.as_bytes(),
        value: event.json().as_bytes(),
        headers,
    })
}
