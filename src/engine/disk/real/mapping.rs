//! A file mapped into memory, shared with the page cache.
//!
//! A store into the mapping is in the page cache at once: it survives the process without any
//! system call, and a range of it becomes durable with `msync`.

// The mapped bytes are written through a raw pointer: a `&mut [u8]` over all of them would claim
// that no other thread or process touches any of them meanwhile.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use super::file::check_named;
use crate::engine::base::error::{Error, Result};
use crate::engine::disk::Mapping;

/// The smallest page there is; where pages are larger, the kernel rounds.
#[cfg(target_os = "linux")]
const PAGE: usize = 4096;

/// Bytes per call that prefaults memory: a call holds the lock of the process's address space, which
/// other threads wait for.
#[cfg(target_os = "linux")]
const PREFAULT_PIECE: usize = 1 << 20;

/// A file mapped into memory, perhaps beyond its end. Its whole length has blocks (DISK-1).
#[derive(Debug)]
pub(super) struct RealMapping {
    map: MmapRaw,
    /// How much may be used: in the mapping and in the file. Only grows.
    exists: AtomicUsize,
    /// The length of the mapping. [`MmapRaw::len`] differs if it is 0.
    bytes: usize,
    file: Arc<File>,
    path: String,
    /// As in [`super::file::RealFile`].
    tells_names: bool,
}

impl RealMapping {
    /// Maps `bytes` bytes of the file, whose first `exists` exist.
    pub(super) fn new(
        file: &Arc<File>,
        path: &str,
        tells_names: bool,
        bytes: u64,
        exists: u64,
    ) -> io::Result<RealMapping> {
        let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let bytes = usize::try_from(bytes).map_err(too_large)?;
        let exists = AtomicUsize::new(usize::try_from(exists).map_err(too_large)?);
        let map = MmapOptions::new().len(bytes).map_raw(&**file)?;
        one_page_at_a_time(&map);
        Ok(RealMapping {
            map,
            exists,
            bytes,
            file: Arc::clone(file),
            path: path.to_owned(),
            tells_names,
        })
    }

    /// Removes the pages of a range that is about to be flushed from this process's page table, dirty as
    /// they are; the page cache keeps them.
    ///
    /// The flush makes every mapped dirty page read-only for a moment, which interrupts each processor
    /// that runs a thread of this process: measured, 14 to 27 us per page on the committing thread.
    /// Removed together, the pages cost one interrupt; a single page costs the same either way.
    #[cfg(target_os = "linux")]
    fn drop_page_table_entries(&self, offset: usize, len: usize) {
        let last = (offset + len - 1) & !(PAGE - 1);
        if last <= offset {
            return;
        }
        let end = (last + PAGE).min(self.map.len());
        // SAFETY: in a shared mapping of a file `MADV_DONTNEED` drops only the page table entries,
        // never the bytes: the next access finds them in the page cache again.
        let _ = unsafe {
            self.map.unchecked_advise_range(
                memmap2::UncheckedAdvice::DontNeed,
                offset,
                end - offset,
            )
        };
    }

    #[cfg(not(target_os = "linux"))]
    fn drop_page_table_entries(&self, _offset: usize, _len: usize) {}

    #[inline]
    fn check(&self, offset: usize, len: usize) {
        let exists = self.exists.load(Ordering::Acquire);
        assert!(
            offset <= exists && len <= exists - offset,
            "{}: {len} bytes at {offset} lie outside the {exists} that exist of a mapping of {}",
            self.path,
            self.bytes
        );
    }
}

/// Makes the page cache hold the file in single pages.
///
/// Otherwise the first touch reads its surroundings, in large folios of up to 128 KiB (on ext4 since
/// Linux 6.16, on XFS for longer). A large folio is dirty and written as a whole: a flush of one small
/// commit writes all of it, and makes each of its mapped parts read-only. Measured, with 64 clients of
/// a server: 17 interrupts and 64 to 128 KiB for a flush of 11 KiB.
fn one_page_at_a_time(map: &MmapRaw) {
    // Only advice: without it flushes are larger.
    #[cfg(unix)]
    let _ = map.advise(memmap2::Advice::Random);
    #[cfg(not(unix))]
    let _ = map;
}

impl Mapping for RealMapping {
    fn will_write(&self, offset: usize, len: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
            let start = self.map.as_mut_ptr().cast::<i8>();
            for at in (offset..offset + len + 63).step_by(64) {
                // SAFETY: a prefetch reads nothing and never faults; the offset wraps.
                unsafe { _mm_prefetch::<_MM_HINT_ET0>(start.wrapping_add(at)) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (offset, len);
    }

    fn grown(&self, bytes: usize) {
        self.exists.fetch_max(bytes.min(self.bytes), Ordering::AcqRel);
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        self.check(offset, bytes.len());
        // SAFETY: `check` has shown that the destination lies in the mapping, which lives as long as
        // `self`, and in the part of the file that exists, so that it has a page. `bytes` is borrowed
        // from Rust's memory and no reference into the mapping is ever given out, so the two do not
        // overlap. By the contract of `Mapping` no two threads write the same bytes at once.
        unsafe {
            let to = self.map.as_mut_ptr().add(offset);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
    }

    fn sync(&self, offset: usize, len: usize) -> Result<()> {
        self.check(offset, len);
        if len == 0 {
            return Ok(());
        }
        self.drop_page_table_entries(offset, len);
        let flushed = self.map.flush_range(offset, len).and_then(|()| {
            // Linux's `msync` is an `fdatasync` of the range, with a flush of the device. Elsewhere it
            // may stop at the device's cache (on macOS it does).
            if cfg!(target_os = "linux") { Ok(()) } else { self.file.sync_data() }
        });
        flushed.map_err(|error| {
            Error::io(format!("sync {len} mapped bytes at {offset}"), &self.path, 0, error)
        })?;
        if self.tells_names { check_named(&self.file, &self.path) } else { Ok(()) }
    }

    #[cfg(target_os = "linux")]
    fn prefault(&self, offset: usize, len: usize) -> Result<()> {
        self.check(offset, len);
        // Reads recycled pages in large pieces before each is touched: one by one they take ten times as
        // long. Only advice: without it only time is lost.
        let _ = self.map.advise_range(memmap2::Advice::WillNeed, offset, len);
        let (mut at, end) = (offset, offset + len);
        while at < end {
            let piece = PREFAULT_PIECE.min(end - at);
            // `advise_range` rounds the start down to a page, the kernel rounds the end up.
            let Err(error) = self.map.advise_range(memmap2::Advice::PopulateWrite, at, piece)
            else {
                at += piece;
                continue;
            };
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                // A kernel before 5.14, or a file system that cannot populate pages: the first store to
                // each page faults instead.
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => return Ok(()),
                _ => {
                    let action = format!("prepare {piece} mapped bytes at {at}");
                    return Err(Error::io(action, &self.path, piece as u64, error));
                }
            }
        }
        Ok(())
    }

    /// On other systems the first store to each page faults.
    #[cfg(not(target_os = "linux"))]
    fn prefault(&self, offset: usize, len: usize) -> Result<()> {
        self.check(offset, len);
        Ok(())
    }
}
