//! Streams: ranges that come in parts, all of one snapshot (SERVICE-3).
//!
//! Between two parts a stream holds only the snapshot and the key at which to go on: no page, no
//! thread. The snapshot keeps old page versions alive, so the owner of a stream drops it when it is
//! too old.

use std::ops::Bound;

use super::reply::Reply;
use super::service::Service;
use crate::engine::base::error::Result;
use crate::net::proto::{self, EntriesWriter, Kind, Order, Part, Range};
use crate::{Keyspace, Snapshot};

/// Bytes of keys and values in one part, about.
const PART_BYTES: usize = 64 << 10;

/// A stream between two parts.
#[derive(Debug)]
pub(crate) struct Stream {
    snapshot: Snapshot,
    keyspace: Keyspace,
    walk: Walk,
}

/// The rest of a range.
#[derive(Debug)]
pub(super) struct Walk {
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    order: Order,
    left: u64,
}

impl Service {
    /// Begins a stream over a new snapshot.
    pub(super) fn stream(&self, range: &Range<'_>) -> Result<Stream> {
        let keyspace = self.names.find(&self.store, range.keyspace)?;
        Ok(Stream { snapshot: self.store.snapshot()?, keyspace, walk: Walk::new(range) })
    }

    /// Writes the next part. Returns the stream if more follow. May read pages.
    pub(crate) fn next_part(
        &self,
        mut stream: Box<Stream>,
        reply: &mut Reply<'_>,
    ) -> Option<Box<Stream>> {
        let Stream { snapshot, keyspace, walk } = &mut *stream;
        let mut writer = EntriesWriter::new(self.position_of(snapshot), reply.out);
        let next = match walk.fill(snapshot, keyspace, &mut writer, reply, PART_BYTES) {
            // The range ends at its limit.
            Ok(next) => next.filter(|_| walk.left > 0),
            Err(error) => {
                writer.abandon(reply.out);
                reply.fail(error);
                return None;
            }
        };
        let part = if next.is_some() { Part::More } else { Part::Last };
        if let Err(refused) = writer.finish(reply.id, part, None, reply.max_body, reply.out) {
            reply.too_large(Kind::Entries, refused);
            return None;
        }
        next.map(|_| stream)
    }
}

impl Walk {
    pub(super) fn new(range: &Range<'_>) -> Walk {
        Walk {
            from: owned(range.lower),
            to: owned(range.upper),
            order: range.order,
            left: range.limit.unwrap_or(u64::MAX),
        }
    }

    /// Adds entries to a packet: about `wanted` bytes, at most what the client takes, at least one
    /// entry. Returns the key at which the next part begins.
    pub(super) fn fill(
        &mut self,
        snapshot: &Snapshot,
        keyspace: &Keyspace,
        writer: &mut EntriesWriter,
        reply: &mut Reply<'_>,
        wanted: usize,
    ) -> Result<Option<Vec<u8>>> {
        if self.left == 0 {
            return Ok(None);
        }
        let bounds = (self.from.as_ref(), self.to.as_ref());
        let mut range = snapshot.range::<Vec<u8>>(keyspace, bounds)?;
        let mut put = |key: &[u8], value: &[u8], left: &mut u64| -> bool {
            let max_next = 5000;
            let is_full = writer.body_len(reply.out) >= wanted
                || !writer.fits(key, value, max_next, reply.max_body, reply.out);
            if is_full && !writer.is_empty() {
                return false;
            }
            writer.push(key, value, reply.out);
            *left -= 1;
            true
        };
        match self.order {
            Order::Ascending => {
                while let Some((key, value)) = range.next_ref()? {
                    if self.left == 0 || !put(key, value, &mut self.left) {
                        let key = key.to_vec();
                        drop(range);
                        self.from = Bound::Included(key.clone());
                        return Ok(Some(key));
                    }
                }
            }
            Order::Descending => {
                while let Some(entry) = range.next_back().transpose()? {
                    if self.left == 0 || !put(entry.key(), entry.value(), &mut self.left) {
                        let key = entry.key().to_vec();
                        drop((entry, range));
                        self.to = Bound::Included(key.clone());
                        return Ok(Some(key));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// The owned bound of a range.
fn owned(bound: proto::Bound<'_>) -> Bound<Vec<u8>> {
    match bound {
        proto::Bound::Unbounded => Bound::Unbounded,
        proto::Bound::Included(key) => Bound::Included(key.to_vec()),
        proto::Bound::Excluded(key) => Bound::Excluded(key.to_vec()),
    }
}
