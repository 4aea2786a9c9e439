//! Counters of one connection since its last report. It reports once per turn.
//!
//! The latency of a request runs from the turn in which it came to the turn in which its last answer was
//! written. So the clock is read once per turn, not once per request:
//!
//! ```text
//!   received --(answered at once)----------------------> reported at the end of the turn
//!      '--(launched)--> flying --(landed)--> landed ---> reported at the end of that turn
//!                          ^                    |
//!                          '---(launched again)-'        a write that was appended by the pool
//! ```

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::net::proto::{Batch, Code, Delete, Delivery, Kind, Mode, Put, Range, Request};

/// Numbers of request kinds are below this.
pub(super) const KINDS: usize = 64;

/// Capacity, in requests, that a connection keeps between two turns.
const KEPT: usize = 32;

/// Kind and mode of a request: one latency histogram each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestClass(u8);

impl RequestClass {
    const MODES: [&'static str; 4] = ["none", "sync", "async", "job"];
    pub(super) const COUNT: usize = KINDS * RequestClass::MODES.len();

    /// `None` for requests that last as long as the client likes, and for those without an answer.
    fn of(request: &Request<'_>) -> Option<RequestClass> {
        let mode = match request {
            Request::Put(Put { mode, .. })
            | Request::Delete(Delete { mode, .. })
            | Request::Batch(Batch { mode, .. }) => match mode {
                Mode::Sync => 1,
                Mode::Async => 2,
                Mode::Job => 3,
            },
            Request::Cancel(_) | Request::Credit(_) | Request::Hello(_) => return None,
            Request::JobWait(_) | Request::JobWatch(_) | Request::WatchWatermarks(_) => {
                return None;
            }
            Request::Range(Range { delivery: Delivery::Stream { .. }, .. }) => return None,
            _ => 0,
        };
        let kind = request.kind().number() % KINDS as u8;
        Some(RequestClass(kind * RequestClass::MODES.len() as u8 + mode))
    }

    pub(super) fn all() -> impl Iterator<Item = RequestClass> {
        (0..RequestClass::COUNT).map(|number| RequestClass(number as u8))
    }

    pub(super) fn number(self) -> usize {
        usize::from(self.0)
    }

    pub(super) fn kind(self) -> &'static str {
        let number = self.number() / RequestClass::MODES.len();
        Kind::from_number(number as u8).map_or("Unknown", Kind::name)
    }

    pub(super) fn mode(self) -> &'static str {
        RequestClass::MODES[self.number() % RequestClass::MODES.len()]
    }
}

#[derive(Debug)]
pub(crate) struct Tally {
    requests: [u32; KINDS],
    failures: Vec<Code>,
    pub(super) in_flight: i64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Appended writes in mode `Sync`.
    pub(crate) awaited: u64,
    is_empty: bool,
    /// When this turn began.
    turn: Option<Instant>,
    /// Requests that came in this turn.
    received: Vec<Received>,
    /// Hint where to search for the next launch: the entries before it are most likely launched.
    next: usize,
    flying: HashMap<u64, (RequestClass, Instant)>,
    /// Launched requests that were answered in this turn.
    landed: Vec<(u64, RequestClass, Instant)>,
}

#[derive(Debug)]
struct Received {
    id: u64,
    class: RequestClass,
    is_launched: bool,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            requests: [0; KINDS],
            failures: Vec::new(),
            in_flight: 0,
            bytes_in: 0,
            bytes_out: 0,
            awaited: 0,
            is_empty: true,
            turn: None,
            received: Vec::new(),
            next: 0,
            flying: HashMap::new(),
            landed: Vec::new(),
        }
    }
}

impl Tally {
    /// Sets the arrival time of the requests of this turn.
    #[inline]
    pub(crate) fn begin_turn(&mut self, now: Instant) {
        self.turn = Some(now);
    }

    #[inline]
    pub(crate) fn received(&mut self, id: u64, request: &Request<'_>) {
        self.is_empty = false;
        self.requests[usize::from(request.kind().number()) % KINDS] += 1;
        if let Some(class) = RequestClass::of(request) {
            self.received.push(Received { id, class, is_launched: false });
        }
    }

    pub(crate) fn failed(&mut self, code: Code) {
        self.is_empty = false;
        self.failures.push(code);
    }

