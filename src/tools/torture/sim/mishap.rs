//! What befalls stores beside crashes, for the run of the tier: which job does what, how a failure
//! is run again, and how it is looked for in a smaller workload.

use std::sync::atomic::{AtomicU64, Ordering};

use super::case::Case;
use super::explore::{Explorer, Found};
use super::faults::{self, Calls};
use super::flips;
use super::generate;
use super::judge::{Judge, Violation};
use super::pace::Pace;
use super::play::explorer;
use super::rot;
use super::shape::Coverage;
use super::site::Sites;
use super::trouble::{BadWrite, Failing, Trouble, Troubled};
use super::work::WIDE;
use crate::tools::torture::{Config, Failure, FailureKind, Tier};

/// The bits of the golden stores are flipped in so many slices.
const SLICES: u64 = 256;
/// Of so many bits one is flipped in a smoke run, and in how many slices.
const SMOKE_STRIDE: u64 = 1000;
const SMOKE_SLICES: u64 = 8;

/// Which jobs let something befall a store.
#[derive(Debug)]
pub(crate) struct Mishaps {
    tier: Tier,
    /// Slices of the golden stores' bits that have been given out.
    slices: AtomicU64,
}

/// Jobs go round in this many.
const ROUND: u64 = 8;

/// How many jobs before this one let nothing befall a store; none if this one does.
pub(crate) fn workload_number(job: u64) -> Option<u64> {
    (!befalls(job)).then(|| job - number(job))
}

/// How many jobs before this one let something befall a store.
pub(crate) fn number(job: u64) -> u64 {
    let in_round = (0..job % ROUND).filter(|job| befalls(*job)).count() as u64;
    let in_whole = (0..ROUND).filter(|job| befalls(*job)).count() as u64;
    job / ROUND * in_whole + in_round
}

fn befalls(job: u64) -> bool {
    matches!(job % ROUND, 1 | 2 | 5)
}

/// What befell a store, and the failure with its workload if there was one.
pub(crate) type Befallen = (Explorer, Option<(Case, Found)>);

impl Mishaps {
    pub(crate) fn of(tier: Tier) -> Mishaps {
        Mishaps { tier, slices: AtomicU64::new(0) }
    }

    /// Does the job, if it is one. `sites` is what the worker has activated so far; what it
    /// activates now is counted there. A failure comes with its workload.
    pub(crate) fn one(
        &self,
        job: u64,
        seed: u64,
        pace: &Pace,
        sites: &mut Sites,
    ) -> Option<Befallen> {
        if !befalls(job) {
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
                played.err().map(|troubled| (case, troubled))
            }
            _ => {
                let each = if self.tier == Tier::Smoke { 1 } else { 4 };
                let played = rot::play(&case, seed, each, tally, &mut over);
                played.err().map(|troubled| (case, troubled))
            }
        };
        Some((explorer, found.map(found_with)))
    }

    /// Flips the next slice of the golden stores' bits. None if there is no more.
    pub(crate) fn flip(&self, seed: u64, pace: &Pace) -> Option<Befallen> {
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

/// Counts a state, and says whether it is time to stop.
fn over(pace: &Pace) -> impl FnMut() -> bool {
    || {
        pace.beat();
        pace.is_over()
    }
}

fn found_with((case, troubled): (Case, Troubled)) -> (Case, Found) {
    let found = found_of(troubled, case.steps.len());
    (case, found)
}

fn found_of(troubled: Troubled, step: usize) -> Found {
    let Troubled { violation, trouble } = troubled;
    Found { violation, crashes: Vec::new(), step, trouble: Some(Box::new(trouble)) }
}

/// Runs a failure again. None if it does not fail any more.
pub(crate) fn replay(case: &Case, trouble: &Trouble) -> Option<Found> {
    let violation = befall(case, trouble).err()?;
    Some(found_of(Troubled { violation, trouble: trouble.clone() }, case.steps.len()))
}

fn befall(case: &Case, trouble: &Trouble) -> Result<(), Violation> {
    match trouble {
        Trouble::Failing(failing) => {
            faults::replay(case, failing, &mut Judge::default()).map(|_| ())
        }
        Trouble::Write(bad) => rot::replay_write(case, bad).map(|_| ()),
        Trouble::Rot(rot) => rot::replay(case, rot),
    }
}

/// Looks for the same in another workload, where calls and writes have other numbers: the nearest
/// first, until `pace` is over, for there may be tens of thousands of them.
pub(crate) fn again(case: &Case, trouble: &Trouble, pace: &Pace) -> Option<Found> {
    let mut over = over(pace);
    let troubles: Box<dyn Iterator<Item = Trouble> + '_> = match trouble {
        Trouble::Failing(failing) => {
            let calls = faults::dry_run(case).ok()?.into_iter().zip(0..);
            let fitting = calls.filter(|(called, _)| failing.fault.fits(called));
            let calls = nearest(failing.call, fitting.map(|(_, call)| call));
            Box::new(calls.map(|call| Trouble::Failing(Failing { call, ..failing.clone() })))
        }
        Trouble::Write(bad) => {
            let writes = nearest(bad.write, 0..rot::count_writes(case));
            Box::new(writes.map(|write| Trouble::Write(BadWrite { write, ..bad.clone() })))
        }
        Trouble::Rot(_) => Box::new(std::iter::once(trouble.clone())),
    };
    troubles.take_while(|_| !over()).find_map(|trouble| replay(case, &trouble))
}

/// `numbers`, those that are nearest to `to` first.
fn nearest(to: u64, numbers: impl Iterator<Item = u64>) -> impl Iterator<Item = u64> {
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_by_key(|number| number.abs_diff(to));
    numbers.into_iter()
}

/// Pairs of fault and call site that no run has activated, and pairs of what commits are like that
/// no workload had: the suite has not done its work.
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
    use super::super::site::CallFault;
    use super::super::step::Kept;
    use super::super::trouble::Lasts;
    use super::*;

    /// In a workload of a thousand keyspaces there are tens of thousands of calls to try.
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
        assert!(again(&case, &Trouble::Failing(failing(calls / 2)), &pace).is_none());
        assert_eq!(pace.states(), 1);
    }

    #[test]
    fn the_nearest_come_first() {
        assert!(nearest(3, 0..6).take(5).eq([3, 2, 4, 1, 5]));
    }

    #[test]
    fn workloads_are_numbered_one_after_the_other() {
        assert!((0..8 * ROUND).filter_map(workload_number).eq(0..40));
    }
}
