//! How far the store is.

use crate::engine::base::lsn::{Incarnation, Lsn};

/// How far the store is: the crate's documentation says what survives at each watermark.
/// `checkpoint <= durable <= appended` and `visible <= appended`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Watermarks {
    /// The life of the store that these belong to.
    pub incarnation: Incarnation,
    /// Commits up to here are in the log, in the operating system's cache: they survive a kill of
    /// the process.
    pub appended: Lsn,
    /// Commits up to here can be read.
    pub visible: Lsn,
    /// The sync line: commits up to here survive a power loss.
    pub durable: Lsn,
    /// Commits up to here are in the data file: recovery need not replay them.
    pub checkpoint: Lsn,
}
