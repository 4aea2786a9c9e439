//! Whether the log has outlived the superblock: an older copy of the data file, beside a newer log.
//!
//! Whoever restores one file of two, or whose newest superblock has rotted, would lose every
//! commit of the lives since, silently: their records have another salt, and a store that was
//! closed has no log to read. But they have left something in the log that they could not have
//! written under this superblock, by the order in which incarnations begin (RECOVERY-4):
//!
//! ```text
//!   superblock of i durable -> segments of i + 1 made -> recovery's own record -> superblock of
//!   i + 1 durable -> commits of i + 1
//! ```
//!
//! So the superblock, of incarnation i, is proved to be old by
//!
//! - a segment of incarnation i + 2 or later;
//! - a record of i + 1, if the superblock says that the store was closed: the first write after
//!   that begins by recording i + 1;
//! - a transaction of i + 1 that does not begin with a count of keys: these are all that recovery
//!   itself appends, in one transaction at most, before its checkpoint;
//! - a record of i + 1 whose sync line is not where the records of that incarnation begin. Recovery's
//!   has it at the start of the log, just behind a segment's header, where it never is again. That
//!   tells where the first records are gone.
//!
//! An incarnation of the same number with another mark that has made commits, which only the last two
//! of these can tell, is of another copy of the store: of the two files one was restored.
//!
//! What is left out: the later lives are not looked for in what a segment of theirs holds beyond
//! the first such record, nor in files without a valid header. No proof is not a proof that the
//! superblock is new: if all of the later log is gone too, nothing is left that could tell.

use std::sync::Arc;

use super::cursor::RecordScan;
use super::format::{Geometry, Kind, SEGMENT_HEADER, SegmentHeader, segment_name, segment_number};
use super::scan::{Search, search_segment};
use crate::engine::base::error::Result;
use crate::engine::base::lsn::{Incarnation, Life};
use crate::engine::disk::Disk;
use crate::engine::mutants::mutant;

/// What the superblock says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) life: Life,
    pub(crate) segment_bytes: u64,
    /// The store was closed.
    pub(crate) clean: bool,
    /// Whether a transaction that begins with these bytes may be recovery's own.
    pub(crate) may_be_recoverys: fn(&[u8]) -> bool,
}

/// What proves that a newer superblock has been durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Later {
    /// The life that it is from.
    pub(crate) incarnation: Incarnation,
    /// The file of the log in which it lies.
    pub(crate) file: String,
}

/// Looks for the first proof in the headers of all segments, and in those of the next incarnation.
///
/// # Errors
/// A file could not be read.
pub(crate) fn find_later(disk: &Arc<dyn Disk>, known: Known) -> Result<Option<Later>> {
    let geometry = Geometry::new(known.segment_bytes);
    for name in disk.list()? {
        let Some(number) = segment_number(&name).filter(|&number| geometry.can_hold(number)) else {
            continue;
        };
        let Some(header) =
            header_of(&**disk, &name)?.filter(|found| found.life.store == known.life.store)
        else {
            continue;
        };
        let lives =
            i64::from(header.life.incarnation.get()) - i64::from(known.life.incarnation.get());
        let is_in_place = header.number == number && header.segment_bytes == known.segment_bytes;
        let is_proof = match lives {
            2.. => true,
            1 if is_in_place => has_commits(disk, known, &header)?,
            0 if is_in_place && header.life != known.life => {
                has_commits(disk, Known { clean: false, ..known }, &header)?
            }
            _ => false,
        };
        if is_proof {
            let file = disk.path(&name);
            return Ok(Some(Later { incarnation: header.life.incarnation, file }));
        }
    }
    Ok(None)
}

/// The header, if the file begins with one of this format.
fn header_of(disk: &dyn Disk, name: &str) -> Result<Option<SegmentHeader>> {
    let file = disk.open(name)?;
    if file.bytes()? < SEGMENT_HEADER {
        return Ok(None);
    }
    let mut page = vec![0; SEGMENT_HEADER as usize];
    file.read_at(0, &mut page)?;
    Ok(SegmentHeader::decode(&page).ok())
}

