//! Stores that hold every row, for the workloads that read them or change them in place.
//!
//! - STAGE-2 A store is filled once per engine and contents, and used by all workloads. Each measurement
//!   opens it and reads it once from end to end, so that its cache is warm, and compares every byte
//!   with what was put (VALUES-3).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::engine::{Database, Mode, Session, Sizes};
use super::error::BenchError;
use super::put::{fill_store, scan_all};
use super::rows::{key, row_bytes};
use super::stage::Stage;
use super::values::is_whole;

/// The rows of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Contents {
    pub(super) keys: u64,
    pub(super) value_bytes: usize,
}

impl Contents {
    /// The bytes of all keys and values.
    pub(super) fn bytes(self) -> u64 {
        self.keys * row_bytes(self.value_bytes) as u64
    }
}

/// A closed store that holds every row.
#[derive(Clone)]
pub(super) struct Stock {
    pub(super) dir: PathBuf,
    /// Rows in the store: those of the settings and those inserted since.
    pub(super) rows: Arc<AtomicU64>,
}

impl Stage<'_> {
    /// The rows of the run, with values of this size. Of large ones there are fewer, so that no store
    /// has more than a quarter of a gibibyte of them unless the usual ones have.
    pub(super) fn contents(&self, value_bytes: usize) -> Contents {
        const LARGEST: u64 = 256 << 20;
        let keys = self.settings.keys;
        if value_bytes == self.value_bytes() {
            return Contents { keys, value_bytes };
        }
        let fit = LARGEST / row_bytes(value_bytes) as u64;
        Contents { keys: keys.min(fit).max(1), value_bytes }
    }

    /// The store of an engine that holds these rows, filled at first use.
    pub(super) fn stock(&self, engine: usize, contents: Contents) -> Result<Stock, BenchError> {
        if let Some(stock) = self.stocks.borrow().get(&(engine, contents)) {
            return Ok(stock.clone());
        }
        let name = self.engines[engine].name();
        let Contents { keys, value_bytes } = contents;
        self.gauge.now(format!("filling {name} with {keys} rows of {value_bytes} bytes"));
        let dir = self.dir.join(format!("stock-{name}-{keys}-{value_bytes}"));
        let database = self.open(engine, &dir, self.light_mode(engine), &self.sizes(contents))?;
        fill_store(&*database, contents)?;
        database.settle()?;
        drop(database);
        let stock = Stock { dir, rows: Arc::new(AtomicU64::new(keys)) };
        self.stocks.borrow_mut().insert((engine, contents), stock.clone());
        Ok(stock)
    }

    /// Removes the stores that hold other rows than those of the run: they are large, and no other
    /// workload needs them.
    pub(super) fn forget_special_stocks(&self) -> Result<(), BenchError> {
        let usual = self.contents(self.value_bytes());
        let mut stocks = self.stocks.borrow_mut();
        let special = stocks.extract_if(|(_, contents), _| *contents != usual);
        special.map(|(_, stock)| stock.dir).try_for_each(|dir| self.remove(dir.as_path()))
    }

    /// Opens the stock of an engine and reads it once.
    pub(super) fn open_stock(
        &self,
        engine: usize,
        mode: &Mode,
        contents: Contents,
        sizes: &Sizes,
    ) -> Result<(Box<dyn Database>, Arc<AtomicU64>), BenchError> {
        let stock = self.stock(engine, contents)?;
        let database = self.open(engine, &stock.dir, mode, sizes)?;
        self.check(engine, &mut *database.session(), stock.rows.load(Ordering::Relaxed))?;
        Ok((database, stock.rows))
    }

    /// Reads a whole store: `expected` rows, each as it was put.
    pub(super) fn check(
        &self,
        engine: usize,
        session: &mut dyn Session,
        expected: u64,
    ) -> Result<(), BenchError> {
        let mut wrong = None;
        let rows = scan_all(session, &mut |found, value| {
            let row = is_whole(value);
            // Short values know the low bits of their row only.
            let is_right = row.is_some_and(|row| value.len() < 16 || key(row)[..] == *found);
            if !is_right && wrong.is_none() {
                wrong = Some(format!("the row with the key {found:02x?} is not as it was put"));
            }
        })? as u64;
        if rows != expected {
            wrong = Some(format!("{rows} rows, but {expected} were put"));
        }
        wrong.map_or(Ok(()), |message| Err(self.wrong(engine, message)))
    }

    /// Opens the stock with the rows of the run, in a mode, with the usual cache.
    pub(super) fn open_usual(
        &self,
        engine: usize,
        mode: &Mode,
    ) -> Result<(Box<dyn Database>, Arc<AtomicU64>), BenchError> {
        let contents = self.contents(self.value_bytes());
        self.open_stock(engine, mode, contents, &self.sizes(contents))
    }
}
