//! Writes that were refused for want of space, until such a write would be taken again.
//!
//! A disk that has no room for a long write may have some for a short one, and a disk that was full
//! tells nobody when it is not any more. So the service remembers how large a write was refused, and
//! tries now and then whether there is room for one of its size: see [`Service::try_room`].

use parking_lot::Mutex;

use super::service::Service;
use crate::engine::base::error::Result;
use crate::engine::store::BatchSize;

/// More than this is not waited for: a disk that takes most writes is not full.
const LARGEST: BatchSize = BatchSize { operations: 1000, bytes: 1 << 20, longest: 1 << 20 };

/// The size of the largest write that was refused and would be still, as far as that is known.
#[derive(Debug, Default)]
pub(super) struct Shortage(Mutex<Option<BatchSize>>);

impl Shortage {
    pub(super) fn refused(&self, size: BatchSize) {
        let mut refused = self.0.lock();
        *refused = Some(refused.map_or(size, |other| other.max(size)).min(LARGEST));
    }
}

impl Service {
    /// Whether a write was refused for want of space, and nobody knows of room for its like since.
    pub(crate) fn is_short(&self) -> bool {
        self.shortage.0.lock().is_some()
    }

    /// Whether there is room for a write: one as large as was refused, or a small one if none was. Waits
    /// where that would wait.
    ///
    /// # Errors
    /// As of the write.
    pub(crate) fn try_room(&self) -> Result<()> {
        let refused = *self.shortage.0.lock();
        self.store.try_room_for_write(refused.unwrap_or_default())?;
        let mut now = self.shortage.0.lock();
        if *now == refused {
            *now = None;
        }
        Ok(())
    }
}
