//! Hole punching: on a full disk the log goes on in the space that it has.
//!
//! The log below a checkpoint is no longer needed. But a segment is removed as a whole, and the one with
//! the byte before the checkpoint stays (LOG-11). So the log punches a hole in the part of it that is not
//! needed, and grows by as much at the end:
//!
//! ```text
//!   | header | not needed |  needed  |  free  |
//!   | header |   a hole   |  needed  |  free  |  as much as the hole  |
//! ```
//!
//! The log slides over its file, and then into the next one, which begins with as much as the hole. It
//! takes as many bytes of the disk as before, so each checkpoint restores the reserve for deletes
//! ([`Log::delete_reserve`]).
//!
//! A hole lies below what recovery may need, no byte of it is written or flushed again, and its file is
//! not recycled (LOG-13).
//!
//! On a file system without holes the log stays as it is.

use super::appender::Log;
use super::format::{SEGMENT_HEADER, segment_name};
use super::steps::{step_of_at_least, step_within};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::mutants::mutant;

impl Log {
    /// Punches a hole below the checkpoint, in the segment with the byte before it, and grows the log by
    /// as much. Returns whether the log has more room now.
    ///
    /// # Errors
    /// The hole or the growth failed; the next call tries again.
    pub(crate) fn punch_hole(&self) -> Result<bool> {
        self.check_poison()?;
        let mut state = self.preallocator.lock();
        let Some(last_byte) = state.needed_from.get().checked_sub(1).map(Lsn::new) else {
            return Ok(false);
        };
        let number = self.geometry.segment_of(last_byte);
        if state.is_retired || number < state.first {
            return Ok(false);
        }
        let records = self.geometry.record_after(self.geometry.segment_start(number));
        let begin = state.hole_end.max(records);
        let unneeded =
            (last_byte.get() / SEGMENT_HEADER * SEGMENT_HEADER).saturating_sub(begin.get());
        let last = self.last_segment();
        let has = if last.is_whole() { 0 } else { last.bytes() };
        let bytes = step_within(self.segment_bytes(), has + unneeded);
        if bytes <= has {
            return Ok(false);
        }
        assert!(
            begin < last_byte && last_byte < self.durable.load(),
            "LOG-13: the hole is not needed"
        );
        let file = self.disk.open(&segment_name(number))?;
        let len = mutant!(HoleTooLong: bytes - has => bytes - has + 2 * SEGMENT_HEADER);
        if !file.deallocate(self.geometry.offset_of(begin), len)? {
            return Ok(false);
        }
        if self.geometry.segment_of(state.hole_end) != number {
            state.hole_bytes = 0;
        }
        state.hole_end = Lsn::new(begin.get() + bytes - has);
        state.hole_bytes += bytes - has;
        self.lengthen(&mut state, bytes).map(|()| true)
    }

    /// Whether the log has a hole: space that it frees, it takes again.
    pub(crate) fn has_hole(&self) -> bool {
        self.preallocator.lock().hole_bytes > 0
    }

    /// Grows the log by the `bytes` bytes that the removal of a segment with holes has freed.
    ///
    /// # Errors
    /// The growth failed. A full disk is no error: something else has taken the space.
    pub(super) fn regrow(&self, bytes: u64) -> Result<()> {
        let mut state = self.preallocator.lock();
        let last = self.last_segment();
        let (has, whole) = (last.bytes(), self.segment_bytes());
        let (least, most) = (step_of_at_least(whole, has + 1), step_within(whole, has + bytes));
        if bytes == 0 || state.is_retired || most <= has {
            return Ok(());
        }
        match self.extended(&mut state, last.grow_between(least, most)) {
            Err(Error::DiskFull { .. }) => Ok(()),
            grown => grown,
        }
    }

    fn segment_bytes(&self) -> u64 {
        self.geometry.segment_bytes()
    }
}
