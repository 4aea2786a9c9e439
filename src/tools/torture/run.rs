//! Runs the suites one after the other, each within its share of the time.
//!
//! | tier | sim | flips | kill | server | museum | mutants | together |
//! |---|---|---|---|---|---|---|---|
//! | smoke | 22 s | 2 s | 8 s | 5 s | 6 s | the rest | 60 s |
//! | full | 4.5 min | 12 min | 4 min | 1 min | 1 min | the rest | 30 min |
//! | soak | slices of 2 min | once, 20 min | slices of 30 s | slices of 15 s | once, 1 min | once, 7.5 min | until stopped |
//!
//! - SUITES-1 A suite that panics is a failure of the harness, and the others still run.
//! - SUITES-2 A run that judged nothing is a failure of the harness, unless it was stopped: nothing must
//!   not pass as "all held".
//! - SUITES-3 Each slice of a soak has its own seed, which follows from the run's. The first slice has the
//!   run's seed itself, so that a soak begins like the other tiers.
//! - SUITES-4 A soak ends by itself when it has [`ENOUGH_FAILURES`], and when no suite judges anything
//!   here.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::config::{Config, Suite, Tier};
use super::failure::{Failure, FailureKind};
use super::progress::Progress;
use super::summary::Summary;
use super::{digest, gate, kill, museum, server, sim};

/// A soak ends at this number of failures.
const ENOUGH_FAILURES: usize = 100;

/// The part of a tier's time that is reserved for suites that end a little late.
const MARGIN: Duration = Duration::from_secs(2);

/// Runs what `config` asks for.
pub fn run(config: &Config, progress: &Progress) -> Summary {
    let started = Instant::now();
    let mut run = SuiteRunner { config, progress, started, summary: empty(config) };
    match config.tier {
        Tier::Smoke | Tier::Full => run.all(&asked(config)),
        Tier::Soak => run.soak(),
    }
    run.finish()
}

/// The longest time that a run takes, if there is a bound.
pub fn limit(config: &Config) -> Option<Duration> {
    let suites = asked(config);
    if let Some(limit) = config.limit {
        return Some(limit * suites.len() as u32);
    }
    let whole = config.tier.limit()?;
    if suites.contains(&Suite::Mutants) {
        return Some(whole);
    }
    Some(suites.iter().map(|suite| share(config.tier, *suite)).sum())
}

/// The requested suites that are compiled, in order, each once.
fn asked(config: &Config) -> Vec<Suite> {
    let is_asked = |suite: &Suite| config.suites.contains(suite) && suite.is_compiled();
    Suite::ALL.into_iter().filter(is_asked).collect()
}

/// The time for one suite, or for one slice of it; the least time if it gets the rest.
fn share(tier: Tier, suite: Suite) -> Duration {
    let seconds = match (tier, suite) {
        (Tier::Smoke, Suite::Sim) => 22,
        (Tier::Smoke, Suite::Flips) => 2,
        (Tier::Smoke, Suite::Kill) => 8,
        (Tier::Smoke, Suite::Server) => 5,
        (Tier::Smoke, Suite::Museum) => 6,
        (Tier::Smoke, Suite::Mutants) => 15,
        (Tier::Full, Suite::Sim) => 4 * 60 + 30,
        (Tier::Full, Suite::Flips) => 12 * 60,
        (Tier::Full, Suite::Kill) => 4 * 60,
        (Tier::Full, Suite::Server) | (Tier::Full | Tier::Soak, Suite::Museum) => 60,
        (Tier::Full | Tier::Soak, Suite::Mutants) => 7 * 60 + 28,
        (Tier::Soak, Suite::Sim) => 120,
        (Tier::Soak, Suite::Flips) => 20 * 60,
        (Tier::Soak, Suite::Kill) => 30,
        (Tier::Soak, Suite::Server) => 15,
    };
    Duration::from_secs(seconds)
}

fn empty(config: &Config) -> Summary {
    Summary {
        version: env!("CARGO_PKG_VERSION"),
        tier: config.tier,
        seed: config.seed,
        workers: config.workers,
        seconds: 0.0,
        sim: None,
        kill: None,
        server: None,
        museum: None,
        mutants: None,
        skipped: Vec::new(),
        failures: Vec::new(),
    }
}

/// Runs suites and gathers their results.
struct SuiteRunner<'a> {
    config: &'a Config,
    progress: &'a Progress,
    started: Instant,
    summary: Summary,
}

