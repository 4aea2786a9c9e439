//! Kills processes that write to real stores on real files, and judges the stores.
//!
//! ```text
//!   run      one thread per server; adds up the reports
//!   server   a process that forks lives, ends them, judges
//!     plan     the end of a life: drawn from the seed and from the lives so far
//!     tracer   carries it out: by the clock, at a system call, after stepped instructions; faults
//!     child    the life: opens (recovers), checks, writes, closes; never knows its end
//!     reader   a thread that reads meanwhile and holds values
//!     check    the oracle
//!     workload the commits: each follows from seed, thread and number
//!     witness  shared memory: the acknowledged commits, seen from outside
//!   snapshot a store's files as a kill has left them
//!   sites, os  system calls by name; the code that needs `unsafe`
//! ```
//!
//! - KILL-1 The witness is another process, and telling it makes no system call. The writer behaves as
//!   if nobody watched, and the witness's knowledge survives it.
//! - KILL-2 A kill loses nothing that was acknowledged, in either mode. If a thread was told of n
//!   commits, its first n or n + 1 must be there: see `check`.
//! - KILL-3 The process that recovers is the next target. A cycle counts only if its recovery had a
//!   kill before it, finished and was judged.
//! - KILL-4 A server has one thread and forks without exec: a life begins in a fraction of a
//!   millisecond. The fork gives the child the server's model of the store.
//! - KILL-5 A life that does nothing for ten seconds hangs, which is a failure of liveness. Waiting for
//!   the device does not count. Nor does waiting for a processor, unless the life spins.
//! - KILL-6 One life in fifty is long. It is killed only after each of its threads has returned from a
//!   call made after the three seconds. A thread that does not return hangs, even if others go on.
//!
//! A kill cannot be replayed to the instruction. Plans cannot be replayed either: they also follow
//! from the lives before. A failure comes with the store as the kill left it, before any recovery.
//!
//! Left out: failures of memory allocation, which abort the process as a kill does; power loss, which
//! the simulated disk and the recording block device cover.

mod check;
mod child;
mod os;
mod plan;
mod reader;
mod server;
mod sites;
mod snapshot;
mod tracer;
mod witness;
mod workload;

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use self::server::{Report, Settings, Tally};
use super::scratch::{self, ScratchDir};
use super::{Config, Failure, FailureKind, KillSummary, Progress};

/// The hidden command of the program that makes it a server.
pub const SERVER: &str = "torture-kill-server";

/// Servers per worker of the run: a life mostly waits, for the device or for its kill.
/// Measured on two busy processors: one server made 44 cycles per second, four 168, eight 225.
const SERVERS_PER_WORKER: usize = 4;

/// Kills processes as `config` says. It starts them from the present program, which must be the
/// command-line tool.
pub fn run(config: &Config, progress: &Progress) -> (KillSummary, Vec<Failure>) {
    match std::env::current_exe() {
        Ok(program) => run_program(&program, config, None, progress),
        Err(error) => cannot_run(format!("this program cannot be found: {error}")),
    }
}

/// As [`run`], by another program, and for at most `cycles`.
pub fn run_program(
    program: &Path,
    config: &Config,
    cycles: Option<u64>,
    progress: &Progress,
) -> (KillSummary, Vec<Failure>) {
    let begun = Instant::now();
    let scratch = match ScratchDir::create(config.directory.as_deref(), "kill") {
        Ok(scratch) => scratch,
        Err(error) => return cannot_run(format!("no directory for the stores: {error}")),
    };
    progress.now("killing processes");
    let servers = servers(config);
    let all = Mutex::new(All { tallies: vec![Tally::default(); servers], ..All::default() });
    std::thread::scope(|scope| {
        for number in 0..servers {
            let (all, scratch) = (&all, &scratch);
            scope.spawn(move || {
                let settings = settings(config, cycles, scratch, number);
                if let Err(error) = attend(program, &settings, number, progress, all) {
                    let mut all = all.lock().expect("no panics");
                    all.failures.push(harness(format!("server {number}: {error}")));
                }
            });
        }
    });
    let all = all.into_inner().expect("no panics");
    let mut summary = all.summary();
    summary.seconds = begun.elapsed().as_secs_f64();
    summary.directory = scratch.describe();
    if scratch.is_in_memory() {
        summary.notes.push(scratch::IN_MEMORY.to_owned());
    }
    (summary, all.failures)
}

