//! What differs between operating systems. Everything else in this layer is the standard
//! library's, whose `sync_data` is `fdatasync`, `F_FULLFSYNC` or `FlushFileBuffers`.
//!
//! Linux is measured and tested. Elsewhere blocks are made to exist by writing zeros.

use std::fs::File;
use std::io;

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

/// The longest file that this process may write (`ulimit -f`), as of now. Whoever would go beyond
/// is sent SIGXFSZ, which ends a process that has not asked otherwise: so nobody tries.
#[cfg(unix)]
pub(super) fn file_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current.unwrap_or(u64::MAX)
}

/// There is no such limit.
#[cfg(not(unix))]
pub(super) fn file_limit() -> u64 {
    u64::MAX
}

/// Whether the operating system could be asked for blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reserved {
    /// The blocks exist and the file is long enough.
    Yes,
    /// Nothing was changed; blocks come to exist by writing only.
    Unsupported,
}

/// Asks btrfs to write the blocks of a new file where they are (`chattr +C`). Otherwise each write needs
/// a new block, and a store into mapped memory for which there is none ends the process (SIGBUS). Its
/// checksums go with that; everything that a store writes has its own. Others need not be asked, or have
/// nothing that could be.
#[cfg(target_os = "linux")]
pub(super) fn write_in_place(file: &File) {
    use rustix::fs::{IFlags, fstatfs, ioctl_getflags, ioctl_setflags};
    const BTRFS: u64 = 0x9123_683E;
    if fstatfs(file).is_ok_and(|found| found.f_type as u64 == BTRFS)
        && let Ok(flags) = ioctl_getflags(file)
    {
        // Only a hint: without it everything works, slower.
        let _ = ioctl_setflags(file, flags | IFlags::NOCOW);
    }
}

/// The same.
#[cfg(not(target_os = "linux"))]
pub(super) fn write_in_place(_file: &File) {}

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

/// Gives the blocks of `offset..offset + len` back to the file system; the length stays. Returns
/// whether it takes them.
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

/// Nobody can be asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn deallocate(_file: &File, _offset: u64, _len: u64) -> io::Result<bool> {
    Ok(false)
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

/// Whether the file has a name in some directory. A file without one is gone with its last
/// descriptor, however often it is flushed.
///
/// Asks for nothing else. Since Linux 6.13 a file whose times were asked for (`fstat` does) gets a new
/// time at the next store into it, which the file system writes down: measured on ext4, a flush of the
/// log after each commit then took 1.4 times as long.
#[cfg(target_os = "linux")]
pub(super) fn has_name(file: &File) -> io::Result<bool> {
    use rustix::fs::{AtFlags, StatxFlags};
    match rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::NLINK) {
        Ok(found) => Ok(found.stx_nlink > 0),
        // Filters of system calls that do not know it answer so.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => is_linked(file),
        Err(error) => Err(error.into()),
    }
}

/// The same.
#[cfg(all(unix, not(target_os = "linux")))]
pub(super) fn has_name(file: &File) -> io::Result<bool> {
    is_linked(file)
}

#[cfg(unix)]
fn is_linked(file: &File) -> io::Result<bool> {
    Ok(rustix::fs::fstat(file)?.st_nlink > 0)
}

/// Elsewhere nobody can remove a file that is open.
#[cfg(not(unix))]
pub(super) fn has_name(_file: &File) -> io::Result<bool> {
    Ok(true)
}

/// Takes the operating system's lock on a file that others may read: false if somebody else has it.
#[cfg(unix)]
pub(super) fn try_lock(file: &File, access: Access) -> io::Result<bool> {
    match access.lock(file) {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Windows keeps others from reading what is locked: there the directory's lock has to do.
#[cfg(not(unix))]
pub(super) fn try_lock(_file: &File, _access: Access) -> io::Result<bool> {
    Ok(true)
}

/// What a directory and its files are opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// To be read only. The lock is shared with others who read.
    Read,
    /// To be written. The lock is exclusive.
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

/// The directory that some file systems make in their root. It is nobody's while it is empty, or as
/// far as can be told: the root's alone may be read by root only.
const LOST_AND_FOUND: &str = "lost+found";

/// What is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenMode {
    /// A file that is there, to be read and written.
    Present,
    /// A file that is there, to be read only.
    Readable,
    /// A file that is not there yet.
    New,
    /// Either.
    Any,
}

#[cfg(unix)]
pub(super) use self::by_descriptor::Dir;
#[cfg(not(unix))]
pub(super) use self::by_path::Dir;

/// A directory that is held open: its names are looked up in it wherever it is by now, and
/// whatever has come to be at the path that it once had (DISK-4).
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
                    // Nor does it wait for whoever has the other end of a pipe.
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

        /// The names of what is no directory.
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

        /// The names of what is no plain file, except the directory that file systems have in
        /// their root.
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

        /// Whether nothing is seen in the directory `name`. What may not be read shows nothing.
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

        /// Follows symbolic links; one that leads nowhere counts as a file. An entry that
        /// vanished while listing counts as one too: whoever opens it is told.
        fn is_dir(&self, name: &std::ffi::CStr) -> bool {
            let stat = rustix::fs::statat(&self.0, name, AtFlags::empty());
            stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
        }
    }
}

/// A directory by a path that no change of the working directory changes. Nothing tells that
/// another one has come to be there.
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

        /// The names of what is no directory.
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

        /// Nobody else can have removed a file that is open.
        pub(in super::super) fn leads_to(&self, name: &str, _file: &File) -> io::Result<bool> {
            fs::exists(self.0.join(name))
        }
    }
}
