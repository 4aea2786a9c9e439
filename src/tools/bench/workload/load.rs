//! `load`: every row put into an empty store, in batches, in random order and sorted.
//!
//! The work is fixed, not the time. The clock stops when the last batch is acknowledged, in each mode of
//! each engine. The figure `settle` is the time to write back the rest.

use std::time::Instant;

use crate::tools::bench::case::{Case, CaseSuite, Contender};
use crate::tools::bench::device::DeviceBytes;
use crate::tools::bench::error::BenchError;
use crate::tools::bench::floor::BareWrite;
use crate::tools::bench::measure::{Clock, Sample, repeat};
use crate::tools::bench::put::batches;
use crate::tools::bench::rows::Order;
use crate::tools::bench::stage::{BATCH_ROWS, Stage};

/// Loads.
pub(in crate::tools::bench) struct LoadSuite<'a> {
    stage: &'a Stage<'a>,
    cases: Vec<Case>,
}

impl<'a> LoadSuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> LoadSuite<'a> {
        let case = Case {
            batch: stage.settings.batches.first().copied().unwrap_or(BATCH_ROWS),
            distribution: Order::Random.name(),
            floors: vec![0],
            ..Case::new("load", "all rows", stage.value_bytes())
        };
        let mut cases = vec![case.by_writing(BareWrite::Pwrite)];
        for order in Order::BOTH {
            cases.extend(stage.by_all(&Case { distribution: order.name(), ..case.clone() }));
        }
        LoadSuite { stage, cases }
    }

    fn measure_floor(&self, case: &Case, operations: u64) -> Result<Sample, BenchError> {
        let floor = self.stage.floor()?;
        let before = DeviceBytes::now(&self.stage.dir);
        let write = floor.writer(BareWrite::Pwrite, case.batch, case.value_bytes)?;
        let mut sample =
            repeat(write, operations, &self.stage.load(Clock::EveryOperation, None, &|| None))?;
        floor.settle()?;
        sample.wrote(before.since(&self.stage.floor_path()), case.value_bytes);
        Ok(sample)
    }

    fn measure_store(
        &self,
        case: &Case,
        engine: usize,
        operations: u64,
    ) -> Result<Sample, BenchError> {
        let (stage, keys) = (self.stage, self.stage.settings.keys);
        let sorted = case.distribution == Order::Sorted.name();
        let order = if sorted { Order::Sorted } else { Order::Random };
        let (dir, before) = (stage.fresh_dir(), DeviceBytes::now(&self.stage.dir));
        let mode = stage.mode(engine, case.mode);
        let sizes = stage.sizes(stage.contents(case.value_bytes));
        let database = stage.open(engine, &dir, mode, &sizes)?;
        let mut sample = {
            let mut session = database.session();
            let put = batches(&mut *session, order, case.batch, keys, case.value_bytes);
            let watermarks = || database.watermarks();
            repeat(put, operations, &stage.load(Clock::EveryOperation, None, &watermarks))?
        };
        let settling = Instant::now();
        database.settle()?;
        drop(database);
        sample.add_figure("settle", settling.elapsed().as_secs_f64() * 1e3, "ms");
        sample.wrote(before.since(&dir), case.value_bytes);
        stage.remove(&dir)?;
        Ok(sample)
    }
}

impl CaseSuite for LoadSuite<'_> {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn measure(&mut self, case: usize) -> Result<Sample, BenchError> {
        let case = &self.cases[case];
        let operations = self.stage.settings.keys.div_ceil(case.batch as u64);
        match case.contender {
            Contender::Floor => self.measure_floor(case, operations),
            Contender::Engine(engine) => self.measure_store(case, engine, operations),
        }
    }
}
