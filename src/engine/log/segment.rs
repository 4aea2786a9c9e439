//! One segment file: made or recycled, its header durable, mapped; a small one grows by steps.
//!
//! The order of steps for a new file: create, with blocks that exist; write the header; sync the
//! file; sync the directory; map. For a recycled one: rename; sync the directory; write the
//! header; sync the file; map. Either way the header and the name are durable before a record can
//! go into the segment, and a crash in between leaves a file that the reader takes for no part of
//! the log.
//!
//! To grow: allocate; sync the file; write the header anew, with the new length; sync again; only then is
//! more of the mapping used (LOG-8). So the header never says more than what exists durably, and all that a
//! record can lie in (LOG-9). What changes of it is in one sector. These syncs go through a descriptor of
//! their own: the system tells each descriptor once of a write-back that failed, and the leader of a flush
//! must not miss it because the keeper has been told.

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
    /// The end of what exists of it, durably (LOG-8). Only grows, by whoever has the keeper.
    exists: AtomicU64,
    mapping: Box<dyn Mapping>,
    /// None if it was made whole.
    grower: Option<Grower>,
}

/// What makes a segment longer.
#[derive(Debug)]
struct Grower {
    file: Arc<dyn DiskFile>,
    /// As the file has it, but for the length.
    header: SegmentHeader,
}

/// Why a segment could not be prepared.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A later attempt may succeed. The file of this name may be recycled, if there is one.
    Passing { cause: Error, leftover: Option<String> },
    /// A sync failed: nothing is known about what is durable.
    Final(Error),
}

impl Trouble {
    /// The error, for whom the difference does not matter.
    pub(super) fn into_cause(self) -> Error {
        match self {
            Trouble::Passing { cause, .. } | Trouble::Final(cause) => cause,
        }
    }
}

impl Segment {
    /// Makes the segment that `header` describes in a new file, the first `bytes` bytes of it.
    pub(super) fn create(
        disk: &dyn Disk,
        header: &SegmentHeader,
        bytes: u64,
    ) -> Result<Segment, Trouble> {
        let name = segment_name(header.number);
        let file = disk
            .create(&name, bytes)
            .map_err(|cause| Trouble::Passing { cause, leftover: None })?;
        seal(&*file, &name, header)?;
        mutant!(SegmentNameUnflushed | DirectoryFailurePassing: settle(disk)? =>
            settle_wrongly(disk, &name)?);
        let grower = match bytes < header.segment_bytes {
            true => {
                let file = disk.open(&name).map_err(|cause| {
                    let leftover = Some(name.clone());
                    Trouble::Passing { cause, leftover }
                })?;
                Some(Grower { file, header: *header })
            }
            false => None,
        };
        Ok(Segment { grower, ..Segment::map(&*file, name, header, bytes)? })
    }

    /// Makes the segment that `header` describes in the file that has the name `spare`, or in a
    /// new one if that cannot serve.
    pub(super) fn recycle(
        disk: &dyn Disk,
        spare: String,
        header: &SegmentHeader,
    ) -> Result<Segment, Trouble> {
        let passing = |cause, name: &str| {
            let leftover = Some(name.to_owned());
            Trouble::Passing { cause, leftover }
        };
        let names = disk.list().map_err(|cause| passing(cause, &spare))?;
        if !names.contains(&spare) {
            return Segment::create(disk, header, header.segment_bytes); // a spare that is gone is no loss
        }
        let bytes = disk
            .open(&spare)
            .and_then(|file| file.bytes())
            .map_err(|cause| passing(cause, &spare))?;
        if bytes != header.segment_bytes {
            disk.remove(&spare).map_err(|cause| passing(cause, &spare))?;
            return Segment::create(disk, header, header.segment_bytes);
        }
        let name = segment_name(header.number);
        if spare != name {
            if names.contains(&name) {
                let error = std::io::ErrorKind::AlreadyExists.into();
                let cause = Error::io("make the segment", &disk.path(&name), bytes, error);
                return Err(passing(cause, &spare)); // somebody's (LOG-12)
            }
            disk.rename(&spare, &name).map_err(|cause| passing(cause, &spare))?;
        }
        // A spare that has the name already may be what a failed attempt has left, which never
        // came to this.
        mutant!(RecycledNameUnflushed | DirectoryFailurePassing: settle(disk)? =>
            settle_wrongly(disk, &name)?);
        let file = disk.open(&name).map_err(|cause| passing(cause, &name))?;
        seal(&*file, &name, header)?;
        Segment::map(&*file, name, header, header.segment_bytes)
    }

