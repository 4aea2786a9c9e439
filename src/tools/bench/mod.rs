//! `bench`: what each commit mode costs, and reads, against the bare hardware and against the stores
//! that one would use instead, in the same run.
//!
//! ```text
//!   workload   ten families of cases         floor   the same without a store
//!      |   stage    what they share: directory, engines, stores that hold every row
//!      |   case     what is measured: one row of the table to be
//!       \_____________________________________/
//!         engine     the traits of a store      syncline   ours
//!         rows       the same keys and values for all, made in the loop
//!         draws      uniform, zipfian
//!         measure    threads, clock, histograms: one measurement; closed loop or open
//!         device     bytes written to the device, for all alike
//!         gauge      what may be known meanwhile
//!         report     medians over rounds, ratios
//!         machine    on what all this was measured
//!         record     the result, as in the JSON file;  table   the same for people
//! ```
//!
//! `codec` stands apart: what a message of the server's protocol costs to encode and decode.
//!
//! How the figures are made:
//!
//! - BENCH-1 Machines drift and share their disks, so nothing is compared across runs. All cases of a
//!   family, all engines included, are measured in turns, round after round, in another shuffled
//!   order each round, so that none always follows the same one. A ratio is taken within each
//!   round; what is printed is the median over the rounds.
//! - BENCH-2 Threads start together at a barrier, work for a warm-up and then for the measured time.
//!   Without `--rate` the loop is closed: an operation that nobody issued because another one
//!   stalled is not counted as slow. With it, latency counts from when an operation was due.
//! - BENCH-3 Stores and floor run in the same loop, with the same keys made in the same way, and pay
//!   the same for the clock: one reading (about 25 ns) and one histogram entry for each commit and
//!   scan; where operations are gets, two readings and one entry for every eighth.
//! - BENCH-4 Commits are measured on a fresh store each time. Bytes to the device are counted over the
//!   whole life of that store, closing included, against the keys and values of all its commits.
//!   `device` says what counts.
//! - BENCH-5 The floor is the best case: one preallocated file whose blocks are written and in the
//!   page cache, no format, no checksum, no index.
//! - BENCH-6 One store is open at a time, each in its documented best setting for what it promises, all
//!   with the same size of cache. Modes are compared with modes of the same promise only.
//! - BENCH-7 An engine that loses a row, or finds one that was not put, has no figures. A peer that
//!   fails is left out of that family, and the result says so; our own failure ends the run.
//!
//! `net` measures a store that is served, in a process of its own, and makes the same record.
//!
//! Left out: cold caches, which need rights over the machine; several processes.

mod case;
pub mod codec;
mod device;
mod draws;
pub mod engine;
mod floor;
pub mod gauge;
mod live;
mod machine;
mod measure;
mod net;
pub mod page;
pub mod record;
mod report;
mod rows;
mod stage;
mod stop;
mod syncline;
mod table;
#[cfg(test)]
mod tests;
mod workload;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use self::case::Suite;
use self::engine::Engine;
use self::gauge::Gauge;
use self::record::{EngineInfo, Machine, ModeInfo, Record, Row, Run};
use self::report::Results;
use self::stage::Stage;
use crate::Error;
use crate::tools::present::aside::aside;

pub use net::{
    By, CrowdCase, CrowdSettings, NetSettings, ServerSettings, Target, run_crowd, run_patterns,
    run_server,
};
pub use stop::on_interrupt;
pub use table::table;
pub use workload::{Job, WRITER, write_until_killed};

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
    /// The cache of each store.
    pub cache_bytes: u64,
    /// The workloads, each once.
    pub families: Vec<Family>,
    /// The engines to take, by name; all of them if there are none.
    pub engines: Vec<String>,
    /// Numbers of threads; what each workload thinks right if there are none.
    pub threads: Vec<usize>,
    /// Sizes of values, as with `threads`.
    pub value_bytes: Vec<usize>,
    /// Puts in a commit, as with `threads`.
    pub batches: Vec<usize>,
    /// Operations per second (open loop).
    pub rate: Option<f64>,
    /// What chance follows from.
    pub seed: u64,
    /// The command line, for the record.
    pub command: String,
}

/// A kind of workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Family {
    /// The bare device: what a flush costs, done in several ways
    Flush,
    /// Commits in each mode: the ladder from the floor to Async to Sync
    Commit,
    /// What a power loss would take of asynchronous commits
    Window,
    /// Random gets: hit, miss, zipfian, beside a writer
    Read,
    /// Scans: full, and of 100 rows
    Scan,
    /// YCSB A to F
    Mixed,
    /// Every row put into an empty store
    Load,
    /// Overwrites of a few rows: bytes to the device
    Hot,
    /// Puts and gets where the data are four times the cache
    Large,
    /// Opening after close and after kill
    Recover,
}

impl Family {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Family; 10] = [
        Family::Flush,
        Family::Commit,
        Family::Window,
        Family::Read,
        Family::Scan,
        Family::Mixed,
        Family::Load,
        Family::Hot,
        Family::Large,
        Family::Recover,
    ];
}

/// Why there are no figures.
#[derive(Debug)]
pub enum BenchError {
    /// The call makes no sense.
    Call(String),
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
    /// An engine failed, or did not do what it should.
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

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BenchError::Call(problem) => f.write_str(problem),
            BenchError::Store(error) => error.fmt(f),
            BenchError::Io { action, source } => write!(f, "cannot {action}: {source}"),
            BenchError::Output(source) => write!(f, "cannot write to standard output: {source}"),
            BenchError::Engine { engine, message } => write!(f, "{engine}: {message}"),
        }
    }
}

impl From<Error> for BenchError {
    fn from(error: Error) -> BenchError {
        BenchError::Store(error)
    }
}

