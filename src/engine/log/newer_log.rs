//! Whether the log has outlived the superblock: an older copy of the data file, beside a newer log.
//!
//! Somebody may have restored one of the two files, or the newest superblock may have rotted. Opening
//! would then silently lose every commit of the lives since: their records have another salt, and a
//! store that was closed has no log to read. But incarnations begin in a fixed order (RECOVERY-4), so
//! those lives left something in the log that could not have been written under this superblock:
//!
//! ```text
//!   superblock of i durable -> segments of i + 1 made -> recovery's own record -> superblock of
//!   i + 1 durable -> commits of i + 1
//! ```
//!
//! The superblock, of incarnation i, is proved to be old by
//!
//! - a segment of incarnation i + 2 or later;
//! - a record of i + 1, if the superblock says that the store was closed: the first write after
//!   that begins by recording i + 1;
//! - a transaction of i + 1 that does not begin with a count of keys: before its checkpoint, recovery
//!   itself appends at most one transaction, of such counts;
//! - a record of i + 1 whose sync line is not where the records of that incarnation begin. The sync
//!   line of recovery's own record is at the start of the log, right after a segment's header, and
//!   never there again. This proof works where the first records are gone.
//!
//! An incarnation of the same number with another mark that has made commits, which only the last two
//! can prove, belongs to another copy of the store: one of the two files was restored.
//!
//! Left out: a search of the segments of later lives beyond the first such record, and of files without
//! a valid header. Finding no proof does not prove that the superblock is new: if all of the later log
//! is gone too, nothing can tell.

use std::sync::Arc;

use super::cursor::RecordScan;
use super::format::{Geometry, Kind, SEGMENT_HEADER, SegmentHeader, segment_name, segment_number};
use super::scan::{Search, search_segment};
use crate::engine::base::error::Result;
use crate::engine::base::lsn::{Incarnation, Life};
use crate::engine::disk::Disk;
use crate::engine::mutants::mutant;

/// The life that the superblock records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownLife {
    pub(crate) life: Life,
    pub(crate) segment_bytes: u64,
    /// Whether the store was closed.
    pub(crate) clean: bool,
    /// Whether a transaction that begins with these bytes may be recovery's own.
    pub(crate) may_be_recovery: fn(&[u8]) -> bool,
}

/// Proof that a newer superblock has been durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewerLog {
    /// The incarnation that wrote the proof.
    pub(crate) incarnation: Incarnation,
    /// The file of the log that holds it.
    pub(crate) file: String,
}

/// Looks for the first proof in the headers of all segments, and in those of the next incarnation.
///
/// # Errors
/// A file could not be read.
pub(crate) fn find_newer_log(disk: &Arc<dyn Disk>, known: KnownLife) -> Result<Option<NewerLog>> {
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
                has_commits(disk, KnownLife { clean: false, ..known }, &header)?
            }
            _ => false,
        };
        if is_proof {
            let file = disk.path(&name);
            return Ok(Some(NewerLog { incarnation: header.life.incarnation, file }));
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

/// Whether the segment, of another life, holds a record written under that life's superblock.
fn has_commits(disk: &Arc<dyn Disk>, known: KnownLife, header: &SegmentHeader) -> Result<bool> {
    let KnownLife { segment_bytes, clean, may_be_recovery, .. } = known;
    let geometry = Geometry::new(segment_bytes);
    let start = geometry.segment_start(header.number);
    let mut records = RecordScan::open(Arc::clone(disk), header.life, segment_bytes, start);
    while let Some(record) = records.next()? {
        let begins = matches!(record.header.kind, Kind::Full | Kind::First);
        let is_commit =
            mutant!(LaterCommitUnread: begins && !may_be_recovery(record.payload) => false);
        if clean || is_commit || geometry.offset_of(record.header.sync_line) != SEGMENT_HEADER {
            return Ok(true);
        }
        if geometry.segment_of(geometry.record_after(record.header.end())) != header.number {
            return Ok(false);
        }
    }
    // A hole may lie before the record (LOG-13).
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

    /// The first byte of what recovery writes, and of what commits write.
    const NOTE: u8 = 7;
    const CHANGE: u8 = 8;

    /// A disk with the log of incarnation 5 and some commits, with a flush after each.
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
        let known = KnownLife { clean, ..known(life(incarnation)) };
        find_newer_log(disk, known).unwrap().map(|later| later.incarnation.get())
    }

    fn known(life: Life) -> KnownLife {
        let may_be_recovery = |payload: &[u8]| payload.first() == Some(&NOTE);
        KnownLife { life, segment_bytes: S, clean: true, may_be_recovery }
    }

    #[test]
    fn a_later_life_proves_a_superblock_to_be_old() {
        // A life that has begun, and one whose recovery has written its record.
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
        assert_eq!(proof(&disk, 4, false), Some(5), "its second sync line is higher");
        assert_eq!(proof(&disk_with(1, CHANGE), 4, false), Some(5), "recovery makes no changes");
        // The life of another copy with the same number.
        let copy = Life { mark: LifeMark(7), ..life(5) };
        let some = Some(Incarnation::new(5));
        for (commits, byte, found) in [(1, NOTE, None), (2, NOTE, some), (1, CHANGE, some)] {
            let later = find_newer_log(&disk_with(commits, byte), known(copy)).unwrap();
            assert_eq!(later.map(|later| later.incarnation), found);
        }
        let other = known(Life { store: StoreId(*b"another store id"), ..life(1) });
        assert_eq!(find_newer_log(&disk, other).unwrap(), None, "another store");
    }
}
