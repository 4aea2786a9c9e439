//! What waits at the front of the queue of writes is done at once where that can be.
//!
//! A write that had to wait took all behind it to the pool. A client that always has some on their way sends
//! the next before the last run has ended, and its queue would never be empty again: each of its writes would
//! cost a trip to the pool and back. So once a run has ended the front of the queue is tried where it is, as
//! what has just come is. Nothing before it is under way then, and it stops at the first that has to wait
//! (WRITES-1).

use tokio::time::Instant;

use super::Session;
use super::writes::{Queued, Wrote};
use crate::engine::base::error::Result;
use crate::engine::store::Gathered;
use crate::net::proto::Request;
use crate::net::service::Appended;

/// Writes that are tried together.
const TOGETHER: usize = 64;

impl Session {
    /// Does writes from the front of the queue while none has to wait. Nothing is in the pool.
    pub(super) fn do_front(&mut self, now: Instant) {
        while !self.is_full() && (self.gather_front(now) || self.do_first(now)) {}
    }

    /// Commits the puts and deletes at the front together. False if the first of them has to wait, or
    /// there is none.
    fn gather_front(&mut self, now: Instant) -> bool {
        let mut gathered = Gathered::default();
        let (mut count, service) = (0, &self.shared.service);
        for Queued { waiting, .. } in self.writes.front(TOGETHER) {
            let packet = waiting.packet();
            let request = Request::decode(&packet).expect("decoded before");
            if waiting.is_unwanted()
                || !matches!(service.gather(&request, &mut self.recent, &mut gathered), Ok(true))
            {
                break;
            }
            count += 1;
        }
        if count == 0 {
            return false;
        }
        service.commit_gathered(&mut gathered);
        let answers: Vec<_> = gathered.answers().cloned().collect();
        for answer in answers {
            let Some(answer) = answer.transpose() else { return false };
            self.end_first(self.wrote_at_once(answer.map(Appended::now)), now);
        }
        true
    }

    /// Does the first in the queue if it is a batch, or has an idempotency key, or nobody wants it any
    /// more. False if it has to wait.
    fn do_first(&mut self, now: Instant) -> bool {
        let Some(Queued { waiting, .. }) = self.writes.front(1).next() else { return false };
        if waiting.is_unwanted() {
            self.end_first(Wrote::Unwanted, now);
            return true;
        }
        let packet = waiting.packet();
        let request = Request::decode(&packet).expect("decoded before");
        if !matches!(request, Request::Put(_) | Request::Delete(_) | Request::Batch(_)) {
            return false;
        }
        let service = &self.shared.service;
        let answer = service.write_at_once(&request, &self.caller, &mut self.recent);
        let Some(answer) = answer.transpose() else { return false };
        self.end_first(self.wrote_at_once(answer), now);
        true
    }

    /// The first in the queue was done, refused, or is not wanted.
    fn end_first(&mut self, wrote: Wrote, now: Instant) {
        let Queued { number, waiting } = self.writes.take_first();
        self.backlog_bytes -= waiting.len();
        let is_wanted = waiting.take();
        debug_assert_eq!(is_wanted, !matches!(wrote, Wrote::Unwanted), "this session gives it up");
        self.wrote(number, (waiting.id, waiting.ticket), wrote, now);
    }

    fn wrote_at_once(&self, answer: Result<Appended>) -> Wrote {
        match answer {
            Ok(appended) => Wrote::Appended(appended),
            Err(error) => Wrote::Refused(self.shared.service.failed(error)),
        }
    }
}
