//! A packet that has come: whether it is admitted, and where it goes.

use tokio::time::Instant;

use super::session::{Phase, Session};
use crate::net::proto::{Code, Failure, Head, Kind, Mode, Packet, Refused, Request};

impl Session {
    /// Takes a packet, the last one in `input`.
    pub(super) fn dispatch(&mut self, packet: &Packet<'_>, input: &[u8], now: Instant) {
        let id = packet.head.id;
        let decoded = Request::decode(packet);
        // Gathered writes come before every other request. A write may be refused for what is in
        // flight, and gathered writes are about to be.
        let is_write = matches!(decoded, Ok(Request::Put(_) | Request::Delete(_)));
        let in_flight = self.flights.len() + self.gather.len();
        let max_in_flight = self.context.shared.limits.max_in_flight;
        if !is_write || in_flight >= max_in_flight || self.gather.contains(id) {
            self.commit_gathered(input, now);
        }
        let request = match decoded {
            Ok(request) => request,
            Err(refused) => return self.refuse_undecoded(packet, &refused),
        };
        self.tally.received(id, &request);
        match &request {
            Request::Cancel(cancel) => {
                return self.cancel(cancel.id, Code::Cancelled, "the client has cancelled it");
            }
            Request::Credit(credit) => return self.add_credit(credit.id, credit.more, now),
            Request::Hello(_) => {
                return self.end(Failure::new(Code::BadHandshake, "a second Hello"));
            }
            _ => {}
        }
        if let Err(failure) = self.admit(id, &request) {
            return self.refuse(if failure.code == Code::BadId { 0 } else { id }, failure);
        }
        self.route(packet, &request, input, now);
    }

    fn route(&mut self, packet: &Packet<'_>, request: &Request<'_>, input: &[u8], now: Instant) {
        match request {
            Request::Put(_) | Request::Delete(_)
                if self.writes.is_empty() && self.gather(packet, request, input.len(), now) => {}
            Request::Put(crate::net::proto::Put { mode, .. })
            | Request::Delete(crate::net::proto::Delete { mode, .. }) => {
                // It comes after the writes that were gathered.
                self.commit_gathered(input, now);
                self.write(packet, request, *mode, now);
            }
            Request::Batch(batch) => self.write(packet, request, batch.mode, now),
            Request::CreateKeyspace(_) | Request::DropKeyspace(_) => {
                // Its answer says that it is durable.
                self.queue_write(packet, request, Mode::Sync, now);
            }
            _ => match self.writes.write_before(request) {
                Some(write) => self.hold(packet, request, write, now),
                None => self.begin(packet, request, now),
            },
        }
    }

    /// Refuses a packet that is no request. The answer has its id if a request could have it: no
    /// client may take it for the answer to a request in flight.
    fn refuse_undecoded(&mut self, packet: &Packet<'_>, refused: &Refused) {
        let Head { id, kind, .. } = packet.head;
        let failure = match refused {
            Refused::UnknownKind(kind) => {
                Failure::new(Code::Unsupported, format!("no request has kind {kind}"))
            }
            Refused::Malformed(malformed) => Failure::new(Code::Malformed, malformed.to_string()),
        };
        if [Kind::Cancel.number(), Kind::Credit.number()].contains(&kind) {
            return self.refuse(0, failure);
        }
        match self.check_id(id) {
            Ok(()) => self.refuse(id, failure),
            Err(bad_id) => self.refuse(0, bad_id),
        }
    }

    /// Whether this caller may make this request now.
    pub(super) fn admit(&self, id: u64, request: &Request<'_>) -> Result<(), Failure<'static>> {
        self.check_id(id)?;
        let max = self.context.shared.limits.max_in_flight;
        if self.flights.len() >= max {
            let message = "too many requests are in flight on this connection";
            return Err(Failure::new(Code::TooManyInFlight, message).with("max", max.to_string()));
        }
        if self.phase == Phase::Draining {
            return Err(Failure::new(Code::ShuttingDown, "the server is stopping"));
        }
        self.context.caller.check(request)
    }

    /// Whether a request may have this id.
    fn check_id(&self, id: u64) -> Result<(), Failure<'static>> {
        let message = match id {
            0 => "a request has an id other than 0",
            _ if self.flights.contains(id) => "the id is that of a request in flight",
            _ => return Ok(()),
        };
        Err(Failure::new(Code::BadId, message).with("id", id.to_string()))
    }
}
