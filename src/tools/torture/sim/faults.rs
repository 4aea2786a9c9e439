//! Failing calls: each call of the disk that can fail is made to fail.
//!
//! A dry run of a workload lists its calls. Then the workload runs once for each call, each fault that
//! fits it, once and for ever. It continues for some steps, crashes, recovers, and continues again.
//! These must hold:
//!
//! - Before the crash each answer is right, or an error that fits: [`Error::Io`] after an input/output
//!   error, [`Error::DiskFull`] after ENOSPC.
//! - [`Error::Poisoned`] fits where the content of the device is unknown: after a failed flush, and
//!   after a failed write, which may be the superblock's. Its cause must fit in turn. No other fault
//!   may poison: not a full device, and not a failure to create, grow, open, rename, map, remove or
//!   read a file. One exception: a commit of more rows than a quarter of the frames reads pages a second
//!   time while it is applied. A device that fails every try to read one of them poisons.
//! - A refused commit is absent, and an acknowledged one is there. Only the first commit that got
//!   [`Error::Poisoned`] may be there or not.
//! - Reads go on, and need no space. While another fault lasts they may report it. After a failed
//!   flush whose pages the page cache dropped they may report [`Error::Corrupt`], never wrong data.
//! - A poisoned store takes no commit, and its receipts are durable or answer with the error.
//! - An opening that a full disk refuses leaves no file behind.
//! - A store that is not poisoned goes on, without reopening, as soon as the fault is cleared.
//! - After the crash P holds. Opening may be refused while the fault lasts, and succeeds after it.
//!
//! Not here: the standard library repeats short and interrupted reads and writes, below the disk's
//! interface; the kill tier injects them into system calls. A failed allocation of memory ends the
//! process, as a kill does. Clocks that jump need no simulation: the engine reads no wall clock, and a
//! tidy test holds that.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::case::Case;
use super::contents::Stamp;
use super::history::{History, Mark};
use super::injected::{Failing, FaultViolation, InjectedFault, Lasts};
use super::judge::{Crash, Judge, Violation};
use super::meter::{Called, Meter, PlannedFault};
use super::panics;
use super::run::{StepOutcome, StepResult, WorkloadRun};
use super::site::{CallFault, Phase, Site};
use super::step::{Change, Kept, Mode, Step};
use super::tally::Tally;
use crate::Error;
use crate::engine::base::random::SplitMix64;
use crate::engine::disk::{Op, SimDisk};

/// The most steps between the fault and the crash.
const STEPS_AFTER: usize = 5;

/// How many runs of a workload have a failing call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    Every,
    /// This many; pairs of fault and site that were activated least come first.
    Some(usize),
}

/// Runs `case` with failing calls, one per run, until `over` is true.
pub(crate) fn play(
    case: &Case,
    seed: u64,
    calls: Calls,
    tally: &mut Tally,
    judge: &mut Judge,
    over: &mut dyn FnMut() -> bool,
) -> Result<(), FaultViolation> {
    let mut plan = plan(case, seed, tally).map_err(|violation| FaultViolation {
        violation,
        injected: InjectedFault::Failing(failing(u64::MAX, CallFault::Io, Lasts::Once)),
    })?;
    // The least activated pairs come first, in random order among equals.
    let mut rng = SplitMix64::new(seed ^ 0xFA17);
    plan.sort_by_cached_key(|(site, failing)| (count(tally, *site, failing), rng.next()));
    let mut left = match calls {
        Calls::Every => usize::MAX,
        Calls::Some(count) => count,
    };
    for (site, failing) in plan {
        // A pair that was never activated runs even if the effort or the time is used up.
        if count(tally, site, &failing) > 0 && (left == 0 || over()) {
            continue;
        }
        left = left.saturating_sub(1);
        let result = replay(case, &failing, judge);
        let met = result.map_err(|violation| {
            let what = format!("{} [{}: {site}]", violation.what, failing.fault.name());
            let violation = Violation { what, ..violation };
            let injected = InjectedFault::Failing(failing.clone());
            FaultViolation { violation, injected }
        })?;
        tally.states += 1;
        let Some((history, mark)) = met else { continue };
        tally.sites.activated(failing.fault, site, failing.lasts.into());
        tally.fault(failing.fault.number(), &history, &mark);
    }
    Ok(())
}

