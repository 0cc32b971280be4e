//! Out of order, with a budget: records are handed out as they come, finish in any order, and the committed position waits for
//! the oldest unfinished one.
//!
//! One thread owns the consumer and every ledger. Its turn: settled records in, rebalance reports in, commits out, then one
//! poll, or, with the budget used up, a wait for something to settle. Settling comes first so that a full budget can shrink;
//! polling comes last so that nothing is taken that the earlier steps would refuse.
//!
//! Bounds: [`Budget`] counts unfinished records and bytes in all, `per_partition` those of one partition. A short shortage
//! (≤ [`PATIENCE`]) is waited out without polling, because pausing throws away what was fetched ahead; a longer one pauses and
//! keeps polling, so that the group never expels us.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, mpsc as sync_mpsc},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    consumer::{CommitPoint, Member, Place, Report},
    error::{KafkaError, LoopError},
    ledger::Ledger,
    record::Record,
    settings::KafkaSettings,
    work::{Budget, LedgerLoop, LedgerOptions, Settle, Settled, Source, Work},
};

/// How long a used-up budget is waited out before the consumer is paused.
pub const PATIENCE: Duration = Duration::from_millis(200);
/// How often positions are committed while they move.
const COMMIT_EVERY: Duration = Duration::from_millis(20);
/// How long records in hand may take to settle after a stop.
const STOP_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// Opens a loop. Records come from [`LedgerLoop::records`] until `stop`; then it waits for those in hand, commits and leaves.
///
/// # Errors
/// [`KafkaError::Setup`] when the client or its thread cannot be set up.
pub fn open_ledger(
    settings: &KafkaSettings,
    options: LedgerOptions,
    stop: CancellationToken,
) -> Result<LedgerLoop, KafkaError> {
    let member = Member::new(settings, options.group)?;
    let names = match &options.source {
        Source::Group(topics) => topics.iter().map(|topic| settings.topic(topic)).collect(),
        Source::Follow { topic, .. } => vec![settings.topic(topic)],
    };
    if matches!(options.source, Source::Group(_)) {
        member.subscribe(&names)?;
    }
    let (out, records) = mpsc::channel(options.budget.records.max(1));
    let (assigned, assignment) = watch::channel(BTreeSet::new());
    let (end, ended) = oneshot::channel();
    let (settled_in, settled) = sync_mpsc::channel();
    let thread_name = options.group.to_owned();
    let mut state = LoopState {
        member,
        first_topic: names.first().cloned().unwrap_or_default(),
        options,
        stop,
        out: Some(out),
        assigned,
        settled,
        settled_in,
        places: Vec::new(),
        by_name: BTreeMap::new(),
        epoch: 0,
        in_hand: Budget { records: 0, bytes: 0 },
        last_commit: Instant::now(),
        advanced: Instant::now(),
        waiting_since: None,
    };
    std::thread::Builder::new()
        .name(thread_name)
        .spawn(move || {
            // The owner may be gone already; then nobody asks how it ended.
            end.send(state.run()).ok();
        })
        .map_err(|error| KafkaError::Setup(error.to_string()))?;
    Ok(LedgerLoop { records, assignment, ended })
}

struct PlaceState {
    place: Place,
    ledger: Option<Ledger>,
    epoch: u64,
    paused: bool,
    committed: Option<CommitPoint>,
    dirty: bool,
}

struct LoopState {
    member: Member,
    first_topic: String,
    options: LedgerOptions,
    stop: CancellationToken,
    out: Option<mpsc::Sender<Work>>,
    assigned: watch::Sender<BTreeSet<i32>>,
    settled: sync_mpsc::Receiver<Settled>,
    settled_in: sync_mpsc::Sender<Settled>,
    places: Vec<PlaceState>,
    by_name: BTreeMap<Place, usize>,
    epoch: u64,
    in_hand: Budget,
    last_commit: Instant,
    /// When a record was settled last, or nothing was in hand.
    advanced: Instant,
    waiting_since: Option<Instant>,
}

impl LoopState {
    fn run(&mut self) -> Result<(), LoopError> {
        while !self.stop.is_cancelled() {
            self.settle_all();
            self.still_advances()?;
            self.follow()?;
            self.on_reports()?;
            self.commit_if_due();
            if self.is_full() {
                self.wait_for_room()?;
            } else {
                self.go_on();
                self.take_some()?;
            }
        }
        self.finish()
    }

    fn is_full(&self) -> bool {
        self.in_hand.records >= self.options.budget.records || self.in_hand.bytes >= self.options.budget.bytes
    }

