//! The workers of the simulated tier: each takes the next seed until the time is over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::case::Case;
use super::explore::{Depth, Explorer, Found};
use super::fault_jobs::{self, FaultJobs};
use super::generate::{self, Theme};
use super::judge::Judge;
use super::pace::Pace;
use super::panics;
use super::play::{explorer, play, replay};
use super::report;
use super::shape::{self, Coverage};
use super::subsets::Effort;
use super::tally::Tally;
use crate::engine::base::random::SplitMix64;
use crate::tools::torture::{Clause, Config, Failure, FailureKind, Progress, SimSummary, Tier};

/// A worker that makes no progress for this long hangs.
const HANG: Duration = Duration::from_secs(20);
/// The run ends after this many failures.
const ENOUGH: usize = 5;

/// For many workloads: a few states of each crash point.
pub(crate) const WIDE: Depth = Depth {
    point_one_in: 1,
    window_one_in: 1,
    points_of_step: 32,
    windows: Effort { exhaustive: 32, sampled: 2 },
    scattered: 1,
    nested_one_in: 24,
    deepest: 5,
    again_one_in: 16,
};

/// For few workloads: many states of each crash point.
const DEEP: Depth = Depth {
    point_one_in: 1,
    window_one_in: 1,
    points_of_step: 256,
    windows: Effort { exhaustive: 1 << 16, sampled: 16 },
    scattered: 3,
    nested_one_in: 24,
    deepest: 5,
    again_one_in: 16,
};

/// As [`DEEP`], within a minute.
const SMOKE_DEEP: Depth = Depth { windows: Effort { exhaustive: 1 << 11, sampled: 8 }, ..DEEP };

/// The state that the workers share.
struct Shared<'a> {
    config: &'a Config,
    progress: &'a Progress,
    next: AtomicU64,
    deadline: Option<Instant>,
    found: Mutex<Vec<Failure>>,
    tally: Mutex<(Tally, Judge)>,
    fault_jobs: FaultJobs,
    jobs: Jobs,
}

/// The kinds of jobs of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Jobs {
    /// Crashes, failing calls and rot, in turn.
    Mixed,
    /// The bits of the golden stores.
    Flips,
}

/// Runs the simulated tier.
pub(crate) fn run(config: &Config, progress: &Progress) -> (SimSummary, Vec<Failure>) {
    let (summary, mut found, tally) = run_jobs(config, progress, Jobs::Mixed);
    if config.tier != Tier::Smoke && !progress.is_stopped() && found.is_empty() {
        found.extend(fault_jobs::never_activated(config, &tally.sites, &tally.coverage));
    }
    (summary, found)
}

/// Flips the bits of the golden stores.
pub(crate) fn flip(config: &Config, progress: &Progress) -> (SimSummary, Vec<Failure>) {
    let (summary, found, _) = run_jobs(config, progress, Jobs::Flips);
    (summary, found)
}

fn run_jobs(config: &Config, progress: &Progress, jobs: Jobs) -> (SimSummary, Vec<Failure>, Tally) {
    let begun = Instant::now();
    let shared = Shared {
        config,
        progress,
        next: AtomicU64::new(0),
        deadline: config.limit.map(|limit| begun + limit),
        found: Mutex::default(),
        tally: Mutex::default(),
        fault_jobs: FaultJobs::of(config.tier),
        jobs,
    };
    let paces: Vec<Pace> = (0..config.workers).map(|_| Pace::until(shared.deadline)).collect();
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            paces.iter().map(|pace| scope.spawn(|| work(&shared, pace))).collect();
        supervise(&shared, &paces, || workers.iter().all(|worker| worker.is_finished()));
    });
    let seconds = begun.elapsed().as_secs_f64();
    let (mut tally, judge) = shared.tally.into_inner();
    let checked = Clause::ALL.into_iter().zip(judge.checked).collect();
    let summary = SimSummary {
        seconds,
        worker_seconds: seconds * config.workers as f64,
        small_states: tally.small.states,
        small_seconds: tally.small.time.as_secs_f64(),
        runs: tally.runs,
        crash_points: tally.crash_points,
        states: tally.states,
        states_by_depth: tally.by_depth.clone(),
        clauses: checked,
        faults: tally.rows(),
        sites: tally.sites.rows(),
        windows_exhausted: tally.windows_exhausted,
        widest_exhausted: tally.widest_exhausted,
        windows_sampled: tally.windows_sampled,
        bits_flipped: tally.bits_flipped,
        bits_unread: tally.bits_unread,
        bits: tally.bits,
        traces_compared: tally.traces_compared,
        rot: tally.rot.rows(),
        shapes: Coverage::pairs(),
        shapes_met: tally.coverage.met(),
        shapes_unmet: tally.coverage.empty(),
        picture: tally.picture.take(),
    };
    (summary, shared.found.into_inner(), tally)
}

/// Reports the workers' progress, stops them, and notices one that hangs.
fn supervise(shared: &Shared<'_>, paces: &[Pace], all_done: impl Fn() -> bool) {
    let mut seen: Vec<(u64, Instant)> = vec![(0, Instant::now()); paces.len()];
    let mut reported = 0;
    while !all_done() {
        std::thread::sleep(Duration::from_millis(50));
        let states = paces.iter().map(Pace::states).sum();
        Progress::add(&shared.progress.states, states - reported);
        reported = states;
        for (pace, (beats, since)) in paces.iter().zip(&mut seen) {
            let now = pace.beats();
            if now != *beats || pace.rests() {
                (*beats, *since) = (now, Instant::now());
            } else if since.elapsed() > HANG {
                report::hang(shared.config, &pace.task());
            }
            if shared.progress.is_stopped() || shared.found.lock().len() >= ENOUGH {
                pace.stop();
            }
        }
    }
}

