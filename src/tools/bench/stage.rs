//! The state that all workloads share: directory, engines, load.
//!
//! - STAGE-1 At most one store is open at a time: no store pays for the threads and memory of another.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::case::{Case, Contender};
use super::child::{Errand, Work};
use super::engine::{Database, Engine, Guarantee, Mode, Sizes, WRITE_BUFFER_BYTES};
use super::error::BenchError;
use super::floor::{FloorFile, Map, map_of};
use super::gauge::Gauge;
use super::measure::{Clock, Load, Timing};
use super::record::FLOOR;
use super::rows::key;
use super::settings::Settings;
use super::stock::{Contents, Stock};
use crate::Watermarks;
use crate::tools::present::aside::aside;

/// The default size of a value.
const VALUE_BYTES: usize = 150;

/// The default size of a batch.
pub(super) const BATCH_ROWS: usize = 1000;

/// The state of a run.
pub(super) struct Stage<'a> {
    pub(super) dir: PathBuf,
    pub(super) settings: &'a Settings,
    /// Our own first.
    pub(super) engines: Vec<&'a dyn Engine>,
    pub(super) gauge: &'a Gauge,
    floor: OnceCell<FloorFile>,
    map: RefCell<Option<Rc<Map>>>,
    pub(super) stocks: RefCell<HashMap<(usize, Contents), Stock>>,
    /// The rows of the run in the order of their keys, made at first use.
    sorted: OnceCell<Arc<[u64]>>,
    /// Peers that failed, and what was disturbed, in words.
    pub(super) warnings: RefCell<Vec<String>>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        dir: &Path,
        settings: &'a Settings,
        engines: Vec<&'a dyn Engine>,
        gauge: &'a Gauge,
    ) -> Stage<'a> {
        Stage {
            dir: dir.to_owned(),
            settings,
            engines,
            gauge,
            floor: OnceCell::new(),
            map: RefCell::default(),
            stocks: RefCell::default(),
            sorted: OnceCell::new(),
            warnings: RefCell::default(),
        }
    }

    /// As in the tables.
    pub(super) fn name(&self, contender: Contender) -> &'static str {
        match contender {
            Contender::Floor => FLOOR,
            Contender::Engine(engine) => self.engines[engine].name(),
        }
    }

    /// The mode of a case.
    pub(super) fn mode(&self, engine: usize, name: &str) -> &'static Mode {
        let mut modes = self.engines[engine].modes().iter();
        modes.find(|mode| mode.name == name).expect("a mode of this engine")
    }

    /// The mode for everything that is not about durability: commits survive the process, if the
    /// engine has such a mode.
    pub(super) fn light_mode(&self, engine: usize) -> &'static Mode {
        let modes = self.engines[engine].modes();
        let light = modes.iter().find(|mode| mode.guarantee == Guarantee::ProcessEnd);
        light.or_else(|| modes.first()).expect("every engine has a mode")
    }

    /// The size of a value where there is only one.
    pub(super) fn value_bytes(&self) -> usize {
        self.settings.value_bytes.first().copied().unwrap_or(VALUE_BYTES)
    }

    /// The sizes of values where there are several.
    pub(super) fn all_value_bytes(&self, unless_told: &[usize]) -> Vec<usize> {
        told_or(&self.settings.value_bytes, unless_told)
    }

    /// The numbers of threads, one after the other.
    pub(super) fn threads(&self, unless_told: &[usize]) -> Vec<usize> {
        told_or(&self.settings.threads, unless_told)
    }

    pub(super) fn sizes(&self, contents: Contents) -> Sizes {
        Sizes {
            cache_bytes: self.settings.cache_bytes,
            write_buffer_bytes: WRITE_BUFFER_BYTES,
            value_bytes: contents.value_bytes,
            expected_bytes: contents.bytes(),
        }
    }

    /// The numbers of the rows of the run, in the order of their keys.
    pub(super) fn sorted_rows(&self) -> Arc<[u64]> {
        let make = || {
            let mut rows: Vec<u64> = (0..self.settings.keys).collect();
            rows.sort_by_cached_key(|row| key(*row));
            rows.into()
        };
        Arc::clone(self.sorted.get_or_init(make))
    }

    /// How `case` is driven.
    pub(super) fn load<'b>(
        &'b self,
        clock: Clock,
        rate: Option<f64>,
        watermarks: &'b dyn Fn() -> Option<Watermarks>,
    ) -> Load<'b> {
        let clock = if rate.is_some() { Clock::EveryOperation } else { clock };
        let timing = Timing::of(self.settings.measure_time);
        Load { clock, timing, rate, gauge: self.gauge, watermarks, course: None, enough: None }
    }

    /// The file in which the floor writes, made at first use.
    pub(super) fn floor(&self) -> Result<&FloorFile, BenchError> {
        if let Some(floor) = self.floor.get() {
            return Ok(floor);
        }
        let bytes = (self.settings.keys.saturating_mul(256)).clamp(16 << 20, 256 << 20);
        self.gauge.now("the floor file");
        let floor = FloorFile::create(&self.floor_path(), bytes)?;
        Ok(self.floor.get_or_init(|| floor))
    }

    pub(super) fn floor_path(&self) -> PathBuf {
        self.dir.join("floor")
    }

    /// The map that reads are compared with.
    pub(super) fn map(&self) -> Rc<Map> {
        let make = || Rc::new(map_of(self.settings.keys, self.value_bytes()));
        Rc::clone(self.map.borrow_mut().get_or_insert_with(make))
    }

    /// Frees the map.
    pub(super) fn forget_map(&self) {
        self.map.replace(None);
    }

    /// An empty directory for one measurement.
    pub(super) fn fresh_dir(&self) -> PathBuf {
        self.dir.join("fresh")
    }

    pub(super) fn remove(&self, dir: &Path) -> Result<(), BenchError> {
        fs::remove_dir_all(dir).map_err(BenchError::io(format!("remove {}", dir.display())))
    }

    pub(super) fn open(
        &self,
        engine: usize,
        dir: &Path,
        mode: &Mode,
        sizes: &Sizes,
    ) -> Result<Box<dyn Database>, BenchError> {
        fs::create_dir_all(dir).map_err(BenchError::io(format!("create {}", dir.display())))?;
        self.engines[engine].open(dir, mode, sizes)
    }

    /// Notes that a peer failed, and removes its files (BENCH-7). Any other failure ends the run.
    pub(super) fn peer_failed(
        &self,
        contender: Contender,
        label: &str,
        error: BenchError,
    ) -> Result<(), BenchError> {
        if matches!(contender, Contender::Floor | Contender::SYNCLINE) {
            return Err(error);
        }
        let failure = format!("{label}: {error}; no figures for it here");
        aside(format_args!("syncline: warning: {failure}"));
        self.warnings.borrow_mut().push(failure);
        let dir = self.fresh_dir();
        if dir.exists() { self.remove(&dir) } else { Ok(()) }
    }

    /// The error of an engine whose results are wrong: figures for it would mean nothing.
    pub(super) fn wrong(&self, engine: usize, message: String) -> BenchError {
        BenchError::Engine { engine: self.engines[engine].name(), message }
    }

    /// An errand for a child, but for its work and its directory.
    pub(super) fn errand(&self, case: &Case, engine: usize, contents: Contents) -> Errand {
        Errand {
            engine: self.engines[engine].name().to_owned(),
            mode: case.mode.to_owned(),
            dir: PathBuf::new(),
            keys: contents.keys,
            value_bytes: contents.value_bytes,
            cache_bytes: self.settings.cache_bytes,
            write_buffer_bytes: WRITE_BUFFER_BYTES,
            seed: self.settings.seed,
            work: Work::Put { commits: 0 },
        }
    }
}

fn told_or(told: &[usize], unless_told: &[usize]) -> Vec<usize> {
    if told.is_empty() { unless_told.to_vec() } else { told.to_vec() }
}
