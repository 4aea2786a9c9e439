//! Kills a real `syncline serve` process with SIGKILL at any moment, and judges the store through its
//! clients.
//!
//! ```text
//!   run       a thread per store; adds up the results
//!     host    the process: started, killed, started again on the same directory
//!     life    clients that write in all modes, pipelined, until it is killed
//!     cutter  cuts connections at any byte meanwhile
//!     pipeline  writes of one key that one connection sends at once
//!     judge   compares the store under the next process with
//!     books   the writes that were sent and answered
//! ```
//!
//! The kill tier checks the engine's promises to the program that embeds it. This tier checks the
//! server's promises to its clients: through the protocol, job ids and idempotency keys, with no
//! knowledge except the answers that came over the connection.
//!
//! - SERVERKILL-1 An answered write, in any mode, is found again. A write that was sent and not answered
//!   may be there. Nothing else is there.
//! - SERVERKILL-2 A kill counts when the life after it was judged. Some lives are killed before a client
//!   is connected; then the next one is judged.
//! - SERVERKILL-3 A living server must answer without errors, and must not end except by a kill.
//! - SERVERKILL-4 Moments cannot be repeated. A failure comes with the store and the seed.
//! - SERVERKILL-5 The writes of one connection take effect in the order in which they were sent.
//! - SERVERKILL-6 Errors are true. A write that an error calls undone is not there, neither at once nor in
//!   a later life. No error calls a cut connection a breach of the protocol.
//!
//! Left out: power loss. The engine's promises hold there, which the simulated tier checks.

mod books;
mod cutter;
mod host;
mod judge;
mod life;
mod pipeline;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use parking_lot::Mutex;

use self::books::Books;
use self::host::{Host, harness};
use super::scratch::{self, ScratchDir};
use super::sim::Violation;
use super::{Config, Failure, FailureKind, Progress, ServerSummary};
use crate::engine::disk::sim::rng::SplitMix64;

/// Stores per worker of the run: a life waits for its process to start, and for the device.
const HOSTS_PER_WORKER: usize = 2;
/// One life in this many is killed before a client is connected.
const UNMET: u64 = 5;
/// The longest time from the first write of a life to its kill, in milliseconds.
const LONGEST: u64 = 120;
/// The whole store is checked in one life in this many.
const CHECKED: u64 = 4;
/// Failures after which the tier gives up a store.
const ENOUGH: usize = 1;

/// Kills servers as `config` says. It starts them from the present program, which must be the
/// command-line tool.
pub fn run(config: &Config, progress: &Progress) -> (ServerSummary, Vec<Failure>) {
    match std::env::current_exe() {
        Ok(program) => run_program(&program, config, progress),
        Err(error) => cannot_run(format!("this program cannot be found: {error}")),
    }
}

/// As [`run`], by another program.
pub fn run_program(
    program: &Path,
    config: &Config,
    progress: &Progress,
) -> (ServerSummary, Vec<Failure>) {
    progress.now("killing servers");
    kill_all(program, None, config, progress)
}

/// Hunts a mutant that is switched on in servers, for at most `limit`.
#[cfg(feature = "mutants")]
pub(super) fn hunt(
    mutant: crate::engine::mutants::Mutant,
    seed: u64,
    limit: Duration,
) -> (ServerSummary, Vec<Failure>) {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return cannot_run(format!("this program cannot be found: {error}")),
    };
    let config = Config {
        tier: super::Tier::Smoke,
        suites: Vec::new(),
        seed,
        workers: 1,
        limit: Some(limit),
        directory: None,
        failures: PathBuf::new(),
    };
    kill_all(&program, Some(mutant.name()), &config, &Progress::default())
}

fn kill_all(
    program: &Path,
    mutant: Option<&str>,
    config: &Config,
    progress: &Progress,
) -> (ServerSummary, Vec<Failure>) {
    let begun = Instant::now();
    let scratch = match ScratchDir::create(config.directory.as_deref(), "server") {
        Ok(scratch) => scratch,
        Err(error) => return cannot_run(format!("no directory for the stores: {error}")),
    };
    let limit = config.limit.or_else(|| config.tier.limit());
    let until = limit.map(|limit| begun + limit);
    let all = Mutex::new((ServerSummary::default(), Vec::new()));
    thread::scope(|scope| {
        for number in 0..config.workers.max(1) * HOSTS_PER_WORKER {
            let (all, scratch) = (&all, &scratch);
            scope.spawn(move || {
                let directory = scratch.directory.join(format!("host-{number}"));
                let seed = SplitMix64::new(config.seed ^ (number as u64) << 48).next();
                let mut store = Served {
                    config,
                    progress,
                    rng: SplitMix64::new(seed),
                    books: Arc::default(),
                    tally: ServerSummary::default(),
                    lives: 0,
                    pending: 0,
                };
                let failures = store.serve(program, mutant, directory, until);
                let mut all = all.lock();
                all.0.absorb(store.tally);
                all.1.extend(failures);
                // One failure is enough to catch a mutant.
                if mutant.is_some() && !all.1.is_empty() {
                    progress.stop();
                }
            });
        }
    });
    let (mut summary, failures) = all.into_inner();
    summary.seconds = begun.elapsed().as_secs_f64();
    summary.directory = scratch.describe();
    if scratch.is_in_memory() {
        summary.notes.push(scratch::IN_MEMORY.to_owned());
    }
    (summary, failures)
}

