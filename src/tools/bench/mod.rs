//! `bench`: the cost of commits in each mode, and of reads, beside the bare hardware and other stores,
//! measured in the same run.
//!
//! ```text
//!   workload   families of cases              floor   the same work without a store
//!      |   stage    shared by all: directory, engines;  stock   stores that hold every row
//!      |   contenders   who does the same work, in which modes
//!      |   case     one row of the table before it is measured;  turns   rounds of them
//!       \_____________________________________/
//!         engine     the traits of a store      syncline   ours
//!         rows, values   the same keys and values for every engine, made in the loop;  put   loops
//!         draws      uniform, zipfian
//!         measure    threads, clock, histograms: one measurement; closed loop or open
//!         course     its rate over time
//!         device     bytes written to the device, as the operating system counts them
//!         interference   what else had the processors
//!         eviction, memory_limit   cold files, a bound for the system's cache
//!         gauge      progress of the running measurement;  live   the same on a terminal
//!         report     medians over rounds, ratios
//!         machine    processor, disk and file system under the figures
//!         record     the result, as in the JSON file;  table, page, markdown   for people
//!         settings, error, directory, stop   the frame of a run
//! ```
//!
//! `codec` stands apart: the cost of encoding and decoding a message of the server's protocol.
//!
//! How the figures are made:
//!
//! - BENCH-1 Machines drift and share their disks, so nothing is compared across runs. All cases of a
//!   family, all engines included, are measured in turns, round after round, in another shuffled
//!   order each round, so that none always follows the same one. A ratio is taken within each
//!   round. The figures are medians over the rounds. What was disturbed by other processes or by
//!   other machines of the same host is measured again (`interference`).
//! - BENCH-2 Threads start together at a barrier, work for a warm-up and then for the measured time.
//!   Without `--rate` the loop is closed: an operation that was never issued because another one
//!   stalled does not count as slow. With it, latency counts from when an operation was due.
//! - BENCH-3 Stores and floor run in the same loop, with the same keys and values made in the same way,
//!   and pay the same for the clock: one reading (about 25 ns) and one histogram entry per commit
//!   and scan; of gets, every eighth has two readings and one entry.
//! - BENCH-4 Commits change rows of a store that holds all of them. Bytes to the device are counted from
//!   its opening to its close, against the keys and values of all commits. `device` says what counts.
//! - BENCH-5 The floor is one preallocated file whose blocks are written and in the page cache, with no
//!   format, no checksum, no index, written in each way that the system has. A commit is compared
//!   with the fastest that survives the same.
//! - BENCH-6 One store is open at a time. Each has the settings that its documentation says are best for
//!   its guarantee, and the same size of cache. Every engine is measured in each mode that it has.
//!   Only modes of the same guarantee are compared.
//! - BENCH-7 An engine that loses a row, finds one that was not put, or returns other bytes has no
//!   figures (`values`). A peer that fails is left out of that family, one whose process was killed out of that
//!   case, and the result says so; our own failure ends the run.
//! - BENCH-8 Of our rows only those count against a peer's that do the same: a change that is not atomic
//!   has a note, and no ratio.
//!
//! `net` measures a served store, in a process of its own, and makes the same record.
//!
//! Left out: several processes.

mod case;
mod child;
pub mod codec;
mod contenders;
mod course;
mod device;
mod directory;
mod draws;
pub mod engine;
mod error;
mod eviction;
mod floor;
pub mod gauge;
mod interference;
mod live;
mod machine;
pub mod markdown;
mod measure;
mod memory_limit;
mod net;
pub mod page;
mod put;
pub mod record;
mod report;
mod rows;
mod settings;
mod stage;
mod stock;
mod stop;
mod syncline;
mod table;
#[cfg(test)]
mod tests;
mod turns;
mod values;
mod workload;

use std::time::{Instant, SystemTime};

use self::directory::BenchDir;
use self::engine::Engine;
use self::gauge::Gauge;
use self::interference::{Interference, load_average};
use self::record::{EngineInfo, Machine, ModeInfo, Record, Row, RunInfo};
use self::stage::Stage;
use self::syncline::all_engines;
use self::turns::measure_suite;
use crate::tools::present::aside::aside;

pub use child::{CHILD, do_errand};
pub use error::BenchError;
pub use net::{
    By, CrowdCase, CrowdSettings, NetSettings, ServerSettings, Target, run_crowd, run_patterns,
    run_server,
};
pub use settings::{Family, Settings};
pub use stop::on_interrupt;
pub use table::table;

/// Measures our own store and `peers`, in turns.
///
/// # Errors
/// If the call makes no sense, the directory cannot be used, or an engine fails.
pub fn run(settings: &Settings, peers: &[Box<dyn Engine>]) -> Result<Record, BenchError> {
    let engines = chosen(all_engines(peers), &settings.engines)?;
    let dir = BenchDir::create(settings.dir.as_deref())?;
    let machine = Machine::examine(&dir.path);
    let warnings = machine.warnings(&dir.path);
    for warning in &warnings {
        aside(format_args!("syncline: warning: {warning}"));
    }
    let infos = engines.iter().map(|engine| describe(*engine)).collect();
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let run = RunInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_s: since_1970.map_or(0, |time| time.as_secs()),
        command: settings.command.clone(),
        rounds: settings.rounds,
        seconds: settings.measure_time.as_secs_f64(),
        keys: settings.keys,
        seed: settings.seed,
        cache_bytes: settings.cache_bytes,
        load_before: load_average(),
        warnings,
        ..RunInfo::default()
    };
    let (begun, before) = (Instant::now(), Interference::now());
    let gauge = Gauge::default();
    let (results, more) = live::watch(&gauge, || {
        let stage = Stage::new(&dir.path, settings, engines, &gauge);
        measure_all(&stage).map(|rows| (rows, stage.warnings.take()))
    })?;
    let stopped =
        stop::is_asked().then(|| "stopped before its end: some rounds are missing".into());
    let warnings = [run.warnings, more, Vec::from_iter(stopped)].concat();
    let took_s = begun.elapsed().as_secs_f64();
    let steal_percent = before.since().steal_of_all.map(|part| part * 100.0);
    let run = RunInfo { warnings, took_s, steal_percent, ..run };
    Ok(Record { machine, run, engines: infos, results })
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

/// The named engines, and always ours first.
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
        about: engine.about().to_owned(),
        modes: engine.modes().iter().map(mode).collect(),
    }
}
