//! The floor: what the same work costs without a store.
//!
//! | floor | one operation |
//! |---|---|
//! | `pwrite` | 180 bytes written behind the last ones, into the page cache |
//! | `pwrite+fdatasync` | the same, then flushed to the device |
//! | `btreemap` | a get from a `BTreeMap<Vec<u8>, Vec<u8>>` that holds the same rows |
//! | `memory` | as many bytes as the store holds, read once |

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use super::BenchError;
use super::rows::{KEY_BYTES, VALUE_BYTES, fill, key, value};

/// A put of one row, as a log would write it: key, value, and 6 bytes for everything else.
pub(super) const RECORD_BYTES: usize = 180;

/// The file wraps around here.
const FILE_BYTES: u64 = 256 << 20;

/// What follows a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    /// Nothing.
    Never,
    /// `fdatasync`.
    EachRecord,
}

/// A preallocated file: its blocks are written, flushed and in the page cache.
pub(super) struct FloorFile {
    file: File,
}

impl FloorFile {
    pub(super) fn create(path: &Path) -> Result<FloorFile, BenchError> {
        let failed = || BenchError::io(format!("write {}", path.display()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(failed())?;
        let zeros = vec![0; 1 << 20];
        for offset in (0..FILE_BYTES).step_by(zeros.len()) {
            write_at(&file, offset, &zeros).map_err(failed())?;
        }
        file.sync_all().map_err(failed())?;
        Ok(FloorFile { file })
    }

    /// Writes records from the start of the file on.
    pub(super) fn worker(
        &self,
        flush: Flush,
    ) -> impl FnMut() -> Result<(), BenchError> + Send + use<'_> {
        let mut record = [0; RECORD_BYTES];
        fill(&mut record, u64::MAX);
        let mut at = 0;
        let mut count = 0;
        move || {
            // As much is made anew as in a put: the key, and a part of the value.
            record[..KEY_BYTES].copy_from_slice(&key(count));
            record[KEY_BYTES..KEY_BYTES + 8].copy_from_slice(&count.to_le_bytes());
            count += 1;
            write_at(&self.file, at, &record).map_err(BenchError::io("write the floor file"))?;
            if flush == Flush::EachRecord {
                self.file.sync_data().map_err(BenchError::io("flush the floor file"))?;
            }
            at += RECORD_BYTES as u64;
            if at + RECORD_BYTES as u64 > FILE_BYTES {
                at = 0;
            }
            Ok(())
        }
    }

    /// Flushes what was written, so that the next measurement does not pay for it.
    pub(super) fn settle(&self) -> Result<(), BenchError> {
        self.file.sync_data().map_err(BenchError::io("flush the floor file"))
    }
}

#[cfg(unix)]
fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        offset += written as u64;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// The map that gets are compared with: the same rows, in memory, without a store.
pub(super) fn map_of(keys: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    (0..keys).map(|number| (key(number).to_vec(), value(number).to_vec())).collect()
}

/// As many bytes as `keys` rows have.
pub(super) fn memory_of(keys: u64) -> Vec<u8> {
    let mut bytes = vec![0; keys as usize * (KEY_BYTES + VALUE_BYTES)];
    fill(&mut bytes, 1);
    bytes
}
