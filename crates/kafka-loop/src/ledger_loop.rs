//! Out of order, with a budget: records are handed out as they come, finish in any order, and the committed position waits for
//! the oldest unfinished one.
//!
//! One thread owns the consumer; the ledgers lie in [`crate::books`], where records are settled from anywhere. Its turn: a look
//! at what must end the loop, rebalance reports in, commits out, then one poll, or, with the budget used up, a wait for
//! something to settle. Polling comes last so that nothing is taken that the earlier steps would refuse.
//!
//! Bounds: [`Budget`](crate::Budget) counts unfinished records and bytes in all, `per_partition` those of one partition; how far the records
//! behind an unfinished one have gone is not bounded, because it costs nothing. A short shortage (≤ [`PATIENCE`]) is waited out
//! without polling, because pausing throws away what was fetched ahead; a longer one pauses and keeps polling, so that the group
//! never expels us.

use std::{
    collections::BTreeSet,
    sync::{Arc, mpsc as sync_mpsc},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    assignment::Assignment,
    books::Books,
    consumer::{CommitPoint, Member, Place, Report, Starts},
    done_set,
    error::{KafkaError, LoopError},
    journal,
    recall::{self, Recalled, Waiting},
    record::Record,
    settings::KafkaSettings,
    work::{LedgerLoop, LedgerOptions, Progress, Source, Work},
};

/// How long a used-up budget is waited out before the consumer is paused.
pub const PATIENCE: Duration = Duration::from_millis(200);
/// How often positions are committed while they move.
const COMMIT_EVERY: Duration = Duration::from_millis(20);
/// How often the position of every partition that is held is committed again, also where nothing moved: so that the journal is never
/// read from long ago, and no position ever expires.
const RENEW_EVERY: Duration = Duration::from_secs(30);
/// How often the progress is told.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long records in hand may take to settle after a stop.
const STOP_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// Records that may come in the moment between the decision to pause and its effect.
const LATE: usize = 1_024;

/// Opens a loop. Records come from [`LedgerLoop::records`] until `stop`; then it waits for those in hand, commits and leaves.
///
/// # Errors
/// [`KafkaError::Setup`] when the client or its thread cannot be set up.
pub fn open_ledger(
    settings: &KafkaSettings,
    options: LedgerOptions,
    stop: CancellationToken,
) -> Result<LedgerLoop, KafkaError> {
    let names: Vec<String> = match &options.source {
        Source::Group(topics) => topics.iter().map(|topic| settings.topic(topic)).collect(),
        Source::Follow { topic, .. } => vec![settings.topic(topic)],
    };
    let first_topic: Arc<str> = names.first().map(|name| Arc::from(name.as_str())).unwrap_or_default();
    let member = match options.source {
        Source::Group(_) => Member::new(settings, options.group, options.group, names, Starts::Committed)?,
        Source::Follow { topic, .. } => {
            Member::new(settings, options.group, topic, Vec::new(), Starts::Committed)?
        }
    };
    let books = Books::new(options.per_partition, options.journal.clone());
    let assignment = Assignment::new(&first_topic, Arc::clone(&books));
    member.reports.on_revoke(Arc::new(assignment.clone()));
    if let Source::Follow { of, .. } = &options.source {
        of.add(Arc::clone(&books));
    }
    let (out, records) = mpsc::channel(options.budget.records.saturating_add(LATE));
    let (tell, progress) = watch::channel(Progress::default());
    let (end, ended) = oneshot::channel();
    let thread_name = options.group.to_owned();
    let (recalled_in, recalled) = sync_mpsc::channel();
    let mut state = LoopState {
        settings: settings.clone(),
        member,
        first_topic,
        options,
        stop,
        out: Some(out),
        assignment: assignment.clone(),
        books,
        followed: BTreeSet::new(),
        recalled,
        recalled_in,
        last_commit: Instant::now(),
        renewed: Instant::now(),
        tell,
        told: Instant::now(),
        waiting_since: None,
    };
    std::thread::Builder::new()
        .name(thread_name)
        .spawn(move || {
            // The owner may be gone already; then nobody asks how it ended.
            end.send(state.run()).ok();
        })
        .map_err(|error| KafkaError::Setup(error.to_string()))?;
    Ok(LedgerLoop { records, assignment, progress, ended })
}

