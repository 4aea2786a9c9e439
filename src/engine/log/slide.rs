//! The log on a full disk: it goes on in the space that it has.
//!
//! What lies below a checkpoint is needed by nobody, but a segment goes as a whole, and the one with the
//! byte before the checkpoint stays (LOG-11). So the blocks of what is not needed in it are given back, and
//! as many are taken at the end:
//!
//! ```text
//!   | header | not needed |  needed  |  free  |
//!   | header |   a hole   |  needed  |  free  |  as much as the hole  |
//! ```
//!
//! The log slides over its file, and then into the next one, which begins with as much as the hole. It
//! takes as many bytes of the disk as before, so what is kept for those who take away
//! ([`Log::kept_bytes`]) is there again as often as there is a checkpoint.
//!
//! A hole lies below what recovery may need, no byte of it is written or flushed again, and its file is
//! not used again (LOG-13).
//!
//! A file system that cannot have holes leaves the log as it is.

use super::appender::Log;
use super::format::{SEGMENT_HEADER, segment_name};
use super::steps::{step_of_at_least, step_within};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::mutants::mutant;

impl Log {
    /// Gives back what nobody needs any more of the segment that stays, and takes as much at the end.
    /// Returns whether the log has more room now.
    ///
    /// # Errors
    /// What stood in the way; the next call tries again.
    pub(crate) fn slide(&self) -> Result<bool> {
        self.check_poison()?;
        let mut keeper = self.keeper.lock();
        let Some(last_byte) = keeper.unneeded.get().checked_sub(1).map(Lsn::new) else {
            return Ok(false);
        };
        let number = self.geometry.segment_of(last_byte);
        if keeper.is_retired || number < keeper.first {
            return Ok(false);
        }
        let records = self.geometry.record_after(self.geometry.segment_start(number));
        let begin = keeper.given_back.max(records);
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
        if self.geometry.segment_of(keeper.given_back) != number {
            keeper.holes = 0;
        }
        keeper.given_back = Lsn::new(begin.get() + bytes - has);
        keeper.holes += bytes - has;
        self.lengthen(&mut keeper, bytes).map(|()| true)
    }

    /// Whether the log has a hole: what it gives back it takes again.
    pub(crate) fn slides(&self) -> bool {
        self.keeper.lock().holes > 0
    }

    /// A segment with holes was removed, and the disk has `bytes` bytes more: the log takes them again.
    ///
    /// # Errors
    /// Not if somebody else was faster.
    pub(super) fn regain(&self, bytes: u64) -> Result<()> {
        let mut keeper = self.keeper.lock();
        let last = self.last_segment();
        let (has, whole) = (last.bytes(), self.segment_bytes());
        let (least, most) = (step_of_at_least(whole, has + 1), step_within(whole, has + bytes));
        if bytes == 0 || keeper.is_retired || most <= has {
            return Ok(());
        }
        match self.extended(&mut keeper, last.grow_between(least, most)) {
            Err(Error::DiskFull { .. }) => Ok(()),
            grown => grown,
        }
    }

    fn segment_bytes(&self) -> u64 {
        self.geometry.segment_bytes()
    }
}
