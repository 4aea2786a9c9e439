//! A bound for all memory of a process, the operating system's cache of its files included: a memory
//! cgroup. With it, a store that leaves caching to the system has no more than one that does not.
//!
//! It needs rights over the machine, and Linux. Both versions of cgroups are known. A process that
//! needs more memory than that, and cannot give up cache, is killed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A cgroup. Removed on drop: the process must have left it, or ended.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    dir: PathBuf,
}

/// Where memory cgroups are, and the files of their bounds.
const VERSIONS: [(&str, &str); 2] =
    [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];

impl MemoryLimit {
    /// A bound of `bytes`, if this machine lets us make one. Nobody is in it yet.
    pub(super) fn create(bytes: u64) -> Option<MemoryLimit> {
        let name = format!("syncline-bench-{}", std::process::id());
        let mut versions = VERSIONS.iter();
        versions.find_map(|(root, file)| make(&Path::new(root).join(&name), file, bytes))
    }

    /// Takes the process `id` in. What it has used before does not count.
    pub(super) fn take_in(&self, id: u32) -> io::Result<()> {
        fs::write(self.dir.join("cgroup.procs"), id.to_string())
    }
}

fn make(dir: &Path, file: &str, bytes: u64) -> Option<MemoryLimit> {
    fs::create_dir(dir).ok()?;
    let limit = MemoryLimit { dir: dir.to_owned() };
    // A directory that is none of the kernel's has no such file.
    let file = limit.dir.join(file);
    (file.exists() && fs::write(&file, bytes.to_string()).is_ok()).then_some(limit)
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // It is empty; at worst an empty cgroup stays.
        let _ = fs::remove_dir(&self.dir);
    }
}
