//! `bench`: what commits and reads cost, against the bare hardware in the same run.
//!
//! ```text
//!   workload   commits, gets, scans          floor   the same without a store
//!        \____________________________________/
//!         rows      the same keys and values for both, made in the loop
//!         measure   threads, clock, histograms: one measurement
//!         report    medians over rounds, ratios, table, JSON
//!         machine   on what all this was measured
//! ```
//!
//! How the figures are made:
//!
//! - B1 Machines drift and share their disks, so nothing is compared across runs. All cases of a
//!   workload are measured in turns, round after round, in another shuffled order each round, so
//!   that none always follows the same one. A ratio is taken within each round; what is printed
//!   is the median over the rounds.
//! - B2 Threads start together at a barrier, work for a warm-up and then for the measured time.
//!   Each thread issues its next operation when the last one is done: figures are those of a
//!   closed loop, and an operation that nobody issued because another one stalled is not counted
//!   as slow.
//! - B3 Store and floor run in the same loop, with the same keys made in the same way, and pay
//!   the same for the clock: one reading (about 25 ns) and one histogram entry for each commit and
//!   scan; where operations are gets, two readings and one entry for every eighth.
//! - B4 Commits are measured on a fresh store each time. Bytes to the device are counted over the
//!   whole life of that store, with a checkpoint at the end that is not timed, against the keys
//!   and values of all its commits. They are bytes handed to the operating system, which may
//!   write more: a floor record of 180 bytes costs the device a sector or a page as well.
//! - B5 The floor is the best case: one preallocated file whose blocks are written and in the
//!   page cache, no format, no checksum, no index.
//!
//! Left out: open-loop load, other engines, cold caches.

pub mod engine;
mod floor;
mod machine;
mod measure;
pub mod page;
pub mod record;
mod report;
mod rows;
mod workload;

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use self::machine::Machine;
use self::measure::{Sample, Timing};
use self::report::{Case, Results};
use self::workload::{CommitSuite, ReadSuite, ScanSuite};
use crate::Error;

/// What is measured, and how thoroughly.
#[derive(Debug)]
pub struct Settings {
    /// Where; the current directory if not given. A directory is made there and removed again.
    pub dir: Option<PathBuf>,
    /// The length of one measurement.
    pub measure_time: Duration,
    /// How often everything is measured.
    pub rounds: u32,
    /// How many different keys there are.
    pub keys: u64,
    /// The page cache of each store.
    pub cache_bytes: u64,
    /// The workloads.
    pub families: Vec<Family>,
    /// Where to write the results as JSON.
    pub json: Option<PathBuf>,
}

/// A kind of workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// One-put commits.
    Commit,
    /// Random gets.
    Read,
    /// Scans of everything.
    Scan,
}

/// Why there are no figures.
#[derive(Debug)]
pub enum BenchError {
    /// The store failed.
    Store(Error),
    /// The operating system refused, outside the store.
    Io {
        /// What was being done.
        action: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Standard output could not be written.
    Output(io::Error),
    /// A peer failed.
    Engine {
        /// Its name.
        engine: &'static str,
        /// What it said.
        message: String,
    },
}

impl BenchError {
    fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> BenchError {
        let action = action.into();
        move |source| BenchError::Io { action, source }
    }
}

impl From<Error> for BenchError {
    fn from(error: Error) -> BenchError {
        BenchError::Store(error)
    }
}

/// Measures, prints the table and writes the JSON file.
///
/// # Errors
/// If the directory cannot be used, the store fails, or the results cannot be written.
pub fn run(settings: &Settings) -> Result<(), BenchError> {
    let place = Place::create(settings.dir.as_deref())?;
    let machine = Machine::examine(&place.dir);
    if machine.is_memory_file_system() {
        eprintln!(
            "syncline: warning: {} is in memory: flushing costs nothing there, and figures for \
             sync commits mean nothing",
            place.dir.display()
        );
    }
    let timing = Timing::of(settings.measure_time);
    let mut results = Vec::new();
    for family in &settings.families {
        let mut suite: Box<dyn Suite> = match family {
            Family::Commit => Box::new(CommitSuite::new(&place.dir, settings)?),
            Family::Read => Box::new(ReadSuite::new(&place.dir, settings)?),
            Family::Scan => Box::new(ScanSuite::new(&place.dir, settings)?),
        };
        results.push(measure_suite(&mut *suite, &timing, settings.rounds)?);
    }
    if let Some(file) = &settings.json {
        let json = report::json(&machine, &results, settings);
        fs::write(file, json).map_err(BenchError::io(format!("write {}", file.display())))?;
    }
    report::print_table(&machine, &results, settings).map_err(BenchError::Output)
}

/// Cases that are measured in turns.
trait Suite {
    fn cases(&self) -> &[Case];
    fn measure(&mut self, case: usize, timing: &Timing) -> Result<Sample, BenchError>;
}

fn measure_suite(
    suite: &mut dyn Suite,
    timing: &Timing,
    rounds: u32,
) -> Result<Results, BenchError> {
    let cases = suite.cases().to_vec();
    let bar = progress_bar(u64::from(rounds) * cases.len() as u64);
    let mut samples = vec![Vec::new(); cases.len()];
    for round in 0..rounds {
        for case in shuffled(cases.len(), round) {
            bar.set_message(format!("round {} of {rounds}: {}", round + 1, cases[case].label()));
            samples[case].push(suite.measure(case, timing)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(Results { cases, samples })
}

/// The order of a round (B1): the same in each run, by the shuffle of Fisher and Yates.
fn shuffled(cases: usize, round: u32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..cases).collect();
    for last in (1..cases).rev() {
        let draw = rows::split_mix_64(u64::from(round) << 32 | last as u64);
        order.swap(last, (draw % (last as u64 + 1)) as usize);
    }
    order
}

fn progress_bar(measurements: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta}\n{msg}");
    ProgressBar::new(measurements).with_style(style.expect("a valid template"))
}

/// A directory of our own, removed with everything in it at the end.
struct Place {
    dir: PathBuf,
}

impl Place {
    fn create(parent: Option<&Path>) -> Result<Place, BenchError> {
        let parent = parent.unwrap_or(Path::new("."));
        let dir = parent.join(format!("syncline-bench-{}", std::process::id()));
        let failed = || BenchError::io(format!("create {}", dir.display()));
        fs::create_dir_all(parent).map_err(failed())?;
        fs::create_dir(&dir).map_err(failed())?;
        Ok(Place { dir })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("syncline: warning: cannot remove {}: {error}", self.dir.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_every_case_in_another_order() {
        let orders: Vec<_> = (0..5).map(|round| shuffled(7, round)).collect();
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6]);
        }
        assert!(orders.windows(2).all(|pair| pair[0] != pair[1]), "{orders:?}");
    }
}
