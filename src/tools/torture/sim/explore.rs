//! Crash points: what a crash at a moment can leave, recovered and judged, and the crashes during
//! that recovery, and so on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use super::case::Setup;
use super::generate::Theme;
use super::history::{History, Mark};
use super::judge::{Crash, Judge, Verdict, Violation};
use super::pace::Pace;
use super::panics;
use super::step::Kept;
use super::subsets::{Effort, Outcomes};
use super::tally::Tally;
use super::trouble::Trouble;
use super::watch::{Point, Watch};
use crate::engine::base::random::SplitMix64;
use crate::engine::disk::SimDisk;
use crate::tools::torture::Clause;
use crate::{CommitMode, Store};

/// A crash: before which operation of the disk, and what it keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CrashAt {
    /// Crash points before it, since the run or the recovery began.
    pub(crate) point: u64,
    pub(crate) kept: Kept,
}

/// How hard crash points are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depth {
    /// One of so many crash points is looked at.
    pub(crate) point_one_in: u64,
    /// One of so many just before a flush.
    pub(crate) window_one_in: u64,
    /// Of a step that has more crash points than this, a part is looked at: the longest values
    /// are copied in hundreds of steps.
    pub(crate) points_of_step: u64,
    /// Just before a flush.
    pub(crate) windows: Effort,
    /// Crash states by chance at each other point.
    pub(crate) scattered: usize,
    /// One of so many states is crashed during its recovery.
    pub(crate) nested_one_in: u64,
    /// Recoveries that are crashed one within the other.
    pub(crate) deepest: usize,
    /// One of so many states is opened again, and written to.
    pub(crate) again_one_in: u64,
}

impl Depth {
    /// The same for a large store, of which each state takes ten times as long.
    pub(crate) fn sparser(self) -> Depth {
        Depth { point_one_in: 16 * self.point_one_in, windows: self.windows.sparser(), ..self }
    }

    /// The same for a store that makes hundreds of keyspaces, each of which is flushed.
    pub(crate) fn sparsest(self) -> Depth {
        Depth { point_one_in: 64 * self.point_one_in, window_one_in: 64, ..self.sparser() }
    }
}

/// A failure, and the crashes that lead to it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) violation: Violation,
    pub(crate) crashes: Vec<CrashAt>,
    /// The step of the workload during which the first crash came; 0 opens the store.
    pub(crate) step: usize,
    /// What befell the store beside crashes.
    pub(crate) trouble: Option<Box<Trouble>>,
}

/// Explores.
#[derive(Debug)]
pub(crate) struct Explorer {
    pub(crate) setup: Setup,
    pub(crate) depth: Depth,
    pub(crate) judge: Judge,
    pub(crate) tally: Tally,
    pub(crate) rng: SplitMix64,
    pub(crate) pace: Pace,
    /// The workload is only run.
    pub(crate) skips_points: bool,
    /// Of the workload, if it has one.
    pub(crate) theme: Option<Theme>,
}

impl Explorer {
    /// Looks at everything that a crash at each of `points`, those of a step, can leave.
    pub(crate) fn explore(&mut self, points: Vec<Point>, history: &History) -> Result<(), Found> {
        let many = points.len() as u64 / self.depth.points_of_step.max(1);
        for point in points {
            if self.pace.is_over() {
                break;
            }
            let one_in = match point.is_window() {
                true => self.depth.window_one_in,
                false => self.depth.point_one_in * many.max(1),
            };
            if self.rng.below(one_in) > 0 {
                continue;
            }
            let mut path = Vec::new();
            self.point(&point, history, &mut path, true).map_err(|violation| Found {
                violation,
                crashes: path,
                step: 0,
                trouble: None,
            })?;
        }
        Ok(())
    }

    /// `path` holds the crashes so far, and has the one that failed added.
    fn point(
        &mut self,
        point: &Point,
        history: &History,
        path: &mut Vec<CrashAt>,
        is_first: bool,
    ) -> Result<(), Violation> {
        self.tally.crash_points += 1;
        self.tally.largest = self.tally.largest.max(point.disk.used_bytes());
        let mut states = vec![Kept::Everything, Kept::Nothing];
        states.extend((0..self.depth.scattered).map(|_| Kept::Seeded(self.rng.next())));
        let mut recovered = Vec::new();
        for kept in states {
            recovered.push(self.state(point, kept, history, path)?);
        }
        if is_first && point.is_window() {
            let choices = point.disk.choices();
            let outcomes = Outcomes::of(&choices, self.depth.windows, &mut self.rng);
            self.tally.window(choices.len(), outcomes.is_exhaustive());
            let pace = self.pace.clone();
            for kept in outcomes.take_while(|_| !pace.is_over()) {
                recovered.push(self.state(point, kept, history, path)?);
            }
        }
        if is_first {
            self.tally.moment(point, history, &recovered);
        }
        Ok(())
    }