    fn map(
        file: &dyn DiskFile,
        name: String,
        header: &SegmentHeader,
        bytes: u64,
    ) -> Result<Segment, Trouble> {
        let mapping = file
            .map(header.segment_bytes)
            .map_err(|cause| Trouble::Passing { cause, leftover: Some(name) })?;
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

    /// Makes `times` as much exist, and `want`; if the disk has less, as much as it has, and `want` in any
    /// case. The segment is not whole.
    pub(super) fn grow(&self, want: Lsn, times: u64) -> Result<(), Trouble> {
        let (has, segment_bytes) = (self.bytes(), self.end.get() - self.start.get());
        let want = want.get().saturating_sub(self.start.get()).max(has + 1);
        let least = step_of_at_least(segment_bytes, want);
        self.grow_between(least, step_of_at_least(segment_bytes, want.max(times * has)))
    }

    /// As [`Segment::grow_to`]: to `most`, or if the disk is full to what it has, at least to `least`.
    pub(super) fn grow_between(&self, least: u64, most: u64) -> Result<(), Trouble> {
        let (has, segment_bytes) = (self.bytes(), self.end.get() - self.start.get());
        let mut bytes = most;
        loop {
            match self.grow_to(bytes) {
                Err(Trouble::Passing { cause: Error::DiskFull { .. }, .. }) if bytes > least => {
                    bytes = step_within(segment_bytes, has + (bytes - has) / 2).max(least);
                }
                grown => return grown,
            }
        }
    }

    /// Makes the first `bytes` bytes exist, a step that is longer than what does.
    pub(super) fn grow_to(&self, bytes: u64) -> Result<(), Trouble> {
        let Grower { file, header } = self.grower.as_ref().expect("what is not whole can grow");
        let segment_bytes = self.end.get() - self.start.get();
        let is_ahead = self.bytes() < bytes && bytes <= segment_bytes;
        assert!(is_ahead, "LOG-8: a segment grows up to its end");
        file.allocate(bytes).map_err(|cause| Trouble::Passing { cause, leftover: None })?;
        mutant!(GrowthUnflushed: file.sync().map_err(Trouble::Final)? => ());
        let made_bytes = mutant!(GrowthUnnoted: bytes => header.made_bytes);
        let header = SegmentHeader { made_bytes, ..*header };
        file.write_at(0, &header.encode())
            .map_err(|cause| Trouble::Passing { cause, leftover: None })?;
        file.sync().map_err(Trouble::Final)?;
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

    /// The first byte after what exists of it.
    pub(super) fn exists(&self) -> Lsn {
        Lsn::new(self.exists.load(Ordering::Acquire))
    }

    /// The bytes that exist of it.
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

    /// Says that `bytes` bytes at `at` are written next.
    #[inline]
    pub(super) fn will_write(&self, at: Lsn, bytes: usize) {
        self.mapping.will_write((at.get() - self.start.get()) as usize, bytes);
    }

    /// Makes what of `from..to` lies in this segment durable. Returns how many bytes that is.
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

    /// Brings what of `from..to` lies in this segment into memory.
    pub(super) fn prefault(&self, from: Lsn, to: Lsn) -> Result<()> {
        match self.part(from, to) {
            Some((offset, len)) => self.mapping.prefault(offset, len),
            None => Ok(()),
        }
    }

    fn part(&self, from: Lsn, to: Lsn) -> Option<(usize, usize)> {
        let (from, to) = (from.max(self.start), to.min(self.end));
        (from < to)
            .then(|| ((from.get() - self.start.get()) as usize, (to.get() - from.get()) as usize))
    }
}

/// Writes the header and makes the file durable.
fn seal(file: &dyn DiskFile, name: &str, header: &SegmentHeader) -> Result<(), Trouble> {
    file.write_at(0, &header.encode())
        .map_err(|cause| Trouble::Passing { cause, leftover: Some(name.to_owned()) })?;
    mutant!(SegmentHeaderUnflushed => return Ok(()));
    mutant!(SegmentFailurePassing => return file.sync().map_err(|cause| {
        Trouble::Passing { cause, leftover: Some(name.to_owned()) }
    }));
    file.sync().map_err(Trouble::Final)
}

/// Makes the names in the directory durable.
fn settle(disk: &dyn Disk) -> Result<(), Trouble> {
    disk.sync_dir().map_err(Trouble::Final)
}

#[cfg(feature = "mutants")]
fn settle_wrongly(disk: &dyn Disk, name: &str) -> Result<(), Trouble> {
    mutant!(SegmentNameUnflushed | RecycledNameUnflushed => return Ok(()));
    let leftover = Some(name.to_owned());
    disk.sync_dir().map_err(|cause| Trouble::Passing { cause, leftover })
}
