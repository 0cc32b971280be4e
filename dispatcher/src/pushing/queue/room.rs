//! What finds room in its endpoint's lane, and what is put back because it does not.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::Queue;
use crate::pushing::{
    endpoint::{Endpoint, EndpointKey},
    lane::{Lane, Load, Waiting},
};

/// A lane holds what its endpoint takes in this time, so that the endpoint is not idle before the shortest tier brings more.
const HELD: Duration = Duration::from_secs(15);
/// A lane of an endpoint of which nothing good is known holds at most one of so many parts of the room that is left.
const SHARE: usize = 8;
/// Who was put back so often finds more room, so that it comes to an end.
const OFTEN: u32 = 6;
/// So long a delivery stands in a lane at most.
const STANDS: Duration = Duration::from_secs(600);
/// So many that have stood for longer are put back together at most.
const OVERDUE: usize = 4_096;
/// At most so many times the room of others.
const MORE_ROOM: u32 = 16;
/// A lane that holds so many times its bound gives back: its endpoint has become slower.
const TOO_LONG: usize = 2;

/// An endpoint that is slower than its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Overload {
    /// The endpoint.
    pub(crate) key: EndpointKey,
    /// Deliveries put back and not seen again; 0 when it is over.
    pub(crate) deliveries: u64,
    /// How long they and what waits will take it.
    pub(crate) takes: Duration,
}

impl<T> Queue<T> {
    pub(super) fn has_room(&self, key: &EndpointKey, lane: Lane, waiting: &Waiting<T>, now: Instant) -> bool {
        let held = self.held_by(key, lane);
        if held.count == 0 && self.has_permit_for(key, waiting.whose) {
            return true;
        }
        let often = waiting.put_backs.saturating_sub(OFTEN - 1).min(MORE_ROOM - 1) as usize;
        let most = self.lane_of(key, now).saturating_mul(1 + often);
        held.count < most && self.has_bytes(key, lane, held.bytes + waiting.weight)
    }

    /// What an endpoint holds beyond its bounds, newest first, and the tier of each: it has turned out to be slower than it was.
    pub(crate) fn give_back(&mut self, key: &EndpointKey, now: Instant) -> Vec<(T, usize)> {
        let mut given = Vec::new();
        for lane in [Lane::Fresh, Lane::Due] {
            let most = self.lane_of(key, now);
            let too_long = self.held_by(key, lane).count >= most.saturating_mul(TOO_LONG);
            while let held = self.held_by(key, lane)
                && held.count > 0
                && ((too_long && held.count > most) || !self.has_bytes(key, lane, held.bytes))
            {
                let endpoint = self.endpoints.get_mut(key);
                let Some(waiting) = endpoint.and_then(|endpoint| endpoint.take_back(lane)) else { break };
                self.load_mut(lane).take(waiting.weight);
                given.push((waiting.item, self.put_back(key, now)));
            }
        }
        given
    }

    /// What has stood in a lane for too long, and the tier of each.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<(T, usize)> {
        let before = |waiting: &Waiting<T>| now.saturating_duration_since(waiting.since) >= STANDS;
        let is_overdue = |endpoint: &Endpoint<T>| {
            [Lane::Fresh, Lane::Due].into_iter().any(|lane| endpoint.front(lane).is_some_and(before))
        };
        let found = self.endpoints.iter().filter(|(_, endpoint)| is_overdue(endpoint));
        let keys: Vec<EndpointKey> = found.map(|(key, _)| Arc::clone(key)).take(OVERDUE).collect();
        let mut given = Vec::new();
        for key in keys {
            for lane in [Lane::Fresh, Lane::Due] {
                while given.len() < OVERDUE
                    && let Some(endpoint) = self.endpoints.get_mut(&key)
                    && endpoint.front(lane).is_some_and(before)
                    && let Some(waiting) = endpoint.take_front(lane)
                {
                    self.load_mut(lane).take(waiting.weight);
                    given.push((waiting.item, self.put_back(&key, now)));
                }
            }
            self.stand_in_line(&key);
        }
        given
    }

    /// One delivery to this endpoint found no room; tells the tier on which it waits.
    pub(crate) fn put_back(&mut self, key: &EndpointKey, now: Instant) -> usize {
        let Self { limits, endpoints, overloaded, .. } = self;
        let endpoint = endpoints.entry(Arc::clone(key)).or_default();
        overloaded.insert(Arc::clone(key), true);
        let work = endpoint.work(limits.window, now);
        endpoint.begin_backlog().put_back(limits.ladder, work, now, 1)
    }

    /// One that was put back because there was no room is here again.
    pub(crate) fn seen_again(&mut self, key: &EndpointKey) {
        if let Some(backlog) = self.endpoints.get_mut(key).and_then(|endpoint| endpoint.backlog()) {
            backlog.seen();
            self.overloaded.insert(Arc::clone(key), true);
        }
    }

    /// An earlier owner has put back so many deliveries to this endpoint that nobody has seen again.
    pub(crate) fn inherit(&mut self, key: &EndpointKey, count: u64, now: Instant) {
        if let Some(endpoint) = self.endpoints.get_mut(key) {
            endpoint.begin_backlog().inherit(self.limits.ladder, now, count);
            self.overloaded.insert(Arc::clone(key), true);
        }
    }

    /// The endpoints that are slower than their events, where something changed since the last call; and those that no longer are.
    pub(crate) fn overloads(&mut self, now: Instant) -> Vec<Overload> {
        let Self { limits, endpoints, overloaded, .. } = self;
        let mut found = Vec::new();
        overloaded.retain(|key, changed| {
            let Some(endpoint) = endpoints.get_mut(key) else { return false };
            let work = endpoint.work(limits.window, now);
            let Some(backlog) = endpoint.backlog() else { return false };
            let is_over = backlog.is_over(now);
            if is_over {
                endpoint.end_backlog();
                found.push(Overload { key: Arc::clone(key), deliveries: 0, takes: Duration::ZERO });
            } else if std::mem::take(changed) {
                let (deliveries, takes) = (backlog.away(), backlog.takes(work));
                found.push(Overload { key: Arc::clone(key), deliveries, takes });
            }
            !is_over
        });
        found
    }

    /// How many endpoints are slower than their events.
    pub(crate) fn overloaded(&self) -> usize {
        self.overloaded.len()
    }

    fn held_by(&self, key: &EndpointKey, lane: Lane) -> Load {
        self.endpoints.get(key).map_or(Load::default(), |endpoint| endpoint.load(lane))
    }

    /// How many deliveries a lane of an endpoint may hold: before anything is known of it, as many as there are bytes for.
    fn lane_of(&self, key: &EndpointKey, now: Instant) -> usize {
        let limits = self.limits;
        let Some(endpoint) = self.endpoints.get(key) else { return usize::MAX };
        match endpoint.rate(limits.window, now) {
            Some(rate) => limits.lane.max((rate * limits.ladder.divided(HELD).as_secs_f64()) as usize),
            None if endpoint.tends_slow => limits.lane,
            None => usize::MAX,
        }
    }

    /// Whether a lane of an endpoint may hold so many bytes. Those that answer share the room; the others share a part of it.
    fn has_bytes(&self, key: &EndpointKey, lane: Lane, bytes: usize) -> bool {
        let free = self.limits.waiting_bytes.saturating_sub(self.load(lane).bytes);
        let now_answers = self.endpoints.get(key).is_some_and(|endpoint| endpoint.answers());
        bytes <= if now_answers { free } else { free / SHARE }
    }
}