/// Ours, then the peers.
fn all_engines(peers: &[Box<dyn Engine>]) -> Vec<&dyn Engine> {
    let peers = peers.iter().map(|peer| &**peer);
    [&syncline::Syncline as &dyn Engine].into_iter().chain(peers).collect()
}

/// Measures our own store and `peers`, in turns.
///
/// # Errors
/// If the call makes no sense, the directory cannot be used, or an engine fails.
pub fn run(settings: &Settings, peers: &[Box<dyn Engine>]) -> Result<Record, BenchError> {
    let engines = chosen(all_engines(peers), &settings.engines)?;
    let place = Place::create(settings.dir.as_deref())?;
    let machine = Machine::examine(&place.dir);
    let warnings = warnings(&machine, &place.dir);
    for warning in &warnings {
        aside(format_args!("syncline: warning: {warning}"));
    }
    let infos = engines.iter().map(|engine| describe(*engine)).collect();
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let run = Run {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_s: since_1970.map_or(0, |time| time.as_secs()),
        command: settings.command.clone(),
        rounds: settings.rounds,
        seconds: settings.measure_time.as_secs_f64(),
        keys: settings.keys,
        seed: settings.seed,
        cache_bytes: settings.cache_bytes,
        warnings,
    };
    let gauge = Gauge::default();
    let (results, failures) = live::watch(&gauge, || {
        let stage = Stage::new(&place.dir, settings, engines, &gauge);
        measure_all(&stage).map(|rows| (rows, stage.failures.take()))
    })?;
    let stopped =
        stop::is_asked().then(|| "stopped before its end: some rounds are missing".into());
    let warnings = [run.warnings, failures, Vec::from_iter(stopped)].concat();
    Ok(Record { machine, run: Run { warnings, ..run }, engines: infos, results })
}

fn measure_all(stage: &Stage<'_>) -> Result<Vec<Row>, BenchError> {
    let mut rows = Vec::new();
    for family in stage.settings.families.iter().take_while(|_| !stop::is_asked()) {
        stage.gauge.expect_measurements(0);
        let mut suite = workload::suite(*family, stage);
        let results = measure_suite(&mut *suite, stage)?;
        rows.extend(results.rows(stage));
        stage.forget_map();
    }
    Ok(rows)
}

fn measure_suite(suite: &mut dyn Suite, stage: &Stage<'_>) -> Result<Results, BenchError> {
    let cases = suite.cases().to_vec();
    let rounds = stage.settings.rounds;
    let mut results = Results::new(cases);
    let mut failed = Vec::new();
    stage.gauge.expect_measurements(u64::from(rounds) * results.cases.len() as u64);
    'rounds: for round in 0..rounds {
        for index in shuffled(results.cases.len(), round, stage.settings.seed) {
            if stop::is_asked() {
                break 'rounds;
            }
            let case = &results.cases[index];
            let who = case.who;
            let label = case.label(stage.name(who));
            stage.gauge.now(format!("round {} of {rounds}: {label}", round + 1));
            if !failed.contains(&who) {
                match suite.measure(index) {
                    Ok(sample) => results.add(index, sample),
                    // Ctrl-C ends the processes that are measured as well.
                    Err(_) if stop::is_asked() => break 'rounds,
                    Err(error) => {
                        stage.peer_failed(who, &label, error)?;
                        failed.push(who);
                    }
                }
            }
            stage.gauge.measured();
        }
    }
    results.forget(&failed);
    Ok(results)
}

/// The order of a round (BENCH-1): the same in each run, by the shuffle of Fisher and Yates.
fn shuffled(cases: usize, round: u32, seed: u64) -> Vec<usize> {
    let mut chance = draws::Chance::new(seed, round as usize);
    let mut order: Vec<usize> = (0..cases).collect();
    for last in (1..cases).rev() {
        order.swap(last, chance.below(last as u64 + 1) as usize);
    }
    order
}

/// Those that are named, ours first in any case.
fn chosen<'a>(
    engines: Vec<&'a dyn Engine>,
    names: &[String],
) -> Result<Vec<&'a dyn Engine>, BenchError> {
    let known: Vec<&str> = engines.iter().map(|engine| engine.name()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let known = known.join(", ");
        return Err(BenchError::Call(format!("--engine {unknown}: there are {known}")));
    }
    let is_chosen = |engine: &&dyn Engine| {
        names.is_empty()
            || engine.name() == record::SYNCLINE
            || names.iter().any(|name| name == engine.name())
    };
    Ok(engines.into_iter().filter(is_chosen).collect())
}

fn describe(engine: &dyn Engine) -> EngineInfo {
    let mode = |mode: &engine::Mode| ModeInfo {
        name: mode.name.to_owned(),
        guarantee: mode.guarantee,
        lost_on_kill: mode.lost_on_kill.to_owned(),
        lost_on_power_loss: mode.lost_on_power_loss.to_owned(),
    };
    EngineInfo {
        name: engine.name().to_owned(),
        version: engine.version(),
        modes: engine.modes().iter().map(mode).collect(),
    }
}

fn warnings(machine: &Machine, dir: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    if machine.is_memory_file_system() {
        warnings.push(format!(
            "{} is in memory: flushing costs nothing there, and figures for sync commits mean \
             nothing",
            dir.display()
        ));
    }
    if cfg!(debug_assertions) {
        warnings.push("built without optimization: figures mean nothing".to_owned());
    }
    warnings
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
        let absolute = std::path::absolute(&dir).map_err(failed())?;
        stop::remember(Some(&absolute));
        Ok(Place { dir })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        stop::remember(None);
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            aside(format_args!("syncline: warning: cannot remove {}: {error}", self.dir.display()));
        }
    }
}
