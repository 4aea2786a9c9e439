//! `large`: random puts and gets where the data are four times the cache.
//!
//! The cache is small instead of the data large: a quarter of the rows fit, whatever `--cache-mib`
//! says, so that a run does not take gigabytes. A page that is not in the store's cache is mostly in
//! the operating system's: this measures the path there, not the device. Engines without a cache of
//! their own (LMDB) have all of the operating system's.

use crate::tools::bench::case::{Case, CaseSuite, Contender};
use crate::tools::bench::device::DeviceBytes;
use crate::tools::bench::draws::Chance;
use crate::tools::bench::engine::{Session, Sizes};
use crate::tools::bench::error::BenchError;
use crate::tools::bench::floor::Flush;
use crate::tools::bench::measure::{Clock, Sample, drive};
use crate::tools::bench::record::Ratio;
use crate::tools::bench::rows::{Value, key, user_bytes};
use crate::tools::bench::stage::Stage;

/// Random puts and gets beyond the cache.
pub(in crate::tools::bench) struct LargeSuite<'a> {
    stage: &'a Stage<'a>,
    cases: Vec<Case>,
}

const PUT: &str = "put";
const GET: &str = "get";

/// The smallest cache of any store.
const LEAST_CACHE_BYTES: u64 = 2 << 20;

impl<'a> LargeSuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> LargeSuite<'a> {
        let rate = stage.settings.rate;
        let ratio = if rate.is_some() { Ratio::MedianLatency } else { Ratio::Throughput };
        let mut cases: Vec<Case> = Vec::new();
        for variant in [PUT, GET] {
            let case = Case {
                distribution: "uniform",
                rate,
                ratio,
                peer_ratio: ratio,
                floor: Some(cases.len()),
                ..Case::new("large", variant, stage.value_bytes())
            };
            if variant == PUT {
                cases.push(case.by_writing(Flush::Never));
                cases.extend(stage.by_all(&case));
            } else {
                cases.push(case.by_floor("pread"));
                cases.extend(stage.by_all_reading(&case, "get"));
            }
        }
        LargeSuite { stage, cases }
    }

    fn measure_floor(&self, case: &Case) -> Result<Sample, BenchError> {
        let floor = self.stage.floor()?;
        let load = self.stage.load(Clock::EveryOperation, case.rate, &|| None);
        let sample = match case.variant {
            PUT => drive(vec![floor.writer(Flush::Never, 1, case.value_bytes)], &load)?,
            _ => drive(vec![floor.reader(self.stage.settings.seed)], &load)?,
        };
        floor.settle()?;
        Ok(sample)
    }

    fn measure_store(&self, case: &Case, engine: usize) -> Result<Sample, BenchError> {
        let stage = self.stage;
        let sizes = stage.sizes(case.value_bytes);
        let cache_bytes = (sizes.expected_bytes / 4).max(LEAST_CACHE_BYTES);
        let mode = match case.variant {
            PUT => stage.mode(engine, case.mode),
            _ => stage.light_mode(engine),
        };
        let (database, _) = stage.open_stock(engine, mode, &Sizes { cache_bytes, ..sizes })?;
        let sample = {
            let mut session = database.session();
            let watermarks = || database.watermarks();
            let load = stage.load(Clock::EveryOperation, case.rate, &watermarks);
            drive(vec![self.worker(case, &mut *session)], &load)?
        };
        database.settle()?;
        Ok(sample)
    }

    fn worker<'s>(
        &self,
        case: &Case,
        session: &'s mut dyn Session,
    ) -> Box<dyn FnMut() -> Result<usize, BenchError> + Send + 's> {
        let keys = self.stage.settings.keys;
        let mut chance = Chance::new(self.stage.settings.seed, 0);
        if case.variant == PUT {
            let mut value = Value::of(case.value_bytes);
            return Box::new(move || {
                let row = chance.below(keys);
                session.put(&key(row), value.row(row))?;
                Ok(1)
            });
        }
        Box::new(move || {
            session.get(&key(chance.below(keys)), &mut |value| {
                std::hint::black_box(super::read::ends(value));
            })?;
            Ok(1)
        })
    }
}

impl CaseSuite for LargeSuite<'_> {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn measure(&mut self, case: usize) -> Result<Sample, BenchError> {
        let case = &self.cases[case];
        let files = match case.contender {
            Contender::Floor => self.stage.floor_path(),
            // The writes that fill it do not count.
            Contender::Engine(engine) => self.stage.stock(engine)?.dir,
        };
        let before = DeviceBytes::now(&self.stage.dir);
        let mut sample = match case.contender {
            Contender::Floor => self.measure_floor(case)?,
            Contender::Engine(engine) => self.measure_store(case, engine)?,
        };
        if case.variant == PUT {
            let user_bytes = user_bytes(sample.rows_in_all, case.value_bytes);
            sample.device_bytes_per_user_byte =
                before.since(&files).map(|bytes| bytes / user_bytes);
        }
        Ok(sample)
    }
}
