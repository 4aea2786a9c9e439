//! Entry points of `benches/internals.rs`: two parts of the engine that no public call reaches alone.
//!
//! ```text
//!   benches/internals.rs
//!      |            |
//!   LogEnd       NodePage
//!      |            |
//!     log          tree
//! ```
//!
//! Built with the feature `cli` only; not a part of the public interface.

use std::fmt;
use std::sync::Arc;

use crate::engine::base::codec::crc32;
use crate::engine::base::error::Result;
use crate::engine::base::lsn::{Incarnation, Life, Lsn, StoreId};
use crate::engine::commit::CLASS_COMMIT;
use crate::engine::disk::Disk;
use crate::engine::log::{Appender, Log, LogOptions};
use crate::engine::space::{INNER, LEAF, header};
use crate::engine::tree::Node;

/// A log without a store, with its appender.
#[derive(Debug)]
pub struct LogEnd {
    log: Log,
    appender: Appender,
}

impl LogEnd {
    /// Begins a log in an empty directory.
    ///
    /// # Errors
    /// A file could not be created.
    pub fn begin(disk: Arc<dyn Disk>) -> Result<LogEnd> {
        let life = Life::of_version_1(StoreId([7; 16]), Incarnation::new(1));
        let (log, appender) = Log::begin(disk, LogOptions::default(), life, 0, &[])?;
        Ok(LogEnd { log, appender })
    }

    /// Appends and publishes one record with its checksum, as a commit does.
    ///
    /// # Errors
    /// No space is left, or a flush has failed.
    #[inline]
    pub fn append(&mut self, payload: &[u8]) -> Result<Lsn> {
        let crc = crc32(&[payload]);
        loop {
            self.log.reserve(payload.len())?;
            if let Some(lsn) = self.log.append(&mut self.appender, CLASS_COMMIT, payload, crc) {
                self.log.publish(lsn);
                return Ok(lsn);
            }
        }
    }

    /// Flushes the log, recycles its segments, and prepares memory for the next records.
    ///
    /// # Errors
    /// A flush has failed, or a file could not be made or removed.
    pub fn settle(&mut self) -> Result<()> {
        let durable = self.log.flush()?;
        self.log.recycle_below(durable)?;
        self.log.preallocate()
    }
}

/// A page that holds a node of a tree.
pub struct NodePage(Vec<u8>);

impl NodePage {
    /// The node in `page`, if there is a valid one.
    pub fn new(page: Vec<u8>) -> Option<NodePage> {
        let is_node = [LEAF, INNER].contains(&header::kind(&page));
        (is_node && Node::new(&page).check().is_ok()).then_some(NodePage(page))
    }

    /// Whether it holds records, rather than children.
    pub fn is_leaf(&self) -> bool {
        self.node().is_leaf()
    }

    /// The number of records or children.
    pub fn count(&self) -> usize {
        self.node().count()
    }

    /// The key of a record, or the lowest key that a child may hold.
    pub fn key(&self, slot: usize) -> Vec<u8> {
        let mut key = Vec::new();
        self.node().append_key(slot, &mut key);
        key
    }

    /// The slot of a record, or of the only child that may hold it.
    #[inline]
    pub fn search(&self, key: &[u8]) -> Option<usize> {
        let node = self.node();
        if node.is_leaf() { node.search(key).ok() } else { Some(node.child_index(key)) }
    }

    #[inline]
    fn node(&self) -> Node<'_> {
        Node::new(&self.0)
    }
}

impl fmt::Debug for NodePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodePage").field("count", &self.count()).finish_non_exhaustive()
    }
}
