//! Builds broken on purpose: the simulated tier runs once for each mutant and must notice it.
//!
//! ```text
//!   run ---- for each mutant and seed: a process of its own ----> hunt ---- one line of JSON
//! ```
//!
//! A suite that finds nothing may be blind. So the engine is broken by one plausible mistake after
//! the other (see [`crate::engine::mutants`]), and each must be caught within [`EACH`] by one thread, at
//! every seed. A mutant that lives is a failure of the suite, not of the store.
//!
//! Mistakes of the server are looked for by its clients: see [`super::server`].
//!
//! A broken engine may hang or abort. Each hunt is a process, and a hang there is noticed as it
//! would be in a sound build: nothing is judged for [`HANG`]. That and an abort catch the mutant.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::processor::waited_by_main;
use super::sim::{Hunt, Pace, hunt};
use super::{
    Caught, Clause, Config, Failure, FailureKind, GateSummary, Progress, Tier, museum, server,
};
use crate::engine::mutants::{Class, Mutant, with};

/// The hidden command of a process that hunts: then comes the mutant, then the seed.
pub const HUNTER: &str = "torture-hunt";

/// A mutant must be caught within this time.
const EACH: Duration = Duration::from_secs(10);
/// Nothing takes so long but a hang.
const HANG: Duration = Duration::from_secs(3);
/// How long mutants are hunted before the museum is visited.
const FIRST: Duration = Duration::from_secs(1);
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
    let results = Mutex::new((Vec::new(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..config.workers {
            scope.spawn(|| {
                while let Some(&(seed, mutant)) = pairs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                    if is_over || progress.is_stopped() {
                        break;
                    }
                    progress.now(format!("mutant {}", mutant.name()));
                    match hunt_one(mutant, seed, progress) {
                        Ok(one) => results.lock().0.push(one),
                        Err(error) => results.lock().1.push(error),
                    }
                }
            });
        }
    });
    let (mut caught, errors) = results.into_inner();
    caught.sort_by(|a, b| (&a.class, &a.mutant, a.seed).cmp(&(&b.class, &b.mutant, b.seed)));
    let mut failures: Vec<Failure> =
        caught.iter().filter(|one| one.clause.is_none()).map(survived).collect();
    failures.extend(errors.iter().map(|error| harness(error, config.seed)));
    let untried = (pairs.len() - caught.len() - errors.len()) as u64;
    if untried > 0 && config.tier != Tier::Smoke && !progress.is_stopped() {
        let error = format!("there was no time for {untried} of {} hunts", pairs.len());
        failures.push(harness(&error, config.seed));
    }
    (GateSummary { seconds: begun.elapsed().as_secs_f64(), untried, caught }, failures)
}

/// What a hunter says.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    clause: Option<Clause>,
    by: String,
    states: u64,
}

fn hunt_one(mutant: Mutant, seed: u64, progress: &Progress) -> Result<Caught, String> {
    let begun = Instant::now();
    let cannot = |error| format!("cannot start a process: {error}");
    let program = std::env::current_exe().map_err(cannot)?;
    let output = Command::new(program)
        .args([HUNTER, mutant.name(), &seed.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(cannot)?;
    let said = match serde_json::from_slice(&output.stdout) {
        Ok(said) => said,
        // A panic within a panic.
        Err(_) => Said { clause: Some(Clause::Answers), by: "abort".into(), states: 0 },
    };
    if said.clause.is_some() {
        Progress::add(&progress.mutants_caught, 1);
    }
    Ok(Caught {
        mutant: mutant.name().to_owned(),
        class: mutant.class().name().to_owned(),
        about: mutant.about().to_owned(),
        seed,
        clause: said.clause,
        by: said.by,
        states: said.states,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Hunts one mutant and says what became of it, in a process of its own.
///
/// # Errors
/// A message, if there is no such mutant.
pub fn hunter(mutant: &str, seed: u64) -> Result<(), String> {
    let mutant = Mutant::from_name(mutant).ok_or_else(|| format!("no mutant {mutant:?}"))?;
    if mutant.class() == Class::Server {
        say(&by_its_clients(mutant, seed));
        return Ok(());
    }
    let pace = Pace::until(Some(Instant::now() + EACH));
    let watched = pace.clone();
    std::thread::spawn(move || {
        let (mut beats, mut since) = (0, (Instant::now(), waited_by_main()));
        loop {
            std::thread::sleep(Duration::from_millis(100));
            if watched.beats() != beats {
                (beats, since) = (watched.beats(), (Instant::now(), waited_by_main()));
            } else if since.0.elapsed().saturating_sub(waited_by_main() - since.1) > HANG {
                say(&Said { clause: Some(Clause::Answers), by: "hang".into(), states: beats });
                std::process::exit(0);
            }
        }
    });
    say(&with(mutant, || by_all_means(seed, &pace)));
    Ok(())
}

/// Most mutants show themselves at once; then come the exhibits; the rest of the time is chance's.
fn by_all_means(seed: u64, pace: &Pace) -> Said {
    let first = hunt(seed, &pace.at_most(FIRST));
    if let Some(violation) = first.found {
        return Said { clause: Some(violation.clause), by: first.by, states: first.states };
    }
    let (failed, shown) = museum::first_failure(&|| pace.beat());
    let states = first.states + shown;
    if let Some((name, clause)) = failed {
        return Said { clause: Some(clause), by: format!("exhibit: {name}"), states };
    }
    let Hunt { found, by, states: more } = hunt(!seed, pace);
    Said { clause: found.map(|violation| violation.clause), by, states: states + more }
}

/// A server is killed, and its clients judge the next one.
fn by_its_clients(mutant: Mutant, seed: u64) -> Said {
    let (summary, failures) = server::hunt(mutant, seed, EACH);
    let clause = failures.iter().find_map(|failure| failure.clause);
    Said { clause, by: "killed server".into(), states: summary.kills }
}

fn say(said: &Said) {
    let text = serde_json::to_string(said).expect("plain data");
    // Whoever asked may be gone.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn survived(one: &Caught) -> Failure {
    let Caught { mutant, seed, states, about, .. } = one;
    Failure {
        kind: FailureKind::Harness,
        clause: None,
        title: format!("mutant {mutant} lives at seed {seed} after {states} states"),
        story: vec![about.clone()],
        replay: format!("syncline {HUNTER} {mutant} {seed}"),
    }
}

fn harness(error: &str, seed: u64) -> Failure {
    Failure {
        kind: FailureKind::Harness,
        clause: None,
        title: error.to_owned(),
        story: Vec::new(),
        replay: format!("syncline torture --suite mutants --seed {seed}"),
    }
}