    fn still_advances(&mut self) -> Result<(), LoopError> {
        if self.in_hand.records == 0 {
            self.advanced = Instant::now();
        }
        let waited = self.advanced.elapsed();
        if self.options.stalled_after.is_some_and(|most| waited > most) {
            return Err(LoopError::Stalled { group: self.options.group, waited });
        }
        Ok(())
    }

    fn settle_all(&mut self) {
        while let Ok(settled) = self.settled.try_recv() {
            self.on_settled(&settled);
        }
    }

    fn on_settled(&mut self, settled: &Settled) {
        self.advanced = Instant::now();
        self.in_hand.records = self.in_hand.records.saturating_sub(1);
        self.in_hand.bytes = self.in_hand.bytes.saturating_sub(settled.weight);
        let Some(state) = self.places.get_mut(settled.place) else { return };
        if state.epoch != settled.epoch || !settled.done {
            return;
        }
        let Some(ledger) = &mut state.ledger else { return };
        ledger.settle(settled.offset);
        state.dirty = true;
        let low = self.options.per_partition.is_some_and(|most| ledger.unfinished() * 2 <= most);
        if state.paused && low {
            state.paused = false;
            self.member.set_paused(&state.place, false);
        }
    }

    /// The budget is used up: wait for something to settle; after a while pause, and keep serving callbacks.
    fn wait_for_room(&mut self) -> Result<(), LoopError> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        if let Ok(settled) = self.settled.recv_timeout(POLL) {
            self.on_settled(&settled);
        }
        if since.elapsed() > PATIENCE {
            self.member.pause_all();
            if let Some((place, record)) = self.poll(Duration::ZERO)? {
                self.hand_out(place, record);
            }
        }
        Ok(())
    }

    fn go_on(&mut self) {
        if self.waiting_since.take().is_some() {
            let (places, by_name) = (&self.places, &self.by_name);
            self.member.resume_all(|topic, partition| {
                let index = by_name.get(&(Arc::from(topic), partition));
                index.and_then(|index| places.get(*index)).is_some_and(|state| state.paused)
            });
        }
    }

    fn poll(&mut self, wait: Duration) -> Result<Option<(Place, Record)>, LoopError> {
        let polled = self.member.poll(wait)?;
        self.on_reports()?;
        Ok(polled)
    }

    fn take_some(&mut self) -> Result<(), LoopError> {
        let mut wait = POLL;
        for _ in 0..256 {
            let Some((place, record)) = self.poll(wait)? else { return Ok(()) };
            self.hand_out(place, record);
            if self.is_full() {
                return Ok(());
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn hand_out(&mut self, place: Place, record: Record) {
        let Some(index) = self.by_name.get(&place).copied() else { return };
        let Some(state) = self.places.get_mut(index) else { return };
        let Some(ledger) = &mut state.ledger else { return };
        if !ledger.take(record.offset, Instant::now()) {
            state.dirty = true;
            return;
        }
        let full = self.options.per_partition.is_some_and(|most| ledger.unfinished() >= most);
        if full && !state.paused {
            state.paused = true;
            self.member.set_paused(&state.place, true);
        }
        let weight = record.weight();
        self.in_hand.records += 1;
        self.in_hand.bytes += weight;
        let settle = Settle {
            place: index,
            offset: record.offset,
            epoch: state.epoch,
            weight,
            done: false,
            to: self.settled_in.clone(),
        };
        // A closed receiver drops the work unsettled; the stop that closed it comes next.
        if let Some(out) = &self.out
            && out.try_send(Work { record, settle }).is_err()
        {
            tracing::debug!(group = self.member.group, "a record came after its reader had gone");
        }
    }

    /// Takes note of partitions that came and went.
    fn on_reports(&mut self) -> Result<(), LoopError> {
        let reports = self.member.reports.take();
        if reports.is_empty() {
            return Ok(());
        }
        for report in reports {
            match report {
                Report::Assigned(places) => {
                    for (topic, partition, point) in self.member.committed(&places)? {
                        self.open_place((Arc::from(topic), partition), point);
                    }
                }
                Report::Revoked(places) => {
                    for (topic, partition) in places {
                        self.close_place(&(Arc::from(topic), partition));
                    }
                }
                Report::CommitFailed => self.forget_commits(),
            }
        }
        self.announce();
        Ok(())
    }

    fn open_place(&mut self, place: Place, point: CommitPoint) {
        self.epoch += 1;
        // The client keeps a pause from before the partition was taken away.
        self.member.set_paused(&place, false);
        let state = PlaceState {
            place: place.clone(),
            ledger: Some(Ledger::new(point.offset, &point.metadata)),
            epoch: self.epoch,
            paused: false,
            committed: Some(point),
            dirty: false,
        };
        match self.by_name.get(&place) {
            Some(index) => {
                if let Some(slot) = self.places.get_mut(*index) {
                    *slot = state;
                }
            }
            None => {
                self.by_name.insert(place, self.places.len());
                self.places.push(state);
            }
        }
    }

    fn close_place(&mut self, place: &Place) {
        self.member.reports.clear_commit(place);
        if let Some(state) = self.by_name.get(place).and_then(|index| self.places.get_mut(*index)) {
            state.ledger = None;
            state.paused = false;
        }
    }

    fn announce(&self) {
        let ours: BTreeSet<i32> = self
            .places
            .iter()
            .filter(|state| state.ledger.is_some() && *state.place.0 == *self.first_topic)
            .map(|state| state.place.1)
            .collect();
        self.assigned.send_if_modified(|now| {
            let changed = *now != ours;
            if changed {
                now.clone_from(&ours);
            }
            changed
        });
    }

    /// Follows the assignment of another loop.
    fn follow(&mut self) -> Result<(), LoopError> {
        let Source::Follow { partitions, .. } = &mut self.options.source else { return Ok(()) };
        if !partitions.has_changed().unwrap_or(false) && !self.places.is_empty() {
            return Ok(());
        }
        let wanted = partitions.borrow_and_update().clone();
        let topic: Arc<str> = Arc::from(self.first_topic.as_str());
        let ours: BTreeSet<i32> =
            self.places.iter().filter(|state| state.ledger.is_some()).map(|state| state.place.1).collect();
        let gone: BTreeSet<(String, i32)> =
            ours.difference(&wanted).map(|partition| (topic.to_string(), *partition)).collect();
        if !gone.is_empty() {
            self.commit_now();
            self.member.drop_places(&gone);
            for (_, partition) in &gone {
                self.close_place(&(Arc::clone(&topic), *partition));
            }
        }
        let new: Vec<(String, i32)> =
            wanted.difference(&ours).map(|partition| (topic.to_string(), *partition)).collect();
        if !new.is_empty() {
            let points = self.member.committed(&new)?;
            let starts: Vec<_> = points.iter().map(|(t, p, point)| (t.clone(), *p, point.offset)).collect();
            self.member.start_at(&starts, false)?;
            for (_, partition, point) in points {
                self.open_place((Arc::clone(&topic), partition), point);
            }
        }
        self.announce();
        Ok(())
    }

    fn commit_if_due(&mut self) {
        let due = self.last_commit.elapsed() >= COMMIT_EVERY && self.places.iter().any(|state| state.dirty);
        if due && !self.member.committer.is_busy() {
            let moved = self.moved();
            self.member.committer.begin(moved);
        }
    }

    fn commit_now(&mut self) {
        let moved = self.moved();
        if let Err(error) = self.member.committer.commit(&moved) {
            tracing::info!(group = self.member.group, %error, "positions were not committed; the next commit repeats them");
            self.forget_commits();
        }
    }

    /// The positions that are not committed, as the next commit takes them.
    fn moved(&mut self) -> Vec<(Place, CommitPoint)> {
        self.last_commit = Instant::now();
        let mut moved = Vec::new();
        for state in self.places.iter_mut().filter(|state| state.dirty) {
            state.dirty = false;
            let Some(ledger) = &state.ledger else { continue };
            let point = CommitPoint { offset: ledger.position(), metadata: ledger.metadata() };
            if state.committed.as_ref() != Some(&point) {
                self.member.reports.set_commit(&state.place, point.clone());
                state.committed = Some(point.clone());
                moved.push((state.place.clone(), point));
            }
        }
        moved
    }

    /// Makes the next commit hold every position again.
    fn forget_commits(&mut self) {
        for state in &mut self.places {
            state.committed = None;
            state.dirty = true;
        }
    }

    /// No more records; those in hand may finish; then commit and leave.
    fn finish(&mut self) -> Result<(), LoopError> {
        self.out = None;
        let until = Instant::now() + STOP_WITHIN;
        while self.in_hand.records > 0 && Instant::now() < until {
            if let Ok(settled) = self.settled.recv_timeout(POLL) {
                self.on_settled(&settled);
            }
            self.settle_all();
            self.member.pause_all();
            // What still comes here is not handed out; it is read again by the next owner.
            if self.poll(Duration::ZERO)?.is_some() {
                tracing::debug!(group = self.member.group, "a record came after the stop");
            }
            self.commit_if_due();
        }
        self.settle_all();
        if self.in_hand.records > 0 {
            tracing::warn!(
                group = self.member.group,
                left = self.in_hand.records,
                "records were in hand at the end; they come again"
            );
        }
        self.commit_now();
        Ok(())
    }
}
