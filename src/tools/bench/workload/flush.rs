//! `flush`: the cost of durable writes of several sizes to the bare device, without a store.
//!
//! | mode | one operation |
//! |---|---|
//! | `fdatasync` | `pwrite`, then `fdatasync` |
//! | `O_DSYNC` | `pwrite` to a file with this flag: returns when the device has the data |
//! | `O_DIRECT\|O_DSYNC` | the same past the page cache, from aligned memory |
//! | `mapped` | a copy into a mapping, then a flush of that range (`msync` or the nearest call) |
//!
//! | variant | the file's blocks |
//! |---|---|
//! | `preallocated` | are allocated and were written once: a flush changes no metadata |
//! | `fallocated` | are allocated, but the file system knows them as unwritten, and notes each first write |
//! | `growing` | do not exist: each write makes the file longer |
//!
//! The modes are those of `pg_test_fsync`, with `mapped` in addition. Writes follow each other and
//! start over at the end of the file. Files of the last two variants are then made anew, which is not
//! timed. Ratios are to `fdatasync` of the same size in a preallocated file:
//! the floor of all sync commits.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;

use crate::tools::bench::case::{Case, CaseSuite};
use crate::tools::bench::engine::Guarantee;
use crate::tools::bench::error::BenchError;
use crate::tools::bench::floor::{map_file, open_synced, write_at};
use crate::tools::bench::measure::{Clock, Sample, drive};
use crate::tools::bench::record::Ratio;
use crate::tools::bench::rows::fill;
use crate::tools::bench::stage::Stage;

/// Flushes.
pub(in crate::tools::bench) struct FlushSuite<'a> {
    stage: &'a Stage<'a>,
    cases: Vec<Case>,
}

const FDATASYNC: &str = "fdatasync";
const DSYNC: &str = "O_DSYNC";
const DIRECT: &str = "O_DIRECT|O_DSYNC";
const MAPPED: &str = "mapped";

const PREALLOCATED: &str = "preallocated";
const FALLOCATED: &str = "fallocated";
const GROWING: &str = "growing";

const SIZES: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// The smallest write past the page cache.
const BLOCK: usize = 4096;

const FILE_BYTES: u64 = 32 << 20;

impl<'a> FlushSuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> FlushSuite<'a> {
        let mut kinds = vec![(FDATASYNC, PREALLOCATED)];
        if cfg!(target_os = "linux") {
            kinds.extend([(DSYNC, PREALLOCATED), (DIRECT, PREALLOCATED)]);
        }
        kinds.push((MAPPED, PREALLOCATED));
        if cfg!(target_os = "linux") {
            kinds.push((FDATASYNC, FALLOCATED));
        }
        kinds.push((FDATASYNC, GROWING));
        let mut cases = Vec::new();
        for value_bytes in stage.all_value_bytes(&SIZES) {
            let value_bytes = value_bytes.next_multiple_of(BLOCK).min(FILE_BYTES as usize);
            let floors = vec![cases.len()];
            cases.extend(kinds.iter().map(|(mode, variant)| Case {
                mode,
                guarantee: Some(Guarantee::PowerLoss),
                distribution: "sorted",
                ratio: Ratio::MedianLatency,
                floors: floors.clone(),
                ..Case::new("flush", variant, value_bytes)
            }));
        }
        FlushSuite { stage, cases }
    }
}

impl CaseSuite for FlushSuite<'_> {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn measure(&mut self, case: usize) -> Result<Sample, BenchError> {
        let case = &self.cases[case];
        let dir = self.stage.fresh_dir();
        std::fs::create_dir_all(&dir)
            .map_err(BenchError::io(format!("create {}", dir.display())))?;
        let target = Target { path: dir.join("flushed"), kind: case.variant, mode: case.mode };
        let load = self.stage.load(Clock::EveryOperation, None, &|| None);
        let sample = match case.mode {
            MAPPED => drive(vec![mapped(&target, case.value_bytes)?], &load)?,
            _ => drive(vec![written(&target, case.value_bytes)?], &load)?,
        };
        self.stage.remove(&dir)?;
        let mut sample = sample;
        let mib_per_s = sample.ops_per_s * case.value_bytes as f64 / f64::from(1 << 20);
        sample.add_figure("written", mib_per_s, "MiB/s");
        Ok(sample)
    }
}

/// The file that is written.
struct Target {
    path: PathBuf,
    kind: &'static str,
    mode: &'static str,
}

impl Target {
    fn failed(&self) -> impl FnOnce(std::io::Error) -> BenchError + use<> {
        BenchError::io(format!("flush {} in {}", self.mode, self.path.display()))
    }

    /// A new file, in the state of its variant.
    fn make(&self) -> Result<File, BenchError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&self.path).map_err(self.failed())?;
        match self.kind {
            GROWING => {}
            FALLOCATED => allocate(&file).map_err(self.failed())?,
            _ => {
                // Page by page, so that the page cache holds small pages: a flush of a mapping writes
                // a large page whole.
                let zeros = vec![0; BLOCK];
                for offset in (0..FILE_BYTES).step_by(zeros.len()) {
                    write_at(&file, offset, &zeros).map_err(self.failed())?;
                }
            }
        }
        file.sync_all().map_err(self.failed())?;
        match self.mode {
            DSYNC | DIRECT => open_synced(&self.path, self.mode == DIRECT).map_err(self.failed()),
            _ => Ok(file),
        }
    }
}

/// A worker that writes one piece after the other.
fn written(
    target: &Target,
    bytes: usize,
) -> Result<Box<dyn FnMut() -> Result<usize, BenchError> + Send + '_>, BenchError> {
    let mut file = target.make()?;
    // `O_DIRECT` needs aligned memory: an aligned slice of a longer buffer.
    let mut memory = vec![0; bytes + BLOCK];
    let aligned = memory.as_ptr().align_offset(BLOCK);
    fill(&mut memory, 1);
    let flushes = target.mode == FDATASYNC;
    let mut at = 0;
    Ok(Box::new(move || {
        if at + bytes as u64 > FILE_BYTES {
            at = 0;
            if target.kind != PREALLOCATED {
                file = target.make()?;
                return Ok(0);
            }
        }
        let piece = &mut memory[aligned..aligned + bytes];
        piece[..8].copy_from_slice(&at.to_le_bytes());
        write_at(&file, at, piece).map_err(target.failed())?;
        if flushes {
            file.sync_data().map_err(target.failed())?;
        }
        at += bytes as u64;
        Ok(1)
    }))
}

/// A worker that copies one piece after the other into a mapping.
fn mapped(
    target: &Target,
    bytes: usize,
) -> Result<Box<dyn FnMut() -> Result<usize, BenchError> + Send>, BenchError> {
    target.make()?;
    // The engine's own mapping: its commits pay for this flush.
    let mapping = map_file(&target.path)?;
    let mut piece = vec![0; bytes];
    fill(&mut piece, 1);
    let mut at = 0usize;
    Ok(Box::new(move || {
        piece[..8].copy_from_slice(&at.to_le_bytes());
        mapping.write(at, &piece);
        mapping.sync(at, bytes)?;
        at += bytes;
        if at + bytes > FILE_BYTES as usize {
            at = 0;
        }
        Ok(1)
    }))
}

#[cfg(target_os = "linux")]
fn allocate(file: &File) -> std::io::Result<()> {
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, FILE_BYTES)?)
}

#[cfg(not(target_os = "linux"))]
fn allocate(_: &File) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}
