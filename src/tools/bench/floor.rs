//! The floor: the cost of the same work without a store.
//!
//! | floor | one operation |
//! |---|---|
//! | `pwrite` | the rows of a commit appended to the last ones, in the page cache |
//! | `copy` | the same, copied into a mapping of the file |
//! | `pwrite+fdatasync` | the rows appended, then flushed to the device |
//! | `O_DSYNC` | the same by a file with this flag: a write returns when the device has it |
//! | `O_DIRECT\|O_DSYNC` | the same past the page cache: all blocks that the rows touch |
//! | `copy+msync` | copied into a mapping, then a flush of that range (`msync` or the nearest call) |
//! | `pread` | 4 KiB read from anywhere in a file, out of the page cache |
//! | `btreemap` | a get or a scan of a `BTreeMap<Vec<u8>, Vec<u8>>` that holds the same rows |
//! | `memory` | as many bytes as the store holds, read once |
//!
//! A commit is compared with the fastest of those that survive what it survives, in each round.
//!
//! The file is written from end to end and then again. A page that is overwritten before its
//! write-back costs the device nothing, so bytes to the device may be fewer than user bytes.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::engine::disk::{Disk, Mapping, RealDisk};

use super::draws::Chance;
use super::engine::Guarantee;
use super::error::BenchError;
use super::rows::{KEY_BYTES, Order, fill, key};
use super::values::Value;

/// The bytes that a log adds to a row.
const OVERHEAD_BYTES: usize = 6;

/// The size of a random read.
const READ_BYTES: usize = 4096;

/// A way to write without a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BareWrite {
    Pwrite,
    Copy,
    Fdatasync,
    Dsync,
    Direct,
    Msync,
}

impl BareWrite {
    const ALL: [BareWrite; 6] = [
        BareWrite::Pwrite,
        BareWrite::Copy,
        BareWrite::Fdatasync,
        BareWrite::Dsync,
        BareWrite::Direct,
        BareWrite::Msync,
    ];

    /// Its name in the tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            BareWrite::Pwrite => "pwrite",
            BareWrite::Copy => "copy",
            BareWrite::Fdatasync => "pwrite+fdatasync",
            BareWrite::Dsync => "O_DSYNC",
            BareWrite::Direct => "O_DIRECT|O_DSYNC",
            BareWrite::Msync => "copy+msync",
        }
    }

    /// The inverse of [`BareWrite::name`].
    pub(super) fn named(name: &str) -> BareWrite {
        let mut all = BareWrite::ALL.into_iter();
        all.find(|way| way.name() == name).expect("a name of one of them")
    }

    /// What the written bytes survive.
    pub(super) fn guarantee(self) -> Guarantee {
        match self {
            BareWrite::Pwrite | BareWrite::Copy => Guarantee::ProcessEnd,
            _ => Guarantee::PowerLoss,
        }
    }

    /// Every way of this machine with this guarantee. Nothing is written to survive less than the
    /// process.
    pub(super) fn with(guarantee: Guarantee) -> impl Iterator<Item = BareWrite> {
        let wanted = match guarantee {
            Guarantee::PowerLoss => Guarantee::PowerLoss,
            Guarantee::ProcessEnd | Guarantee::Nothing => Guarantee::ProcessEnd,
        };
        let is_here = |way: &BareWrite| {
            cfg!(target_os = "linux") || !matches!(way, BareWrite::Dsync | BareWrite::Direct)
        };
        BareWrite::ALL.into_iter().filter(move |way| way.guarantee() == wanted).filter(is_here)
    }
}

