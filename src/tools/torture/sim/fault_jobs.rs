//! Jobs that inject a fault other than a crash: their turn among all jobs, the replay of a failure
//! that they found, and the search for the same failure in a smaller workload.

use std::sync::atomic::{AtomicU64, Ordering};

use super::case::Case;
use super::explore::{Explorer, Found};
use super::faults::{self, Calls};
use super::flips;
use super::generate;
use super::injected::{BadWrite, Failing, FaultViolation, InjectedFault};
use super::judge::{Judge, Violation};
use super::pace::Pace;
use super::play::explorer;
use super::rot;
use super::shape::Coverage;
use super::site::Sites;
use super::work::WIDE;
use crate::tools::torture::{Config, Failure, FailureKind, Tier};

/// The number of slices in which the bits of the golden stores are flipped.
const SLICES: u64 = 256;
/// A smoke run flips one of this many bits, in this many slices.
const SMOKE_STRIDE: u64 = 1000;
const SMOKE_SLICES: u64 = 8;

/// Runs the jobs that inject a fault.
#[derive(Debug)]
pub(crate) struct FaultJobs {
    tier: Tier,
    /// Slices of the golden stores' bits that workers have taken.
    slices: AtomicU64,
}

/// The kinds of jobs repeat after this many.
const ROUND: u64 = 8;

/// How many jobs before this one inject no fault; none if this one does.
pub(crate) fn workload_number(job: u64) -> Option<u64> {
    (!is_fault_job(job)).then(|| job - fault_number(job))
}

/// How many jobs before this one inject a fault.
pub(crate) fn fault_number(job: u64) -> u64 {
    let in_round = (0..job % ROUND).filter(|job| is_fault_job(*job)).count() as u64;
    let in_whole = (0..ROUND).filter(|job| is_fault_job(*job)).count() as u64;
    job / ROUND * in_whole + in_round
}

fn is_fault_job(job: u64) -> bool {
    matches!(job % ROUND, 1 | 2 | 5)
}

/// The counters of a fault job, and the failure with its workload if it found one.
pub(crate) type FaultJobResult = (Explorer, Option<(Case, Found)>);

impl FaultJobs {
    pub(crate) fn of(tier: Tier) -> FaultJobs {
        FaultJobs { tier, slices: AtomicU64::new(0) }
    }

    /// Runs `job`; none if it injects no fault. `sites` holds the pairs that the worker has activated
    /// so far, and gets those of this job.
    pub(crate) fn one(
        &self,
        job: u64,
        seed: u64,
        pace: &Pace,
        sites: &mut Sites,
    ) -> Option<FaultJobResult> {
        if !is_fault_job(job) {
            return None;
        }
        let case = generate::case(seed);
        let mut explorer = explorer(&case, WIDE, seed);
        explorer.pace = pace.clone();
        let Explorer { tally, judge, .. } = &mut explorer;
        let mut over = over(pace);
        let found = match job % ROUND {
            1 | 5 => {
                let calls = match (self.tier, job % 64) {
                    (Tier::Smoke, _) => Calls::Some(24),
                    (_, 1) => Calls::Every,
                    _ => Calls::Some(100),
                };
                tally.sites = std::mem::take(sites);
                let played = faults::play(&case, seed, calls, tally, judge, &mut over);
                *sites = std::mem::take(&mut tally.sites);
                played.err().map(|found| (case, found))
            }
            _ => {
                let each = if self.tier == Tier::Smoke { 1 } else { 4 };
                let played = rot::play(&case, seed, each, tally, &mut over);
                played.err().map(|found| (case, found))
            }
        };
        Some((explorer, found.map(found_with)))
    }

    /// Flips the next slice of the golden stores' bits. None if no slice is left.
    pub(crate) fn flip(&self, seed: u64, pace: &Pace) -> Option<FaultJobResult> {
        let slice = self.slices.fetch_add(1, Ordering::Relaxed);
        let (stride, offset, slices) = match self.tier {
            Tier::Smoke => (SMOKE_STRIDE * SMOKE_SLICES, slice * SMOKE_STRIDE, SMOKE_SLICES),
            _ => (SLICES, slice, SLICES),
        };
        if slice >= slices {
            return None;
        }
        let mut explorer = explorer(&generate::case(seed), WIDE, seed);
        let flipped = flips::run(stride, offset, &mut explorer.tally, &mut over(pace));
        Some((explorer, flipped.err().map(|found| found_with(*found))))
    }
}

