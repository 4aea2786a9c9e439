//! One segment file: new or recycled, its header durable, mapped; a short one grows by steps.
//!
//! A new file: create it with its blocks; write the header; sync the file; sync the directory; map. A
//! recycled file: rename; sync the directory; write the header; sync the file; map. Either way the
//! header and the name are durable before a record can go into the segment. A crash in between leaves a
//! file that the reader does not take for a part of the log.
//!
//! To grow: allocate; sync the file; write the header with the new length; sync again; only then use more
//! of the mapping (LOG-8). So the header never says more than what exists durably, and covers all that a
//! record can lie in (LOG-9). The changed part of it is in one sector. These syncs use a descriptor of
//! their own: the system reports a failed write-back once to each descriptor, and the leader of a flush
//! must not miss a failure because the preallocator got the report.

use std::sync::Arc;

use super::format::{Geometry, SegmentHeader, segment_name};
use super::steps::{step_of_at_least, step_within};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::base::sync::atomic::{AtomicU64, Ordering};
use crate::engine::disk::{Disk, DiskFile, Mapping};
use crate::engine::mutants::mutant;

/// A segment that records can be copied into.
#[derive(Debug)]
pub(super) struct Segment {
    number: u64,
    start: Lsn,
    end: Lsn,
    /// The end of what exists of it, durably (LOG-8). Only grows, under the preallocator's lock.
    exists: AtomicU64,
    mapping: Box<dyn Mapping>,
    /// `None` if it was made whole.
    grower: Option<Grower>,
}

/// The parts that a segment needs to grow.
#[derive(Debug)]
struct Grower {
    file: Arc<dyn DiskFile>,
    /// The file's header, except for the length.
    header: SegmentHeader,
}

/// Why a segment could not be prepared.
#[derive(Debug)]
pub(super) enum SegmentError {
    /// A later attempt may succeed. The file `leftover`, if any, may be recycled.
    Transient { cause: Error, leftover: Option<String> },
    /// A sync failed: it is unknown what is durable.
    Final(Error),
}

impl SegmentError {
    /// A transient error with the file `name` as its leftover.
    fn leaving(name: &str) -> impl Fn(Error) -> SegmentError {
        move |cause| SegmentError::Transient { cause, leftover: Some(name.to_owned()) }
    }

    /// The error, where the difference does not matter.
    pub(super) fn into_cause(self) -> Error {
        match self {
            SegmentError::Transient { cause, .. } | SegmentError::Final(cause) => cause,
        }
    }
}

impl Segment {
    /// Makes the first `bytes` bytes of the segment that `header` describes, in a new file.
    pub(super) fn create(
        disk: &dyn Disk,
        header: &SegmentHeader,
        bytes: u64,
    ) -> Result<Segment, SegmentError> {
        let name = segment_name(header.number);
        let file = disk
            .create(&name, bytes)
            .map_err(|cause| SegmentError::Transient { cause, leftover: None })?;
        write_header(&*file, &name, header)?;
        mutant!(SegmentNameUnflushed | DirectoryFailurePassing: sync_names(disk)? =>
            sync_names_wrongly(disk, &name)?);
        let grower = match bytes < header.segment_bytes {
            true => {
                let file = disk.open(&name).map_err(SegmentError::leaving(&name))?;
                Some(Grower { file, header: *header })
            }
            false => None,
        };
        Ok(Segment { grower, ..Segment::map(&*file, name, header, bytes)? })
    }

