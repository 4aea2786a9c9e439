//! The whole public API against a model, over random crashes and faults.
//!
//! ```text
//!   generate   random keys, values, commits             threads   many threads, a real directory
//!   steps      the calls of a user                      lives     open, crash, recover, check
//!   reads      every way to read, compared              model     the maps; which commits a
//!   world      store, disk, model, held objects                   crash may take
//!   held       values, iterators, snapshots held during other calls
//!   program    any bytes as a run, for the fuzz target `store_model`
//! ```
//!
//! One seed determines a run. A failure prints the seed and the command that replays it.
//! `SYNCLINE_SEEDS=1000 cargo test --test model` runs more seeds; `SYNCLINE_TRACE=1` prints every step.

mod contents;
mod draw;
mod generate;
mod held;
mod lives;
mod model;
mod program;
#[path = "../support/random.rs"]
mod random;
mod reads;
mod steps;
mod threads;
mod world;

use lives::trace;
use world::{Plan, World};

const SEEDS: u64 = 128;
const LIVES: u32 = 6;
const STEPS: u64 = 220;

/// Prints how to replay a run, if it fails.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "replay: SYNCLINE_SEED={seed} cargo test --test model -- one_seed --nocapture"
            );
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn run(seed: u64) {
    let _replay = Replay(seed);
    World::new(seed, Plan::of(seed)).run(LIVES, STEPS);
}

fn run_all(plan: Plan) {
    let first = number("SYNCLINE_FIRST").unwrap_or(0);
    let seeds = number("SYNCLINE_SEEDS").unwrap_or(SEEDS);
    (first..first + seeds).filter(|seed| Plan::of(*seed) == plan).for_each(run);
}

#[test]
fn crashes() {
    run_all(Plan::Crashes);
}

#[test]
fn failed_flushes() {
    run_all(Plan::FailedFlushes);
}

#[test]
fn full_disks() {
    run_all(Plan::FullDisk);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..number("SYNCLINE_SEEDS").unwrap_or(SEEDS).div_ceil(16) {
        let first = trace(seed, Plan::Calm, 3, STEPS);
        let second = trace(seed, Plan::Calm, 3, STEPS);
        assert_eq!(first, second, "seed {seed}");
    }
}

/// Replays the run that `SYNCLINE_SEED` names.
#[test]
fn one_seed() {
    if let Some(seed) = number("SYNCLINE_SEED") {
        run(seed);
    }
}

/// Programs of random bytes. Half of them are mostly zeros: lengths and counts in them are small.
#[test]
fn store_model_holds_for_any_program() {
    for seed in 0..400 {
        let mut rng = random::SplitMix64::new(seed);
        let (len, is_sparse) = (rng.below(1500), rng.once_in(2));
        let byte = |rng: &mut random::SplitMix64| match is_sparse && !rng.once_in(8) {
            true => 0,
            false => rng.next() as u8,
        };
        let bytes: Vec<u8> = (0..len).map(|_| byte(&mut rng)).collect();
        let run = std::panic::catch_unwind(|| program::run(&bytes));
        assert!(run.is_ok(), "seed {seed}: {bytes:02x?}");
    }
}
