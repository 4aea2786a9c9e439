//! `space`: the disk space that a store takes, for each byte of the rows that it holds.
//!
//! | variant | before its files are measured |
//! |---|---|
//! | `loaded` | every row was put into an empty store |
//! | `overwritten` | then every row was overwritten once, in random order |
//! | `deleted` | then nine of ten were removed, in random order |
//!
//! All in batches, in the light mode of each engine. Then the store is settled and closed. Blocks that the
//! files have count, not their lengths: a hole takes nothing. The rate is that of the last step.
//! Measured once.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use crate::tools::bench::case::{Case, CaseSuite};
use crate::tools::bench::engine::Session;
use crate::tools::bench::error::BenchError;
use crate::tools::bench::measure::Sample;
use crate::tools::bench::put::{fill_store, put_back};
use crate::tools::bench::record::{DISK_BYTES, Ratio};
use crate::tools::bench::rows::{Key, key};
use crate::tools::bench::stage::{BATCH_ROWS, Stage};
use crate::tools::bench::stock::Contents;

/// Disk space.
pub(in crate::tools::bench) struct SpaceSuite<'a> {
    stage: &'a Stage<'a>,
    cases: Vec<Case>,
}

const LOADED: &str = "loaded";
const OVERWRITTEN: &str = "overwritten";
const DELETED: &str = "deleted";

impl<'a> SpaceSuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> SpaceSuite<'a> {
        let mut cases = Vec::new();
        for variant in [LOADED, OVERWRITTEN, DELETED] {
            let case = Case {
                distribution: "random order",
                batch: BATCH_ROWS,
                ratio: Ratio::DiskBytes,
                peer_ratio: Ratio::DiskBytes,
                ..Case::new("space", variant, stage.value_bytes())
            };
            // What a commit survives makes no difference to the space that it takes.
            let lightly = stage.by_all_lightly(&case).into_iter();
            cases.extend(lightly.map(|case| Case { guarantee: None, ..case }));
        }
        SpaceSuite { stage, cases }
    }
}

impl CaseSuite for SpaceSuite<'_> {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn rounds(&self, _: u32) -> u32 {
        1
    }

    fn measure(&mut self, case: usize) -> Result<Sample, BenchError> {
        let (stage, case) = (self.stage, &self.cases[case]);
        let engine = case.engine();
        let contents = stage.contents(case.value_bytes);
        let dir = stage.fresh_dir();
        let mode = stage.mode(engine, case.mode);
        let database = stage.open(engine, &dir, mode, &stage.sizes(contents))?;
        let mut begun = Instant::now();
        fill_store(&*database, contents)?;
        if case.variant != LOADED {
            begun = Instant::now();
            put_back(&mut *database.session(), contents.keys, contents.value_bytes)?;
        }
        let mut live = contents.keys;
        let mut changed = contents.keys;
        if case.variant == DELETED {
            begun = Instant::now();
            changed = contents.keys - contents.keys / 10;
            live -= changed;
            delete(&mut *database.session(), changed)?;
        }
        let elapsed = begun.elapsed();
        stage.check(engine, &mut *database.session(), live)?;
        database.settle()?;
        drop(database);
        let bytes = blocks(&dir).map_err(BenchError::io(format!("look at {}", dir.display())))?;
        stage.remove(&dir)?;

        let commits = changed.div_ceil(BATCH_ROWS as u64);
        let mut sample = Sample::once(commits, changed, elapsed);
        let live_bytes = Contents { keys: live, ..contents }.bytes().max(1);
        sample.add_figure(DISK_BYTES, bytes as f64 / live_bytes as f64, "");
        sample.add_figure("disk", bytes as f64, "bytes");
        Ok(sample)
    }
}

/// Removes the first `rows` rows, in batches.
fn delete(session: &mut dyn Session, rows: u64) -> Result<(), BenchError> {
    let mut next = 0..rows;
    loop {
        let keys: Vec<Key> = next.by_ref().take(BATCH_ROWS).map(key).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        session.delete_batch(&keys)?;
    }
}

/// The bytes of the blocks of all files.
fn blocks(path: &Path) -> io::Result<u64> {
    let found = fs::metadata(path)?;
    if !found.is_dir() {
        return Ok(of_file(&found));
    }
    let mut sum = 0;
    for entry in fs::read_dir(path)? {
        sum += blocks(&entry?.path())?;
    }
    Ok(sum)
}

#[cfg(unix)]
fn of_file(found: &fs::Metadata) -> u64 {
    const BLOCK: u64 = 512;
    std::os::unix::fs::MetadataExt::blocks(found) * BLOCK
}

#[cfg(not(unix))]
fn of_file(found: &fs::Metadata) -> u64 {
    found.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_hole_takes_no_space() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        let file = fs::File::create(dir.path().join("sub/file")).unwrap();
        file.set_len(64 << 20).unwrap();
        fs::write(dir.path().join("other"), [1; 10_000]).unwrap();
        let sum = blocks(dir.path()).unwrap();
        assert!((10_000..1 << 20).contains(&sum), "{sum}");
    }
}
