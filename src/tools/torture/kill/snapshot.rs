//! A store's files as a kill has left them, in memory.
//!
//! The memory is not inherited by a fork: else the kernel would have to make each of its pages
//! writable again after every life, which was a tenth of a life's cost.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use memmap2::{Advice, MmapMut};

/// More than most stores have.
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

    /// Reads the files of `directory`; there are none if it is not there.
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
    fn what_is_taken_can_be_put_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir(&from).unwrap();
        // Together more than there is room for at first.
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
        // Nothing is left of what is gone.
        fs::remove_file(from.join("b")).unwrap();
        snapshot.take(&from).unwrap();
        assert_eq!(snapshot.files.keys().collect::<Vec<_>>(), ["a", "c"]);
        snapshot.take(&directory.path().join("nowhere")).unwrap();
        assert!(snapshot.files.is_empty());
    }
}
