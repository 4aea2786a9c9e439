//! Whether the log that a superblock proves to have existed is there.
//!
//! The superblock of a store that was not closed proves these segments, each with a header of the
//! incarnation that it records:
//!
//! - the one with the byte before the position from which recovery reads. It was there when the
//!   superblock was written, and stays until a newer one is durable ([`Log::recycle_below`]);
//! - all from there to the newest one that is noted. A segment is noted after it is durable, and
//!   before a record goes into it ([`LogRegistry`]).
//!
//! So a log that is missing, empty, or zeroed is never taken for one that holds nothing. The content of
//! the segments is checked when they are read ([`super::scan`]).
//!
//! Left out: in a store that began its incarnation under format version 1 only the first of them is
//! known, and not even that one if the checkpoint is at the very end of a segment, which was recycled then.
//!
//! [`Log::recycle_below`]: super::Log::recycle_below

use std::fmt::Debug;
use std::sync::Arc;

use super::cursor::Source;
use super::format::{Geometry, SEGMENT_HEADER, Salt, SegmentHeader, segment_name};
use super::steps::LEAST;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Life, Lsn};
use crate::engine::disk::{Disk, DiskFile};
use crate::engine::mutants::mutant;

/// Notes durably which segments of the log exist, and its sync line.
pub(crate) trait LogRegistry: Debug + Send + Sync {
    /// Notes that segment `newest` of the log of `life` exists, and that the log is durable up to `durable`.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if it is unknown what is on the disk; after any other error it can be
    /// retried.
    fn note_log(&self, life: &Life, newest: u64, durable: Lsn) -> Result<()>;

    /// Fails if the store's data file has lost its name: then no flush of the log makes anything durable.
    fn check_named(&self) -> Result<()>;
}

/// Checks the segments that a superblock proves: those from the byte before `from` to `newest`,
/// 0 if none is noted.
///
/// # Errors
/// [`Error::Missing`] or [`Error::Corrupt`], which name the first segment that is wrong.
pub(crate) fn check_presence(
    disk: &Arc<dyn Disk>,
    life: Life,
    segment_bytes: u64,
    from: Lsn,
    newest: u64,
) -> Result<()> {
    mutant!(MissingLogAccepted => return Ok(()));
    let geometry = Geometry::new(segment_bytes);
    let source = Source { disk: Arc::clone(disk), life, geometry, salt: Salt::of(&life) };
    if life.mark.is_none() && geometry.offset_of(from) == 0 {
        return Ok(());
    }
    let last_byte = Lsn::new(from.get() - 1);
    let first = geometry.segment_of(last_byte);
    let present = source.segments()?;
    // First their store: beside another store's log none can be there.
    for &number in present.iter().filter(|&&number| number >= first) {
        let file = disk.open(&segment_name(number))?;
        source.read_header(number, &*file, file.bytes()?)?;
    }
    for number in first..=newest.max(first) {
        if present.binary_search(&number).is_err() {
            return Err(Error::Missing {
                file: source.path(number),
                expected: format!(
                    "the log of incarnation {} has this segment, and the store was not closed",
                    life.incarnation
                ),
            });
        }
        let file = disk.open(&segment_name(number))?;
        let needed = if number == first { geometry.offset_of(last_byte) + 1 } else { 0 };
        check_segment(&source, number, &*file, needed.max(LEAST))?;
    }
    Ok(())
}

