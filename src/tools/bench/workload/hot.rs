//! `hot`: bytes to the device for overwrites of a few rows.
//!
//! One thread puts rows drawn from a hot set, one to a commit, in each mode of each engine. Bytes
//! to the device are counted over the whole life of the store, closing included, against keys and
//! values of all commits (`device` says how).

use crate::tools::bench::case::{Case, CaseSuite, Contender};
use crate::tools::bench::device::DeviceBytes;
use crate::tools::bench::draws::Chance;
use crate::tools::bench::engine::Guarantee;
use crate::tools::bench::error::BenchError;
use crate::tools::bench::floor::BareWrite;
use crate::tools::bench::measure::{Clock, Sample, drive};
use crate::tools::bench::record::Ratio;
use crate::tools::bench::rows::key;
use crate::tools::bench::stage::Stage;
use crate::tools::bench::values::Value;

/// Overwrites of a hot set.
pub(in crate::tools::bench) struct HotSuite<'a> {
    stage: &'a Stage<'a>,
    cases: Vec<Case>,
}

const HOT_ROWS: u64 = 1000;

impl<'a> HotSuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> HotSuite<'a> {
        let mut cases: Vec<Case> = Vec::new();
        let groups = [
            (Guarantee::ProcessEnd, BareWrite::Pwrite),
            (Guarantee::PowerLoss, BareWrite::Fdatasync),
        ];
        for (guarantee, way) in groups {
            let case = Case {
                distribution: "uniform",
                ratio: Ratio::DeviceBytes,
                peer_ratio: Ratio::DeviceBytes,
                floors: vec![cases.len()],
                ..Case::new("hot", "1000 rows", stage.value_bytes())
            };
            cases.push(case.by_writing(way));
            cases.extend(stage.by_all_with(&case, guarantee));
        }
        HotSuite { stage, cases }
    }

    fn measure_floor(&self, case: &Case) -> Result<Sample, BenchError> {
        let floor = self.stage.floor()?;
        let workers = vec![floor.writer(BareWrite::named(case.mode), 1, case.value_bytes)?];
        let sample = drive(workers, &self.stage.load(Clock::EveryOperation, None, &|| None))?;
        floor.settle()?;
        Ok(sample)
    }

    fn measure_store(&self, case: &Case, engine: usize) -> Result<Sample, BenchError> {
        let stage = self.stage;
        let dir = stage.fresh_dir();
        let mode = stage.mode(engine, case.mode);
        let sizes = stage.sizes(stage.contents(case.value_bytes));
        let database = stage.open(engine, &dir, mode, &sizes)?;
        let sample = {
            let mut session = database.session();
            let mut chance = Chance::new(stage.settings.seed, 0);
            let mut value = Value::of(case.value_bytes);
            let rows = HOT_ROWS.min(stage.settings.keys);
            let worker = || {
                let row = chance.below(rows);
                session.put(&key(row), value.row(row))?;
                Ok(1)
            };
            let watermarks = || database.watermarks();
            drive(vec![worker], &stage.load(Clock::EveryOperation, None, &watermarks))?
        };
        database.settle()?;
        Ok(sample)
    }
}

impl CaseSuite for HotSuite<'_> {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn measure(&mut self, case: usize) -> Result<Sample, BenchError> {
        let case = &self.cases[case];
        let before = DeviceBytes::now(&self.stage.dir);
        let (mut sample, files) = match case.contender {
            Contender::Floor => (self.measure_floor(case)?, self.stage.floor_path()),
            Contender::Engine(engine) => {
                (self.measure_store(case, engine)?, self.stage.fresh_dir())
            }
        };
        sample.wrote(before.since(&files), case.value_bytes);
        if case.contender != Contender::Floor {
            self.stage.remove(&files)?;
        }
        Ok(sample)
    }
}
