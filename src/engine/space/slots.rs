//! The two slots of the superblock, and the order in which they are written.
//!
//! ```text
//!               slot 0     slot 1
//!   durable     n          n
//!   store()     n          n + 1  written, flushed: n + 1 is the store
//!               n + 1      n + 1  copied, flushed some time later
//!   store()     n + 2      n + 1  and so on, the slots changing places
//! ```
//!
//! Invariants:
//!
//! - SUPERBLOCK-1 the slot that was flushed last is not written until the other one has been flushed.
//!   So a crash leaves at least one valid slot; an invalid one is nothing unusual.
//! - SUPERBLOCK-2 everything that the newest superblock refers to was flushed before it was written.
//! - SUPERBLOCK-3 until a newer superblock is known to be durable, no page of the older one is
//!   overwritten, and no log that the older one needs is removed. A superblock read at open may have
//!   been only in the operating system's cache: [`Slots::confirm`] writes it again and flushes it.
//! - SUPERBLOCK-4 a superblock for which the disk had no space is not in its slot, so that the blocks it
//!   refers to are free. The slot is read to check that. A partly written superblock is invalid; a wholly
//!   written one is overwritten with the former superblock, and that is flushed.
//!
//! The copy protects against rot, not crashes: without it a damaged newest slot would silently take
//! the store back to a checkpoint whose log and pages are gone.

use super::data_file::DataFile;
use super::superblock::{FORMAT_VERSION, Invalid, SLOT_BYTES, Superblock};
use crate::engine::base::error::{Error, Result};
use crate::engine::disk::DiskFile;
use crate::engine::mutants::mutant;

/// The newest superblock, and which slot holds it.
#[derive(Debug)]
pub(crate) struct Slots {
    newest: Superblock,
    /// The slot that certainly holds it (SUPERBLOCK-1).
    slot: u64,
    /// Whether it is known to be durable (SUPERBLOCK-3).
    confirmed: bool,
}

impl Slots {
    /// Reads both slots of a file of `bytes` bytes, and picks the valid one with the highest
    /// sequence.
    pub(crate) fn load(file: &dyn DiskFile, bytes: u64) -> Result<(Self, Superblock)> {
        if bytes < 2 * SLOT_BYTES as u64 {
            let found = format!("a file of {bytes} bytes");
            return Err(corrupt(file, bytes, "two superblocks of 4096 bytes".into(), found));
        }
        let mut slot_bytes = [[0; SLOT_BYTES]; 2];
        for (slot, bytes) in slot_bytes.iter_mut().enumerate() {
            file.read_at((slot * SLOT_BYTES) as u64, bytes)?;
        }
        let (newest, slot) = pick(file, slot_bytes.each_ref().map(|slot| &slot[..]))?;
        let whole = newest.blocks * u64::from(newest.page_size);
        if bytes < whole {
            let expected = format!("a data file of at least {whole} bytes");
            return Err(corrupt(file, bytes, expected, format!("its end at {bytes}")));
        }
        let confirmed = mutant!(SuperblockUnconfirmed: false => true);
        Ok((Slots { newest, slot, confirmed }, newest))
    }

    /// Makes the newest superblock durable (SUPERBLOCK-3).
    pub(crate) fn confirm(&mut self, file: &DataFile) -> Result<()> {
        if !self.confirmed {
            self.write(file, self.slot, self.newest)?;
        }
        Ok(())
    }

