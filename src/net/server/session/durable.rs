//! Flights whose position the sync line has passed, or never will.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::flight::{Awaits, Flight};
use super::session::Session;
use super::time::fails_at;
use crate::engine::base::error::Error;
use crate::engine::base::lsn::Lsn;
use crate::net::proto::{Applied, Kind, Packet, Response, Written};
use crate::net::service::JobRef;

impl Session {
    /// Waits until everything that is now in the log is durable.
    pub(super) fn flush(&mut self, packet: &Packet<'_>, now: Instant) {
        let id = packet.head.id;
        let lsn = match self.context.shared.service.to_flush() {
            Ok(lsn) => lsn,
            Err(error) => return self.refuse(id, error),
        };
        self.sync_waiters.request(lsn, id);
        let awaits = Awaits::Durable { lsn, applied: Applied::Before };
        self.launch(id, Flight { kind: Kind::Flush, until: fails_at(packet, now), awaits });
    }

    /// Answers the flights that the sync line has passed, as far as the budget allows, and has the
    /// log wake this task for the rest.
    pub(super) fn follow_sync_line(&mut self, cx: &mut Context<'_>, budget: &mut usize) {
        while *budget > 0 && !self.sync_waiters.is_empty() {
            let durable = self.context.shared.service.durable();
            while let Some((lsn, id)) = self.sync_waiters.pass(durable) {
                self.became_durable(lsn, id);
                *budget -= 1;
                if *budget == 0 {
                    return;
                }
            }
            match self.sync_waiters.poll(&self.context.shared.service, cx) {
                Poll::Pending => return,
                // The line has moved meanwhile.
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return self.log_is_poisoned(&error),
            }
        }
    }

    fn became_durable(&mut self, lsn: Lsn, id: u64) {
        let Some(flight) = self.flights.get(id) else { return };
        match flight.awaits {
            Awaits::Durable { lsn, applied } => {
                let kind = flight.kind;
                self.land(id);
                self.answer_durable(id, kind, lsn, applied);
            }
            Awaits::Job { .. } => self.answer_wait(id),
            Awaits::JobsWatch(_) => self.watched_write_is_durable(id, lsn),
            _ => {}
        }
    }

    /// Answers a request that waited for the sync line, which has passed it.
    pub(super) fn answer_durable(&mut self, id: u64, kind: Kind, lsn: Lsn, applied: Applied) {
        let service = &self.context.shared.service;
        let answer = match kind {
            Kind::Flush => Response::Marks(service.marks()),
            Kind::CreateKeyspace | Kind::DropKeyspace => Response::Done,
            _ => Response::Written(Written {
                receipt: service.position(lsn),
                durable: true,
                applied,
            }),
        };
        self.reply(id).send(&answer);
    }

    /// The log is poisoned: recovery decides what becomes of commits that are not durable. Until then
    /// it is unknown.
    fn log_is_poisoned(&mut self, error: &Error) {
        for (lsn, id) in self.sync_waiters.take_all() {
            let service = &self.context.shared.service;
            if lsn <= service.durable() {
                self.became_durable(lsn, id);
                continue;
            }
            let Some(flight) = self.flights.get(id) else { continue };
            let failure = service.failed(error.clone().after_append(lsn));
            match (&flight.awaits, flight.kind) {
                (Awaits::JobsWatch(_), _) => {
                    self.watched_job_is_unknown(id, JobRef::Write(lsn), failure);
                }
                // A flush is no write, and has no job.
                (_, Kind::Flush) => {
                    self.land(id);
                    self.refuse(id, error.clone().before_append());
                }
                _ => {
                    self.land(id);
                    self.refuse(id, failure);
                }
            }
        }
    }
}
