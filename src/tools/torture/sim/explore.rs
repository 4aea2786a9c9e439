//! Explores crash points: the states that a crash can leave at a moment are recovered and judged, and
//! some of these recoveries are crashed in turn.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use super::case::Setup;
use super::generate::Theme;
use super::history::{History, Mark};
use super::injected::InjectedFault;
use super::judge::{Crash, Judge, Verdict, Violation};
use super::pace::Pace;
use super::panics;
use super::step::Kept;
use super::subsets::{Effort, Outcomes};
use super::tally::Tally;
use super::watch::{Point, Watch};
use crate::engine::base::random::SplitMix64;
use crate::engine::disk::SimDisk;
use crate::tools::torture::Clause;
use crate::{CommitMode, Store};

/// A crash: its moment, and what it keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CrashAt {
    /// The number of crash points before it, since the run or the recovery began.
    pub(crate) point: u64,
    pub(crate) kept: Kept,
}

/// How thoroughly crash points are explored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depth {
    /// One of this many crash points is explored.
    pub(crate) point_one_in: u64,
    /// The same for points just before a flush.
    pub(crate) window_one_in: u64,
    /// A step with more crash points than this has only a part of them explored: copies of the
    /// longest values have hundreds.
    pub(crate) points_of_step: u64,
    /// The subsets to try just before a flush.
    pub(crate) windows: Effort,
    /// Random crash states per point.
    pub(crate) scattered: usize,
    /// One of this many states is crashed during its recovery.
    pub(crate) nested_one_in: u64,
    /// The most recoveries that are crashed one within the other.
    pub(crate) deepest: usize,
    /// One of this many states is opened again, and written to.
    pub(crate) again_one_in: u64,
}

impl Depth {
    /// The same for a large store, where each state takes ten times as long.
    pub(crate) fn sparser(self) -> Depth {
        Depth { point_one_in: 16 * self.point_one_in, windows: self.windows.sparser(), ..self }
    }

    /// The same for a store that creates hundreds of keyspaces, each with a flush.
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
    /// The fault that was injected, crashes aside.
    pub(crate) injected: Option<Box<InjectedFault>>,
}

/// Explores the crash points of one workload.
#[derive(Debug)]
pub(crate) struct Explorer {
    pub(crate) setup: Setup,
    pub(crate) depth: Depth,
    pub(crate) judge: Judge,
    pub(crate) tally: Tally,
    pub(crate) rng: SplitMix64,
    pub(crate) pace: Pace,
    /// The workload runs without crash points.
    pub(crate) skips_points: bool,
    /// The theme of the workload, if it has one.
    pub(crate) theme: Option<Theme>,
}

impl Explorer {
    /// Explores crashes at `points`, all of one step.
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
                injected: None,
            })?;
        }
        Ok(())
    }

    /// Explores one crash point. `path` holds the crashes that led to it; a failure adds its own.
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

    /// Recovers and judges one crash state. Returns how many commits it recovered.
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
        for point in self.sample(points) {
            self.point(&point, history, path, false)?;
        }
        Ok(verdict.k)
    }

    /// A few points of a recovery: there are many recoveries.
    fn sample(&mut self, points: Vec<Point>) -> Vec<Point> {
        const SOME: u64 = 2;
        let count = points.len() as u64;
        let taken = points.into_iter().filter(|_| count <= SOME || self.rng.below(count) < SOME);
        taken.collect()
    }

    /// Replays the crashes of `path`, the first at `point`, and judges the last state.
    pub(crate) fn follow(
        &mut self,
        point: &Point,
        history: &History,
        path: &[CrashAt],
    ) -> Result<(), Violation> {
        let (here, rest) = path.split_first().expect("a path has a crash");
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

    /// Judges that the next crash undoes nothing that was served, and that the store takes writes.
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
        // P5 and P6: the durable state alone shows the same contents.
        let after = image.fork(crate::engine::disk::Keep::Nothing);
        let second = opened(&after)?;
        self.judge.same(&second, history, verdict, Clause::Served, None)?;
        drop(second);
        // New writes survive a crash.
        let wrote = write_more(store, self.rng.below(2) == 0);
        let wrote = wrote.map_err(|error| Violation::of(Clause::Again, format!("{error}")))?;
        let after = image.fork(crate::engine::disk::Keep::Nothing);
        let third = opened(&after)?;
        self.judge.check(Clause::Again);
        let found = third
            .open_keyspace(MORE)
            .and_then(|keyspace| keyspace.map(|keyspace| keyspace.len()).transpose());
        if !matches!(found, Ok(Some(found)) if found == wrote) {
            let what = format!("{wrote} keys were written, but a crash left {found:?}");
            return Err(Violation::of(Clause::Again, what));
        }
        // The older contents and their receipts are unchanged.
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

/// The keyspace for writes to a recovered store.
pub(super) const MORE: &str = "more";

/// Writes to a store and makes everything durable. Returns the number of keys in [`MORE`].
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
