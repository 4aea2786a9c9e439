//! The mutation gate: the simulated tier runs once per mutant and seed, and must notice the mutant.
//!
//! ```text
//!   run ---- one process per mutant and seed ----> hunter ---- one line of JSON
//! ```
//!
//! A suite that finds nothing may be blind. So each mutant breaks the engine by one plausible mistake
//! (see [`crate::engine::mutants`]). One thread must catch it within [`EACH`], at every seed. A mutant
//! that survives is a failure of the suite, not of the store. The clients of a killed server look for
//! mistakes of the server: see [`super::server`].
//!
//! A broken engine may hang or abort, so each hunt is a process. A hang counts as in a sound build:
//! a hunter makes no progress for [`HANG`]. A hang or an abort catches the mutant.

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

/// The hidden command of a process that hunts. Its arguments are the mutant and the seed.
pub const HUNTER: &str = "torture-hunt";

/// The time limit of one hunt.
const EACH: Duration = Duration::from_secs(10);
/// A hunter that makes no progress for this long hangs.
const HANG: Duration = Duration::from_secs(3);
/// How long a hunter looks before it visits the museum.
const FIRST: Duration = Duration::from_secs(1);
/// Seeds per mutant. A smoke run has one.
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

/// The result of a hunt, as the hunter prints it.
#[derive(Debug, Serialize, Deserialize)]
struct HuntReport {
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
    let report = match serde_json::from_slice(&output.stdout) {
        Ok(report) => report,
        // A panic within a panic aborts the process.
        Err(_) => HuntReport { clause: Some(Clause::Answers), by: "abort".into(), states: 0 },
    };
    if report.clause.is_some() {
        Progress::add(&progress.mutants_caught, 1);
    }
    Ok(Caught {
        mutant: mutant.name().to_owned(),
        class: mutant.class().name().to_owned(),
        about: mutant.about().to_owned(),
        seed,
        clause: report.clause,
        by: report.by,
        states: report.states,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Hunts one mutant, in a process of its own, and prints the result as a line of JSON.
///
/// # Errors
/// A message, if there is no such mutant.
pub fn hunter(mutant: &str, seed: u64) -> Result<(), String> {
    let mutant = Mutant::from_name(mutant).ok_or_else(|| format!("no mutant {mutant:?}"))?;
    if mutant.class() == Class::Server {
        print(&by_its_clients(mutant, seed));
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
                print(&HuntReport {
                    clause: Some(Clause::Answers),
                    by: "hang".into(),
                    states: beats,
                });
                std::process::exit(0);
            }
        }
    });
    print(&with(mutant, || by_all_means(seed, &pace)));
    Ok(())
}

/// Hunts by chance for [`FIRST`], which catches most mutants; then with the exhibits; then by chance
/// until `pace` is over.
fn by_all_means(seed: u64, pace: &Pace) -> HuntReport {
    let first = hunt(seed, &pace.at_most(FIRST));
    if let Some(violation) = first.found {
        return HuntReport { clause: Some(violation.clause), by: first.by, states: first.states };
    }
    let (failed, shown) = museum::first_failure(&|| pace.beat());
    let states = first.states + shown;
    if let Some((name, clause)) = failed {
        return HuntReport { clause: Some(clause), by: format!("exhibit: {name}"), states };
    }
    let Hunt { found, by, states: more } = hunt(!seed, pace);
    HuntReport { clause: found.map(|violation| violation.clause), by, states: states + more }
}

/// Kills servers, whose clients judge the next one.
fn by_its_clients(mutant: Mutant, seed: u64) -> HuntReport {
    let (summary, failures) = server::hunt(mutant, seed, EACH);
    let clause = failures.iter().find_map(|failure| failure.clause);
    HuntReport { clause, by: "killed server".into(), states: summary.kills }
}

fn print(report: &HuntReport) {
    let text = serde_json::to_string(report).expect("plain data");
    // The process that reads the line may have ended.
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
