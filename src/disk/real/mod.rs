//! A directory of the operating system.
//!
//! ```text
//!   RealDisk ---- a directory      names, the lock, making names durable
//!     RealFile ---- a file         positional reads and writes, blocks, fdatasync
//!       RealMapping ---- memory    plain copies, msync of a range
//!   platform                       what differs between operating systems
//! ```
//!
//! Rules:
//!
//! - D1 A file's blocks exist before it is mapped, so that storing into a mapping cannot raise
//!   SIGBUS for want of space.
//! - D2 No descriptor is reopened to flush: the kernel reports a failed write-back once to each
//!   descriptor that was open when it happened, so the one that wrote is the one that flushes.
//! - D3 The lock is the operating system's, on the file [`LOCK_FILE`]; it ends with the process,
//!   so nothing is left to clean up after a kill. The file itself stays and means nothing.
//!
//! Direct I/O and io_uring are left out: measured, a mapped append plus `msync` costs what
//! `fdatasync` costs, and data pages are written in batches large enough to hide the calls.

mod file;
mod mapping;
mod platform;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::file::RealFile;
use self::platform::DirHandle;
use super::{DirLock, Disk, DiskFile};
use crate::error::{Error, Result};

/// The file that carries the directory's lock. [`Disk::list`] leaves it out.
const LOCK_FILE: &str = "LOCK";

/// A directory of the operating system.
#[derive(Debug)]
pub struct RealDisk {
    dir: PathBuf,
    /// Open for as long as the disk, so that it sees every failed write-back (D2).
    handle: DirHandle,
}

impl RealDisk {
    /// Opens a directory that exists.
    ///
    /// # Errors
    /// [`Error::Io`] if it does not exist or is no directory.
    pub fn open(dir: impl AsRef<Path>) -> Result<RealDisk> {
        let dir = dir.as_ref();
        let failed = |error| Error::io("open the directory", &display(dir), 0, error);
        if !fs::metadata(dir).map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        let handle = DirHandle::open(dir).map_err(failed)?;
        Ok(RealDisk { dir: dir.to_owned(), handle })
    }

    /// Opens a directory after creating it and the parents that are missing. What was created
    /// survives a power loss, and so does what an earlier, interrupted call created.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] or [`Error::Io`] if it cannot be created.
    pub fn create_dir(dir: impl AsRef<Path>) -> Result<RealDisk> {
        let dir = std::path::absolute(dir.as_ref())
            .map_err(|error| Error::io("resolve", &display(dir.as_ref()), 0, error))?;

        // From the deepest directory that exists downward; each one's name is durable before
        // the next is created in it, so at most one of them was left unsynced by a kill.
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

    /// Where the file `name` is. Names come from the store, never from outside.
    fn file_path(&self, name: &str) -> PathBuf {
        assert!(
            !name.is_empty() && !name.contains(['/', '\\']) && name != LOCK_FILE,
            "{name:?} is no name for a file of a store"
        );
        self.dir.join(name)
    }
}

impl Disk for RealDisk {
    fn lock(&self) -> Result<Box<dyn DirLock>> {
        let path = self.dir.join(LOCK_FILE);
        let failed = |error| Error::io("lock", &display(&path), 0, error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock { _file: file })),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { directory: self.path("") }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    fn list(&self) -> Result<Vec<String>> {
        let failed = |error| Error::io("list", &self.path(""), 0, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != LOCK_FILE && !is_dir(&entry).map_err(failed)? {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, name: &str, bytes: u64) -> Result<Arc<dyn DiskFile>> {
        let path = self.file_path(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| Error::io("create", &display(&path), bytes, error))?;
        let file = RealFile::new(file, display(&path));
        if let Err(error) = file.allocate(bytes) {
            drop(file); // Windows removes no file that is open
            // The first failure is the one to report; a file left behind is harmless.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        let path = self.file_path(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| Error::io("open", &display(&path), 0, error))?;
        Ok(Arc::new(RealFile::new(file, display(&path))))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let path = self.file_path(from);
        fs::rename(&path, self.file_path(to))
            .map_err(|error| Error::io(format!("rename to {to}"), &display(&path), 0, error))
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.file_path(name);
        fs::remove_file(&path).map_err(|error| Error::io("remove", &display(&path), 0, error))
    }

    fn sync_dir(&self) -> Result<()> {
        self.handle
            .sync()
            .map_err(|error| Error::io("sync the directory", &self.path(""), 0, error))
    }

    fn path(&self, name: &str) -> String {
        if name.is_empty() { display(&self.dir) } else { display(&self.dir.join(name)) }
    }
}

/// The lock is released when the file is closed.
#[derive(Debug)]
struct RealLock {
    _file: File,
}

impl DirLock for RealLock {}

fn display(path: &Path) -> String {
    path.display().to_string()
}

/// Follows symbolic links; one that leads nowhere counts as a file. An entry that vanished
/// while listing counts as one too: whoever opens it is told.
fn is_dir(entry: &fs::DirEntry) -> io::Result<bool> {
    let kind = entry.file_type()?;
    if !kind.is_symlink() {
        return Ok(kind.is_dir());
    }
    Ok(fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir()))
}

/// Makes the name of `path` durable in the directory that holds it.
fn sync_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    DirHandle::open(parent)
        .and_then(|handle| handle.sync())
        .map_err(|error| Error::io("sync the directory", &display(parent), 0, error))
}

/// As [`sync_parent`], for a directory that existed before. Whoever made it may have put it
/// where we cannot read; then its name is theirs to make durable.
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

    /// A copied store may have holes where it had zeros; a mapping must not meet them.
    #[cfg(target_os = "linux")]
    #[test]
    fn mapping_a_file_fills_its_holes_with_blocks() {
        use std::os::unix::fs::MetadataExt;
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("sparse");
        File::create(&path).unwrap().set_len(1 << 20).unwrap();
        let disk = RealDisk::open(temp.path()).unwrap();
        let _mapping = disk.open("sparse").unwrap().map().unwrap();
        assert!(fs::metadata(&path).unwrap().blocks() * 512 >= 1 << 20);
    }
}
