//! `steady`: a minute and more of overwrites, and how the rate goes on.
//!
//! One thread overwrites rows drawn at random of a store that holds every row, in each mode of each
//! engine, in a process of its own. There is no warm-up: the first second is a part of the course. The
//! time is long enough for checkpoints and compactions, whose stalls are in `p99.9` and in the longest
//! operation. Figures of memory are of that process.
//!
//! Measured once, whatever the number of rounds: the parts of the course show how it varies.

use std::time::Duration;

use crate::tools::bench::case::{Case, CaseSuite};
use crate::tools::bench::child::{Errand, Work, run_errand};
use crate::tools::bench::error::BenchError;
use crate::tools::bench::measure::Sample;
use crate::tools::bench::stage::Stage;

/// Long runs of overwrites.
pub(in crate::tools::bench) struct SteadySuite<'a> {
    stage: &'a Stage<'a>,
    cases: Vec<Case>,
}

/// The time in which every engine has checkpoints and compactions.
const LEAST: Duration = Duration::from_secs(60);

impl<'a> SteadySuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> SteadySuite<'a> {
        let is_short = stage.settings.steady_time < LEAST;
        let case = Case {
            distribution: "uniform",
            note: if is_short { "less than a minute: too short for what comes seldom" } else { "" },
            ..Case::new("steady", "overwrite", stage.value_bytes())
        };
        SteadySuite { stage, cases: stage.by_all(&case) }
    }
}

impl CaseSuite for SteadySuite<'_> {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn rounds(&self, _: u32) -> u32 {
        1
    }

    fn measure(&mut self, case: usize) -> Result<Sample, BenchError> {
        let (stage, case) = (self.stage, &self.cases[case]);
        let engine = case.engine();
        let contents = stage.contents(case.value_bytes);
        let errand = Errand {
            dir: stage.stock(engine, contents)?.dir,
            work: Work::Overwrite { time: stage.settings.steady_time, enough: u64::MAX },
            ..stage.errand(case, engine, contents)
        };
        let outcome = run_errand(stage.name(case.contender), &errand, None)?;
        Ok(outcome.sample)
    }
}