/// The hidden command: serves until its end.
///
/// # Errors
/// The settings cannot be read, or the operating system refuses a call that the server needs.
pub fn serve() -> io::Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    server::serve(&serde_json::from_str(&line)?)
}

fn servers(config: &Config) -> usize {
    config.workers.max(1) * SERVERS_PER_WORKER
}

fn settings(config: &Config, cycles: Option<u64>, scratch: &ScratchDir, number: usize) -> Settings {
    let limit = config.limit.or_else(|| config.tier.limit());
    Settings {
        directory: scratch.directory.join(format!("server-{number}")),
        failures: std::path::absolute(&config.failures).unwrap_or(config.failures.clone()),
        seed: config.seed.wrapping_add((number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        seconds: limit.map(|limit| limit.as_secs_f64()),
        cycles: cycles.map(|cycles| cycles.div_ceil(servers(config) as u64)),
        replay: format!("syncline torture --suite kill --seed {}", config.seed),
    }
}

/// The reports of all servers.
#[derive(Debug, Default)]
struct All {
    tallies: Vec<Tally>,
    notes: Vec<String>,
    failures: Vec<Failure>,
}

/// Starts a server and listens to it until its end.
fn attend(
    program: &Path,
    settings: &Settings,
    number: usize,
    progress: &Progress,
    all: &Mutex<All>,
) -> io::Result<()> {
    fs::create_dir_all(&settings.directory)?;
    let mut server = Server(
        Command::new(program)
            .arg(SERVER)
            // Ctrl-C is meant for the suite, which then reports its results so far.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut input = server.0.stdin.take().expect("piped");
    writeln!(input, "{}", serde_json::to_string(settings)?)?;
    let output = BufReader::new(server.0.stdout.take().expect("piped"));
    for line in output.lines() {
        let report = serde_json::from_str(&line?)?;
        let mut all = all.lock().expect("no panics");
        match report {
            Report::Tally(tally) => {
                let cycles = tally.cycles - all.tallies[number].cycles;
                let before: u64 = all.tallies[number].injected.values().sum();
                let faults = tally.injected.values().sum::<u64>() - before;
                Progress::add(&progress.kills, cycles);
                Progress::add(&progress.faults, faults);
                all.tallies[number] = tally;
            }
            Report::Failure(failure) => {
                Progress::add(&progress.failures, 1);
                all.failures.push(failure);
            }
            Report::Note(note) if !all.notes.contains(&note) => all.notes.push(note),
            Report::Note(_) => {}
        }
        if progress.is_stopped() {
            return Ok(());
        }
    }
    let status = server.0.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("ended: {status}"))) }
}

/// A server, which does not outlive its listener.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // The server may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl All {
    fn summary(&self) -> KillSummary {
        let mut summary = KillSummary::default();
        for tally in &self.tallies {
            if tally.clocks_set > 0 {
                let clocks = "times of files set to other years".to_owned();
                *summary.injected.entry(clocks).or_default() += tally.clocks_set;
            }
            summary.cycles += tally.cycles;
            summary.sync_commits += tally.sync_commits;
            summary.async_commits += tally.async_commits;
            summary.recoveries_killed += tally.recoveries_killed;
            summary.deepest = summary.deepest.max(tally.deepest);
            for (place, count) in &tally.places {
                *summary.places.entry(place.clone()).or_default() += count;
            }
            for (fault, count) in &tally.injected {
                *summary.injected.entry(fault.clone()).or_default() += count;
            }
        }
        summary.notes = self.notes.clone();
        if !tracer::CAN_INJECT {
            let note = "faults are injected into system calls on x86-64 only";
            summary.notes.push(note.to_owned());
        }
        summary
    }
}

fn harness(title: String) -> Failure {
    let replay = String::new();
    Failure { kind: FailureKind::Harness, clause: None, title, story: Vec::new(), replay }
}

fn cannot_run(title: String) -> (KillSummary, Vec<Failure>) {
    (KillSummary::default(), vec![harness(title)])
}
