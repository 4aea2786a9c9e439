//! A request that waits for a thread of the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::time::Instant;

use crate::net::proto::{Head, Packet};

const TAKEN: u8 = 1;
const CANCELLED: u8 = 2;

/// Decides one race: a thread takes the request, or its session cancels it. The first of them wins.
#[derive(Debug, Default)]
pub(crate) struct Ownership(AtomicU8);

impl Ownership {
    /// Takes the request for the calling thread. False if it is cancelled.
    pub(crate) fn take(&self) -> bool {
        self.decide(TAKEN)
    }

    /// Cancels the request. False if a thread has it.
    pub(crate) fn cancel(&self) -> bool {
        self.decide(CANCELLED)
    }

    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) == CANCELLED
    }

    fn decide(&self, state: u8) -> bool {
        self.0.compare_exchange(0, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// A request, with a copy of its packet.
#[derive(Debug)]
pub(crate) struct QueuedRequest {
    pub(crate) id: u64,
    /// Names the flight that the answer belongs to (SESSION-2).
    pub(crate) ticket: u64,
    /// Since when there is no memory for its answer.
    pub(crate) starved_since: Option<Instant>,
    owner: Arc<Ownership>,
    head: Head,
    body: Box<[u8]>,
}

impl QueuedRequest {
    pub(crate) fn new(packet: &Packet<'_>, ticket: u64, owner: Arc<Ownership>) -> QueuedRequest {
        let Packet { head, body } = *packet;
        QueuedRequest { id: head.id, ticket, starved_since: None, owner, head, body: body.into() }
    }

    pub(crate) fn packet(&self) -> Packet<'_> {
        Packet { head: self.head, body: &self.body }
    }

    /// Length of the body in bytes.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.owner.is_cancelled()
    }

    /// See [`Ownership::take`].
    pub(crate) fn take(&self) -> bool {
        self.owner.take()
    }
}

/// Why the pool gave a request back instead of answering it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeferReason {
    /// The client has as much unread as one connection may have.
    Unread,
    /// All clients together have as much unread as the budget allows.
    Memory,
}