fn work(shared: &Shared<'_>, pace: &Pace) {
    panics::catch();
    let mut total = (Tally::default(), Judge::default());
    while !pace.is_over() {
        let job = shared.next.fetch_add(1, Ordering::Relaxed);
        let seed = SplitMix64::new(shared.config.seed.wrapping_add(job)).next();
        let seed = if shared.jobs == Jobs::Mixed { apt_seed(job, seed) } else { seed };
        pace.begins(seed);
        let done = match shared.jobs {
            Jobs::Mixed => shared.fault_jobs.one(job, seed, pace, &mut total.0.sites),
            Jobs::Flips => match shared.fault_jobs.flip(seed, pace) {
                None => break,
                done => done,
            },
        };
        let (explorer, found) = match done {
            Some(done) => done,
            None => {
                let begun = Instant::now();
                let (mut explorer, found) = one(shared.config, job, seed, pace);
                explorer.tally.took(begun.elapsed());
                (explorer, found.map(|found| (generate::case(seed), found)))
            }
        };
        if let Some((case, found)) = found {
            Progress::add(&shared.progress.failures, 1);
            let failure = report::failure(&shared.config.failures, seed, &case, &found, pace);
            shared.found.lock().push(failure);
        }
        Progress::add(&shared.progress.faults, explorer.tally.faults());
        total.0.add(explorer.tally);
        total.1.add(&explorer.judge);
    }
    pace.rest();
    let mut all = shared.tally.lock();
    all.0.add(total.0);
    all.1.add(&total.1);
}

/// One of this many fault jobs has hundreds of keyspaces: by chance a run would have too few.
const CROWD_ONE_IN: u64 = 10;

/// The seed of this job. Of the workloads without a fault every other one has a commit with a rare pair
/// of facts, each pair in its turn: by chance some runs would miss a pair.
fn apt_seed(job: u64, seed: u64) -> u64 {
    match fault_jobs::workload_number(job) {
        Some(number) if number % 2 == 0 => shape::seed_with(number / 2, seed),
        None if fault_jobs::fault_number(job) % CROWD_ONE_IN == 1 => {
            shape::seed_of(Theme::Crowd, seed)
        }
        _ => seed,
    }
}

/// Explores the crash points of one workload.
fn one(config: &Config, job: u64, seed: u64, pace: &Pace) -> (Explorer, Option<Found>) {
    let case = generate::case(seed);
    let depth = match (job % 8, config.tier) {
        (7, Tier::Smoke) => SMOKE_DEEP,
        (7, _) => DEEP,
        _ => WIDE,
    };
    let depth = match Theme::of(seed) {
        Theme::Big => depth.sparser(),
        Theme::Crowd => depth.sparsest(),
        _ => depth,
    };
    let mut explorer = explorer(&case, depth, seed);
    explorer.theme = Some(Theme::of(seed));
    explorer.pace = pace.clone();
    if job < config.workers as u64 {
        explorer.tally.draw(format!("seed {seed}, {:?}", Theme::of(seed)));
    }
    let found = match play(&case, &mut explorer) {
        Ok(trace) if job % 16 == 3 && !pace.is_over() => {
            same_trace(&case, seed, trace, &mut explorer)
        }
        Ok(_) => None,
        Err(found) => Some(found),
    };
    (explorer, found)
}

/// Runs a workload again without crash points: the trace must be the same.
fn same_trace(case: &Case, seed: u64, trace: u64, other: &mut Explorer) -> Option<Found> {
    let blind = Depth { scattered: 0, windows: Effort { exhaustive: 0, sampled: 0 }, ..WIDE };
    let mut again = explorer(case, blind, seed);
    other.tally.traces_compared += 1;
    again.skips_points = true;
    match play(case, &mut again) {
        Ok(second) if second == trace => None,
        Ok(second) => Some(Found {
            violation: super::judge::Violation {
                kind: FailureKind::Harness,
                clause: Clause::Answers,
                what: format!("the same seed gave the trace {trace:016x}, then {second:016x}"),
            },
            crashes: Vec::new(),
            step: case.steps.len(),
            injected: None,
        }),
        Err(found) => Some(found),
    }
}

/// Looks for a failure of `case` by the means that showed `found`, until `pace` is over.
pub(crate) fn look_again(case: &Case, seed: u64, found: &Found, pace: &Pace) -> Option<Found> {
    if let Some(injected) = &found.injected {
        return fault_jobs::again(case, injected, pace);
    }
    if found.crashes.is_empty() {
        let mut explorer = explorer(case, WIDE, seed);
        explorer.pace = pace.clone();
        return replay(case, &[], &mut explorer);
    }
    let is_strict = found.violation.clause == Clause::Answers;
    let is_nested = found.crashes.len() > 1;
    let depth = Depth {
        windows: Effort { exhaustive: 256, sampled: 4 },
        nested_one_in: if is_nested { 2 } else { u64::MAX },
        again_one_in: match found.violation.clause {
            Clause::Again | Clause::Served => 1,
            _ => u64::MAX,
        },
        ..DEEP
    };
    let mut explorer = explorer(case, depth, seed);
    explorer.pace = pace.clone();
    if is_strict {
        explorer.judge = Judge::strict();
    }
    play(case, &mut explorer).err()
}