    /// Makes the segment that `header` describes in the file `spare`, or in a new one if that is gone
    /// or has another length.
    pub(super) fn recycle(
        disk: &dyn Disk,
        spare: String,
        header: &SegmentHeader,
    ) -> Result<Segment, SegmentError> {
        let leaves_spare = SegmentError::leaving(&spare);
        let names = disk.list().map_err(&leaves_spare)?;
        if !names.contains(&spare) {
            return Segment::create(disk, header, header.segment_bytes);
        }
        let bytes = disk.open(&spare).and_then(|file| file.bytes()).map_err(&leaves_spare)?;
        if bytes != header.segment_bytes {
            disk.remove(&spare).map_err(&leaves_spare)?;
            return Segment::create(disk, header, header.segment_bytes);
        }
        let name = segment_name(header.number);
        if spare != name {
            if names.contains(&name) {
                let error = std::io::ErrorKind::AlreadyExists.into();
                let cause = Error::io("make the segment", &disk.path(&name), bytes, error);
                return Err(leaves_spare(cause)); // another file (LOG-12)
            }
            disk.rename(&spare, &name).map_err(&leaves_spare)?;
        }
        // A spare that has the name already may be the leftover of an attempt that failed before this.
        mutant!(RecycledNameUnflushed | DirectoryFailurePassing: sync_names(disk)? =>
            sync_names_wrongly(disk, &name)?);
        let file = disk.open(&name).map_err(SegmentError::leaving(&name))?;
        write_header(&*file, &name, header)?;
        Segment::map(&*file, name, header, header.segment_bytes)
    }

    fn map(
        file: &dyn DiskFile,
        name: String,
        header: &SegmentHeader,
        bytes: u64,
    ) -> Result<Segment, SegmentError> {
        let mapping = file
            .map(header.segment_bytes)
            .map_err(|cause| SegmentError::Transient { cause, leftover: Some(name) })?;
        let geometry = Geometry::new(header.segment_bytes);
        let start = geometry.segment_start(header.number);
        Ok(Segment {
            number: header.number,
            start,
            end: geometry.segment_end(header.number),
            exists: AtomicU64::new(start.get() + bytes),
            mapping,
            grower: None,
        })
    }

    /// Grows to `times` the bytes, and at least up to `want`. If the disk has less, grows by as much as it
    /// has, or fails if that is short of `want`. The segment must not be whole.
    pub(super) fn grow(&self, want: Lsn, times: u64) -> Result<(), SegmentError> {
        let (has, segment_bytes) = (self.bytes(), self.end.get() - self.start.get());
        let want = want.get().saturating_sub(self.start.get()).max(has + 1);
        let least = step_of_at_least(segment_bytes, want);
        self.grow_between(least, step_of_at_least(segment_bytes, want.max(times * has)))
    }

    /// Grows to `most` bytes; on a full disk to fewer, but at least to `least`.
    pub(super) fn grow_between(&self, least: u64, most: u64) -> Result<(), SegmentError> {
        let (has, segment_bytes) = (self.bytes(), self.end.get() - self.start.get());
        let mut bytes = most;
        loop {
            match self.grow_to(bytes) {
                Err(SegmentError::Transient { cause: Error::DiskFull { .. }, .. })
                    if bytes > least =>
                {
                    bytes = step_within(segment_bytes, has + (bytes - has) / 2).max(least);
                }
                grown => return grown,
            }
        }
    }

