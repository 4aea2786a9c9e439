//! Builds broken on purpose: the simulated tier runs once for each mutant and must notice it.
//!
//! A suite that finds nothing may be blind. So the engine is broken by one plausible mistake after
//! the other (see [`crate::mutants`]), and each must be caught within [`EACH`] by one worker, at
//! every seed. A mutant that lives is a failure of the suite, not of the store.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::sim::{Hunt, hunt};
use super::{Caught, Config, Failure, FailureKind, GateSummary, Progress, Tier};
use crate::mutants::{Mutant, with};

/// A mutant must be caught within this time.
const EACH: Duration = Duration::from_secs(10);
/// Seeds that each mutant is hunted with, but in a smoke run: there it is one.
const SEEDS: u64 = 10;

/// Hunts every mutant.
pub(super) fn run(config: &Config, progress: &Progress) -> (GateSummary, Vec<Failure>) {
    let begun = Instant::now();
    let deadline = config.limit.map(|limit| begun + limit);
    let seeds = if config.tier == Tier::Smoke { 1 } else { SEEDS };
    let pairs: Vec<(u64, Mutant)> = (0..seeds)
        .flat_map(|seed| Mutant::ALL.iter().map(move |mutant| (seed, *mutant)))
        .map(|(seed, mutant)| (config.seed.wrapping_add(seed), mutant))
        .collect();
    let next = AtomicUsize::new(0);
    let caught = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..config.workers {
            scope.spawn(|| {
                while let Some(&(seed, mutant)) = pairs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                    if is_over || progress.is_stopped() {
                        break;
                    }
                    progress.now(format!("mutant {}", mutant.name()));
                    let one = hunt_one(mutant, seed, progress);
                    caught.lock().push(one);
                }
            });
        }
    });
    let mut caught = caught.into_inner();
    caught.sort_by(|a, b| (&a.class, &a.mutant, a.seed).cmp(&(&b.class, &b.mutant, b.seed)));
    let failures = caught.iter().filter(|one| one.clause.is_none()).map(survived).collect();
    let untried = (pairs.len() - caught.len()) as u64;
    (GateSummary { seconds: begun.elapsed().as_secs_f64(), untried, caught }, failures)
}

fn hunt_one(mutant: Mutant, seed: u64, progress: &Progress) -> Caught {
    let begun = Instant::now();
    let Hunt { found, by, states } = with(mutant, || hunt(seed, begun + EACH));
    if found.is_some() {
        Progress::add(&progress.mutants_caught, 1);
    }
    Caught {
        mutant: mutant.name().to_owned(),
        class: mutant.class().name().to_owned(),
        about: mutant.about().to_owned(),
        seed,
        clause: found.map(|violation| violation.clause),
        by,
        states,
        seconds: begun.elapsed().as_secs_f64(),
    }
}

fn survived(one: &Caught) -> Failure {
    let Caught { mutant, seed, states, about, .. } = one;
    Failure {
        kind: FailureKind::Harness,
        clause: None,
        title: format!("mutant {mutant} lives at seed {seed} after {states} states"),
        story: vec![about.clone()],
        replay: format!("syncline torture --suite mutants --seed {seed}"),
    }
}
