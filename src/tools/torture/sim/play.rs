//! Plays one run from start to end: opens a store on an empty disk and explores each step.

use super::case::Case;
use super::explore::{CrashAt, Depth, Explorer, Found};
use super::history::History;
use super::judge::{Crash, Judge, Violation};
use super::pace::Pace;
use super::panics;
use super::run::{StepOutcome, StepResult, WorkloadRun};
use super::tally::Tally;
use super::watch::Point;
use crate::engine::base::random::SplitMix64;
use crate::engine::disk::SimDisk;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `case` and explores its crash points. Returns the trace of its disk.
pub(crate) fn play(case: &Case, explorer: &mut Explorer) -> Result<u64, Found> {
    let mut run = WorkloadRun::new(&case.setup, SimDisk::new());
    run.theme = explorer.theme;
    run.watch.note_points(!explorer.skips_points);
    let mut judge = Judge::default();
    let result = each_step(case, &mut run, &mut judge, &mut |at, run, history| {
        let points = run.watch.take_points();
        explorer.pace.beat_step();
        explorer.explore(points, history).map_err(|found| Found { step: at, ..found })
    });
    explorer.judge.add(&judge);
    explorer.tally.runs += 1;
    explorer.tally.coverage.add(&run.coverage);
    let trace = run.disk.trace_hash();
    run.abandon();
    result.map(|()| trace)
}

/// Runs `case` up to the first of `crashes` and replays them all, or to its end if there are none.
/// Returns the failure, if there is one.
pub(crate) fn replay(case: &Case, crashes: &[CrashAt], explorer: &mut Explorer) -> Option<Found> {
    let mut run = WorkloadRun::new(&case.setup, SimDisk::new());
    if let Some(first) = crashes.first() {
        run.watch.note_points(true);
        run.watch.note_only(first.point);
    }
    let mut judge = Judge::default();
    let result = each_step(case, &mut run, &mut judge, &mut |step, run, history| {
        let points = run.watch.take_points();
        explorer.pace.beat_step();
        let Some(point) = points.first() else { return Ok(()) };
        let followed = explorer.follow(point, history, crashes);
        followed.map_err(|violation| Found {
            violation,
            crashes: crashes.to_vec(),
            step,
            injected: None,
        })
    });
    run.abandon();
    result.err()
}

/// The moment of the first crash, with the history that judges it.
pub(crate) fn crash_point(case: &Case, crashes: &[CrashAt]) -> Option<(Point, History)> {
    let mut run = WorkloadRun::new(&case.setup, SimDisk::new());
    run.watch.note_points(true);
    run.watch.note_only(crashes.first()?.point);
    let mut found = None;
    let _ = each_step(case, &mut run, &mut Judge::default(), &mut |_, run, history| {
        let point = run.watch.take_points().pop();
        found = found.take().or(point.map(|point| (point, history.clone())));
        Ok(())
    });
    run.abandon();
    found
}

/// Called after each step with its number, the run, and the history that judges crashes during it.
/// Step 0 opens the store.
type AfterStep<'a> = dyn FnMut(usize, &mut WorkloadRun, &History) -> Result<(), Found> + 'a;

fn each_step(
    case: &Case,
    run: &mut WorkloadRun,
    judge: &mut Judge,
    after: &mut AfterStep<'_>,
) -> Result<(), Found> {
    let empty = History::default();
    let begun = guarded(|| run.open(Crash::Kill, judge));
    after(0, run, &empty)?;
    expect_done(begun, 0)?;
    for (step, at) in case.steps.iter().zip(1..) {
        // A crash during a recovery is judged by the history before that recovery.
        let before = ends_life(step).then(|| run.history.clone());
        let outcome = guarded(|| run.step(step, judge));
        let now = before.is_none().then(|| run.history.clone());
        let history = before.or(now).expect("one of them");
        after(at, run, &history)?;
        expect_done(outcome, at)?;
    }
    Ok(())
}

fn ends_life(step: &super::step::Step) -> bool {
    matches!(step, super::step::Step::Reopen | super::step::Step::Crash { .. })
}

fn guarded(work: impl FnOnce() -> StepResult) -> StepResult {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Violation::safety(panics::take())))
}

/// A step that is refused while nothing fails is a failure.
fn expect_done(outcome: StepResult, step: usize) -> Result<(), Found> {
    let violation = match outcome {
        Ok(StepOutcome::Done) => return Ok(()),
        Ok(StepOutcome::Refused(error)) => Violation::refused(&error),
        Err(violation) => violation,
    };
    Err(Found { violation, crashes: Vec::new(), step, injected: None })
}

/// A new explorer of `case`.
pub(crate) fn explorer(case: &Case, depth: Depth, seed: u64) -> Explorer {
    Explorer {
        setup: case.setup.clone(),
        depth,
        judge: Judge::default(),
        tally: Tally::default(),
        rng: SplitMix64::new(seed ^ 0x5EED),
        pace: Pace::default(),
        skips_points: false,
        theme: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::generate;
    use super::super::subsets::Effort;
    use super::*;

    const DEPTH: Depth = Depth {
        point_one_in: 2,
        window_one_in: 1,
        points_of_step: 32,
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
                assert!(explorer.tally.states > 100, "{:?}", explorer.tally);
                (trace, explorer.tally.states)
            });
            assert_eq!(traces.next(), traces.next(), "seed {seed}");
        }
    }
}
