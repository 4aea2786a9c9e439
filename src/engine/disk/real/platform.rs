//! Differences between operating systems. The rest of this layer uses the standard library, whose
//! `sync_data` is `fdatasync`, `F_FULLFSYNC` or `FlushFileBuffers`.
//!
//! Linux is measured and tested. On other systems blocks are made by writing zeros.

use std::fs::File;
use std::io;

/// Reads up to `buf.len()` bytes at `offset`; 0 means the end of the file.
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

/// The current limit on the length of a file (`ulimit -f`). A longer write raises SIGXFSZ, which by
/// default ends the process: callers check first.
#[cfg(unix)]
pub(super) fn file_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current.unwrap_or(u64::MAX)
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub(super) fn file_limit() -> u64 {
    u64::MAX
}

/// Whether the operating system could reserve blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reserved {
    /// The blocks exist and the file is long enough.
    Yes,
    /// Nothing was changed; only writes make blocks.
    Unsupported,
}

/// Asks btrfs to overwrite the blocks of a new file in place (`chattr +C`). Otherwise each write needs a
/// new block, and a store into mapped memory without a free block ends the process (SIGBUS). This
/// disables the checksums of btrfs; a store's files have their own. Other file systems need no request,
/// or know none.
#[cfg(target_os = "linux")]
pub(super) fn write_in_place(file: &File) {
    use rustix::fs::{IFlags, fstatfs, ioctl_getflags, ioctl_setflags};
    const BTRFS: u64 = 0x9123_683E;
    if fstatfs(file).is_ok_and(|found| found.f_type as u64 == BTRFS)
        && let Ok(flags) = ioctl_getflags(file)
    {
        // Only a hint: without it everything works, but slower.
        let _ = ioctl_setflags(file, flags | IFlags::NOCOW);
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn write_in_place(_file: &File) {}

/// Makes the blocks of `offset..offset + len` exist, and grows the file if necessary. Existing bytes
/// stay; new ones read as zeros.
#[cfg(target_os = "linux")]
pub(super) fn reserve(file: &File, offset: u64, len: u64) -> io::Result<Reserved> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    if len == 0 {
        return Ok(Reserved::Yes); // invalid for the system call
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

/// Other systems have no common call.
#[cfg(not(target_os = "linux"))]
pub(super) fn reserve(_file: &File, _offset: u64, len: u64) -> io::Result<Reserved> {
    Ok(if len == 0 { Reserved::Yes } else { Reserved::Unsupported })
}

/// Punches a hole at `offset..offset + len`; the length stays. Returns whether the file system can.
#[cfg(target_os = "linux")]
pub(super) fn deallocate(file: &File, offset: u64, len: u64) -> io::Result<bool> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    loop {
        return match fallocate(file, flags, offset, len) {
            Ok(()) => Ok(true),
            Err(Errno::INTR) => continue,
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(false),
            Err(error) => Err(error.into()),
        };
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn deallocate(_file: &File, _offset: u64, _len: u64) -> io::Result<bool> {
    Ok(false)
}

/// Drops the clean pages of a whole file from the page cache, unless they are mapped. Only advice: a failure
/// changes nothing.
#[cfg(target_os = "linux")]
pub(super) fn drop_clean(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
pub(super) fn drop_clean(_file: &File) {}

/// Drops the clean pages of `offset..offset + len` from the page cache. Zeros that were just written are
/// there as large folios, and the kernel writes back a whole folio even if one byte of it changes:
/// measured, a store plus flush then costs twice as much. Only advice: a failure changes nothing.
///
/// Drops no more than those zeros: the rest of a data file larger than the store's own cache is in the
/// page cache because the store reads it. Measured with 1 GiB of data and a cache of 64 MiB, advice for
/// the whole file at each growth made gets 15 times slower.
#[cfg(target_os = "linux")]
pub(super) fn drop_zeros(file: &File, offset: u64, len: u64) {
    let len = std::num::NonZeroU64::new(len); // 0 would mean up to the end of the file
    if len.is_some() {
        let _ = rustix::fs::fadvise(file, offset, len, rustix::fs::Advice::DontNeed);
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn drop_zeros(_file: &File, _offset: u64, _len: u64) {}

/// Whether the file has a name in some directory. A file without one is lost with its last descriptor,
/// however often it is flushed.
///
/// Queries only the link count. Since Linux 6.13 a query of a file's times (as by `fstat`) makes the next
/// store into the file update them, which the file system then writes: measured on ext4, a flush of the
/// log after each commit took 1.4 times as long.
#[cfg(target_os = "linux")]
pub(super) fn has_name(file: &File) -> io::Result<bool> {
    use rustix::fs::{AtFlags, StatxFlags};
    match rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::NLINK) {
        Ok(found) => Ok(found.stx_nlink > 0),
        // System call filters that do not know `statx` answer so.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => is_linked(file),
        Err(error) => Err(error.into()),
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
pub(super) fn has_name(file: &File) -> io::Result<bool> {
    is_linked(file)
}

#[cfg(unix)]
fn is_linked(file: &File) -> io::Result<bool> {
    Ok(rustix::fs::fstat(file)?.st_nlink > 0)
}

/// On other systems an open file cannot be removed.
#[cfg(not(unix))]
pub(super) fn has_name(_file: &File) -> io::Result<bool> {
    Ok(true)
}

/// Takes the operating system's lock on a file that other processes may read: false if it is held.
#[cfg(unix)]
pub(super) fn try_lock(file: &File, access: Access) -> io::Result<bool> {
    match access.lock(file) {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// On Windows a locked file cannot be read by others: the directory's lock must suffice.
#[cfg(not(unix))]
pub(super) fn try_lock(_file: &File, _access: Access) -> io::Result<bool> {
    Ok(true)
}

/// Whether a directory and its files are opened for reading or writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// For reading only. Readers share the lock.
    Read,
    /// For writing. The lock is exclusive.
    Write,
}

impl Access {
    /// Takes the lock on `file`.
    pub(super) fn lock(self, file: &File) -> Result<(), std::fs::TryLockError> {
        match self {
            Access::Read => file.try_lock_shared(),
            Access::Write => file.try_lock(),
        }
    }
}

/// The directory that some file systems make in their root. Ignored while it is empty or unreadable: often
/// only root may read it.
const LOST_AND_FOUND: &str = "lost+found";

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenMode {
    /// An existing file, for reading and writing.
    Present,
    /// An existing file, for reading only.
    Readable,
    /// A new file, which must not exist.
    New,
    /// An existing or a new file.
    Any,
}

#[cfg(unix)]
pub(super) use self::by_descriptor::Dir;
#[cfg(not(unix))]
pub(super) use self::by_path::Dir;

/// A directory that is held open: names are looked up in it even if it was moved, or another directory
/// has its former path (DISK-4).
#[cfg(unix)]
mod by_descriptor {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use rustix::fs::{AtFlags, FileType, Mode, OFlags};
    use rustix::io::retry_on_intr;

    use super::OpenMode;

    #[derive(Debug)]
    pub(in super::super) struct Dir(File);

    impl Dir {
        pub(in super::super) fn open(path: &Path) -> io::Result<Dir> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?;
            Ok(Dir(dir.into()))
        }

        /// Makes its names durable.
        pub(in super::super) fn sync(&self) -> io::Result<()> {
            self.0.sync_all()
        }

        /// Whether it has been removed.
        pub(in super::super) fn is_gone(&self) -> bool {
            super::has_name(&self.0).is_ok_and(|has_name| !has_name)
        }

        pub(in super::super) fn open_file(&self, name: &str, mode: OpenMode) -> io::Result<File> {
            let flags = OFlags::CLOEXEC
                | match mode {
                    // Opening a pipe does not wait for its other end.
                    OpenMode::Readable => OFlags::RDONLY | OFlags::NONBLOCK,
                    OpenMode::Present => OFlags::RDWR,
                    OpenMode::New => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
                    OpenMode::Any => OFlags::RDWR | OFlags::CREATE,
                };
            let permissions = Mode::from_raw_mode(0o666); // less the process's mask
            Ok(retry_on_intr(|| rustix::fs::openat(&self.0, name, flags, permissions))?.into())
        }

        pub(in super::super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            Ok(rustix::fs::renameat(&self.0, from, &self.0, to)?)
        }

        pub(in super::super) fn remove(&self, name: &str) -> io::Result<()> {
            Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
        }

        /// The names of all entries except directories.
        pub(in super::super) fn files(&self) -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in rustix::fs::Dir::read_from(&self.0)? {
                let entry = entry?;
                let is_dir = match entry.file_type() {
                    FileType::Directory => true,
                    FileType::Symlink | FileType::Unknown => self.is_dir(entry.file_name()),
                    _ => false,
                };
                if !is_dir {
                    names.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
            Ok(names)
        }

        /// Whether the name `name` leads to this file now.
        pub(in super::super) fn leads_to(&self, name: &str, file: &File) -> io::Result<bool> {
            let ours = rustix::fs::fstat(file)?;
            match rustix::fs::statat(&self.0, name, AtFlags::empty()) {
                Ok(named) => Ok((named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)),
                Err(rustix::io::Errno::NOENT) => Ok(false),
                Err(error) => Err(error.into()),
            }
        }

        /// The names of all entries except plain files and an empty `lost+found`.
        pub(in super::super) fn strangers(&self) -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in rustix::fs::Dir::read_from(&self.0)? {
                let entry = entry?;
                let name = entry.file_name();
                let kind = match entry.file_type() {
                    FileType::Unknown => {
                        let stat = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
                        FileType::from_raw_mode(stat.st_mode)
                    }
                    kind => kind,
                };
                let is_usual = match name.to_bytes() {
                    b"." | b".." => true,
                    name => {
                        name == super::LOST_AND_FOUND.as_bytes()
                            && kind == FileType::Directory
                            && self.is_empty(super::LOST_AND_FOUND)?
                    }
                };
                if kind != FileType::RegularFile && !is_usual {
                    names.push(name.to_string_lossy().into_owned());
                }
            }
            Ok(names)
        }

        /// Whether the directory `name` is empty or unreadable.
        fn is_empty(&self, name: &str) -> io::Result<bool> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let dir = match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
                Ok(dir) => dir,
                Err(rustix::io::Errno::ACCESS) => return Ok(true),
                Err(error) => return Err(error.into()),
            };
            for entry in rustix::fs::Dir::read_from(&dir)? {
                if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
                    return Ok(false);
                }
            }
            Ok(true)
        }

        /// Follows symbolic links. A dangling link counts as a file, and so does an entry that vanished
        /// during the listing: opening it fails.
        fn is_dir(&self, name: &std::ffi::CStr) -> bool {
            let stat = rustix::fs::statat(&self.0, name, AtFlags::empty());
            stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
        }
    }
}

/// A directory by its absolute path. It cannot detect another directory that has taken its place.
#[cfg(not(unix))]
mod by_path {
    use std::fs::{self, File, OpenOptions};
    use std::io;
    use std::path::{Path, PathBuf};

    use super::OpenMode;

    #[derive(Debug)]
    pub(in super::super) struct Dir(PathBuf);

    impl Dir {
        pub(in super::super) fn open(path: &Path) -> io::Result<Dir> {
            match fs::metadata(path)?.is_dir() {
                true => Ok(Dir(fs::canonicalize(path)?)),
                false => Err(io::ErrorKind::NotADirectory.into()),
            }
        }

        /// Windows has no such call: NTFS journals its names.
        pub(in super::super) fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        pub(in super::super) fn is_gone(&self) -> bool {
            !self.0.is_dir()
        }

        pub(in super::super) fn open_file(&self, name: &str, mode: OpenMode) -> io::Result<File> {
            let mut options = OpenOptions::new();
            options.read(true).write(mode != OpenMode::Readable);
            options.create_new(mode == OpenMode::New).create(mode == OpenMode::Any);
            options.open(self.0.join(name))
        }

        pub(in super::super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            fs::rename(self.0.join(from), self.0.join(to))
        }

        pub(in super::super) fn remove(&self, name: &str) -> io::Result<()> {
            fs::remove_file(self.0.join(name))
        }

        /// The names of all entries except directories.
        pub(in super::super) fn files(&self) -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.0)? {
                let entry = entry?;
                if !fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir()) {
                    names.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
            Ok(names)
        }

        pub(in super::super) fn strangers(&self) -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.0)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let kind = entry.file_type()?;
                let is_usual = name == super::LOST_AND_FOUND
                    && kind.is_dir()
                    && fs::read_dir(entry.path())?.next().is_none();
                if !kind.is_file() && !is_usual {
                    names.push(name);
                }
            }
            Ok(names)
        }

        /// An open file cannot have been removed.
        pub(in super::super) fn leads_to(&self, name: &str, _file: &File) -> io::Result<bool> {
            fs::exists(self.0.join(name))
        }
    }
}
