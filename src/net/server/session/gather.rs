//! Single writes that one read of the socket brought are committed together: the session takes the
//! commit lock once for all of them.
//!
//! Puts and deletes in a row are gathered while packets are taken from the input. They are committed
//! before any other packet is looked at, and at the end of the input. Each is a commit of its own,
//! with its own answer, as if it had been done when it came. The first that cannot be done at once
//! joins the queue of writes, and all behind it do (WRITES-1). Nothing stays here between two turns.

use std::cell::Cell;
use std::ops::Range;

use tokio::time::Instant;

use super::flight::OnTime;
use super::time::fails_at;
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::engine::store::Gathered;
use crate::net::proto::{Delete, Head, Kind, Mode, Packet, Put, Request};
use crate::net::service::{Recent, Service};

/// Writes that wait for the end of this turn's input.
#[derive(Default)]
pub(super) struct Gather {
    writes: Gathered,
    requests: Vec<GatheredRequest>,
}

/// The request of a gathered write.
pub(super) struct GatheredRequest {
    pub(super) head: Head,
    /// Where its body is in the input.
    pub(super) body: Range<usize>,
    pub(super) kind: Kind,
    pub(super) mode: Mode,
    pub(super) until: Option<(Instant, OnTime)>,
}

thread_local! {
    /// Memory for the next connection.
    static SPARE: Cell<Gather> = Cell::default();
}

impl Gather {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether a write with this id is among them.
    pub(super) fn contains(&self, id: u64) -> bool {
        self.requests.iter().any(|request| request.head.id == id)
    }

    /// Adds a write whose packet ends at `end` of the input. False if it cannot be gathered.
    ///
    /// # Errors
    /// The write is refused.
    pub(super) fn add(
        &mut self,
        service: &Service,
        recent: &mut Recent,
        (packet, request): (&Packet<'_>, &Request<'_>),
        end: usize,
        now: Instant,
    ) -> Result<bool> {
        let (Request::Put(Put { mode, .. }) | Request::Delete(Delete { mode, .. })) = *request
        else {
            return Ok(false);
        };
        if self.requests.is_empty() {
            *self = SPARE.take();
        }
        let added = service.gather(request, recent, &mut self.writes);
        if matches!(added, Ok(true)) {
            self.requests.push(GatheredRequest {
                head: packet.head,
                body: end - packet.body.len()..end,
                kind: request.kind(),
                mode,
                until: fails_at(packet, now),
            });
        } else if self.requests.is_empty() {
            SPARE.set(std::mem::take(self));
        }
        added
    }

    /// Commits the writes, and hands each with its result to `answer`: its position, or `None` if it
    /// was not done because it would have to wait.
    pub(super) fn commit(
        mut self,
        service: &Service,
        mut answer: impl FnMut(GatheredRequest, &Result<Option<Lsn>>),
    ) {
        service.commit_gathered(&mut self.writes);
        for (request, result) in self.requests.drain(..).zip(self.writes.answers()) {
            answer(request, result);
        }
        self.writes.clear();
        SPARE.set(self);
    }
}
