//! One run from its beginning to its end: opened on an empty disk, each step explored.

use super::case::Case;
use super::explore::{CrashAt, Depth, Explorer, Found};
use super::judge::{Crash, Judge, Violation};
use super::panics;
use super::run::{Outcome, Run};
use super::tally::Tally;
use crate::disk::SimDisk;
use crate::disk::sim::rng::SplitMix64;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `case` and explores its crash points, each looked at by the explorer.
pub(crate) fn play(case: &Case, explorer: &mut Explorer) -> Result<u64, Found> {
    let disk = SimDisk::new();
    let mut run = Run::new(&case.setup, disk);
    run.watch.note_points(true);
    let mut judge = Judge::default();
    let result = all_steps(case, &mut run, &mut judge, explorer);
    for (to, from) in explorer.judge.checked.iter_mut().zip(judge.checked) {
        *to += from;
    }
    explorer.tally.runs += 1;
    let trace = run.disk.trace_hash();
    run.abandon();
    result.map(|()| trace)
}

fn all_steps(
    case: &Case,
    run: &mut Run,
    judge: &mut Judge,
    explorer: &mut Explorer,
) -> Result<(), Found> {
    let begun = guarded(|| run.open(Crash::Kill, judge));
    explorer.explore(run.watch.take_points(), &run.history)?;
    expect_done(begun)?;
    for step in &case.steps {
        // What recovery makes of the history is not known to a crash during it.
        let before = ends_life(step).then(|| run.history.clone());
        let outcome = guarded(|| run.step(step, judge));
        let points = run.watch.take_points();
        explorer.explore(points, before.as_ref().unwrap_or(&run.history))?;
        expect_done(outcome)?;
    }
    Ok(())
}

fn ends_life(step: &super::step::Step) -> bool {
    matches!(step, super::step::Step::Reopen | super::step::Step::Crash { .. })
}

fn guarded(work: impl FnOnce() -> Result<Outcome, Violation>) -> Result<Outcome, Violation> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Violation::safety(panics::take())))
}

/// No step is refused while nothing fails.
fn expect_done(outcome: Result<Outcome, Violation>) -> Result<(), Found> {
    let violation = match outcome {
        Ok(Outcome::Done) => return Ok(()),
        Ok(Outcome::Refused(error)) => Violation::safety(format!("refused for no reason: {error}")),
        Err(violation) => violation,
    };
    Err(Found { violation, crashes: Vec::<CrashAt>::new() })
}

/// An explorer of `case`.
pub(crate) fn explorer(case: &Case, depth: Depth, seed: u64) -> Explorer {
    Explorer {
        setup: case.setup.clone(),
        depth,
        judge: Judge::default(),
        tally: Tally::default(),
        rng: SplitMix64::new(seed ^ 0x5EED),
    }
}

#[cfg(test)]
mod tests {
    use super::super::generate;
    use super::super::subsets::Effort;
    use super::*;

    const DEPTH: Depth = Depth {
        windows: Effort { exhaustive: 32, sampled: 2 },
        scattered: 1,
        nested_one_in: 40,
        deepest: 4,
        again_one_in: 16,
    };

    #[test]
    fn a_sound_store_passes_and_the_same_seed_gives_the_same_trace() {
        panics::catch();
        for seed in 0..6 {
            let case = generate::case(seed);
            let mut traces = (0..2).map(|_| {
                let mut explorer = explorer(&case, DEPTH, seed);
                let trace = play(&case, &mut explorer).unwrap_or_else(|found| {
                    panic!("seed {seed}, {:?}: {found:?}", generate::Theme::of(seed))
                });
                assert!(explorer.tally.states > 500, "{:?}", explorer.tally);
                (trace, explorer.tally.states)
            });
            assert_eq!(traces.next(), traces.next(), "seed {seed}");
        }
    }
}