impl SuiteRunner<'_> {
    fn all(&mut self, suites: &[Suite]) {
        for suite in suites {
            if self.progress.is_stopped() {
                self.summary.skipped.push(format!("{}: stopped before it began", suite.name()));
                continue;
            }
            let limit = self.limit_of(*suite);
            self.one(*suite, limit, self.config.seed);
        }
    }

    /// Sim, kill and server by turns, after the suites that run once.
    fn soak(&mut self) {
        let (turns, once): (Vec<Suite>, Vec<Suite>) = asked(self.config)
            .into_iter()
            .partition(|suite| matches!(suite, Suite::Sim | Suite::Kill | Suite::Server));
        self.all(&once);
        // Each suite with its time left, if the time is bounded.
        let all_time = self.config.limit.unwrap_or(Duration::MAX);
        let mut turns: Vec<(Suite, Duration)> =
            turns.into_iter().map(|suite| (suite, all_time)).collect();
        for slice in 0.. {
            for (suite, left) in std::mem::take(&mut turns) {
                if self.progress.is_stopped() || self.summary.failures.len() >= ENOUGH_FAILURES {
                    return;
                }
                let began = Instant::now();
                let limit = share(Tier::Soak, suite).min(left);
                let judged = self.one(suite, limit, seed_of_slice(self.config.seed, slice));
                let left = left.saturating_sub(began.elapsed());
                // SUITES-4
                if judged > 0 && !left.is_zero() {
                    turns.push((suite, left));
                }
            }
            if turns.is_empty() {
                return;
            }
        }
    }

    fn limit_of(&self, suite: Suite) -> Duration {
        let least = share(self.config.tier, suite);
        match (self.config.limit, self.config.tier.limit()) {
            (Some(limit), _) => limit,
            (None, Some(whole)) if suite == Suite::Mutants => {
                let gone = self.started.elapsed() + MARGIN;
                whole.saturating_sub(gone).max(Duration::from_secs(1))
            }
            (None, _) => least,
        }
    }

    /// Runs a suite or a slice of one. Returns the number of judgements.
    fn one(&mut self, suite: Suite, limit: Duration, seed: u64) -> u64 {
        let config = Config { limit: Some(limit), seed, ..self.config.clone() };
        let progress = self.progress;
        progress.now(suite.name());
        let summary = &mut self.summary;
        let (judged, failures) = match suite {
            Suite::Sim => {
                let (found, failures) = guarded(suite, &config, || sim::run(&config, progress));
                let judged = found.states;
                summary.sim.get_or_insert_default().absorb(found);
                (judged, failures)
            }
            Suite::Flips => {
                let (found, failures) = guarded(suite, &config, || sim::flip(&config, progress));
                let flipped = found.bits_flipped + found.bits_unread;
                if flipped < found.bits && config.tier != Tier::Smoke {
                    let bits = found.bits;
                    summary.skipped.push(format!("flips: {flipped} of {bits} bits were flipped"));
                }
                summary.sim.get_or_insert_default().absorb(found);
                (flipped, failures)
            }
            Suite::Kill => {
                let (found, failures) = guarded(suite, &config, || kill::run(&config, progress));
                let judged = found.cycles;
                summary.kill.get_or_insert_default().absorb(found);
                (judged, failures)
            }
            Suite::Server => {
                let (found, failures) = guarded(suite, &config, || server::run(&config, progress));
                let judged = found.kills;
                summary.server.get_or_insert_default().absorb(found);
                (judged, failures)
            }
            Suite::Museum => {
                let (found, failures) = guarded(suite, &config, || museum::run(&config, progress));
                (summary.museum.insert(found).exhibits.len() as u64, failures)
            }
            Suite::Mutants => {
                let (found, failures) = guarded(suite, &config, || gate::run(&config, progress));
                (summary.mutants.insert(found).caught.len() as u64, failures)
            }
        };
        let total = (summary.failures.len() + failures.len()) as u64;
        progress.returned(&failures, total);
        summary.failures.extend(failures);
        judged
    }

    fn finish(mut self) -> Summary {
        for suite in self.config.suites.iter().filter(|suite| !suite.is_compiled()) {
            let name = suite.name();
            let why = format!("{name}: not in this build; compile with `--features cli,{name}`");
            self.summary.skipped.push(why);
        }
        // SUITES-2
        let idle = self.summary.judged() == 0 && self.summary.failures.is_empty();
        if idle && !self.progress.is_stopped() {
            let failure = Failure {
                kind: FailureKind::Harness,
                clause: None,
                title: "nothing was judged".to_owned(),
                story: vec!["No suite found anything that it could do here.".to_owned()],
                replay: again(&asked(self.config), self.config),
            };
            self.progress.found(&failure);
            self.summary.failures.push(failure);
        }
        self.summary.failures.sort_by_key(|failure| failure.kind);
        self.summary.seconds = self.started.elapsed().as_secs_f64();
        self.summary
    }
}

