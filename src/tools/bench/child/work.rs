//! The child's work.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use super::errand::{Errand, Report, Work};
use super::memory::Memory;
use crate::tools::bench::device::DeviceBytes;
use crate::tools::bench::draws::Chance;
use crate::tools::bench::engine::{Database, Engine, Mode, Session};
use crate::tools::bench::error::BenchError;
use crate::tools::bench::gauge::Gauge;
use crate::tools::bench::measure::{Clock, Load, Sample, Timing, drive, repeat};
use crate::tools::bench::put::puts;
use crate::tools::bench::rows::key;
use crate::tools::bench::syncline::all_engines;
use crate::tools::bench::values::{Value, is_of};

/// The hidden command of a child.
pub const CHILD: &str = "bench-child";

/// The longest time for which a child puts rows before it is killed.
const LONGEST: Duration = Duration::from_secs(60);

/// The length of a part of a course, and the least number of parts.
const PART: Duration = Duration::from_secs(1);
const PARTS: u32 = 20;

/// The child: reads an errand from standard input, does it, and answers on standard output.
///
/// # Errors
/// If the errand makes no sense, or the engine fails.
pub fn do_errand(peers: &[Box<dyn Engine>]) -> Result<(), BenchError> {
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(BenchError::io("read an errand"))?;
    let errand: Errand = serde_json::from_str(&line).map_err(|error| {
        BenchError::Call(format!("not an errand of the benchmark on standard input: {error}"))
    })?;
    let engines = all_engines(peers);
    let unknown = |what: &str, name: &str| BenchError::Call(format!("no {what} {name:?}"));
    let engine = engines.iter().find(|engine| engine.name() == errand.engine);
    let engine = engine.ok_or_else(|| unknown("engine", &errand.engine))?;
    let mode: Option<&Mode> = engine.modes().iter().find(|mode| mode.name == errand.mode);
    let mode = mode.ok_or_else(|| unknown("mode", &errand.mode))?;

    let before = DeviceBytes::now(&errand.dir);
    let database = engine.open(&errand.dir, mode, &errand.sizes())?;
    let gauge = Gauge::default();
    let mut sample = work(&errand, &*database, &gauge)?;
    let memory = Memory::now();
    if let Work::Put { .. } = errand.work {
        answer(&sample, memory)?;
        // If the parent ends without a kill, the pipe ends with it.
        let _ = io::stdin().read(&mut [0]);
        return Ok(());
    }
    let settling = Instant::now();
    database.settle()?;
    drop(database);
    sample.add_figure("settle", settling.elapsed().as_secs_f64() * 1e3, "ms");
    if let Work::Overwrite { .. } = errand.work {
        sample.wrote(before.since(&errand.dir), errand.value_bytes);
    }
    answer(&sample, memory)
}

fn answer(sample: &Sample, memory: Option<Memory>) -> Result<(), BenchError> {
    let report = serde_json::to_string(&Report::of(sample, memory)).expect("plain numbers");
    let mut out = io::stdout().lock();
    writeln!(out, "{report}").and_then(|()| out.flush()).map_err(BenchError::Output)
}

fn work(errand: &Errand, database: &dyn Database, gauge: &Gauge) -> Result<Sample, BenchError> {
    let mut session = database.session();
    let (keys, value_bytes) = (errand.keys, errand.value_bytes);
    match errand.work {
        Work::Put { commits } => {
            let mut put = puts(&mut *session, 0, 1, commits.max(1), value_bytes);
            let begun = Instant::now();
            let put = || if begun.elapsed() < LONGEST { put() } else { Ok(0) };
            repeat(put, commits, &load(gauge, LONGEST))
        }
        Work::Overwrite { time, enough } => {
            let mut chance = Chance::new(errand.seed, 0);
            let mut value = Value::of(value_bytes);
            let put = || {
                let row = chance.below(keys);
                session.put(&key(row), value.row(row))?;
                Ok(1)
            };
            let load = Load { course: Some(PART.min(time / PARTS)), ..load(gauge, time) };
            let mut sample = drive(vec![put], &Load { enough: Some(enough), ..load })?;
            let times = sample.rows_in_all as f64 / keys as f64;
            sample.add_figure("overwritten", times, "times");
            Ok(sample)
        }
        Work::Get { time } => {
            let mut chance = Chance::new(errand.seed, 1);
            let get = || get(&mut *session, chance.below(keys), value_bytes, &errand.engine);
            drive(vec![get], &Load { timing: Timing::of(time), ..load(gauge, time) })
        }
    }
}

fn load(gauge: &Gauge, time: Duration) -> Load<'_> {
    let (clock, timing) = (Clock::EveryOperation, Timing::at_once(time));
    Load { clock, timing, rate: None, gauge, watermarks: &|| None, course: None, enough: None }
}

fn get(
    session: &mut dyn Session,
    row: u64,
    value_bytes: usize,
    engine: &str,
) -> Result<usize, BenchError> {
    let mut is_right = false;
    session.get(&key(row), &mut |value| is_right = is_of(row, value, value_bytes))?;
    if is_right {
        return Ok(1);
    }
    Err(BenchError::Call(format!("{engine}: row {row} is missing, or is not as it was put")))
}
