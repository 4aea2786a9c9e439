//! The state that all workloads share: directory, engines, load, and stores that hold every row.
//!
//! - STAGE-1 At most one store is open at a time: no store pays for the threads and memory of another.
//! - STAGE-2 A store that is only read, or changed in place, is filled once per engine and used by all
//!   workloads. Each measurement opens it and reads it once from end to end, so that its cache is
//!   warm.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::case::{Case, Contender};
use super::engine::{Database, Engine, Guarantee, Mode, Session, Sizes, WRITE_BUFFER_BYTES};
use super::error::BenchError;
use super::floor::{FloorFile, Map, map_of};
use super::gauge::Gauge;
use super::measure::{Clock, Load, Timing};
use super::record::FLOOR;
use super::rows::{KEY_BYTES, Key, Order, Value, key};
use super::settings::Settings;
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
    stocks: RefCell<HashMap<usize, Stock>>,
    /// Peers that failed, in words.
    pub(super) failures: RefCell<Vec<String>>,
}

/// A closed store that holds every row.
#[derive(Clone)]
pub(super) struct Stock {
    pub(super) dir: PathBuf,
    /// Rows in the store: those of the settings and those inserted since.
    pub(super) rows: Arc<AtomicU64>,
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
            failures: RefCell::default(),
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

    pub(super) fn sizes(&self, value_bytes: usize) -> Sizes {
        Sizes {
            cache_bytes: self.settings.cache_bytes,
            write_buffer_bytes: WRITE_BUFFER_BYTES,
            value_bytes,
            expected_bytes: self.settings.keys * (KEY_BYTES + value_bytes) as u64,
        }
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
        Load { clock, timing, rate, gauge: self.gauge, watermarks }
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

    /// The store of an engine that holds every row, filled at first use.
    pub(super) fn stock(&self, engine: usize) -> Result<Stock, BenchError> {
        if let Some(stock) = self.stocks.borrow().get(&engine) {
            return Ok(stock.clone());
        }
        let name = self.engines[engine].name();
        self.gauge.now(format!("filling {name}"));
        let dir = self.dir.join(format!("stock-{name}"));
        let (keys, value_bytes) = (self.settings.keys, self.value_bytes());
        let database =
            self.open(engine, &dir, self.light_mode(engine), &self.sizes(value_bytes))?;
        {
            let mut session = database.session();
            let mut put =
                batches(&mut *session, Order::Random, 0, 1, BATCH_ROWS, keys, value_bytes);
            for _ in 0..keys.div_ceil(BATCH_ROWS as u64) {
                put()?;
            }
        }
        database.settle()?;
        drop(database);
        let stock = Stock { dir, rows: Arc::new(AtomicU64::new(keys)) };
        self.stocks.borrow_mut().insert(engine, stock.clone());
        Ok(stock)
    }

    /// Opens the stock of an engine and reads it once.
    pub(super) fn open_stock(
        &self,
        engine: usize,
        mode: &Mode,
        sizes: &Sizes,
    ) -> Result<(Box<dyn Database>, Arc<AtomicU64>), BenchError> {
        let stock = self.stock(engine)?;
        let database = self.open(engine, &stock.dir, mode, sizes)?;
        let rows = scan_all(&mut *database.session(), &mut |_, _| {})? as u64;
        let expected = stock.rows.load(Ordering::Relaxed);
        if rows != expected {
            let message = format!("{rows} rows, but {expected} were put");
            return Err(self.wrong(engine, message));
        }
        Ok((database, stock.rows))
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
        self.failures.borrow_mut().push(failure);
        let dir = self.fresh_dir();
        if dir.exists() { self.remove(&dir) } else { Ok(()) }
    }

    /// The error of an engine whose results are wrong: figures for it would mean nothing.
    pub(super) fn wrong(&self, engine: usize, message: String) -> BenchError {
        BenchError::Engine { engine: self.engines[engine].name(), message }
    }

    /// The cases of each engine for `case`, in its light mode. If the lightest mode of a peer survives
    /// a power loss, our mode with that guarantee is measured too, for comparison.
    pub(super) fn by_all(&self, case: &Case) -> Vec<Case> {
        const OURS: usize = 0;
        let engines = 0..self.engines.len();
        let mut cases: Vec<Case> =
            engines.map(|engine| case.in_mode(engine, self.light_mode(engine))).collect();
        let survives = |mode: &&Mode| mode.guarantee == Guarantee::PowerLoss;
        let our_mode = self.engines[OURS].modes().iter().find(survives);
        if cases.iter().any(|case| case.guarantee == Some(Guarantee::PowerLoss)) {
            cases.extend(our_mode.map(|mode| case.in_mode(OURS, mode)));
        }
        // Cases that are compared stand together.
        cases.sort_by_key(|case| case.guarantee);
        cases
    }

    /// The same where nothing is committed: `mode` names the call instead.
    pub(super) fn by_all_reading(&self, case: &Case, mode: &'static str) -> Vec<Case> {
        let engines = 0..self.engines.len();
        engines
            .map(|engine| Case { contender: Contender::Engine(engine), mode, ..case.clone() })
            .collect()
    }
}

fn told_or(told: &[usize], unless_told: &[usize]) -> Vec<usize> {
    if told.is_empty() { unless_told.to_vec() } else { told.to_vec() }
}

/// Shows every row of a store to `seen`.
pub(super) fn scan_all(
    session: &mut dyn Session,
    seen: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<usize, BenchError> {
    // Not every engine accepts an empty key. No row has a smaller key than this.
    session.scan(&[0], usize::MAX, seen)
}

/// Puts the rows `first`, `first + step`, ... of `keys`, one to a commit, and starts over.
pub(super) fn puts<'s>(
    session: &'s mut dyn Session,
    first: u64,
    step: u64,
    keys: u64,
    value_bytes: usize,
) -> impl FnMut() -> Result<usize, BenchError> + Send + use<'s> {
    let mut number = first % keys;
    let mut value = Value::of(value_bytes);
    move || {
        session.put(&key(number), value.row(number))?;
        number = (number + step) % keys;
        Ok(1)
    }
}

/// Puts every `step`th batch of `rows` rows of `keys`, from number `first` on, and starts over.
pub(super) fn batches<'s>(
    session: &'s mut dyn Session,
    order: Order,
    first: u64,
    step: u64,
    rows: usize,
    keys: u64,
    value_bytes: usize,
) -> impl FnMut() -> Result<usize, BenchError> + Send + use<'s> {
    let mut number = first * rows as u64 % keys;
    let mut new_keys: Vec<Key> = vec![[0; KEY_BYTES]; rows];
    let mut values: Vec<Value> = (0..rows).map(|_| Value::of(value_bytes)).collect();
    move || {
        let mut batch: Vec<(&[u8], &[u8])> = Vec::with_capacity(rows);
        // The last batch of all ends with the last row.
        let here = rows.min((keys - number) as usize);
        for (key, value) in new_keys.iter_mut().zip(&mut values).take(here) {
            *key = order.key(number);
            batch.push((&*key, value.row(number)));
            number += 1;
        }
        session.put_batch(&batch)?;
        number = (number + (step - 1) * rows as u64) % keys;
        Ok(here)
    }
}
