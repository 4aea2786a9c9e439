//! A directory of the operating system.
//!
//! ```text
//!   RealDisk ---- a directory      names, the lock, making names durable
//!     RealFile ---- a file         positional reads and writes, blocks, fdatasync
//!       RealMapping ---- memory    plain copies, msync of a range
//!   platform                       differences between operating systems
//! ```
//!
//! Rules:
//!
//! - DISK-1 A file's blocks exist before they are used through a mapping, so that a store into it
//!   cannot raise SIGBUS. The mapping may be longer than the file, and knows the file's length.
//! - DISK-2 No descriptor is reopened to flush: the kernel reports a failed write-back once to each
//!   descriptor that was open when it happened, so the descriptor that wrote is the one that flushes.
//! - DISK-3 The lock is the operating system's, on the file [`LOCK_FILE`]; it ends with the process,
//!   so a kill leaves nothing to clean up. The file itself stays and means nothing. Its removal lets no
//!   other process in: the data file is locked as well ([`DiskFile::lock`]).
//! - DISK-4 The path of the directory is resolved once. Every name is looked up in the open directory:
//!   another working directory, another name for this directory or another directory at its path
//!   change nothing. Messages name the path that it had when it was opened.
//! - DISK-5 A flush of a file that was removed, or replaced by another of its name, fails
//!   ([`Error::Missing`]). So does an operation that needs a directory that was removed.
//! - DISK-6 A directory opened for reading is not changed, and nothing in it is opened for writing: the
//!   directory or volume may be read-only. Readers share the lock.
//! - DISK-7 The lock file is empty, except while a store is being made, when it says so. That tells the
//!   remains of a crash from foreign files.
//! - DISK-8 The lock file is removed only by the lock that has made it, if no store was opened with it: a
//!   refused directory stays as it was. It is removed before the lock is released, and a lock on a file
//!   without a name is void.
//!
//! Left out: direct I/O and io_uring. Measured, a mapped append plus `msync` costs as much as
//! `fdatasync`, and data pages are written in batches large enough to hide the calls.

mod file;
mod mapping;
mod platform;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use self::file::RealFile;
use self::platform::{Access, Dir, OpenMode};
use super::{DirLock, Disk, DiskFile, NoLock};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::process::Process;

/// The file that carries the directory's lock. [`Disk::list`] leaves it out.
const LOCK_FILE: &str = "LOCK";
/// The content of that file while a store is being made (DISK-7).
const CLAIM: &[u8] = b"a Syncline store is being made here\n";

/// A directory of the operating system.
#[derive(Debug)]
pub struct RealDisk {
    /// For messages. Absolute.
    path: PathBuf,
    /// Open as long as the disk, so that it sees every failed write-back (DISK-2) and stays this directory
    /// (DISK-4).
    dir: Arc<Dir>,
    access: Access,
    /// Whether a lock file that the lock has made stays (DISK-8).
    is_lock_kept: Arc<AtomicBool>,
}

impl RealDisk {
    /// Opens an existing directory. The disk stays this directory, whatever happens to the path or the
    /// working directory.
    ///
    /// # Errors
    /// [`Error::Io`] if it does not exist or is no directory.
    pub fn open(dir: impl AsRef<Path>) -> Result<RealDisk> {
        Self::open_for(Access::Write, dir.as_ref())
    }

    /// Opens an existing directory for reading only: no operation needs the right to write, and readers
    /// share its lock.
    ///
    /// # Errors
    /// As [`RealDisk::open`]. Operations that would change something fail with [`Error::ReadOnly`].
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<RealDisk> {
        Self::open_for(Access::Read, dir.as_ref())
    }

    fn open_for(access: Access, path: &Path) -> Result<RealDisk> {
        let failed = |error| Error::io("open the directory", &display(path), 0, error);
        let dir = Dir::open(path).map_err(failed)?;
        let path = std::path::absolute(path).map_err(failed)?;
        Ok(RealDisk { path, dir: Arc::new(dir), access, is_lock_kept: Arc::default() })
    }

