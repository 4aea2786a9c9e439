//! Giving back: the files that an idle log, and that of a closed store, need no more.
//!
//! Of a closed store's log nothing is replayed. But it proves that an older data file, put beside
//! it, is old ([`super::later`]), and it keeps the next life from taking the numbers of this one. A
//! **mark** does as much: the next segment, as short as may be, with one empty record.
//!
//! 1. the superblock that says *closed* is durable, in both its slots;
//! 2. the mark is made, with the sync line in its header and in its record, and is durable;
//! 3. every older segment is removed.
//!
//! A crash between these leaves files that the next life removes. After 2 no superblock is left
//! that could need them.

use super::appender::{Appender, Log};
use super::format::{Kind, RecordHeader, SEGMENT_HEADER, SegmentHeader, segment_name};
use super::steps::LEAST_SEGMENT;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;

impl Log {
    /// Nothing has been written for a while: files that wait to be used again are removed.
    ///
    /// # Errors
    /// A file could not be removed; the next call tries again.
    pub(crate) fn rest(&self) -> Result<()> {
        self.keeper.lock().keep_spares(&*self.disk, 0)
    }

    /// Leaves the mark of a closed store, and removes all other files of the log. The superblock
    /// says that the store is closed, durably in both its slots, and nothing is appended any more.
    ///
    /// # Errors
    /// What stood in the way. The files that are left do no harm (LOG-10).
    pub(crate) fn retire(&self, appender: Option<Appender>) -> Result<()> {
        let end = self.durable.load();
        assert_eq!(end, self.appended.load(), "a closed log is durable");
        drop(appender);
        let (number, older) = self.keeper.lock().take_last();
        if !self.geometry.can_hold(number) {
            return Ok(());
        }
        match self.make_mark(number) {
            Err(Error::DiskFull { .. }) => {
                // What is removed after it makes room for it.
                self.give_back_unneeded(&older, end)?;
                self.make_mark(number)?;
            }
            made => made?,
        }
        let unmapped = std::mem::take(&mut *self.mapped.lock());
        drop(unmapped);
        let names = self.disk.list()?;
        older.iter().filter(|name| names.contains(name)).try_for_each(|name| self.disk.remove(name))
    }

    /// Gives back all blocks but those of headers and of the page of the last byte: the store is closed.
    fn give_back_unneeded(&self, names: &[String], end: Lsn) -> Result<()> {
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
