//! Matching against a million subscriptions in memory, each with a party, an endpoint and a consumer of its own.

use std::{hint::black_box, time::Instant};

use dispatcher::index::Index;
use event::{Event, Micros, Subscription, SubscriptionId, SubscriptionMark};

use super::ROUNDS;
use crate::{
    report::{Aim, Row},
    sample::{self, FIRST_PARTY},
};

const SUBSCRIPTIONS: usize = 1_000_000;
const EVENTS: usize = 20_000;
const TURNS: usize = 10;
/// Far apart in the table, so that no event finds its slot warm from the one before.
const STRIDE: usize = 7_919;

pub(super) fn measure() -> anyhow::Result<Vec<Row>> {
    let mut index = Index::new();
    for number in 0..SUBSCRIPTIONS {
        index.apply(subscription(number)?);
    }
    let events: Vec<Event> = (0..EVENTS)
        .map(|number| sample::event(sample::APP, "m", number, number * STRIDE % SUBSCRIPTIONS))
        .collect::<Result<_, _>>()?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let mut found = 0;
        for _ in 0..TURNS {
            for event in &events {
                let subject = event.canonical_subject();
                found += black_box(index.matches(black_box(event), subject.as_deref())).len();
            }
        }
        rounds.push(started.elapsed().as_secs_f64() * 1e6 / (EVENTS * TURNS) as f64);
        anyhow::ensure!(found == EVENTS * TURNS, "{found} matches instead of one an event");
    }
    let megabytes = index.bytes() as f64 / 1e6;
    Ok(vec![
        Row::alone("match at 1 M subscriptions", "µs/event", &rounds).aim(Aim::AtMost(3.0)),
        Row::alone("index of 1 M subscriptions", "MB", &[megabytes]).aim(Aim::AtMost(400.0)),
    ])
}

fn subscription(number: usize) -> anyhow::Result<Subscription> {
    let id = i64::try_from(number)?;
    Ok(Subscription {
        id: SubscriptionId(id),
        position: id,
        mark: SubscriptionMark(7),
        endpoint: format!("https://receiver-{number}.example.com/altinn/events/hook?code=0123456789abcdef"),
        endpoint_revision: 1,
        source_filter: None,
        resource_filter: Some(sample::APP.to_owned()),
        subject_filter: Some(format!("/party/{}", FIRST_PARTY + number)),
        subject_sent: None,
        type_filter: Some(sample::TYPE.to_owned()),
        include_subunits: false,
        consumer: format!("/organisation/{}", 910_000_000 + number),
        created_by: "/org/ttd".to_owned(),
        created: Micros(0),
        validated: true,
        validated_position: Some(1),
        paused: false,
        deleted: false,
    })
}