/// A store, and the lives of its servers.
struct Served<'a> {
    config: &'a Config,
    progress: &'a Progress,
    rng: SplitMix64,
    books: Arc<Mutex<Books>>,
    tally: ServerSummary,
    lives: u64,
    /// Kills that are not judged yet.
    pending: u64,
}

impl Served<'_> {
    /// One life after the other. Returns the failures.
    fn serve(
        &mut self,
        program: &Path,
        mutant: Option<&str>,
        directory: PathBuf,
        until: Option<Instant>,
    ) -> Vec<Failure> {
        let mut failures = Vec::new();
        let host = Host::new(program, mutant, directory);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let (mut host, runtime) = match (host, runtime) {
            (Ok(host), Ok(runtime)) => (host, runtime),
            (Err(error), _) | (_, Err(error)) => {
                return vec![self.told(harness(format!("no server: {error}")), None)];
            }
        };
        loop {
            let is_last =
                self.progress.is_stopped() || until.is_some_and(|until| Instant::now() >= until);
            let lived = runtime.block_on(self.live(&mut host, is_last));
            if let Err(violation) = lived {
                let _ = host.kill();
                failures.push(self.told(violation, Some(&host)));
                self.progress.found(failures.last().expect("just pushed"));
            }
            if is_last || failures.len() >= ENOUGH {
                break;
            }
        }
        for (how, number) in std::mem::take(&mut self.books.lock().answered) {
            *self.tally.writes.entry(how.to_owned()).or_default() += number;
        }
        failures
    }

    /// One life, from the start of a process to its end. In the last one, nothing is written.
    async fn live(&mut self, host: &mut Host<'_>, is_last: bool) -> Result<(), Violation> {
        host.start()?;
        self.lives += 1;
        if !is_last && self.lives > 1 && self.rng.below(UNMET) == 0 {
            let after = Duration::from_micros(self.rng.below(30_000));
            tokio::time::sleep(after).await;
            host.kill()?;
            self.pending += 1;
            self.tally.unmet += 1;
            return Ok(());
        }
        let client = host.client().await?;
        let asked = self.tally.jobs.values().sum::<u64>();
        judge::judge(&client, &self.books, &mut self.tally).await?;
        let asked = self.tally.jobs.values().sum::<u64>() - asked;
        if is_last || self.rng.below(CHECKED) == 0 {
            judge::verify(&client, &mut self.tally).await?;
        }
        Progress::add(&self.progress.jobs, asked);
        Progress::add(&self.progress.kills, self.pending);
        self.tally.kills += std::mem::take(&mut self.pending);
        drop(client);
        if is_last {
            return host.kill();
        }
        // Half of the kills come early, while everything happens for the first time.
        let longest = if self.rng.below(2) == 0 { LONGEST } else { LONGEST / 8 };
        let after = Duration::from_micros(self.rng.below(1000 * longest));
        let seed = self.rng.next();
        life::live(host, &self.books, after, seed).await?;
        self.pending += 1;
        Ok(())
    }

    fn told(&self, violation: Violation, host: Option<&Host<'_>>) -> Failure {
        let Violation { kind, clause, what } = violation;
        let Config { seed, workers, .. } = self.config;
        let mut story = vec![format!(
            "life {} of a store, {} kills of which were judged before",
            self.lives, self.tally.kills
        )];
        let answered: Vec<String> = {
            let books = self.books.lock();
            books.answered.iter().map(|(how, number)| format!("{how}: {number}")).collect()
        };
        story.push(format!("answered: {}", answered.join(", ")));
        if let Some(host) = host {
            let said = host.last_words();
            if !said.is_empty() {
                story.push("the server's last words:".to_owned());
                story.extend(said.into_iter().map(|line| format!("  {line}")));
            }
            story.extend(self.keep(host));
        }
        Failure {
            kind,
            clause: Some(clause).filter(|_| kind != FailureKind::Harness),
            title: format!("served: {what}"),
            story,
            replay: format!("syncline torture --suite server --seed {seed} --workers {workers}"),
        }
    }

    /// Saves the store. Returns a line that says where.
    fn keep(&self, host: &Host<'_>) -> Option<String> {
        if self.config.failures.as_os_str().is_empty() {
            return None;
        }
        let name = format!("server-{:016x}-{}", self.rng.clone().next(), self.lives);
        let directory = self.config.failures.join(name);
        Some(match copy(&host.store(), &directory) {
            Ok(()) => format!("the store, as the server left it: {}", directory.display()),
            Err(error) => format!("the store could not be kept: {error}"),
        })
    }
}

/// Copies the files of a directory.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn cannot_run(title: String) -> (ServerSummary, Vec<Failure>) {
    let (kind, story, replay) = (FailureKind::Harness, Vec::new(), String::new());
    let failure = Failure { kind, clause: None, title, story, replay };
    (ServerSummary::default(), vec![failure])
}