/// Runs `case` with one failing call. If it has failed, returns the history, and the promises before the
/// step in which it failed.
pub(crate) fn replay(
    case: &Case,
    failing: &Failing,
    judge: &mut Judge,
) -> Result<Option<(History, Mark)>, Violation> {
    judge.begin();
    let planned = PlannedFault {
        call: failing.call,
        fault: failing.fault,
        persistence: failing.lasts.into(),
    };
    let mut play = Play::new(case, Some(planned), failing);
    let caught = catch_unwind(AssertUnwindSafe(|| play.all(case, judge)));
    let result = caught.unwrap_or_else(|_| Err(Violation::safety(panics::take())));
    let (history, mark) = (std::mem::take(&mut play.run.history), play.mark);
    let has_happened = play.meter.has_happened(&play.run.disk);
    play.run.abandon();
    result.map(|()| has_happened.then_some((history, mark)))
}

/// The calls of `case`, each with the faults that fit it.
fn plan(case: &Case, seed: u64, tally: &mut Tally) -> Result<Vec<(Site, Failing)>, Violation> {
    let mut plan = Vec::new();
    for (called, call) in dry_run(case)?.into_iter().zip(0..) {
        let Called { site, by_judge, .. } = called;
        if by_judge {
            continue;
        }
        for fault in CallFault::ALL.into_iter().filter(|fault| fault.fits(&called)) {
            tally.sites.saw(fault, site);
            for lasts in [Lasts::Once, Lasts::Forever] {
                let mut failing = failing(call, fault, lasts);
                let mut rng = SplitMix64::new(seed ^ call << 8 ^ fault as u64);
                failing.heals_after = rng.below(3);
                failing.through_crash = rng.below(3) == 0;
                if failing.through_crash {
                    failing.heals_after = u64::MAX;
                }
                failing.kept = match rng.below(3) {
                    0 => Kept::Everything,
                    1 => Kept::Nothing,
                    _ => Kept::Seeded(rng.next()),
                };
                plan.push((site, failing));
            }
        }
    }
    Ok(plan)
}

fn failing(call: u64, fault: CallFault, lasts: Lasts) -> Failing {
    let kept = Kept::Nothing;
    Failing { call, fault, lasts, heals_after: 0, through_crash: false, kept }
}

fn count(tally: &Tally, site: Site, failing: &Failing) -> u64 {
    tally.sites.count(failing.fault, site, failing.lasts.into())
}

/// All calls of `case` while nothing fails.
pub(crate) fn dry_run(case: &Case) -> Result<Vec<Called>, Violation> {
    let nothing = failing(u64::MAX, CallFault::Io, Lasts::Once);
    let mut play = Play::new(case, None, &nothing);
    play.all(case, &mut Judge::default())?;
    let calls = play.meter.calls();
    play.run.abandon();
    Ok(calls)
}

/// A run of a workload with a failing call.
struct Play<'a> {
    run: WorkloadRun,
    meter: Meter,
    failing: &'a Failing,
    /// Steps since the fault came into force.
    since: Option<usize>,
    /// The promises before the step in which it did, or before this one.
    mark: Mark,
    /// The fault was in force during a part of the step.
    was_on: bool,
    /// [`WorkloadRun::has_read_within`], in the life before the step or in that after it.
    has_read_within: bool,
}

