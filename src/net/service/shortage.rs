//! Shortage of space: the size of the largest write that a full disk refused.
//!
//! A disk without room for a long write may have room for a short one, and it does not tell when it has
//! space again. So the service remembers the largest refused size, and from time to time tries whether
//! a write of that size has room: see [`Service::try_room`](super::Service::try_room).

use parking_lot::Mutex;

use crate::engine::base::error::Result;
use crate::engine::store::BatchSize;

/// The size that is remembered at most: a disk that takes most writes is not full.
const LARGEST: BatchSize = BatchSize { operations: 1000, bytes: 1 << 20, longest: 1 << 20 };

/// The size of the largest refused write, until a write of that size has room.
#[derive(Debug, Default)]
pub(super) struct Shortage(Mutex<Option<BatchSize>>);

impl Shortage {
    pub(super) fn refused(&self, size: BatchSize) {
        let mut refused = self.0.lock();
        *refused = Some(refused.map_or(size, |other| other.max(size)).min(LARGEST));
    }

    /// Whether a write was refused, and none of its size has had room since.
    pub(super) fn is_known(&self) -> bool {
        self.0.lock().is_some()
    }

    /// Tries whether there is room for a write as large as the refused one, or for a small one if none
    /// was refused. If there is, the shortage is over.
    pub(super) fn try_room(&self, room_for: impl FnOnce(BatchSize) -> Result<()>) -> Result<()> {
        let refused = *self.0.lock();
        room_for(refused.unwrap_or_default())?;
        let mut now = self.0.lock();
        if *now == refused {
            *now = None;
        }
        Ok(())
    }
}
