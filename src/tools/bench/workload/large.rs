//! `large`: random puts and gets where the data are 4 and 16 times all memory that a store may use.
//!
//! A quarter of that memory (`--large-mib`) is the cache, a sixteenth a write buffer; the rest is for what
//! else the engine needs, its process and the system's cache. An engine that needs more is killed, and has
//! no figure in that case. Each measurement is in a process of its own, in a memory cgroup of
//! that size, so that the operating system's cache counts for those who lean on it. Where no cgroup can
//! be made the row says so: then that cache has all the rest of the memory. Files are cold at the start.
//!
//! Puts go on until every row has been overwritten three times on average, or until the time is up
//! (`--large-seconds`): the figure `overwritten` says how often it was, `settle` how long it took to
//! write back the rest. Gets have a warm-up of a quarter of that time and are measured for the rest.
//! At most three rounds.

use crate::tools::bench::case::{Case, CaseSuite, Contender};
use crate::tools::bench::child::{Errand, Work, run_errand};
use crate::tools::bench::error::BenchError;
use crate::tools::bench::eviction::evict;
use crate::tools::bench::floor::BareWrite;
use crate::tools::bench::measure::{Clock, Sample, drive};
use crate::tools::bench::rows::row_bytes;
use crate::tools::bench::stage::Stage;
use crate::tools::bench::stock::Contents;

/// Random puts and gets beyond memory.
pub(in crate::tools::bench) struct LargeSuite<'a> {
    stage: &'a Stage<'a>,
    cases: Vec<Case>,
}

const PUT: [&str; 2] = ["put, data 4 x memory", "put, data 16 x memory"];
const GET: [&str; 2] = ["get, data 4 x memory", "get, data 16 x memory"];
const FACTORS: [u64; 2] = [4, 16];

/// So many rounds at most.
const ROUNDS: u32 = 3;

/// The number of keys is a multiple of this, for people.
const ROUND: u64 = 1000;

/// Every row is overwritten so often.
const TIMES: u64 = 3;

impl<'a> LargeSuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> LargeSuite<'a> {
        let mut cases: Vec<Case> = Vec::new();
        for (index, factor) in FACTORS.into_iter().enumerate() {
            let bytes = stage.settings.large_memory_bytes * factor;
            let keys = bytes / row_bytes(stage.value_bytes()) as u64 / ROUND * ROUND;
            let case = |variant| Case {
                distribution: "uniform",
                floors: vec![cases.len()],
                keys: Some(keys),
                ..Case::new("large", variant, stage.value_bytes())
            };
            let put = case(PUT[index]);
            cases.push(put.by_writing(BareWrite::Pwrite));
            cases.extend(stage.by_all(&put));
            let get = Case { floors: vec![cases.len()], variant: GET[index], ..put };
            cases.push(get.by_floor("pread"));
            cases.extend(stage.by_all_reading(&get, "get"));
        }
        LargeSuite { stage, cases }
    }

    fn measure_floor(&self, case: &Case) -> Result<Sample, BenchError> {
        let floor = self.stage.floor()?;
        let load = self.stage.load(Clock::EveryOperation, None, &|| None);
        let sample = if PUT.contains(&case.variant) {
            drive(vec![floor.writer(BareWrite::Pwrite, 1, case.value_bytes)?], &load)?
        } else {
            drive(vec![floor.reader(self.stage.settings.seed)], &load)?
        };
        floor.settle()?;
        Ok(sample)
    }

    fn measure_store(&self, case: &Case, engine: usize) -> Result<Sample, BenchError> {
        let stage = self.stage;
        let keys = case.keys.expect("of each case");
        let contents = Contents { keys, value_bytes: case.value_bytes };
        let memory = stage.settings.large_memory_bytes;
        let dir = stage.stock(engine, contents)?.dir;
        evict(&dir).map_err(BenchError::io(format!("evict {}", dir.display())))?;
        let time = stage.settings.large_time;
        let (mode, work) = if PUT.contains(&case.variant) {
            (case.mode, Work::Overwrite { time, enough: TIMES * keys })
        } else {
            (stage.light_mode(engine).name, Work::Get { time: time.mul_f64(0.8) })
        };
        let errand = Errand {
            mode: mode.to_owned(),
            dir,
            cache_bytes: memory / 4,
            write_buffer_bytes: memory / 16,
            work,
            ..stage.errand(case, engine, contents)
        };
        let outcome = run_errand(stage.name(case.contender), &errand, Some(memory))?;
        let mut sample = Sample { course: Vec::new(), ..outcome.sample };
        sample.add_figure("memory_limit", f64::from(u8::from(outcome.is_limited)), "");
        Ok(sample)
    }
}

impl CaseSuite for LargeSuite<'_> {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn rounds(&self, asked: u32) -> u32 {
        asked.min(ROUNDS)
    }

    fn measure(&mut self, case: usize) -> Result<Sample, BenchError> {
        let case = &self.cases[case];
        match case.contender {
            Contender::Floor => self.measure_floor(case),
            Contender::Engine(engine) => self.measure_store(case, engine),
        }
    }

    fn end(&mut self) -> Result<(), BenchError> {
        self.stage.forget_special_stocks()
    }
}
