//! `growth`: what a get and a put cost as the data grow, to 4 and 16 times as many keys, with the same
//! cache.
//!
//! Rows are drawn at random, in the light mode of each engine, in a process of its own. What is more
//! than the cache is in the operating system's, if that has room: nothing bounds it here, as in
//! `large`.

use crate::tools::bench::case::{Case, CaseSuite};
use crate::tools::bench::child::{Errand, Work, run_errand};
use crate::tools::bench::error::BenchError;
use crate::tools::bench::measure::Sample;
use crate::tools::bench::stage::Stage;
use crate::tools::bench::stock::Contents;

/// Gets and puts as the data grow.
pub(in crate::tools::bench) struct GrowthSuite<'a> {
    stage: &'a Stage<'a>,
    cases: Vec<Case>,
}

const PUT: &str = "put";
const GET: &str = "get";
const FACTORS: [u64; 3] = [1, 4, 16];

/// So many rounds at most: filling the stores takes long.
const ROUNDS: u32 = 3;

impl<'a> GrowthSuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> GrowthSuite<'a> {
        let mut cases = Vec::new();
        for factor in FACTORS {
            let case = |variant| Case {
                distribution: "uniform",
                keys: Some(stage.settings.keys * factor),
                ..Case::new("growth", variant, stage.value_bytes())
            };
            cases.extend(stage.by_all_lightly(&case(PUT)));
            cases.extend(stage.by_all_reading(&case(GET), "get"));
        }
        GrowthSuite { stage, cases }
    }
}

impl CaseSuite for GrowthSuite<'_> {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn rounds(&self, asked: u32) -> u32 {
        asked.min(ROUNDS)
    }

    fn measure(&mut self, case: usize) -> Result<Sample, BenchError> {
        let (stage, case) = (self.stage, &self.cases[case]);
        let engine = case.engine();
        let keys = case.keys.expect("of each case");
        let contents = Contents { keys, value_bytes: case.value_bytes };
        let time = stage.settings.measure_time;
        let errand = Errand {
            mode: stage.light_mode(engine).name.to_owned(),
            dir: stage.stock(engine, contents)?.dir,
            work: match case.variant {
                PUT => Work::Overwrite { time, enough: u64::MAX },
                _ => Work::Get { time },
            },
            ..stage.errand(case, engine, contents)
        };
        let outcome = run_errand(stage.name(case.contender), &errand, None)?;
        Ok(Sample { course: Vec::new(), ..outcome.sample })
    }

    fn end(&mut self) -> Result<(), BenchError> {
        self.stage.forget_special_stocks()
    }
}
