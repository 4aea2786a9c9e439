//! Damage to a disk from outside: rot, lost and misplaced files.
//!
//! Damage is not an operation: it is neither counted nor traced, and is durable at once. A change to a
//! name makes all names durable.

use super::SimDisk;
use super::inode::Inode;
use super::names::FileId;
use super::pages::Pages;
use super::state::{NextWrite, Overwritten};

impl SimDisk {
    /// Flips a bit of a file.
    ///
    /// # Panics
    /// If there is no such file, or it ends before `offset`.
    pub fn flip(&self, name: &str, offset: u64, bit: u8) {
        let mut state = self.state();
        let id = state.lookup(name).unwrap_or_else(|_| panic!("no file {name}"));
        state.inode(id).flip(offset, bit);
    }

    /// Cuts a file to `bytes` bytes.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn truncate(&self, name: &str, bytes: u64) {
        let mut content = self.read_file(name);
        content.truncate(bytes as usize);
        self.write_file(name, &content);
    }

    /// All bytes of a file, as reads see them.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn read_file(&self, name: &str) -> Vec<u8> {
        let mut state = self.state();
        let id = state.lookup(name).unwrap_or_else(|_| panic!("no file {name}"));
        let inode = state.inode(id);
        let mut bytes = vec![0; inode.bytes() as usize];
        inode.seen().read(0, &mut bytes);
        bytes
    }

    /// Puts a file into the directory, in the place of one of that name.
    pub fn write_file(&self, name: &str, bytes: &[u8]) {
        let mut pages = Pages::default();
        pages.write(0, bytes);
        let mut state = self.state();
        let inode = Inode::settled(pages, bytes.len() as u64);
        match state.lookup(name) {
            Ok(id) => state.inode(id).replace(inode),
            Err(_) => {
                let id: FileId = state.add(inode);
                state.names.create(name, id);
            }
        }
        state.names.settle();
        state.collect();
    }

    /// Removes a file.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn remove_file(&self, name: &str) {
        let mut state = self.state();
        assert!(state.lookup(name).is_ok(), "no file {name}");
        state.names.remove(name);
        state.names.settle();
        state.collect();
    }

    /// Loses the next write of a file, but reports it as done.
    pub fn lose_next_write(&self) {
        self.state().next_write = NextWrite::Lost;
    }

    /// Sends the next write of a file to a place `by` bytes away.
    pub fn misdirect_next_write(&self, by: i64) {
        self.state().next_write = NextWrite::Misdirected(by);
    }
    /// Writes only some sectors of the next write of a file: the first if the lowest bit is set, and so
    /// on; after 64 the bits begin again. Reports it as done.
    pub fn tear_next_write(&self, sectors: u64) {
        self.state().next_write = NextWrite::Torn(sectors);
    }

    /// Remembers the bytes that the next write of a file overwrites, for
    /// [`SimDisk::repeat_older_write`].
    pub fn remember_next_write(&self) {
        self.state().next_write = NextWrite::Remembered;
    }

    /// Restores the remembered bytes, as if the device had repeated the older write. False if nothing
    /// was remembered, or the file is gone.
    pub fn repeat_older_write(&self) -> bool {
        let mut state = self.state();
        let Some(Overwritten { id, offset, bytes }) = state.overwritten.take() else {
            return false;
        };
        if !state.exists(id) {
            return false;
        }
        let inode = state.inode(id);
        let left = inode.bytes().saturating_sub(offset) as usize;
        inode.put(offset, &bytes[..bytes.len().min(left)]);
        true
    }
}