    /// One crash state. Returns how many commits it recovered to.
    fn state(
        &mut self,
        point: &Point,
        kept: Kept,
        history: &History,
        path: &mut Vec<CrashAt>,
    ) -> Result<usize, Violation> {
        let image = point.disk.fork(kept.keep());
        path.push(CrashAt { point: point.number, kept });
        let are_kills = path.iter().all(|crash| crash.kept == Kept::Everything);
        let crash = if are_kills { Crash::Kill } else { Crash::PowerLoss };
        self.tally.state(path, history, &point.mark);
        self.judge.check(Clause::Answers);
        self.pace.beat();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            self.image(&image, history, &point.mark, crash, path)
        }));
        let k = caught.unwrap_or_else(|_| Err(Violation::safety(panics::take())))?;
        path.pop();
        Ok(k)
    }

    fn image(
        &mut self,
        image: &SimDisk,
        history: &History,
        mark: &Mark,
        crash: Crash,
        path: &mut Vec<CrashAt>,
    ) -> Result<usize, Violation> {
        let nests =
            path.len() <= self.depth.deepest && self.rng.below(self.depth.nested_one_in) == 0;
        let watch = nests.then(|| {
            let watch = Watch::default();
            watch.over(image);
            watch.set_mark(*mark);
            watch.note_points(true);
            watch
        });
        let store = self.setup.open(image).map_err(|error| {
            Violation::of(Clause::Answers, format!("the store does not open: {error}"))
        })?;
        let verdict = self.judge.recovered(&store, history, mark, crash)?;
        let points = watch.map_or(Vec::new(), |watch| watch.take_points());
        if self.rng.below(self.depth.again_one_in) == 0 {
            self.again(image, &store, history, mark, verdict)?;
        }
        drop(store);
        for point in self.some(points) {
            self.point(&point, history, path, false)?;
        }
        Ok(verdict.k)
    }

    /// Of the points of a recovery a few: each state has some, and there are many states.
    fn some(&mut self, points: Vec<Point>) -> Vec<Point> {
        const SOME: u64 = 2;
        let count = points.len() as u64;
        let taken = points.into_iter().filter(|_| count <= SOME || self.rng.below(count) < SOME);
        taken.collect()
    }

    /// Goes one way: the crashes of `path`, the first of which comes at `point`. Returns what is
    /// wrong at its end, if anything is.
    pub(crate) fn follow(
        &mut self,
        point: &Point,
        history: &History,
        path: &[CrashAt],
    ) -> Result<(), Violation> {
        let (here, rest) = path.split_first().expect("a way has a crash");
        let image = point.disk.fork(here.kept.keep());
        let [next, ..] = rest else {
            let mut only = Vec::new();
            return self.state(point, here.kept.clone(), history, &mut only).map(|_| ());
        };
        let watch = Watch::default();
        watch.over(&image);
        watch.set_mark(point.mark);
        watch.note_points(true);
        watch.note_only(next.point);
        let opened = catch_unwind(AssertUnwindSafe(|| self.setup.open(&image)));
        let points = watch.take_points();
        drop(opened);
        points.first().map_or(Ok(()), |point| self.follow(point, history, rest))
    }

    /// What was served is there after the next crash, and the store goes on.
    fn again(
        &mut self,
        image: &SimDisk,
        store: &Store,
        history: &History,
        mark: &Mark,
        verdict: Verdict,
    ) -> Result<(), Violation> {
        let opened = |disk: &SimDisk| {
            self.setup.open(disk).map_err(|error| {
                Violation::of(Clause::Again, format!("the store does not open again: {error}"))
            })
        };
        // Nothing but what is durable, and then nothing done: clauses 5 and 6.
        let after = image.fork(crate::engine::disk::Keep::Nothing);
        let second = opened(&after)?;
        self.judge.same(&second, history, verdict, Clause::Served, None)?;
        drop(second);
        // Writes go on, and survive.
        let wrote = write_more(store, self.rng.below(2) == 0);
        let wrote = wrote.map_err(|error| Violation::of(Clause::Again, format!("{error}")))?;
        let after = image.fork(crate::engine::disk::Keep::Nothing);
        let third = opened(&after)?;
        self.judge.check(Clause::Again);
        let found = third
            .open_keyspace(MORE)
            .and_then(|keyspace| keyspace.map(|keyspace| keyspace.len()).transpose());
        if !matches!(found, Ok(Some(found)) if found == wrote) {
            let what = format!("{wrote} keys were written, and after a crash it has {found:?}");
            return Err(Violation::of(Clause::Again, what));
        }
        // And what was there before is as it was, and so is what was told of it.
        self.judge.same(&third, history, verdict, Clause::Again, Some(MORE))?;
        let acknowledged = history.count_to(mark.acknowledged);
        self.judge.receipts(&third, history, verdict.k, acknowledged)?;
        let verified = third.verify().map(|found| found.problems);
        if !matches!(&verified, Ok(problems) if problems.is_empty()) {
            let what = format!("after writing and a crash, verify: {verified:?}");
            return Err(Violation::of(Clause::Again, what));
        }
        Ok(())
    }
}

/// The keyspace that a recovered store is tried with.
pub(super) const MORE: &str = "more";

/// Writes to a store, and makes everything durable. Returns how many keys there are in [`MORE`].
pub(super) fn write_more(store: &Store, makes_checkpoint: bool) -> crate::Result<u64> {
    let keyspace = store.keyspace(MORE)?;
    keyspace.put_with("one", [1; 100], CommitMode::Async)?;
    if makes_checkpoint {
        store.checkpoint()?;
    }
    keyspace.put_with("two", [2; 2000], CommitMode::Async)?;
    keyspace.put_with("three", [3; 10], CommitMode::Sync)?;
    Ok(3)
}
