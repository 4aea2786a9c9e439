//! Reads that wait for the writes that were sent before them.
//!
//! Each knows the number of the last of those. When that has ended it is begun as if it came then;
//! until then it can be given up like everything that is under way.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::flight::{AtTime, Flight, What};
use super::pooled::{Turn, Waiting, deadline};
use super::{Session, millis};
use crate::net::proto::{Head, Packet, Request};

/// By the write that it waits for, and by when it came.
#[derive(Debug, Default)]
pub(super) struct HeldReads(BTreeMap<(u64, u64), Waiting>);

impl HeldReads {
    /// One that waits for nothing any more, now that all writes up to `done` have ended.
    fn next(&mut self, done: u64) -> Option<Waiting> {
        let first = self.0.first_entry().filter(|first| first.key().0 <= done)?;
        Some(first.remove())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Session {
    /// Keeps a request until the write of this number has ended.
    pub(super) fn hold(
        &mut self,
        packet: &Packet<'_>,
        request: &Request<'_>,
        before: u64,
        now: Instant,
    ) {
        let (id, ticket) = (packet.head.id, self.ticket());
        let until = deadline(packet, now).map(|at| (at, AtTime::Fail));
        self.launch(id, Flight { kind: request.kind(), until, what: What::Held { ticket } });
        let waiting = Waiting::new(packet, ticket, std::sync::Arc::new(Turn::default()));
        self.backlog_bytes += waiting.len();
        self.writes.held.0.insert((before, ticket), waiting);
    }

    /// Begins what waited for writes up to `done`.
    pub(super) fn release_held(&mut self, done: u64, now: Instant) {
        while let Some(waiting) = self.writes.held.next(done) {
            self.backlog_bytes -= waiting.len();
            let is_it = |flight: &Flight| matches!(flight.what, What::Held { ticket } if ticket == waiting.ticket);
            if !self.flights.get(&waiting.id).is_some_and(is_it) {
                continue;
            }
            let flight = self.land(waiting.id).expect("looked at");
            let Packet { head, body } = waiting.packet();
            // What is left of its time counts, and not all of it again.
            let left = flight.until.map_or(0, |(at, _)| millis(at - now).max(1));
            let packet = Packet { head: Head { deadline_ms: left, ..head }, body };
            let request = Request::decode(&packet).expect("decoded before");
            self.begin(&packet, &request, now);
        }
    }
}