    /// Grows the file to `bytes` bytes, a step that is longer than its current length.
    pub(super) fn grow_to(&self, bytes: u64) -> Result<(), SegmentError> {
        let Grower { file, header } =
            self.grower.as_ref().expect("a segment that is not whole can grow");
        let segment_bytes = self.end.get() - self.start.get();
        let is_ahead = self.bytes() < bytes && bytes <= segment_bytes;
        assert!(is_ahead, "LOG-8: a segment grows up to its end");
        file.allocate(bytes).map_err(|cause| SegmentError::Transient { cause, leftover: None })?;
        mutant!(GrowthUnflushed: file.sync().map_err(SegmentError::Final)? => ());
        let made_bytes = mutant!(GrowthUnnoted: bytes => header.made_bytes);
        let header = SegmentHeader { made_bytes, ..*header };
        file.write_at(0, &header.encode())
            .map_err(|cause| SegmentError::Transient { cause, leftover: None })?;
        file.sync().map_err(SegmentError::Final)?;
        self.mapping.grown(bytes as usize);
        self.exists.store(self.start.get() + bytes, Ordering::Release);
        Ok(())
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The first byte after the segment.
    pub(super) fn end(&self) -> Lsn {
        self.end
    }

    /// The end of what exists of it.
    pub(super) fn exists(&self) -> Lsn {
        Lsn::new(self.exists.load(Ordering::Acquire))
    }

    /// How many bytes of it exist.
    pub(super) fn bytes(&self) -> u64 {
        self.exists().get() - self.start.get()
    }

    /// Whether all of it exists.
    pub(super) fn is_whole(&self) -> bool {
        self.exists() == self.end
    }

    /// Copies `bytes` to the position `at`.
    #[inline]
    pub(super) fn write(&self, at: Lsn, bytes: &[u8]) {
        self.mapping.write((at.get() - self.start.get()) as usize, bytes);
    }

    /// Hints that `bytes` bytes at `at` are written next.
    #[inline]
    pub(super) fn will_write(&self, at: Lsn, bytes: usize) {
        self.mapping.will_write((at.get() - self.start.get()) as usize, bytes);
    }

    /// Makes the part of `from..to` in this segment durable. Returns its length.
    pub(super) fn sync(&self, from: Lsn, to: Lsn) -> Result<u64> {
        let Some((offset, len)) = self.part(from, to) else { return Ok(0) };
        mutant!(FlushFirstSegmentOnly => if from < self.start { return Ok(len as u64); });
        mutant!(FlushLastSegmentOnly => if to > self.end { return Ok(len as u64); });
        mutant!(FlushFirstPageSkipped | FlushLastPageSkipped: self.mapping.sync(offset, len)? =>
            self.sync_less(offset, len)?);
        Ok(len as u64)
    }

    #[cfg(feature = "mutants")]
    fn sync_less(&self, offset: usize, len: usize) -> Result<()> {
        let (mut first, mut end) = (offset, offset + len);
        mutant!(FlushFirstPageSkipped => first = first.next_multiple_of(4096));
        mutant!(FlushLastPageSkipped => end -= end % 4096);
        match first < end {
            true => self.mapping.sync(first, end - first),
            false => self.mapping.sync(offset, len),
        }
    }

    /// Brings the part of `from..to` in this segment into memory.
    pub(super) fn prefault(&self, from: Lsn, to: Lsn) -> Result<()> {
        match self.part(from, to) {
            Some((offset, len)) => self.mapping.prefault(offset, len),
            None => Ok(()),
        }
    }

    /// Offset and length of the part of `from..to` in this segment.
    fn part(&self, from: Lsn, to: Lsn) -> Option<(usize, usize)> {
        let (from, to) = (from.max(self.start), to.min(self.end));
        (from < to)
            .then(|| ((from.get() - self.start.get()) as usize, (to.get() - from.get()) as usize))
    }
}

/// Writes the header and makes the file durable.
fn write_header(
    file: &dyn DiskFile,
    name: &str,
    header: &SegmentHeader,
) -> Result<(), SegmentError> {
    file.write_at(0, &header.encode()).map_err(SegmentError::leaving(name))?;
    mutant!(SegmentHeaderUnflushed => return Ok(()));
    mutant!(SegmentFailurePassing => return file.sync().map_err(SegmentError::leaving(name)));
    file.sync().map_err(SegmentError::Final)
}

/// Makes the names in the directory durable.
fn sync_names(disk: &dyn Disk) -> Result<(), SegmentError> {
    disk.sync_dir().map_err(SegmentError::Final)
}

#[cfg(feature = "mutants")]
fn sync_names_wrongly(disk: &dyn Disk, name: &str) -> Result<(), SegmentError> {
    mutant!(SegmentNameUnflushed | RecycledNameUnflushed => return Ok(()));
    disk.sync_dir().map_err(SegmentError::leaving(name))
}
