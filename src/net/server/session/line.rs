//! What waits for the sync line: writes in mode `Sync`, flushes, long polls and watches of writes.
//!
//! One ordered set for each connection, and one waker in the log, for the lowest position. So a
//! flush wakes each connection once, however many of its writes it has made durable, and only
//! those that it has something for.
//!
//! Writes in mode `Sync`, flushes and long polls ask for a flush at once. Watches do not: they are
//! told when the flush comes that comes in any case. To make or drop a keyspace is a write in mode
//! `Sync`. So none of them takes a thread while the device flushes, and each can be given up.

use std::collections::BTreeSet;
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::Session;
use super::flight::What;
use crate::engine::base::error::Error;
use crate::engine::base::lsn::Lsn;
use crate::net::proto::{Applied, Kind, Response, Written};
use crate::net::service::JobRef;

/// Who waits for which position.
#[derive(Debug, Default)]
pub(super) struct Line {
    asking: Waiters,
    quiet: Waiters,
}

#[derive(Debug, Default)]
struct Waiters {
    waiting: BTreeSet<(Lsn, u64)>,
    /// The log has our waker for this position.
    registered: Option<Lsn>,
    /// Somebody came since the log was last asked.
    has_new: bool,
}

impl Waiters {
    fn add(&mut self, lsn: Lsn, id: u64) {
        self.has_new |= self.waiting.insert((lsn, id));
    }

    fn pass(&mut self, durable: Lsn) -> Option<(Lsn, u64)> {
        let first = *self.waiting.first()?;
        if first.0 > durable {
            return None;
        }
        self.waiting.pop_first()
    }

    /// The position to ask the log about, if it has to be asked: somebody new waits, or the log
    /// has woken us for good.
    fn to_ask(&self, is_poisoned: bool) -> Option<Lsn> {
        let (first, _) = *self.waiting.first()?;
        (self.has_new || self.registered != Some(first) || is_poisoned).then_some(first)
    }
}

impl Line {
    pub(super) fn ask(&mut self, lsn: Lsn, id: u64) {
        self.asking.add(lsn, id);
    }

    pub(super) fn watch(&mut self, lsn: Lsn, id: u64) {
        self.quiet.add(lsn, id);
    }

    pub(super) fn forget(&mut self, lsn: Lsn, id: u64) {
        self.asking.waiting.remove(&(lsn, id));
        self.quiet.waiting.remove(&(lsn, id));
    }

    /// Takes out somebody whom the sync line at `durable` has passed.
    fn pass(&mut self, durable: Lsn) -> Option<(Lsn, u64)> {
        self.asking.pass(durable).or_else(|| self.quiet.pass(durable))
    }

    fn is_empty(&self) -> bool {
        self.asking.waiting.is_empty() && self.quiet.waiting.is_empty()
    }
}

impl Session {
    /// Answers whatever the sync line has passed, at most as much as the budget allows, and asks to
    /// be woken for the rest.
    pub(super) fn follow_line(&mut self, cx: &mut Context<'_>, now: Instant, budget: &mut usize) {
        while *budget > 0 && !self.line.is_empty() {
            let durable = self.shared.service.durable();
            while let Some((lsn, id)) = self.line.pass(durable) {
                self.has_passed(lsn, id, now);
                *budget -= 1;
                if *budget == 0 {
                    return;
                }
            }
            let is_poisoned = self.shared.service.store().is_poisoned();
            let mut asked = Poll::Pending;
            if let Some(first) = self.line.asking.to_ask(is_poisoned) {
                asked = self.shared.service.poll_durable(first, cx);
                self.line.asking.registered = Some(first);
                self.line.asking.has_new = false;
            }
            if asked.is_pending()
                && let Some(first) = self.line.quiet.to_ask(is_poisoned)
            {
                let receipt = self.shared.service.receipt(first);
                asked = pin!(receipt).poll_quietly(cx);
                self.line.quiet.registered = Some(first);
                self.line.quiet.has_new = false;
            }
            match asked {
                Poll::Pending => return,
                // It has passed meanwhile.
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return self.line_is_cut(&error, now),
            }
        }
    }

    fn has_passed(&mut self, lsn: Lsn, id: u64, now: Instant) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        match flight.what {
            What::Durable { lsn, applied } => {
                let kind = flight.kind;
                self.land(id);
                self.answer_durable(id, kind, lsn, applied);
            }
            What::Wait { .. } => self.tell_wait(id),
            What::Watch(_) => self.watched_write_ended(id, lsn, now),
            _ => {}
        }
    }

    /// Answers what waited for the sync line, which has passed it.
    pub(super) fn answer_durable(&mut self, id: u64, kind: Kind, lsn: Lsn, applied: Applied) {
        let answer = match kind {
            Kind::Flush => Response::Marks(self.shared.service.marks()),
            Kind::CreateKeyspace | Kind::DropKeyspace => Response::Done,
            _ => {
                let receipt = self.shared.service.position(lsn);
                Response::Written(Written { receipt, durable: true, applied })
            }
        };
        self.reply(id).send(&answer);
    }

    /// The log is poisoned: of what is not durable nobody can tell before recovery has judged it.
    fn line_is_cut(&mut self, error: &Error, now: Instant) {
        let mut cut = std::mem::take(&mut self.line.asking.waiting);
        cut.append(&mut self.line.quiet.waiting);
        for (lsn, id) in cut {
            if lsn <= self.shared.service.durable() {
                self.has_passed(lsn, id, now);
                continue;
            }
            let Some(flight) = self.flights.get(&id) else { continue };
            let failure = self.shared.service.failed(error.clone().after_append(lsn));
            match (&flight.what, flight.kind) {
                (What::Watch(_), _) => {
                    self.watched_job_is_unknown(id, JobRef::Write(lsn), failure);
                }
                (_, kind) => {
                    self.land(id);
                    // A flush is no write, and has no job.
                    match kind {
                        Kind::Flush => self.refuse(id, error.clone()),
                        _ => self.refuse(id, failure),
                    }
                }
            }
        }
    }
}
