//! The directory in which killed processes have their stores.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The note of a run whose stores are in memory.
pub(super) const IN_MEMORY: &str = "the directory is in memory: nothing there meets a device";

/// A directory that is removed with everything in it when this is dropped.
pub(super) struct ScratchDir {
    pub(super) directory: PathBuf,
}

impl ScratchDir {
    pub(super) fn create(parent: Option<&Path>, what: &str) -> io::Result<ScratchDir> {
        let temporary = || {
            let directory = std::env::temp_dir();
            let is_in_memory = file_system_of(&directory).is_some_and(|kind| is_memory(&kind));
            // Better the caller's directory than one where nothing meets a device.
            if is_in_memory { PathBuf::from(".") } else { directory }
        };
        let parent = parent.map_or_else(temporary, Path::to_owned);
        let name = format!("syncline-torture-{what}-{}", std::process::id());
        let directory = std::path::absolute(parent)?.join(name);
        fs::create_dir_all(&directory)?;
        Ok(ScratchDir { directory })
    }

    fn file_system(&self) -> String {
        file_system_of(&self.directory).unwrap_or_else(|| "unknown".to_owned())
    }

    pub(super) fn describe(&self) -> String {
        format!("{} ({})", self.directory.display(), self.file_system())
    }

    pub(super) fn is_in_memory(&self) -> bool {
        is_memory(&self.file_system())
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // Files that cannot be removed do no harm.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn is_memory(file_system: &str) -> bool {
    matches!(file_system, "tmpfs" | "ramfs")
}

/// The type of the file system that a directory is on: that of the deepest mount above it.
fn file_system_of(directory: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        directory.starts_with(point).then(|| (point.len(), kind.to_owned()))
    });
    // Of several mounts at one point the last one is seen.
    mounts.max_by_key(|(len, _)| *len).map(|(_, kind)| kind)
}