/// Checks that the file is the segment `number`, and at least `needed` bytes long.
fn check_segment(source: &Source, number: u64, file: &dyn DiskFile, needed: u64) -> Result<()> {
    let bytes = file.bytes()?;
    let corrupt = |offset, expected, found| {
        Err(Error::Corrupt { file: source.path(number), offset, expected, found })
    };
    if bytes < needed {
        let expected = format!("at least {needed} bytes of log");
        return corrupt(bytes, expected, format!("the end of the file at {bytes}"));
    }
    if source.read_header(number, file, bytes)?.is_some() {
        return Ok(());
    }
    let mut page = vec![0; SEGMENT_HEADER as usize];
    file.read_at(0, &mut page)?;
    let found = match SegmentHeader::decode(&page) {
        Ok(found) if found.life.incarnation != source.life.incarnation => {
            format!("that of a segment of incarnation {}", found.life.incarnation)
        }
        Ok(found) if found.number != number => format!("that of segment {}", found.number),
        Ok(_) => "that of another copy of the store".to_owned(),
        Err(_) if page.iter().all(|&byte| byte == 0) => "zeros".to_owned(),
        Err(_) => "none that is valid".to_owned(),
    };
    let life = source.life.incarnation;
    corrupt(0, format!("the header of segment {number} of incarnation {life}"), found)
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use super::*;
    use crate::engine::base::lsn::{Incarnation, LifeMark, Secret, StoreId};
    use crate::engine::disk::SimDisk;
    use crate::engine::log::{Log, LogOptions};

    const S: u64 = Geometry::MIN_SEGMENT_BYTES;

    fn life() -> Life {
        let old = Life::of_version_1(StoreId([7; 16]), Incarnation::new(3));
        Life { mark: LifeMark(9), secret: Secret([5; 16]), ..old }
    }

    /// The segments 2 to 4 of a log.
    fn three_segments(life: Life) -> SimDisk {
        let disk = SimDisk::new();
        let options = LogOptions { segment_bytes: S, ..LogOptions::default() };
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (log, mut appender) = Log::begin(shared, options, life, 2, &[]).unwrap();
        let payload = vec![1; 3 * S as usize / 2];
        log.reserve(payload.len()).unwrap();
        let end = log.append(&mut appender, 1, &payload, crc32fast::hash(&payload)).unwrap();
        log.publish(end);
        log.preallocate().unwrap();
        disk
    }

    fn check(disk: &SimDisk, life: Life, from: u64, newest: u64) -> Result<()> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        check_presence(&disk, life, S, Lsn::new(from), newest)
    }

    #[test]
    fn a_missing_or_empty_segment_is_named() {
        let disk = three_segments(life());
        check(&disk, life(), 2 * S + 4096, 4).unwrap();
        for number in 2..=4 {
            let name = segment_name(number);
            let bytes = disk.read_file(&name);
            let is_named = |file: &str| file.ends_with(&name);
            disk.remove_file(&name);
            let told = check(&disk, life(), 2 * S + 4096, 4);
            assert!(matches!(told, Err(Error::Missing { file, .. }) if is_named(&file)));
            for other in [vec![], vec![0; 4095], vec![0; bytes.len()]] {
                disk.write_file(&name, &other);
                let told = check(&disk, life(), 2 * S + 4096, 4);
                assert!(matches!(told, Err(Error::Corrupt { file, .. }) if is_named(&file)));
            }
            disk.write_file(&name, &bytes);
        }
        check(&disk, life(), 2 * S + 4096, 4).unwrap();
    }

    #[test]
    fn a_segment_of_another_life_place_or_copy_is_refused() {
        let disk = three_segments(life());
        let old = Life::of_version_1(life().store, life().incarnation);
        for other in [
            Life { incarnation: Incarnation::new(4), ..life() },
            Life { mark: LifeMark(8), ..life() },
            Life { secret: Secret([6; 16]), ..life() },
            old,
        ] {
            let told = check(&disk, other, 2 * S + 4096, 4);
            assert!(matches!(told, Err(Error::Corrupt { offset: 0, .. })), "{told:?}");
        }
        let other = Life { store: StoreId([8; 16]), ..life() };
        let told = check(&disk, other, 2 * S + 4096, 4);
        assert!(matches!(told, Err(Error::WrongStore { .. })));
        disk.write_file(&segment_name(3), &disk.read_file(&segment_name(2)));
        let told = check(&disk, life(), 2 * S + 4096, 4);
        assert!(matches!(told, Err(Error::Corrupt { offset: 0, .. })));
        // Segments below the checkpoint are not needed.
        check(&disk, life(), 3 * S + 1, 4).unwrap_err();
        check(&disk, life(), 4 * S + 1, 4).unwrap();
    }

    #[test]
    fn the_segment_with_the_last_byte_below_a_checkpoint_is_kept() {
        let disk = three_segments(life());
        // A checkpoint at the very end of segment 2.
        disk.remove_file(&segment_name(2));
        check(&disk, life(), 3 * S, 0).unwrap_err();
        // Version 1 recycled it.
        let old = Life::of_version_1(life().store, life().incarnation);
        let disk = three_segments(old);
        disk.remove_file(&segment_name(2));
        check(&disk, old, 3 * S, 0).unwrap();
        check(&disk, old, 2 * S + 4096, 0).unwrap_err();
        check(&disk, old, 3 * S + 4096, 0).unwrap();
    }
}
