//! Streams: the pool makes one part at a time, while there is credit and room for output.

use tokio::time::Instant;

use super::flight::{Awaits, Flight, OnTime};
use super::session::Session;
use super::subscription::StreamState;
use super::time::fails_at;
use crate::net::proto::{Kind, Packet};
use crate::net::server::output_budget::EncodedAnswer;
use crate::net::service::Stream;

impl Session {
    /// Has the pool open a stream.
    pub(super) fn begin_stream(&mut self, packet: &Packet<'_>, credit: u32, now: Instant) {
        let id = packet.head.id;
        if let Err(failure) = self.admit_subscription() {
            return self.refuse(id, failure);
        }
        // 1. It ends at the client's deadline or the server's limit, whichever comes first.
        let oldest = (now + self.context.shared.limits.stream, OnTime::TooOld);
        let until = fails_at(packet, now).filter(|(at, _)| *at < oldest.0).unwrap_or(oldest);
        let ticket = self.flights.new_ticket();
        let awaits = Awaits::Stream(Box::new(StreamState { credit, ticket, stream: None }));
        self.launch(id, Flight { kind: Kind::Range, until: Some(until), awaits });
        // 2. The pool takes the snapshot, because that may have to wait for the commit lock.
        let (head, body) = (packet.head, packet.body.to_vec());
        let open = self.context.submit(move |context| {
            context.open_stream(&Packet { head, body: &body }, ticket);
        });
        self.is_submitted(id, open.is_ok());
    }

    /// The pool has made a part: `stream` comes back unless it was the last one.
    pub(super) fn part_came(
        &mut self,
        id: u64,
        ticket: u64,
        made: EncodedAnswer,
        stream: Option<Box<Stream>>,
    ) {
        let Some(state) = self.stream_mut(id, ticket) else { return };
        let is_last = stream.is_none();
        state.stream = stream;
        if is_last {
            self.land(id);
        }
        self.take_over(made);
        self.resume_streams();
    }

    /// The pool has not made a part: its credit is given back.
    pub(super) fn part_deferred(&mut self, id: u64, ticket: u64, stream: Box<Stream>) {
        if let Some(state) = self.stream_mut(id, ticket) {
            state.credit = state.credit.saturating_add(1);
            state.stream = Some(stream);
        }
    }

    fn stream_mut(&mut self, id: u64, ticket: u64) -> Option<&mut StreamState> {
        match &mut self.flights.get_mut(id)?.awaits {
            Awaits::Stream(state) if state.ticket == ticket => Some(state),
            _ => None,
        }
    }

    /// Has the pool make the next part of each stream that may go on.
    pub(super) fn resume_streams(&mut self) {
        if self.flights.subscriptions() == 0 || self.is_full() {
            return;
        }
        let mut ready = Vec::new();
        for (id, flight) in self.flights.iter_mut() {
            if self.pool_queue.is_in_pool() && !self.context.has_room() {
                break;
            }
            if let Awaits::Stream(state) = &mut flight.awaits
                && state.credit > 0
                && let Some(stream) = state.stream.take()
            {
                state.credit -= 1;
                ready.push((id, state.ticket, stream));
            }
        }
        ready.sort_unstable_by_key(|(id, ..)| *id);
        for (id, ticket, stream) in ready {
            let next = self.context.submit(move |context| context.next_part(id, ticket, stream));
            self.is_submitted(id, next.is_ok());
        }
    }
}