/// Whether a record in the segment of the next incarnation was written under its own superblock.
fn has_commits(disk: &Arc<dyn Disk>, known: Known, header: &SegmentHeader) -> Result<bool> {
    let Known { segment_bytes, clean, may_be_recoverys, .. } = known;
    let geometry = Geometry::new(segment_bytes);
    let start = geometry.segment_start(header.number);
    let mut records = RecordScan::open(Arc::clone(disk), header.life, segment_bytes, start);
    while let Some(record) = records.next()? {
        let begins = matches!(record.header.kind, Kind::Full | Kind::First);
        let is_commit =
            mutant!(LaterCommitUnread: begins && !may_be_recoverys(record.payload) => false);
        if clean || is_commit || geometry.offset_of(record.header.sync_line) != SEGMENT_HEADER {
            return Ok(true);
        }
        if geometry.segment_of(geometry.record_after(record.header.end())) != header.number {
            return Ok(false);
        }
    }
    // A hole may lie before it (LOG-13).
    let stop = records.stop().expect("there was no further record");
    let file = disk.open(&segment_name(header.number))?;
    let range = geometry.offset_of(stop.next)..file.bytes()?.min(segment_bytes);
    let (line, mut search) = (geometry.record_after(start), Search::default());
    let place = (header.number, &*file, range);
    search_segment(records.source(), line, place, &mut Vec::new(), &mut search)?;
    Ok(search.sync_line > line || clean && search.written > line)
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use super::*;
    use crate::engine::base::lsn::{LifeMark, Secret, StoreId};
    use crate::engine::disk::SimDisk;
    use crate::engine::log::{Log, LogOptions};

    const STORE: StoreId = StoreId(*b"a store of tests");
    const S: u64 = Geometry::MIN_SEGMENT_BYTES;

    fn life(number: u32) -> Life {
        let mark = LifeMark(u64::from(number) << 32);
        Life {
            mark,
            secret: Secret([9; 16]),
            ..Life::of_version_1(STORE, Incarnation::new(number))
        }
    }

    /// The first byte of what recovery writes, and of what others do.
    const NOTE: u8 = 7;
    const CHANGE: u8 = 8;

    /// A disk with the log of incarnation 5 and so many commits, with a flush after each.
    fn disk_with(commits: usize, first_byte: u8) -> Arc<dyn Disk> {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let options = LogOptions { segment_bytes: S, ..LogOptions::default() };
        let (log, mut appender) = Log::begin(Arc::clone(&disk), options, life(5), 3, &[]).unwrap();
        for _ in 0..commits {
            let payload = [first_byte; 100];
            log.reserve(payload.len()).unwrap();
            let crc = crc32fast::hash(&payload);
            log.publish(log.append(&mut appender, 9, &payload, crc).expect("reserved"));
            log.flush().unwrap();
        }
        disk
    }

    fn proof(disk: &Arc<dyn Disk>, incarnation: u32, clean: bool) -> Option<u32> {
        let known = Known { clean, ..known(life(incarnation)) };
        find_later(disk, known).unwrap().map(|later| later.incarnation.get())
    }

    fn known(life: Life) -> Known {
        let may_be_recoverys = |payload: &[u8]| payload.first() == Some(&NOTE);
        Known { life, segment_bytes: S, clean: true, may_be_recoverys }
    }

    #[test]
    fn a_later_life_proves_a_superblock_to_be_old() {
        // A life that has begun, and one that has recovered and written what recovery writes.
        for (commits, after_closing) in [(0, None), (1, Some(5))] {
            let disk = disk_with(commits, NOTE);
            assert_eq!(proof(&disk, 4, false), None, "RECOVERY-4: recovery may have crashed");
            assert_eq!(proof(&disk, 4, true), after_closing);
            assert_eq!(proof(&disk, 3, false), Some(5));
            for newer in [5, 6, u32::MAX] {
                assert_eq!(proof(&disk, newer, true), None);
            }
        }
        let disk = disk_with(2, NOTE);
        assert_eq!(proof(&disk, 4, false), Some(5), "its second record knows the first flushed");
        assert_eq!(proof(&disk_with(1, CHANGE), 4, false), Some(5), "recovery changes nothing");
        // The life of another copy that has the same number.
        let copy = Life { mark: LifeMark(7), ..life(5) };
        let some = Some(Incarnation::new(5));
        for (commits, byte, found) in [(1, NOTE, None), (2, NOTE, some), (1, CHANGE, some)] {
            let later = find_later(&disk_with(commits, byte), known(copy)).unwrap();
            assert_eq!(later.map(|later| later.incarnation), found);
        }
        let other = known(Life { store: StoreId(*b"another store id"), ..life(1) });
        assert_eq!(find_later(&disk, other).unwrap(), None, "not our business here");
    }
}