struct LoopState {
    settings: KafkaSettings,
    member: Member,
    first_topic: Arc<str>,
    options: LedgerOptions,
    stop: CancellationToken,
    out: Option<mpsc::Sender<Work>>,
    /// Ours, for others to follow.
    assignment: Assignment,
    books: Arc<Books>,
    /// The partitions that the client fetches because we follow another loop.
    followed: BTreeSet<i32>,
    /// What was read back of the journal.
    recalled: sync_mpsc::Receiver<Recalled>,
    recalled_in: sync_mpsc::Sender<Recalled>,
    last_commit: Instant,
    renewed: Instant,
    tell: watch::Sender<Progress>,
    told: Instant,
    waiting_since: Option<Instant>,
}

impl LoopState {
    fn run(&mut self) -> Result<(), LoopError> {
        while !self.stop.is_cancelled() {
            self.still_whole()?;
            self.still_advances()?;
            self.follow()?;
            self.on_reports()?;
            self.on_recalled()?;
            self.commit_if_due();
            if self.books.in_hand().reaches(self.options.budget) {
                self.wait_for_room()?;
            } else {
                self.go_on();
                self.take_some()?;
            }
        }
        self.finish()
    }

    /// Nothing was dropped unfinished, but for what the stop dropped.
    fn still_whole(&self) -> Result<(), LoopError> {
        match self.books.dropped() {
            Some(((topic, partition), offset)) if !self.stop.is_cancelled() => Err(LoopError::Dropped {
                group: self.member.group.clone(),
                topic: topic.to_string(),
                partition,
                offset,
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// The oldest unfinished record is not too old.
    fn still_advances(&mut self) -> Result<(), LoopError> {
        let now = Instant::now();
        if now.saturating_duration_since(self.told) < TELL_EVERY && self.options.stalled_after.is_none() {
            return Ok(());
        }
        let progress = self.books.progress(now);
        if now.saturating_duration_since(self.told) >= TELL_EVERY {
            self.told = now;
            self.tell.send_replace(progress);
        }
        if self.options.stalled_after.is_some_and(|most| progress.oldest > most) {
            return Err(LoopError::Stalled { group: self.options.group, waited: progress.oldest });
        }
        Ok(())
    }

    /// The budget is used up: wait for something to settle; after a while pause, and keep serving callbacks.
    fn wait_for_room(&mut self) -> Result<(), LoopError> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        self.books.wait_for_room(self.options.budget, POLL);
        if since.elapsed() > PATIENCE {
            self.member.pause_all();
            if let Some((place, record)) = self.poll(Duration::ZERO)? {
                self.hand_out(&place, record);
            }
        }
        Ok(())
    }

    fn go_on(&mut self) {
        if self.waiting_since.take().is_some() {
            let books = &self.books;
            self.member.resume_all(|topic, partition| books.is_paused(&(Arc::from(topic), partition)));
        }
        for place in self.books.resumed() {
            self.member.set_paused(&place, false);
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
            self.hand_out(&place, record);
            if self.books.in_hand().reaches(self.options.budget) {
                return Ok(());
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn hand_out(&self, place: &Place, record: Record) {
        let Some((settle, pauses)) = self.books.take(place, &record) else { return };
        if pauses {
            self.member.set_paused(place, true);
        }
        // A reader that has gone leaves the record unfinished: after a stop that is right, otherwise it ends the loop.
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
                    // Without an answer the client is a new one, and the rest was told by the old one.
                    let Some(points) = self.member.committed(&places)? else { break };
                    self.open(points)?;
                }
                // The callback has closed them.
                Report::Revoked(_) => {}
                Report::CommitFailed => self.forget_commits(),
            }
        }
        self.assignment.announce();
        Ok(())
    }

    /// Opens partitions; with a journal they wait until it has been read.
    fn open(&self, points: Vec<(String, i32, CommitPoint)>) -> Result<(), LoopError> {
        let mut waiting = Vec::new();
        for (topic, partition, point) in points {
            let place: Place = (Arc::from(topic), partition);
            // Without a journal it runs: the client keeps a pause from before the partition was taken away.
            self.member.set_paused(&place, self.options.journal.is_some());
            let (position, marks) = (point.offset, journal::decode(done_set::marks_of(&point.metadata)));
            let hold = self.books.open(place.clone(), point);
            waiting.push(Waiting { place, hold, position, marks });
        }
        let Some(journal) = self.options.journal.as_ref().filter(|_| !waiting.is_empty()) else {
            return Ok(());
        };
        recall::begin(&self.settings, journal, waiting, self.recalled_in.clone())
            .map_err(|error| LoopError::Thread(error.to_string()))
    }

    /// Starts the partitions for which the journal has been read, from their positions: what came before that was not taken.
    fn on_recalled(&self) -> Result<(), LoopError> {
        while let Ok(recalled) = self.recalled.try_recv() {
            let recalled = recalled.map_err(|error| LoopError::Consumer {
                group: self.member.group.clone(),
                reason: error.to_string(),
            })?;
            for (place, hold, end) in recalled {
                if let Some(position) = self.books.recalled(&place, &hold, end) {
                    self.member.start_at(&[(place.0.to_string(), place.1, position)], true)?;
                    self.member.set_paused(&place, false);
                }
            }
        }
        Ok(())
    }

    /// Follows the assignment of another loop, which closes our books when it loses a partition.
    fn follow(&mut self) -> Result<(), LoopError> {
        let Source::Follow { of, .. } = &self.options.source else { return Ok(()) };
        let (of, topic) = (of.clone(), Arc::clone(&self.first_topic));
        let wanted = of.now();
        let open = self.books.partitions_of(&topic);
        let gone: Vec<i32> =
            self.followed.iter().copied().filter(|p| !wanted.contains(p) || !open.contains(p)).collect();
        if !gone.is_empty() {
            let named = gone.iter().map(|partition| (topic.to_string(), *partition)).collect();
            self.member.drop_places(&named);
            self.books.close(|place| gone.contains(&place.1));
            self.followed.retain(|partition| !gone.contains(partition));
        }
        let new: Vec<(String, i32)> =
            wanted.difference(&self.followed).map(|partition| (topic.to_string(), *partition)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let Some(points) = self.member.committed(&new)? else { return Ok(()) };
        let starts: Vec<_> = points.iter().map(|(t, p, point)| (t.clone(), *p, point.offset)).collect();
        self.member.start_at(&starts, false)?;
        self.followed.extend(points.iter().map(|(_, partition, _)| *partition));
        self.open(points)?;
        // What was taken away meanwhile was not open yet when our books were closed.
        let still = of.now();
        self.books.close(|place| !still.contains(&place.1));
        Ok(())
    }

    /// Whether we commit, for ourselves and for who follows us.
    fn leads(&self) -> bool {
        matches!(self.options.source, Source::Group(_))
    }

    fn commit_if_due(&mut self) {
        if self.renewed.elapsed() >= RENEW_EVERY {
            self.renewed = Instant::now();
            self.forget_commits();
        }
        let due = self.leads() && self.last_commit.elapsed() >= COMMIT_EVERY;
        if due
            && !self.member.committer.is_busy()
            && self.assignment.all().iter().any(|books| books.has_moved())
        {
            let moved = self.moved();
            self.member.committer.begin(moved);
        }
    }

    /// The positions that are not committed, as the next commit takes them.
    fn moved(&mut self) -> Vec<(Place, CommitPoint)> {
        self.last_commit = Instant::now();
        self.assignment.all().iter().flat_map(|books| books.moved()).collect()
    }

    /// Makes the next commit hold every position again.
    fn forget_commits(&self) {
        for books in self.assignment.all() {
            books.forget_commits();
        }
    }

    fn in_hand(&self) -> usize {
        self.assignment.all().iter().map(|books| books.in_hand().records).sum()
    }

    /// No more records; those in hand may finish, also those of who follows us; then commit and leave.
    fn finish(&mut self) -> Result<(), LoopError> {
        self.out = None;
        // Who follows us may not have seen the stop yet; what it took after our last commit nobody would commit.
        self.assignment.all().iter().for_each(|books| books.stop());
        let until = Instant::now() + STOP_WITHIN;
        while self.in_hand() > 0 && Instant::now() < until {
            self.member.pause_all();
            // What still comes here is not handed out; it is read again by the next owner.
            if self.poll(POLL)?.is_some() {
                tracing::debug!(group = self.member.group, "a record came after the stop");
            }
            self.commit_if_due();
        }
        let left = self.in_hand();
        if left > 0 {
            tracing::warn!(
                group = self.member.group,
                left,
                "records were in hand at the end; they come again"
            );
        }
        if self.leads() { self.commit_the_rest(until) } else { Ok(()) }
    }

    /// Commits what moved, again while the broker refuses it in a rebalance: it takes it once that is over.
    fn commit_the_rest(&mut self, until: Instant) -> Result<(), LoopError> {
        loop {
            let moved = self.moved();
            let Err(error) = self.member.committer.commit(&moved) else { return Ok(()) };
            self.forget_commits();
            if Instant::now() >= until {
                tracing::info!(group = self.member.group, %error, "positions were not committed; records are repeated");
                return Ok(());
            }
            self.member.pause_all();
            self.poll(POLL)?;
        }
    }
}
