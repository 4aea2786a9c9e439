//! The floor: the cost of the same work without a store.
//!
//! | floor | one operation |
//! |---|---|
//! | `pwrite` | the rows of a commit appended to the last ones, in the page cache |
//! | `pwrite+fdatasync` | the same, then flushed to the device |
//! | `pread` | 4 KiB read from anywhere in a file, out of the page cache |
//! | `btreemap` | a get or a scan of a `BTreeMap<Vec<u8>, Vec<u8>>` that holds the same rows |
//! | `memory` | as many bytes as the store holds, read once |
//!
//! The file is written from end to end and then again. A page that is overwritten before its
//! write-back costs the device nothing, so bytes to the device may be fewer than user bytes.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use super::draws::Chance;
use super::error::BenchError;
use super::rows::{KEY_BYTES, Order, Value, fill, key};

/// The bytes that a log adds to a row.
const OVERHEAD_BYTES: usize = 6;

/// The size of a random read.
const READ_BYTES: usize = 4096;

/// The flush after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    /// Nothing.
    Never,
    /// `fdatasync`.
    EachRecord,
}

impl Flush {
    /// Its name in the tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Flush::Never => "pwrite",
            Flush::EachRecord => "pwrite+fdatasync",
        }
    }

    /// The inverse of [`Flush::name`].
    pub(super) fn named(name: &str) -> Flush {
        if name == Flush::Never.name() { Flush::Never } else { Flush::EachRecord }
    }
}

/// A preallocated file: its blocks are written, flushed and in the page cache.
pub(super) struct FloorFile {
    file: File,
    bytes: u64,
}

impl FloorFile {
    pub(super) fn create(path: &Path, bytes: u64) -> Result<FloorFile, BenchError> {
        let failed = || BenchError::io(format!("write {}", path.display()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(failed())?;
        // A page at a time: written in larger pieces, the page cache would hold it in large pages,
        // each of which counts as a whole wherever it is changed (see `device`).
        let zeros = vec![0; READ_BYTES];
        for offset in (0..bytes).step_by(zeros.len()) {
            write_at(&file, offset, &zeros).map_err(failed())?;
        }
        file.sync_all().map_err(failed())?;
        Ok(FloorFile { file, bytes })
    }

    /// Writes commits of `batch` rows from the start of the file on.
    pub(super) fn writer(
        &self,
        flush: Flush,
        batch: usize,
        value_bytes: usize,
    ) -> impl FnMut() -> Result<usize, BenchError> + Send + use<'_> {
        let row_bytes = KEY_BYTES + value_bytes + OVERHEAD_BYTES;
        let mut record = vec![0; batch * row_bytes];
        let mut value = Value::of(value_bytes);
        let mut at = 0;
        let mut number = 0;
        let bytes = self.bytes;
        move || {
            // Each row costs the same preparation as a put: the key, and the value with its number.
            for row in record.chunks_exact_mut(row_bytes) {
                row[..KEY_BYTES].copy_from_slice(&Order::Random.key(number));
                row[KEY_BYTES..KEY_BYTES + value_bytes].copy_from_slice(value.row(number));
                number += 1;
            }
            write_at(&self.file, at, &record).map_err(BenchError::io("write the floor file"))?;
            if flush == Flush::EachRecord {
                self.file.sync_data().map_err(BenchError::io("flush the floor file"))?;
            }
            at += record.len() as u64;
            if at + record.len() as u64 > bytes {
                at = 0;
            }
            Ok(batch)
        }
    }

    /// Reads random pages.
    pub(super) fn reader(
        &self,
        seed: u64,
    ) -> impl FnMut() -> Result<usize, BenchError> + Send + use<'_> {
        let mut chance = Chance::new(seed, 0);
        let mut page = vec![0; READ_BYTES];
        let pages = self.bytes / READ_BYTES as u64;
        move || {
            let offset = chance.below(pages) * READ_BYTES as u64;
            read_at(&self.file, offset, &mut page)
                .map_err(BenchError::io("read the floor file"))?;
            std::hint::black_box(&page);
            Ok(1)
        }
    }

    /// Flushes the file, so that the next measurement does not pay for this one.
    pub(super) fn settle(&self) -> Result<(), BenchError> {
        self.file.sync_data().map_err(BenchError::io("flush the floor file"))
    }
}

#[cfg(unix)]
pub(super) fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
pub(super) fn write_at(file: &File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        offset += written as u64;
        bytes = &bytes[written..];
    }
    Ok(())
}

#[cfg(unix)]
fn read_at(file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut offset: u64, mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        offset += read as u64;
        bytes = &mut bytes[read..];
    }
    Ok(())
}

/// The rows of the stores, in memory.
pub(super) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// The map that gets are compared with.
pub(super) fn map_of(keys: u64, value_bytes: usize) -> Map {
    let mut value = Value::of(value_bytes);
    (0..keys).map(|number| (key(number).to_vec(), value.row(number).to_vec())).collect()
}

/// As many bytes as `keys` rows have.
pub(super) fn memory_of(keys: u64, value_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; keys as usize * (KEY_BYTES + value_bytes)];
    fill(&mut bytes, 1);
    bytes
}
