//! The watermarks: how far the store has come.

use crate::engine::base::lsn::{Incarnation, Lsn};

/// The positions in the log up to which commits have come: appended, visible, durable, checkpointed.
///
/// Always `checkpoint <= durable <= appended` and `visible <= appended`. Each only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Watermarks {
    /// The present life of the store, or the last one if nothing has been written since the open.
    pub incarnation: Incarnation,
    /// Commits up to here are in the operating system's cache: they survive a kill of the process.
    pub appended: Lsn,
    /// Commits up to here can be read.
    pub visible: Lsn,
    /// The sync line: commits up to here survive a power loss.
    pub durable: Lsn,
    /// Commits up to here are in the data file: recovery need not replay them.
    pub checkpoint: Lsn,
}
