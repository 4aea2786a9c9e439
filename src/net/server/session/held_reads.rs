//! Reads that wait for the writes that were sent before them (WRITES-3).
//!
//! Each knows the number of the last write that it must see. When that write has ended, the read
//! begins as if it had come then; until then it can be cancelled like every flight.

use std::collections::BTreeMap;

use crate::net::server::work::QueuedRequest;

/// Held reads, by the write that each waits for, and by their order.
#[derive(Debug, Default)]
pub(super) struct HeldReads {
    by_write: BTreeMap<(u64, u64), QueuedRequest>,
    bytes: usize,
}

impl HeldReads {
    /// Keeps a read until the write `number` has ended.
    pub(super) fn hold(&mut self, number: u64, read: QueuedRequest) {
        self.bytes += read.len();
        self.by_write.insert((number, read.ticket), read);
    }

    /// A read that waits no longer, now that all writes up to `done` have ended.
    pub(super) fn next(&mut self, done: u64) -> Option<QueuedRequest> {
        let first = self.by_write.first_entry().filter(|first| first.key().0 <= done)?;
        let read = first.remove();
        self.bytes -= read.len();
        Some(read)
    }

    /// Bytes of the packets that are held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