impl<'a> Play<'a> {
    fn new(case: &Case, planned: Option<PlannedFault>, failing: &'a Failing) -> Play<'a> {
        let mut run = WorkloadRun::new(&case.setup, SimDisk::new());
        run.may_lack_pages = failing.fault == CallFault::FlushForgotten;
        let meter = Meter::new(planned);
        run.watch.set_hook(meter.hook());
        let (since, was_on, has_read_within) = (None, false, false);
        Play { run, meter, failing, since, mark: Mark::default(), was_on, has_read_within }
    }

    fn all(&mut self, case: &Case, judge: &mut Judge) -> Result<(), Violation> {
        self.step(0, None, judge)?;
        for (at, step) in (1..).zip(&case.steps) {
            let next = case.steps.get(at);
            if matches!(step, Step::Beside { .. })
                && !matches!(next, Some(Step::Checkpoint | Step::Flush))
            {
                continue; // only the store knows the order of commits beside another commit
            }
            self.step(at, Some(step), judge)?;
            if self.since.is_some_and(|since| since > STEPS_AFTER) {
                break;
            }
        }
        if self.since.is_some() {
            self.end(case.steps.len() + 1, judge)?;
        }
        Ok(())
    }

    /// Runs a step and judges the result. None opens the store for the first time.
    fn step(&mut self, at: usize, step: Option<&Step>, judge: &mut Judge) -> Result<(), Violation> {
        self.meter.begin(at);
        self.run.watch.set_phase(Phase::of(step));
        self.note_state();
        if self.since.is_none() {
            self.mark = self.run.history.mark;
        }
        let was_on = self.meter.is_on();
        let read_within = self.run.has_read_within;
        let outcome = match step {
            Some(Step::Read) => self.look(judge)?,
            Some(Step::Flush) => self.flush(judge)?,
            Some(step) => self.run.step(step, judge)?,
            None => self.run.open(Crash::Kill, judge)?,
        };
        self.note_state();
        // A close that fails reports a fault of the life that it ends.
        self.has_read_within = read_within || self.run.has_read_within;
        let Some(site) = self.meter.fired() else {
            return match outcome {
                StepOutcome::Done => Ok(()),
                StepOutcome::Refused(error) => Err(Violation::refused(&error)),
            };
        };
        self.was_on = was_on || self.since.is_none();
        if let StepOutcome::Refused(error) = outcome {
            self.refused(site, &error)?;
            if self.run.store.is_none() {
                self.open_after_fault(crash_of(step), judge)?;
            }
        }
        let since = *self.since.get_or_insert(0);
        if self.meter.is_on() && self.is_over(since) {
            self.meter.heal(&self.run.disk);
            self.serves_again(at, judge)?;
        }
        if since == 0 {
            self.run.watch.set_phase(Phase::Reading);
            if let StepOutcome::Refused(error) = self.look(judge)? {
                self.refused(site, &error)?;
            }
        }
        self.since = Some(since + 1);
        Ok(())
    }

    fn is_over(&self, since: usize) -> bool {
        self.failing.lasts == Lasts::Once || since as u64 >= self.failing.heals_after
    }

    /// Adjusts the history before and after each step.
    fn note_state(&mut self) {
        if self.run.may_lack_pages {
            // A kill also takes the data that the page cache has dropped.
            self.run.history.mark.written = self.run.history.mark.durable;
        }
        let is_poisoned = self.run.store.as_ref().is_some_and(crate::Store::is_poisoned);
        self.run.is_poisoned |= is_poisoned;
    }

    /// Judges an error: it must fit the fault, and last no longer than the fault.
    fn refused(&mut self, site: Site, error: &Error) -> Result<(), Violation> {
        let fault = self.failing.fault;
        let is_poison = matches!(error, Error::Poisoned { .. });
        if !is_poison && !self.was_on && !self.is_forgotten(error) && !self.run.is_poisoned {
            return Err(Violation::liveness(format!(
                "refused although no fault is in force: {error}"
            )));
        }
        let is_full = matches!(fault, CallFault::Full | CallFault::FullFromHere);
        // A commit that is larger than the cache fails to read a page, each time it tries.
        let is_read_within = fault == CallFault::Io
            && self.failing.lasts == Lasts::Forever
            && site.op == Op::Read
            && self.has_read_within;
        if is_poison && !may_poison(fault, site.op) && !is_read_within {
            return Err(Violation::liveness(format!("poisoned by {}: {error}", fault.name())));
        }
        if let Some(name) = self.run.left.take()
            && is_full
        {
            let what = format!("an opening that a full disk refused left {name} behind: {error}");
            return Err(Violation::liveness(what));
        }
        // If the creation or drop of a keyspace is in doubt, it may answer as if it were done.
        let is_undecided = self.run.history.is_in_doubt()
            && matches!(error, Error::NoSuchKeyspace { .. } | Error::KeyspaceExists { .. });
        if !fits(fault, error) && !self.is_forgotten(error) && !is_undecided {
            let what = format!("{} was reported as: {error}", fault.name());
            return Err(Violation::safety(what));
        }
        Ok(())
    }

    fn is_forgotten(&self, error: &Error) -> bool {
        self.run.may_lack_pages && matches!(error, Error::Corrupt { .. })
    }

    /// The store did not open: it must once the fault is cleared.
    fn open_after_fault(&mut self, crash: Crash, judge: &mut Judge) -> Result<(), Violation> {
        self.meter.heal(&self.run.disk);
        match self.run.open(crash, judge)? {
            StepOutcome::Done => Ok(()),
            StepOutcome::Refused(error) => {
                let what = format!("it does not open although the fault is cleared: {error}");
                Err(Violation::liveness(what))
            }
        }
    }

    /// The fault is cleared: unless it is poisoned, the store must take commits and a checkpoint.
    fn serves_again(&mut self, at: usize, judge: &mut Judge) -> Result<(), Violation> {
        self.note_state();
        if self.run.is_poisoned {
            return Ok(());
        }
        for step in [self.write(at, Mode::Async), self.write(at, Mode::Sync), Step::Checkpoint] {
            if let StepOutcome::Refused(error) = self.run.step(&step, judge)? {
                let what = format!("the fault is cleared, but a {step} is refused: {error}");
                return Err(Violation::liveness(what));
            }
        }
        Ok(())
    }

    /// A commit of a value that no other step writes.
    fn write(&self, at: usize, mode: Mode) -> Step {
        let keyspaces = &self.run.history.now().keyspaces;
        let keyspace = keyspaces.keys().next().copied().unwrap_or(0);
        let id = 1_000_000 + at as u32 * 2 + u32::from(mode == Mode::Sync);
        let value = Stamp { id, bytes: 300 };
        Step::Commit { mode, changes: vec![Change::Put { keyspace, key: 7, value }] }
    }

    /// A flush, after a round of the work that a background thread does in a real store.
    fn flush(&mut self, judge: &mut Judge) -> StepResult {
        let store = self.run.store.clone().expect("an open store");
        match store.keep_log() {
            Ok(()) => self.run.step(&Step::Flush, judge),
            Err(error) => Ok(StepOutcome::Refused(error)),
        }
    }

    /// Reads everything, whether or not the fault is in force.
    fn look(&mut self, judge: &mut Judge) -> StepResult {
        let Some(store) = self.run.store.clone() else { return Ok(StepOutcome::Done) };
        match judge.look(&store, None)? {
            Ok((hash, _)) if self.run.history.may_show(hash) => {}
            Ok(_) => return Err(Violation::safety("reads do not show what was committed")),
            Err(error @ Error::DiskFull { .. }) => {
                return Err(Violation::liveness(format!("a read needs space: {error}")));
            }
            Err(error) => return Ok(StepOutcome::Refused(error)),
        }
        if store.is_poisoned() {
            judge.poisoned(&store, &self.run.history, self.run.may_lack_pages)?;
        }
        match store.verify() {
            Ok(found) if found.is_clean() => {}
            // The device lacks the data that the page cache has dropped.
            Ok(_) if self.run.may_lack_pages => return Ok(StepOutcome::Done),
            Ok(found) => {
                return Err(Violation::safety(format!("verify: {}", found.problems.join("; "))));
            }
            Err(error) => return Ok(StepOutcome::Refused(error)),
        }
        if !self.meter.is_on() && !store.is_poisoned() {
            let judged = judge.running(&store, &self.run.history);
            return match judged {
                // The fault came into force while the judge read.
                Err(_) if self.meter.is_on() => Ok(StepOutcome::Done),
                judged => judged.map(|()| StepOutcome::Done),
            };
        }
        Ok(StepOutcome::Done)
    }

    /// The crash, the recovery, and life after it.
    fn end(&mut self, at: usize, judge: &mut Judge) -> Result<(), Violation> {
        if !self.failing.through_crash {
            self.meter.heal(&self.run.disk);
        }
        let crash = Step::Crash { keep: self.failing.kept.clone() };
        self.step(at, Some(&crash), judge)?;
        self.meter.heal(&self.run.disk);
        let last = Step::Crash { keep: Kept::Nothing };
        let steps = [
            Step::Read,
            self.write(at, Mode::Sync),
            last,
            Step::Read,
            self.write(at + 1, Mode::Sync),
        ];
        for step in &steps {
            self.meter.begin(at);
            self.run.watch.set_phase(Phase::of(Some(step)));
            if let StepOutcome::Refused(error) = self.run.step(step, judge)? {
                let what = format!("after the fault and a crash, {step} is refused: {error}");
                return Err(Violation::liveness(what));
            }
        }
        Ok(())
    }
}

fn crash_of(step: Option<&Step>) -> Crash {
    match step {
        Some(Step::Crash { keep }) if *keep != Kept::Everything => Crash::PowerLoss,
        _ => Crash::Kill,
    }
}

/// Whether the fault leaves the content of the device unknown: see the module's header.
fn may_poison(fault: CallFault, op: Op) -> bool {
    match fault {
        CallFault::Flush | CallFault::FlushForgotten => true,
        CallFault::Full | CallFault::FullFromHere => false,
        CallFault::Io => op == Op::Write,
    }
}

/// Whether `error` is one that the fault may cause.
fn fits(fault: CallFault, error: &Error) -> bool {
    match (fault, error) {
        (_, Error::Poisoned { source, .. }) => fits(fault, source),
        (CallFault::Full | CallFault::FullFromHere, error) => {
            matches!(error, Error::DiskFull { .. })
        }
        (_, error) => matches!(error, Error::Io { .. }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::generate;
    use super::super::site::Sites;
    use super::*;
    use crate::tools::torture::sim::site::FileKind;

    /// Runs `work` in a thread that catches panics, as workers do.
    fn worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let worker = std::thread::spawn(|| {
            panics::catch();
            work()
        });
        worker.join().expect("no panic escapes")
    }

    #[test]
    fn calls_fail_and_promises_are_kept() {
        let (tally, failures) = worker(|| {
            let (mut tally, mut judge) = (Tally::default(), Judge::default());
            let mut failures = Vec::new();
            for seed in 0..11 {
                let (case, calls) = (generate::case(seed), Calls::Some(30));
                let played = play(&case, seed, calls, &mut tally, &mut judge, &mut || false);
                failures.extend(played.err().map(|found| format!("seed {seed}: {found:?}")));
            }
            (tally, failures)
        });
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        assert!(tally.states > 200 && tally.sites.missing().is_empty(), "{:?}", tally.sites);
    }

    /// A bug: a failed write of a check poisoned the store for every later checkpoint, and the store
    /// did not report it.
    #[test]
    fn a_failed_write_after_a_check_is_reported() {
        let case: Case = serde_json::from_str(
            r#"{"setup": {"page_bytes": 4096, "cache_bytes": 524288, "segment_bytes": 65536,
            "checkpoint_log_bytes": 16777216, "max_unsynced_bytes": 16777216}, "steps": [
            {"create": {"keyspace": 0}}, {"create": {"keyspace": 6}},
            {"beside": {"after": 2, "commits": [[
                {"put": {"keyspace": 0, "key": 87, "value": {"id": 175, "bytes": 80912}}}]]}},
            "checkpoint", "flush"]}"#,
        )
        .unwrap();
        let failures = worker(move || {
            let calls = dry_run(&case).expect("nothing fails").into_iter().zip(0..);
            let writes = calls.filter(|(called, _)| called.site.op == Op::Write);
            let failing = |call| Failing {
                lasts: Lasts::Forever,
                heals_after: 1,
                kept: Kept::Everything,
                ..failing(call, CallFault::Io, Lasts::Forever)
            };
            let played = |call| replay(&case, &failing(call), &mut Judge::default());
            writes.filter_map(|(_, call)| Some((call, played(call).err()?))).collect::<Vec<_>>()
        });
        assert!(failures.is_empty(), "{failures:?}");
    }