/// Counts a state, and returns whether it is time to stop.
fn over(pace: &Pace) -> impl FnMut() -> bool {
    || {
        pace.beat();
        pace.is_over()
    }
}

fn found_with((case, found): (Case, FaultViolation)) -> (Case, Found) {
    let found = found_of(found, case.steps.len());
    (case, found)
}

fn found_of(found: FaultViolation, step: usize) -> Found {
    let FaultViolation { violation, injected } = found;
    Found { violation, crashes: Vec::new(), step, injected: Some(Box::new(injected)) }
}

/// Replays a failure. None if it does not fail any more.
pub(crate) fn replay(case: &Case, injected: &InjectedFault) -> Option<Found> {
    let violation = inject(case, injected).err()?;
    Some(found_of(FaultViolation { violation, injected: injected.clone() }, case.steps.len()))
}

fn inject(case: &Case, injected: &InjectedFault) -> Result<(), Violation> {
    match injected {
        InjectedFault::Failing(failing) => {
            faults::replay(case, failing, &mut Judge::default()).map(|_| ())
        }
        InjectedFault::Write(bad) => rot::replay_write(case, bad).map(|_| ()),
        InjectedFault::Rot(rot) => rot::replay(case, rot),
    }
}

/// Looks for the same failure in another workload, where calls and writes have other numbers. The
/// nearest numbers come first, until `pace` is over: there may be tens of thousands of them.
pub(crate) fn again(case: &Case, injected: &InjectedFault, pace: &Pace) -> Option<Found> {
    let mut over = over(pace);
    let candidates: Box<dyn Iterator<Item = InjectedFault> + '_> = match injected {
        InjectedFault::Failing(failing) => {
            let calls = faults::dry_run(case).ok()?.into_iter().zip(0..);
            let fitting = calls.filter(|(called, _)| failing.fault.fits(called));
            let calls = nearest(failing.call, fitting.map(|(_, call)| call));
            Box::new(calls.map(|call| InjectedFault::Failing(Failing { call, ..failing.clone() })))
        }
        InjectedFault::Write(bad) => {
            let writes = nearest(bad.write, 0..rot::count_writes(case));
            Box::new(writes.map(|write| InjectedFault::Write(BadWrite { write, ..bad.clone() })))
        }
        InjectedFault::Rot(_) => Box::new(std::iter::once(injected.clone())),
    };
    candidates.take_while(|_| !over()).find_map(|injected| replay(case, &injected))
}

/// `numbers`, by their distance to `to`.
fn nearest(to: u64, numbers: impl Iterator<Item = u64>) -> impl Iterator<Item = u64> {
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_by_key(|number| number.abs_diff(to));
    numbers.into_iter()
}

/// Failures of the suite itself: pairs of fault and call site that no run has activated, sites that
/// no run has reached, and pairs of facts that no commit had.
pub(crate) fn never_activated(config: &Config, sites: &Sites, coverage: &Coverage) -> Vec<Failure> {
    let missing = sites.missing().into_iter().map(|pair| format!("never activated: {pair}"));
    let unreached = sites.unreached().into_iter().map(|site| format!("never reached: {site}"));
    let failure = |title| Failure {
        kind: FailureKind::Harness,
        clause: None,
        title,
        story: Vec::new(),
        replay: format!("syncline torture --seed {}", config.seed),
    };
    let unmet = coverage.empty().into_iter().map(|pair| format!("no commit had {pair}"));
    missing.chain(unreached).chain(unmet).map(failure).collect()
}

#[cfg(test)]
mod tests {
    use super::super::injected::Lasts;
    use super::super::site::CallFault;
    use super::super::step::Kept;
    use super::*;

    #[test]
    fn a_search_for_the_same_failure_ends_with_its_pace() {
        let case = generate::case(3);
        let calls = faults::dry_run(&case).unwrap().len() as u64;
        let fault = CallFault::Io;
        let failing = |call| Failing {
            call,
            fault,
            lasts: Lasts::Once,
            heals_after: 0,
            through_crash: false,
            kept: Kept::Nothing,
        };
        let pace = Pace::default();
        pace.stop();
        assert!(again(&case, &InjectedFault::Failing(failing(calls / 2)), &pace).is_none());
        assert_eq!(pace.states(), 1);
    }

    #[test]
    fn the_nearest_numbers_come_first() {
        assert!(nearest(3, 0..6).take(5).eq([3, 2, 4, 1, 5]));
    }

    #[test]
    fn workloads_are_numbered_one_after_the_other() {
        assert!((0..8 * ROUND).filter_map(workload_number).eq(0..40));
    }
}