    /// Counts a request as in flight.
    pub(crate) fn launched(&mut self, id: u64) {
        self.in_flight += 1;
        // Landed and launched again in one turn: it is the same request.
        if let Some((_, class, begun)) = self.landed.pop_if(|(landed, ..)| *landed == id) {
            self.flying.insert(id, (class, begun));
            return;
        }
        let is_it = |received: &Received| received.id == id && !received.is_launched;
        let later = self.received[self.next..].iter().position(is_it).map(|at| at + self.next);
        let Some(at) = later.or_else(|| self.received.iter().position(is_it)) else { return };
        self.next = at + 1;
        let received = &mut self.received[at];
        received.is_launched = true;
        if let Some(begun) = self.turn {
            self.flying.insert(id, (received.class, begun));
        }
    }

    /// Counts a request as no longer in flight.
    pub(crate) fn landed(&mut self, id: u64) {
        self.is_empty = false;
        self.in_flight -= 1;
        if let Some((class, begun)) = self.flying.remove(&id) {
            self.landed.push((id, class, begun));
        }
    }

    /// Whether there are counts besides those of bytes. Resets that flag.
    pub(super) fn has_counted(&mut self) -> bool {
        !std::mem::replace(&mut self.is_empty, true)
    }

    pub(super) fn take_requests(&mut self, mut take: impl FnMut(usize, u64)) {
        for (kind, count) in self.requests.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            take(kind, u64::from(std::mem::take(count)));
        }
    }

    pub(super) fn take_failures(&mut self, take: impl FnMut(Code)) {
        self.failures.drain(..).for_each(take);
    }

    /// Takes the latencies of requests answered by `now`. Equal neighbours are reported together.
    pub(super) fn take_latencies(
        &mut self,
        now: Instant,
        mut take: impl FnMut(RequestClass, Duration, u64),
    ) {
        let at_once = self.received.drain(..).filter(|received| !received.is_launched);
        let turn = self.turn.unwrap_or(now);
        let at_once = at_once.map(|received| (received.class, turn));
        let landed = self.landed.drain(..).map(|(_, class, begun)| (class, begun));
        let mut last: Option<((RequestClass, Instant), u64)> = None;
        for one in at_once.chain(landed) {
            last = match last {
                Some((same, count)) if same == one => Some((one, count + 1)),
                Some(((class, begun), count)) => {
                    take(class, now - begun, count);
                    Some((one, 1))
                }
                None => Some((one, 1)),
            };
        }
        if let Some(((class, begun), count)) = last {
            take(class, now - begun, count);
        }
        self.next = 0;
        self.received.shrink_to(KEPT);
        self.landed.shrink_to(KEPT);
        if self.flying.is_empty() {
            self.flying.shrink_to(KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(mode: Mode) -> Request<'static> {
        Request::Put(Put { keyspace: "rows", key: b"k", value: b"v", mode, once: None })
    }

    fn taken(tally: &mut Tally, now: Instant) -> Vec<(&'static str, u64, u64)> {
        let mut taken = Vec::new();
        tally.take_latencies(now, |class, duration, count| {
            taken.push((class.mode(), duration.as_secs(), count));
        });
        taken
    }

    #[test]
    fn latency_runs_from_the_turn_of_the_request_to_that_of_its_last_answer() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut tally = Tally::default();
        tally.begin_turn(start);
        for (id, mode) in [(1, Mode::Async), (2, Mode::Async), (3, Mode::Sync), (4, Mode::Sync)] {
            tally.received(id, &put(mode));
        }
        tally.launched(3);
        tally.launched(4);
        assert_eq!(taken(&mut tally, start + second), [("async", 1, 2)]);
        // One lands and is launched again in one turn.
        tally.begin_turn(start + 2 * second);
        tally.landed(4);
        tally.launched(4);
        assert_eq!(taken(&mut tally, start + 2 * second), []);
        tally.landed(3);
        tally.landed(4);
        assert_eq!(taken(&mut tally, start + 5 * second), [("sync", 5, 2)]);
        assert_eq!((tally.in_flight, tally.flying.len()), (0, 0));
    }

    #[test]
    fn a_long_poll_is_not_timed() {
        let start = Instant::now();
        let mut tally = Tally::default();
        tally.begin_turn(start);
        let wait = crate::net::proto::JobWait { job: "j", timeout_ms: 1 };
        tally.received(1, &Request::JobWait(wait));
        tally.launched(1);
        tally.landed(1);
        assert_eq!(taken(&mut tally, start), []);
    }
}
