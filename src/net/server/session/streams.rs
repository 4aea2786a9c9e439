//! Streams: one part at a time is in the pool, as long as there is credit and room for output.

use std::sync::Arc;

use tokio::time::Instant;

use super::Session;
use super::flight::{AtTime, Flight, What};
use super::pooled::deadline;
use crate::net::proto::{Code, Failure, Kind, Packet};
use crate::net::server::budget::{Level, Made};
use crate::net::server::mailbox::Letter;
use crate::net::service::{Reply, Stream};

/// A stream of this connection.
#[derive(Debug)]
pub(super) struct Streaming {
    credit: u32,
    ticket: u64,
    /// Here between two parts; otherwise with the pool.
    stream: Option<Box<Stream>>,
}

impl Streaming {
    pub(super) fn add_credit(&mut self, more: u32) {
        self.credit = self.credit.saturating_add(more);
    }
}

impl Session {
    /// Has the pool open a stream.
    pub(super) fn begin_stream(&mut self, packet: &Packet<'_>, credit: u32, now: Instant) {
        let id = packet.head.id;
        if let Err(failure) = self.admit_subscription() {
            return self.refuse(id, failure);
        }
        // 1. Whichever comes first ends it: the client's patience or the server's.
        let oldest = (now + self.shared.limits.stream, AtTime::TooOld);
        let until = match deadline(packet, now) {
            Some(at) if at < oldest.0 => (at, AtTime::Fail),
            _ => oldest,
        };
        let ticket = self.ticket();
        let what = What::Stream(Box::new(Streaming { credit, ticket, stream: None }));
        self.launch(id, Flight { kind: Kind::Range, until: Some(until), what });
        // 2. The snapshot is taken by the pool, for it may have to wait for the commit lock.
        let (shared, mailbox) = (Arc::clone(&self.shared), Arc::clone(&self.mailbox));
        let (caller, max_body) = (Arc::clone(&self.caller), self.max_body);
        let (head, body) = (packet.head, packet.body.to_vec());
        let submitted = self.shared.pool.submit(self.lane, move || {
            let request = crate::net::proto::Request::decode(&Packet { head, body: &body });
            let request = request.expect("decoded before");
            let mut packet = Vec::new();
            let mut reply = Reply { id, max_body, out: &mut packet };
            let performed = shared.service.perform(&request, &caller, &mut reply);
            let stream = match performed {
                crate::net::service::Performed::Streaming(stream) => Some(stream),
                _ => None,
            };
            let made = Made::new(packet, &shared.budget);
            mailbox.send(Letter::Part { id, ticket, made, stream });
        });
        self.is_submitted(id, submitted.is_ok());
    }

    /// A part has come, or the stream itself, or its end.
    pub(super) fn part_came(
        &mut self,
        id: u64,
        ticket: u64,
        made: Made,
        stream: Option<Box<Stream>>,
    ) {
        let Some(What::Stream(streaming)) = self.flights.get_mut(&id).map(|f| &mut f.what) else {
            return;
        };
        if streaming.ticket != ticket {
            return;
        }
        let is_last = stream.is_none();
        streaming.stream = stream;
        if is_last {
            self.land(id);
        }
        self.take_over(made);
        self.resume_streams();
    }

    /// A part was not made: its credit is still there.
    pub(super) fn stands_still(&mut self, id: u64, ticket: u64, stream: Box<Stream>) {
        let Some(What::Stream(streaming)) = self.flights.get_mut(&id).map(|f| &mut f.what) else {
            return;
        };
        if streaming.ticket == ticket {
            streaming.credit = streaming.credit.saturating_add(1);
            streaming.stream = Some(stream);
        }
    }

    /// Has the pool make the next part of each stream that may go on.
    pub(super) fn resume_streams(&mut self) {
        if self.subscriptions == 0 || self.is_full() {
            return;
        }
        let mut ready = Vec::new();
        for (id, flight) in &mut self.flights {
            if self.pooled > 0 && !self.shared.pool.has_room(self.lane) {
                break;
            }
            if let What::Stream(streaming) = &mut flight.what
                && streaming.credit > 0
                && let Some(stream) = streaming.stream.take()
            {
                streaming.credit -= 1;
                ready.push((*id, streaming.ticket, stream));
            }
        }
        ready.sort_unstable_by_key(|(id, ..)| *id);
        for (id, ticket, stream) in ready {
            let (shared, mailbox) = (Arc::clone(&self.shared), Arc::clone(&self.mailbox));
            let max_body = self.max_body;
            let submitted = self.shared.pool.submit(self.lane, move || {
                if shared.budget.level() > Level::Free && mailbox.is_stuck() {
                    shared.metrics.held_back.inc();
                    return mailbox.send(Letter::Standing { id, ticket, stream });
                }
                let mut packet = Vec::new();
                let mut reply = Reply { id, max_body, out: &mut packet };
                let stream = shared.service.next_part(stream, &mut reply);
                let made = Made::new(packet, &shared.budget);
                mailbox.send(Letter::Part { id, ticket, made, stream });
            });
            self.is_submitted(id, submitted.is_ok());
        }
    }

    fn is_submitted(&mut self, id: u64, is_submitted: bool) {
        if is_submitted {
            self.pooled += 1;
        } else if self.land(id).is_some() {
            self.refuse(id, Failure::new(Code::TooBusy, "the server has too much to do"));
        }
    }
}
