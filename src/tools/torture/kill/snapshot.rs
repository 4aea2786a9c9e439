//! A store's files as a kill has left them, in memory.
//!
//! A fork does not inherit the memory. Otherwise the kernel would make each of its pages writable
//! again after every life, which was a tenth of a life's cost.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use memmap2::{Advice, MmapMut};

/// Enough for most stores, in bytes.
const ROOM: usize = 8 << 20;

/// The files of one directory.
#[derive(Debug)]
pub(super) struct Snapshot {
    memory: MmapMut,
    /// Where each file lies in the memory.
    files: BTreeMap<String, Range<usize>>,
}

impl Snapshot {
    pub(super) fn new() -> io::Result<Snapshot> {
        Ok(Snapshot { memory: memory(ROOM)?, files: BTreeMap::new() })
    }

    pub(super) fn clear(&mut self) {
        self.files.clear();
    }

    /// Reads the files of `directory`; a missing directory has none.
    pub(super) fn take(&mut self, directory: &Path) -> io::Result<()> {
        self.files.clear();
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        let mut used = 0;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let end = self.read(&mut File::open(entry.path())?, used)?;
            self.files.insert(name, used..end);
            used = end;
        }
        Ok(())
    }

    /// Reads a file to `start`. Returns where it ends.
    fn read(&mut self, file: &mut File, start: usize) -> io::Result<usize> {
        let mut end = start;
        loop {
            if end == self.memory.len() {
                let mut larger = memory(2 * end)?;
                larger[..end].copy_from_slice(&self.memory);
                self.memory = larger;
            }
            match file.read(&mut self.memory[end..]) {
                Ok(0) => return Ok(end),
                Ok(bytes) => end += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the files into `directory`.
    pub(super) fn put(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let mut files = self.files.iter();
        files.try_for_each(|(name, at)| fs::write(directory.join(name), &self.memory[at.clone()]))
    }
}

fn memory(bytes: usize) -> io::Result<MmapMut> {
    let memory = MmapMut::map_anon(bytes)?;
    memory.advise(Advice::DontFork)?;
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_can_be_written_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir(&from).unwrap();
        // Together more than the room at first.
        let large: Vec<u8> = (0..ROOM + 5000).map(|at| at as u8).collect();
        for (name, bytes) in [("a", &large[..10]), ("b", &large), ("c", &[])] {
            fs::write(from.join(name), bytes).unwrap();
        }
        let mut snapshot = Snapshot::new().unwrap();
        snapshot.take(&from).unwrap();
        snapshot.put(&to).unwrap();
        for (name, bytes) in [("a", &large[..10]), ("b", &large), ("c", &[])] {
            assert!(fs::read(to.join(name)).unwrap() == bytes, "{name}");
        }
        // A file that is gone leaves nothing behind.
        fs::remove_file(from.join("b")).unwrap();
        snapshot.take(&from).unwrap();
        assert_eq!(snapshot.files.keys().collect::<Vec<_>>(), ["a", "c"]);
        snapshot.take(&directory.path().join("nowhere")).unwrap();
        assert!(snapshot.files.is_empty());
    }
}