    /// The sites and faults of fixed bugs.
    const FORMER: [(Op, FileKind, CallFault); 3] = [
        // The flush of the new store's name fails. The next attempt found the store and took its
        // name for durable: a power loss left the log without its data file.
        (Op::SyncDir, FileKind::Directory, CallFault::Flush),
        // The flush of the first segment fails. The next attempt recycled the file, whose length
        // was never durable: a power loss cut off the log.
        (Op::Sync, FileKind::Log, CallFault::Flush),
        // The header of a new segment cannot be written. The next attempt found the file and did
        // not flush its name: a power loss took it, with durable commits.
        (Op::Write, FileKind::Log, CallFault::Io),
    ];

    /// Makes the first calls of a site fail, in every way. Returns the number of runs.
    fn fail_first(seed: u64, op: Op, file: FileKind, fault: CallFault) -> u64 {
        let (case, mut runs) = (generate::case(seed), 0);
        let calls = dry_run(&case).expect("nothing fails").into_iter().zip(0..);
        let same = |called: &Called| (called.site.op, called.site.file) == (op, file);
        for (_, call) in calls.filter(|(called, _)| same(called) && !called.by_judge).take(3) {
            for kept in [Kept::Nothing, Kept::Everything, Kept::Seeded(seed ^ call)] {
                for (lasts, heals_after) in [(Lasts::Once, 0), (Lasts::Forever, 2)] {
                    let (kept, through_crash) = (kept.clone(), false);
                    let failing = Failing { call, fault, lasts, heals_after, through_crash, kept };
                    let played = replay(&case, &failing, &mut Judge::default());
                    assert_eq!(played.map(|_| ()), Ok(()), "seed {seed}, {failing:?}");
                    runs += 1;
                }
            }
        }
        runs
    }