/// The results of the suite, or its panic as a failure (SUITES-1).
fn guarded<S: Default>(
    suite: Suite,
    config: &Config,
    work: impl FnOnce() -> (S, Vec<Failure>),
) -> (S, Vec<Failure>) {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let failure = Failure {
            kind: FailureKind::Harness,
            clause: None,
            title: format!("the suite `{}` panicked", suite.name()),
            story: panic_message(panic.as_ref()).lines().map(str::to_owned).collect(),
            replay: again(&[suite], config),
        };
        (S::default(), vec![failure])
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}

/// The command that does the same again.
fn again(suites: &[Suite], config: &Config) -> String {
    let mut command = format!("syncline torture --tier {}", config.tier.name());
    if !suites.is_empty() {
        command.push_str(&format!(" --suite {}", digest::names(suites)));
    }
    command.push_str(&format!(" --seed {} --workers {}", config.seed, config.workers));
    command
}

/// SUITES-3.
fn seed_of_slice(seed: u64, slice: u64) -> u64 {
    seed.wrapping_add(slice.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(tier: Tier, suites: &[Suite]) -> Config {
        Config {
            tier,
            suites: suites.to_vec(),
            seed: 7,
            workers: 2,
            limit: None,
            directory: None,
            failures: "failures".into(),
        }
    }

    #[test]
    fn shares_fit_in_the_tier() {
        for tier in [Tier::Smoke, Tier::Full] {
            let sum: Duration = Suite::ALL.into_iter().map(|suite| share(tier, suite)).sum();
            assert_eq!(sum + MARGIN, tier.limit().unwrap());
        }
        let two = [Suite::Kill, Suite::Sim, Suite::Kill];
        assert_eq!(limit(&config(Tier::Smoke, &two)), Some(Duration::from_secs(30)));
        assert_eq!(limit(&config(Tier::Soak, &two)), None);
        let bounded = Config { limit: Some(Duration::from_secs(3)), ..config(Tier::Soak, &two) };
        assert_eq!(limit(&bounded), Some(Duration::from_secs(6)));
    }

    #[test]
    fn a_panic_is_a_failure_of_the_harness() {
        let config = config(Tier::Smoke, &[Suite::Sim]);
        let (count, failures): (u64, _) = guarded(Suite::Sim, &config, || panic!("on purpose"));
        assert_eq!(count, 0);
        let [failure] = &failures[..] else { panic!("{failures:?}") };
        assert_eq!((failure.kind, failure.clause), (FailureKind::Harness, None));
        assert_eq!(failure.story, ["on purpose"]);
        assert_eq!(
            failure.replay,
            "syncline torture --tier smoke --suite sim --seed 7 --workers 2"
        );
    }

    #[test]
    fn nothing_judged_is_not_all_held() {
        let progress = Progress::default();
        let summary = run(&config(Tier::Smoke, &[]), &progress);
        assert_eq!(summary.worst(), Some(FailureKind::Harness));
        assert_eq!(progress.found_since(0), summary.failures);
    }

    #[test]
    fn a_stopped_run_says_what_it_left_out() {
        let progress = Progress::default();
        progress.stop();
        let summary = run(&config(Tier::Full, &[Suite::Sim, Suite::Museum]), &progress);
        assert_eq!(summary.worst(), None);
        assert_eq!(
            summary.skipped,
            ["sim: stopped before it began", "museum: stopped before it began"]
        );
        assert!(summary.sim.is_none());
    }

    #[test]
    fn a_suite_that_is_not_compiled_is_listed_as_skipped() {
        let config = config(Tier::Smoke, &[Suite::Mutants]);
        let progress = Progress::default();
        progress.stop();
        let skipped = run(&config, &progress).skipped;
        assert_eq!(skipped.len(), 1);
        assert_eq!(skipped[0].contains("--features"), !Suite::Mutants.is_compiled());
    }

    #[test]
    fn each_slice_has_its_own_seed() {
        assert_eq!(seed_of_slice(7, 0), 7);
        assert_ne!(seed_of_slice(7, 1), seed_of_slice(7, 2));
    }

    #[test]
    fn failures_are_handed_over_once() {
        let progress = Progress::default();
        let failure = Failure {
            kind: FailureKind::Safety,
            clause: None,
            title: "a".into(),
            story: vec![],
            replay: "b".into(),
        };
        progress.found(&failure);
        let other = Failure { title: "c".into(), ..failure.clone() };
        progress.returned(&[failure.clone(), other.clone()], 2);
        assert_eq!(progress.found_since(0), [failure, other.clone()]);
        assert_eq!(progress.found_since(1), [other]);
        assert_eq!(progress.failures.into_inner(), 2);
    }
}