    /// Describes the damage of each slot in the file. The store needs only one slot: the next checkpoint
    /// repairs the spare one, and until then there is no spare.
    pub(crate) fn damage(&self, file: &DataFile) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for slot in 0..2 {
            let mut bytes = [0; SLOT_BYTES];
            file.read_at(slot * SLOT_BYTES as u64, &mut bytes)?;
            if let Err(Invalid::Damaged { at, expected, found }) = Superblock::decode(&bytes) {
                let at = slot * SLOT_BYTES as u64 + at as u64;
                let error = file.corrupt_at(at, expected, found);
                problems.push(match slot == self.slot {
                    true => error.to_string(),
                    false => format!("{error} (the spare superblock)"),
                });
            }
        }
        Ok(problems)
    }

    /// Replaces the superblock: when this returns, `next` is durable.
    ///
    /// # Errors
    /// [`Error::DiskFull`]: the former superblock is the store. [`Error::Poisoned`]: it is unknown
    /// which superblock is on the disk.
    pub(crate) fn store(&mut self, file: &DataFile, next: Superblock) -> Result<()> {
        assert!(next.sequence > self.newest.sequence, "sequences grow");
        self.confirm(file)?;
        self.write(file, 1 - self.slot, next)
    }

    fn write(&mut self, file: &DataFile, slot: u64, superblock: Superblock) -> Result<()> {
        file.check_poison()?;
        let bytes = superblock.encode();
        let at = |slot: u64| slot * SLOT_BYTES as u64;
        if let Err(error) = file.write_at(at(slot), &bytes[..]) {
            return Err(match error {
                full @ Error::DiskFull { .. } if slot == self.slot => full,
                full @ Error::DiskFull { .. } => self.take_back(file, at(slot), full, &bytes[..]),
                error => file.poison(error),
            });
        }
        mutant!(SuperblockUnflushed: file.sync()? => ());
        *self = Slots { newest: superblock, slot, confirmed: true };
        mutant!(SuperblockNotCopied => return Ok(()));
        if let Err(error) = file.write_at(at(1 - slot), &bytes[..]) {
            crate::engine::base::foreign::warning!(
                "the copy of the superblock was not written: {error}"
            );
        }
        Ok(())
    }
}

impl Slots {
    /// Makes sure that `bytes`, whose write to `offset` failed because the disk is `full`, are not found
    /// there (SUPERBLOCK-4). Returns the error to report.
    fn take_back(&self, file: &DataFile, offset: u64, full: Error, bytes: &[u8]) -> Error {
        if !file.holds(offset, bytes) {
            return full;
        }
        // A write that fails may still overwrite enough.
        if let Err(error) = file.write_at(offset, &self.newest.encode()[..]) {
            crate::engine::base::foreign::warning!(
                "a superblock without space was not overwritten completely: {error}"
            );
        }
        match file.holds(offset, bytes) {
            true => file.poison(full),
            false => file.sync().err().unwrap_or(full),
        }
    }
}

/// The newer of the valid superblocks, and its slot.
fn pick(file: &dyn DiskFile, slots: [&[u8]; 2]) -> Result<(Superblock, u64)> {
    match slots.map(Superblock::decode) {
        [Err(Invalid::Version(found)), _] | [_, Err(Invalid::Version(found))] => {
            let file = file.path().to_owned();
            Err(Error::Version { file, supported: FORMAT_VERSION, found })
        }
        [Ok(a), Ok(b)] if a.store != b.store => Err(Error::WrongStore {
            file: file.path().to_owned(),
            expected: a.store,
            found: b.store,
        }),
        [Ok(a), Ok(b)] if a.sequence == b.sequence && a != b => {
            let expected = format!("the same superblock {} as at offset 0", a.sequence);
            Err(corrupt(file, SLOT_BYTES as u64, expected, "another one".into()))
        }
        [Ok(a), Ok(b)] if a.sequence >= b.sequence => Ok((a, 0)),
        [_, Ok(b)] => Ok((b, 1)),
        [Ok(a), Err(_)] => Ok((a, 0)),
        [Err(Invalid::Damaged { at, expected, found }), Err(_)] => {
            let expected = format!("{expected}, here or 4096 bytes on");
            Err(corrupt(file, at as u64, expected, found))
        }
    }
}

fn corrupt(file: &dyn DiskFile, offset: u64, expected: String, found: String) -> Error {
    Error::Corrupt { file: file.path().to_owned(), offset, expected, found }
}