    #[test]
    fn fixed_bugs_do_not_return() {
        for (op, file, fault) in FORMER {
            let runs: u64 =
                worker(move || (0..4).map(|seed| fail_first(seed, op, file, fault)).sum());
            assert!(runs > 24, "{op:?} of {file:?} failed in {runs} runs");
        }
    }

    #[test]
    fn the_workloads_reach_the_sites_that_they_must() {
        let sites = worker(|| {
            let mut sites = Sites::default();
            for seed in 0..40 {
                let calls = dry_run(&generate::case(seed)).expect("nothing fails");
                let calls = calls.iter().filter(|call| !call.by_judge);
                calls.for_each(|call| sites.saw(CallFault::Io, call.site));
            }
            sites
        });
        assert_eq!(sites.unreached(), Vec::<String>::new());
    }

    #[test]
    fn errors_that_do_not_fit_the_fault_are_noticed() {
        let full = Error::DiskFull { file: "sim:/data".into(), needed: 1 };
        let poisoned = |source: &Error| {
            let (source, appended) = (source.clone().into(), None);
            Error::Poisoned { source, appended }
        };
        assert!(fits(CallFault::Full, &full) && !fits(CallFault::Io, &full));
        assert!(fits(CallFault::Full, &poisoned(&full)) && !fits(CallFault::Io, &poisoned(&full)));
        assert!(may_poison(CallFault::Io, Op::Write) && !may_poison(CallFault::Io, Op::Read));
        assert!(!may_poison(CallFault::FullFromHere, Op::Allocate));
    }
}
