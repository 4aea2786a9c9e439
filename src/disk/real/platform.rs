//! What differs between operating systems. Everything else in this layer is the standard
//! library's, whose `sync_data` is `fdatasync`, `F_FULLFSYNC` or `FlushFileBuffers`.
//!
//! Linux is measured and tested. Elsewhere blocks are made to exist by writing zeros.

use std::fs::File;
use std::io;
use std::path::Path;

/// Reads up to `buf.len()` bytes at `offset`; 0 is the end of the file.
pub(super) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_at(file, buf, offset);
    #[cfg(windows)]
    return match std::os::windows::fs::FileExt::seek_read(file, buf, offset) {
        // ERROR_HANDLE_EOF
        Err(error) if error.raw_os_error() == Some(38) => Ok(0),
        result => result,
    };
}

/// Writes up to `bytes.len()` bytes at `offset`.
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_at(file, bytes, offset);
    #[cfg(windows)]
    return std::os::windows::fs::FileExt::seek_write(file, bytes, offset);
}

/// Whether the operating system could be asked for blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reserved {
    /// The blocks exist and the file is long enough.
    Yes,
    /// Nothing was changed; blocks come to exist by writing only.
    Unsupported,
}

/// Makes the blocks of `offset..offset + len` exist, growing the file if need be. Bytes that
/// were there stay; others read as zeros.
#[cfg(target_os = "linux")]
pub(super) fn reserve(file: &File, offset: u64, len: u64) -> io::Result<Reserved> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    if len == 0 {
        return Ok(Reserved::Yes); // which the system call calls invalid
    }
    loop {
        return match fallocate(file, FallocateFlags::empty(), offset, len) {
            Ok(()) => Ok(Reserved::Yes),
            Err(Errno::INTR) => continue,
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(Reserved::Unsupported),
            Err(error) => Err(error.into()),
        };
    }
}

/// Nothing needs no blocks; others cannot be asked for everywhere in the same way.
#[cfg(not(target_os = "linux"))]
pub(super) fn reserve(_file: &File, _offset: u64, len: u64) -> io::Result<Reserved> {
    Ok(if len == 0 { Reserved::Yes } else { Reserved::Unsupported })
}

/// Drops `offset..offset + len` of the file from the page cache, as far as it is clean. Zeros that
/// were just written sit there as large folios, and the kernel writes back a whole folio for each
/// byte stored into it: measured, a store plus flush then costs twice as much. Only advice: a
/// failure changes nothing.
///
/// Never more than those zeros: of a data file larger than the store's own cache, the rest is in
/// the page cache because somebody reads it. Measured with 1 GiB of data and a cache of 64 MiB,
/// advice for the whole file at each growth cost a factor of 15 in gets.
#[cfg(target_os = "linux")]
pub(super) fn drop_zeros(file: &File, offset: u64, len: u64) {
    let len = std::num::NonZeroU64::new(len); // none would mean up to the end of the file
    if len.is_some() {
        let _ = rustix::fs::fadvise(file, offset, len, rustix::fs::Advice::DontNeed);
    }
}

/// Only Linux is measured.
#[cfg(not(target_os = "linux"))]
pub(super) fn drop_zeros(_file: &File, _offset: u64, _len: u64) {}

/// A directory, open to make its names durable.
#[derive(Debug)]
pub(super) struct DirHandle {
    #[cfg(unix)]
    file: File,
}

impl DirHandle {
    #[cfg(unix)]
    pub(super) fn open(dir: &Path) -> io::Result<DirHandle> {
        Ok(DirHandle { file: File::open(dir)? })
    }

    #[cfg(unix)]
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Windows has no such call: NTFS journals its names.
    #[cfg(windows)]
    pub(super) fn open(_dir: &Path) -> io::Result<DirHandle> {
        Ok(DirHandle {})
    }

    #[cfg(windows)]
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