    /// Opens a directory after creating it and its missing parents. They survive a power loss, and so do
    /// those that an earlier, interrupted call created.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] or [`Error::Io`] if it cannot be created.
    pub fn create_dir(dir: impl AsRef<Path>) -> Result<RealDisk> {
        let dir = std::path::absolute(dir.as_ref())
            .map_err(|error| Error::io("resolve", &display(dir.as_ref()), 0, error))?;

        // From the deepest existing directory downward; each name is durable before the next directory is
        // created in it, so a kill leaves at most one of them unsynced.
        let mut missing: Vec<&Path> = dir.ancestors().take_while(|path| !path.exists()).collect();
        if let Some(existing) = dir.ancestors().nth(missing.len()) {
            sync_parent_if_allowed(existing)?;
        }
        while let Some(path) = missing.pop() {
            match fs::create_dir(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(Error::io("create the directory", &display(path), 0, error));
                }
                _ => sync_parent(path)?,
            }
        }
        RealDisk::open(dir)
    }

    /// Names come from the store, never from outside.
    fn check_name(name: &str) {
        assert!(
            !name.is_empty() && !name.contains(['/', '\\']) && name != LOCK_FILE,
            "{name:?} is no name for a file of a store"
        );
    }

    /// The error of an action on the file `name`, or on the directory if that is empty (DISK-5).
    fn error(&self, action: &str, name: &str, needed: u64, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::NotFound && self.dir.is_gone() {
            let expected = "the directory was removed while the store in it was open";
            return Error::Missing { file: self.path(""), expected: expected.to_owned() };
        }
        let file = self.path(name);
        match self.access {
            // A file that cannot be read is not `ReadOnly`.
            Access::Read => Error::Io { action: action.into(), file, source: Arc::new(error) },
            Access::Write => Error::io(action, &file, needed, error),
        }
    }

    fn open_file(&self, name: &str, mode: OpenMode) -> io::Result<RealFile> {
        Self::check_name(name);
        RealFile::new(self.dir.open_file(name, mode)?, self.path(name), self.access)
    }

    /// Fails if the directory was opened for reading.
    fn check_writable(&self, name: &str) -> Result<()> {
        match self.access {
            Access::Write => Ok(()),
            Access::Read => Err(Error::opened_read_only(self.path(name))),
        }
    }

    /// The beginning of the lock file; `None` if there is no such file.
    fn read_lock_file(&self) -> Result<Option<Vec<u8>>> {
        let mut text = Vec::new();
        let read = self.dir.open_file(LOCK_FILE, OpenMode::Readable);
        let read = read.and_then(|file| file.take(1 + CLAIM.len() as u64).read_to_end(&mut text));
        match read {
            Ok(_) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // A directory or a pipe.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::IsADirectory | io::ErrorKind::WouldBlock
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(self.error("read", LOCK_FILE, 0, error)),
        }
    }

    /// Writes `text` to the lock file, durably.
    fn note_claim(&self, text: &[u8]) -> Result<()> {
        self.check_writable(LOCK_FILE)?;
        let file = self.dir.open_file(LOCK_FILE, OpenMode::Any);
        let written = file.and_then(|mut file| {
            file.set_len(0)?;
            file.write_all(text)?;
            file.sync_all()
        });
        written.map_err(|error| self.error("write", LOCK_FILE, text.len() as u64, error))
    }

    /// Opens the lock file, and says whether it made it. Readers need none: the data file is locked as
    /// well.
    fn lock_file(&self) -> io::Result<Option<(File, bool)>> {
        let mode = match self.access {
            Access::Write => OpenMode::Present,
            Access::Read => OpenMode::Readable,
        };
        // Another process may make and remove it meanwhile. A dangling link fails every try.
        const TRIES: u32 = 100;
        for _ in 0..TRIES {
            match self.dir.open_file(LOCK_FILE, mode) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                file => return file.map(|file| Some((file, false))),
            }
            if self.access == Access::Read {
                return Ok(None);
            }
            match self.dir.open_file(LOCK_FILE, OpenMode::New) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => return file.map(|file| Some((file, true))),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Disk for RealDisk {
    fn lock(&self) -> Result<Box<dyn DirLock>> {
        let failed = |error| self.error("lock", LOCK_FILE, 0, error);
        loop {
            let Some((file, is_made)) = self.lock_file().map_err(failed)? else {
                return Ok(Box::new(NoLock));
            };
            match self.access.lock(&file) {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(Error::Locked { directory: self.path("") });
                }
                Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
            }
            // Another process may have removed it before it was locked (DISK-8).
            if self.dir.leads_to(LOCK_FILE, &file).map_err(failed)? {
                let made = is_made.then(|| MadeLock {
                    dir: Arc::clone(&self.dir),
                    is_kept: Arc::clone(&self.is_lock_kept),
                });
                let mut lock = RealLock::new(Arc::new(file));
                lock.made = made;
                return Ok(Box::new(lock));
            }
        }
    }

    fn keep_lock(&self) {
        self.is_lock_kept.store(true, Ordering::Relaxed);
    }

    fn list(&self) -> Result<Vec<String>> {
        let mut names = self.dir.files().map_err(|error| self.error("list", "", 0, error))?;
        names.retain(|name| name != LOCK_FILE);
        names.sort_unstable();
        Ok(names)
    }

    fn strangers(&self) -> Result<Vec<String>> {
        let mut names = self.dir.strangers().map_err(|error| self.error("list", "", 0, error))?;
        if self.read_lock_file()?.is_some_and(|text| !text.is_empty() && text != CLAIM) {
            names.push(LOCK_FILE.to_owned());
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn claim(&self) -> Result<()> {
        self.note_claim(CLAIM)?;
        self.sync_dir()
    }

    fn disclaim(&self) -> Result<()> {
        self.note_claim(b"")
    }

    fn is_claimed(&self) -> Result<bool> {
        Ok(self.read_lock_file()?.is_some_and(|text| text == CLAIM))
    }

    fn create(&self, name: &str, bytes: u64) -> Result<Arc<dyn DiskFile>> {
        self.check_writable(name)?;
        let file = self.open_file(name, OpenMode::New);
        let file = file.map_err(|error| self.error("create", name, bytes, error))?;
        file.write_in_place();
        if let Err(error) = file.allocate(bytes) {
            drop(file); // Windows does not remove an open file
            // The first failure is reported; a leftover file is harmless.
            let _ = self.dir.remove(name);
            return Err(error);
        }
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        let mode = match self.access {
            Access::Read => OpenMode::Readable,
            Access::Write => OpenMode::Present,
        };
        let file = self.open_file(name, mode);
        Ok(Arc::new(file.map_err(|error| self.error("open", name, 0, error))?))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        Self::check_name(from);
        Self::check_name(to);
        self.check_writable(from)?;
        let failed = |error| self.error(&format!("rename to {to}"), from, 0, error);
        self.dir.rename(from, to).map_err(failed)
    }

    fn remove(&self, name: &str) -> Result<()> {
        Self::check_name(name);
        self.check_writable(name)?;
        self.dir.remove(name).map_err(|error| self.error("remove", name, 0, error))
    }

    fn sync_dir(&self) -> Result<()> {
        self.dir.sync().map_err(|error| self.error("sync the directory", "", 0, error))?;
        if self.dir.is_gone() {
            return Err(self.error("sync the directory", "", 0, io::ErrorKind::NotFound.into()));
        }
        Ok(())
    }

    fn random(&self, bytes: &mut [u8]) -> Result<()> {
        getrandom::fill(bytes).map_err(|error| {
            let error = io::Error::other(error.to_string());
            Error::io("get random bytes", &self.path(""), 0, error)
        })
    }

    fn path(&self, name: &str) -> String {
        if name.is_empty() { display(&self.path) } else { display(&self.path.join(name)) }
    }
}

/// A lock on a file. Released by an unlock call, not by closing the file: a process that was forked
/// meanwhile has the same descriptor, and would keep the lock.
///
/// A drop in a forked process does not release it (FORK-1).
#[derive(Debug)]
struct RealLock {
    file: Arc<File>,
    process: Process,
    made: Option<MadeLock>,
}

/// The lock has made its file, which is removed again if no store is opened (DISK-8).
#[derive(Debug)]
struct MadeLock {
    dir: Arc<Dir>,
    is_kept: Arc<AtomicBool>,
}

impl MadeLock {
    /// Removes the file, unless it says that a store is half made (DISK-7).
    fn undo(&self, file: &File) {
        let is_empty = file.metadata().is_ok_and(|metadata| metadata.len() == 0);
        if is_empty
            && !self.is_kept.load(Ordering::Relaxed)
            && self.dir.leads_to(LOCK_FILE, file).unwrap_or(false)
        {
            // An empty leftover does no harm.
            let _ = self.dir.remove(LOCK_FILE);
        }
    }
}

impl RealLock {
    fn new(file: Arc<File>) -> RealLock {
        RealLock { file, process: Process::current(), made: None }
    }
}

impl DirLock for RealLock {}

impl Drop for RealLock {
    fn drop(&mut self) {
        if self.process.is_here() {
            if let Some(made) = &self.made {
                made.undo(&self.file);
            }
            // The lock ends with the last descriptor in any case.
            let _ = self.file.unlock();
        }
    }
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

/// Makes the name of `path` durable in the directory that holds it.
fn sync_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    Dir::open(parent)
        .and_then(|dir| dir.sync())
        .map_err(|error| Error::io("sync the directory", &display(parent), 0, error))
}

/// As [`sync_parent`], for a directory that existed before. Its parent may be unreadable for this
/// process; then the name's durability is up to its maker.
fn sync_parent_if_allowed(path: &Path) -> Result<()> {
    match sync_parent(path) {
        Err(Error::ReadOnly { .. }) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn create_dir_makes_the_missing_parents_and_may_be_repeated() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/b/c");
        RealDisk::open(&dir).unwrap_err();
        RealDisk::create_dir(&dir).unwrap().create("x", 1).unwrap();
        assert_eq!(RealDisk::create_dir(&dir).unwrap().list().unwrap(), ["x"]);
    }

    #[test]
    fn a_file_is_no_directory() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        fs::write(&path, "").unwrap();
        assert!(matches!(RealDisk::open(&path), Err(Error::Io { .. })));
        assert!(matches!(RealDisk::create_dir(path.join("dir")), Err(Error::Io { .. })));
    }

    #[test]
    fn list_leaves_out_directories_and_the_lock() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("dir")).unwrap();
        fs::write(temp.path().join("file"), "").unwrap();
        let disk = RealDisk::open(temp.path()).unwrap();
        let _lock = disk.lock().unwrap();
        assert_eq!(disk.list().unwrap(), ["file"]);
        assert!(disk.path("file").ends_with("file"));
    }

    #[test]
    fn a_file_larger_than_the_file_system_takes_is_removed_again() {
        let temp = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(temp.path()).unwrap();
        disk.create("huge", u64::MAX / 2).unwrap_err();
        disk.create("huge", u64::MAX).unwrap_err();
        assert_eq!(disk.list().unwrap(), [""; 0]);
    }

    #[test]
    #[should_panic(expected = "is no name for a file")]
    fn the_lock_is_no_file_of_the_store() {
        let temp = tempfile::tempdir().unwrap();
        let _ = RealDisk::open(temp.path()).unwrap().remove(LOCK_FILE);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn created_files_have_their_blocks() {
        use std::os::unix::fs::MetadataExt;
        let temp = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(temp.path()).unwrap();
        disk.create("segment", 1 << 20).unwrap();
        let metadata = fs::metadata(temp.path().join("segment")).unwrap();
        assert!(metadata.blocks() * 512 >= 1 << 20, "{} blocks", metadata.blocks());
    }

    /// A copied store may have holes where it had zeros; a mapping must not contain any.
    #[cfg(target_os = "linux")]
    #[test]
    fn mapping_a_file_fills_its_holes_with_blocks() {
        use std::os::unix::fs::MetadataExt;
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("sparse");
        File::create(&path).unwrap().set_len(1 << 20).unwrap();
        let disk = RealDisk::open(temp.path()).unwrap();
        let _mapping = disk.open("sparse").unwrap().map(1 << 20).unwrap();
        assert!(fs::metadata(&path).unwrap().blocks() * 512 >= 1 << 20);
    }
}