/// A preallocated file: its blocks are written, flushed and in the page cache.
pub(super) struct FloorFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// The work of a floor.
type Worker<'a> = Box<dyn FnMut() -> Result<usize, BenchError> + Send + 'a>;

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
        Ok(FloorFile { path: path.to_owned(), file, bytes })
    }

    /// Writes commits of `batch` rows from the start of the file on.
    pub(super) fn writer(
        &self,
        way: BareWrite,
        batch: usize,
        value_bytes: usize,
    ) -> Result<Worker<'_>, BenchError> {
        let row_bytes = KEY_BYTES + value_bytes + OVERHEAD_BYTES;
        let mut record = vec![0; batch * row_bytes];
        let mut value = Value::of(value_bytes);
        let mut append = self.append(way, record.len())?;
        let (mut at, mut number) = (0, 0);
        let bytes = self.bytes;
        Ok(Box::new(move || {
            // Each row costs the same preparation as a put: the key, and a new value.
            for row in record.chunks_exact_mut(row_bytes) {
                row[..KEY_BYTES].copy_from_slice(&Order::Random.key(number));
                row[KEY_BYTES..KEY_BYTES + value_bytes].copy_from_slice(value.row(number));
                number += 1;
            }
            append(at, &record)?;
            at += record.len() as u64;
            if at + record.len() as u64 > bytes {
                at = 0;
            }
            Ok(batch)
        }))
    }

    /// Writes a record of `record_bytes` at an offset.
    fn append(&self, way: BareWrite, record_bytes: usize) -> Result<Append<'_>, BenchError> {
        let failed = move || BenchError::io(format!("write the floor file by {}", way.name()));
        Ok(match way {
            BareWrite::Pwrite | BareWrite::Fdatasync => Box::new(move |at, record| {
                write_at(&self.file, at, record).map_err(failed())?;
                if way == BareWrite::Fdatasync {
                    self.file.sync_data().map_err(failed())?;
                }
                Ok(())
            }),
            BareWrite::Copy | BareWrite::Msync => {
                let mapping = map_file(&self.path)?;
                Box::new(move |at, record| {
                    mapping.write(at as usize, record);
                    if way == BareWrite::Msync {
                        mapping.sync(at as usize, record.len())?;
                    }
                    Ok(())
                })
            }
            BareWrite::Dsync => {
                let file = open_synced(&self.path, false).map_err(failed())?;
                Box::new(move |at, record| write_at(&file, at, record).map_err(failed()))
            }
            BareWrite::Direct => {
                let file = open_synced(&self.path, true).map_err(failed())?;
                let mut tail = DirectTail::new(record_bytes);
                Box::new(move |at, record| {
                    let (from, blocks) = tail.append(at, record);
                    write_at(&file, from, blocks).map_err(failed())
                })
            }
        })
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

/// Writes a record at an offset.
type Append<'a> = Box<dyn FnMut(u64, &[u8]) -> Result<(), BenchError> + Send + 'a>;

/// The whole file, in the mapping that the engine uses.
pub(super) fn map_file(path: &Path) -> Result<Box<dyn Mapping>, BenchError> {
    let dir = path.parent().expect("a file in a directory");
    let name = path.file_name().expect("a file").to_string_lossy();
    let file = RealDisk::open(dir)?.open(&name)?;
    Ok(file.map(file.bytes()?)?)
}

/// The end of a log that is written past the page cache, in whole blocks from aligned memory: a record
/// that begins in the middle of a block writes that block once more.
struct DirectTail {
    memory: Vec<u8>,
    aligned: usize,
}

impl DirectTail {
    fn new(record_bytes: usize) -> DirectTail {
        let memory = vec![0; record_bytes.next_multiple_of(READ_BYTES) + 2 * READ_BYTES];
        let aligned = memory.as_ptr().align_offset(READ_BYTES);
        DirectTail { memory, aligned }
    }

    /// The blocks that hold `record` at `at`, and their offset.
    fn append(&mut self, at: u64, record: &[u8]) -> (u64, &[u8]) {
        let begin = (at % READ_BYTES as u64) as usize;
        let end = begin + record.len();
        let blocks = &mut self.memory[self.aligned..][..end.next_multiple_of(READ_BYTES)];
        blocks[begin..end].copy_from_slice(record);
        (at - begin as u64, blocks)
    }
}

/// Opens a file whose writes are flushed when they return, past the page cache if `direct`.
#[cfg(target_os = "linux")]
pub(super) fn open_synced(path: &Path, direct: bool) -> io::Result<File> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = if direct { OFlags::DIRECT | OFlags::DSYNC } else { OFlags::DSYNC };
    OpenOptions::new().read(true).write(true).custom_flags(flags.bits() as i32).open(path)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn open_synced(_: &Path, _: bool) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
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
