//! Removes the files that an idle log, and the log of a closed store, no longer need.
//!
//! Nothing of a closed store's log is replayed. But the log proves that an older data file, put beside
//! it, is old ([`super::newer_log`]), and it keeps the next life from taking its numbers. A **mark** does
//! the same: the next segment, as short as possible, with one empty record.
//!
//! 1. the superblock that says *closed* is durable, in both its slots;
//! 2. the mark is made, with the sync line in its header and in its record, and is durable;
//! 3. every older segment is removed.
//!
//! After a crash between these, the next life removes the remaining files. After step 2 no superblock
//! is left that could need them.

use super::appender::{Appender, Log};
use super::format::{Kind, RecordHeader, SEGMENT_HEADER, SegmentHeader, segment_name};
use super::steps::LEAST_SEGMENT;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;

impl Log {
    /// Removes all spares, after a while without writes.
    ///
    /// # Errors
    /// A file could not be removed; the next call tries again.
    pub(crate) fn remove_spares(&self) -> Result<()> {
        self.preallocator.lock().trim_spares(&*self.disk, 0)
    }

    /// Makes the mark of a closed store, and removes all other files of the log. The superblock
    /// says that the store is closed, durably in both its slots, and nothing is appended any more.
    ///
    /// # Errors
    /// A file could not be made or removed. The remaining files do no harm (LOG-10).
    pub(crate) fn retire(&self, appender: Option<Appender>) -> Result<()> {
        let end = self.durable.load();
        assert_eq!(end, self.appended.load(), "a closed log is durable");
        drop(appender);
        let (number, older) = self.preallocator.lock().take_last();
        if !self.geometry.can_hold(number) {
            return Ok(());
        }
        match self.make_mark(number) {
            Err(Error::DiskFull { .. }) => {
                // Holes in the files that are removed afterwards make room for the mark.
                self.punch_unneeded(&older, end)?;
                self.make_mark(number)?;
            }
            made => made?,
        }
        let unmapped = std::mem::take(&mut *self.mapped.lock());
        drop(unmapped);
        let names = self.disk.list()?;
        older.iter().filter(|name| names.contains(name)).try_for_each(|name| self.disk.remove(name))
    }

    /// Punches out everything except headers and the page of the last byte: the store is closed.
    fn punch_unneeded(&self, names: &[String], end: Lsn) -> Result<()> {
        let last_byte = Lsn::new(end.get() - 1);
        let last = segment_name(self.geometry.segment_of(last_byte));
        for name in names {
            let file = self.disk.open(name)?;
            let bytes = file.bytes()? / SEGMENT_HEADER * SEGMENT_HEADER;
            let kept = match *name == last {
                true => self.geometry.offset_of(last_byte) / SEGMENT_HEADER * SEGMENT_HEADER,
                false => bytes,
            };
            for (from, to) in [(SEGMENT_HEADER, kept), (kept + SEGMENT_HEADER, bytes)] {
                if from < to {
                    file.deallocate(from, to - from)?;
                }
            }
        }
        Ok(())
    }

    fn make_mark(&self, number: u64) -> Result<()> {
        let sync_line = self.durable.load();
        let header = SegmentHeader {
            life: self.life,
            number,
            segment_bytes: self.geometry.segment_bytes(),
            sync_line,
            made_bytes: LEAST_SEGMENT,
        };
        let record = RecordHeader {
            payload_crc: crc32fast::hash(&[]),
            len: 0,
            kind: Kind::Full,
            class: 0,
            lsn: self.geometry.record_after(self.geometry.segment_start(number)),
            sync_line,
        };
        let file = self.disk.create(&segment_name(number), LEAST_SEGMENT)?;
        file.write_at(0, &header.encode())?;
        file.write_at(SEGMENT_HEADER, &record.encode(self.salt))?;
        file.sync()?;
        self.disk.sync_dir()
    }
}
