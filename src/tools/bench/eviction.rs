//! Cold files: their pages leave the operating system's cache.
//!
//! No right over the machine is needed: a page that is clean and mapped by nobody is given up on
//! `POSIX_FADV_DONTNEED`. Whatever cache the device or the host has stays warm. Linux only.

use std::fs;
use std::io;
use std::path::Path;

/// Whether [`evict`] does anything.
pub(super) const CAN_EVICT: bool = cfg!(target_os = "linux");

/// Evicts the files of a closed store.
pub(super) fn evict(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return fs::read_dir(path)?.try_for_each(|entry| evict(&entry?.path()));
    }
    let file = fs::File::open(path)?;
    file.sync_all()?;
    forget(&file)
}

#[cfg(target_os = "linux")]
fn forget(file: &fs::File) -> io::Result<()> {
    Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?)
}

#[cfg(not(target_os = "linux"))]
fn forget(_: &fs::File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evicted_files_keep_their_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sub").join("file");
        fs::create_dir(file.parent().unwrap()).unwrap();
        fs::write(&file, [7; 10_000]).unwrap();
        evict(dir.path()).unwrap();
        assert_eq!(fs::read(&file).unwrap(), [7; 10_000]);
        assert!(evict(&dir.path().join("missing")).is_err());
    }
}
