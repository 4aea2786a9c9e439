//! `recover`: the time to open a store, up to the answer to the first get.
//!
//! | variant | store |
//! |---|---|
//! | `after close` | the store that holds every row, which was closed |
//! | `after kill` | a store into which another process put every row, one to a commit, before it was killed |
//!
//! The other process (`child`) reports when all its commits are acknowledged, and is killed at that
//! moment (SIGKILL). After a minute it stops early; the figure `commits` is the number of its commits.
//! In modes that wait for the device there are ten thousand of them. Modes that lose what they had
//! acknowledged take no part. After the clock has stopped, the rows are compared with what was put.
//! The pages of all files are in the operating system's cache. The figures of memory and processor
//! time are the child's.

use std::path::Path;
use std::time::Instant;

use crate::tools::bench::case::{Case, CaseSuite};
use crate::tools::bench::child::{Errand, Work, run_errand};
use crate::tools::bench::engine::{Guarantee, Mode};
use crate::tools::bench::error::BenchError;
use crate::tools::bench::measure::Sample;
use crate::tools::bench::record::Ratio;
use crate::tools::bench::rows::key;
use crate::tools::bench::stage::Stage;
use crate::tools::bench::stock::Contents;
use crate::tools::bench::values::is_of;

/// Openings.
pub(in crate::tools::bench) struct RecoverSuite<'a> {
    stage: &'a Stage<'a>,
    cases: Vec<Case>,
}

const AFTER_CLOSE: &str = "after close";
const AFTER_KILL: &str = "after kill";

/// Commits in a mode that waits for the device.
const SYNCED: u64 = 10_000;

impl<'a> RecoverSuite<'a> {
    pub(in crate::tools::bench) fn new(stage: &'a Stage<'a>) -> RecoverSuite<'a> {
        let mut cases = Vec::new();
        for variant in [AFTER_CLOSE, AFTER_KILL] {
            let case = Case {
                distribution: "random order",
                ratio: Ratio::MedianLatency,
                peer_ratio: Ratio::MedianLatency,
                ..Case::new("recover", variant, stage.value_bytes())
            };
            if variant == AFTER_CLOSE {
                cases.extend(stage.by_all_reading(&case, "open"));
                continue;
            }
            for guarantee in [Guarantee::ProcessEnd, Guarantee::PowerLoss] {
                cases.extend(stage.by_all_with(&case, guarantee));
            }
        }
        RecoverSuite { stage, cases }
    }

    fn after_close(&self, case: &Case, engine: usize) -> Result<Sample, BenchError> {
        let contents = self.stage.contents(case.value_bytes);
        let stock = self.stage.stock(engine, contents)?;
        let rows = stock.rows.load(std::sync::atomic::Ordering::Relaxed);
        self.open(self.stage.light_mode(engine), engine, &stock.dir, contents, rows)
    }

    fn after_kill(&self, case: &Case, engine: usize) -> Result<Sample, BenchError> {
        let stage = self.stage;
        let dir = stage.fresh_dir();
        std::fs::create_dir_all(&dir)
            .map_err(BenchError::io(format!("create {}", dir.display())))?;
        let contents = stage.contents(case.value_bytes);
        let commits = match case.guarantee {
            Some(Guarantee::PowerLoss) => contents.keys.min(SYNCED),
            _ => contents.keys,
        };
        let errand = Errand {
            dir: dir.clone(),
            work: Work::Put { commits },
            ..stage.errand(case, engine, contents)
        };
        let outcome = run_errand(stage.name(case.contender), &errand, None)?;
        let written = outcome.sample;
        let commits = written.rows_in_all;
        let mode = stage.mode(engine, case.mode);
        let mut sample = self.open(mode, engine, &dir, contents, commits)?;
        sample.add_figure("commits", commits as f64, "");
        if let Some(cpu_us) = written.cpu_us_per_op {
            sample.add_figure("cpu_per_commit", cpu_us, "us");
        }
        sample.figures.extend(written.figures);
        stage.remove(&dir)?;
        Ok(sample)
    }

    /// Opens the store and gets the last row; then, untimed, reads all rows.
    fn open(
        &self,
        mode: &Mode,
        engine: usize,
        dir: &Path,
        contents: Contents,
        rows: u64,
    ) -> Result<Sample, BenchError> {
        let stage = self.stage;
        let last = rows.min(contents.keys).saturating_sub(1);
        let mut is_right = false;
        let begun = Instant::now();
        let database = stage.open(engine, dir, mode, &stage.sizes(contents))?;
        let mut session = database.session();
        session
            .get(&key(last), &mut |value| is_right = is_of(last, value, contents.value_bytes))?;
        let elapsed = begun.elapsed();
        if !is_right {
            return Err(stage.wrong(engine, format!("row {last}, the last one, is missing")));
        }
        stage.check(engine, &mut *session, rows)?;
        Ok(Sample::once(1, 1, elapsed))
    }
}

impl CaseSuite for RecoverSuite<'_> {
    fn cases(&self) -> &[Case] {
        &self.cases
    }

    fn measure(&mut self, case: usize) -> Result<Sample, BenchError> {
        let case = &self.cases[case];
        let engine = case.engine();
        match case.variant {
            AFTER_CLOSE => self.after_close(case, engine),
            _ => self.after_kill(case, engine),
        }
    }
}
