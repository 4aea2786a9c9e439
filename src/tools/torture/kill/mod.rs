//! Killed processes: real stores on real files, and what a kill leaves of them.
//!
//! ```text
//!   run      one thread for each server; adds up what they report
//!   server   a process that forks lives, ends them, judges
//!     plan     what befalls a life: drawn from the seed, and from what was seen so far
//!     tracer   ends it: by the clock, at a system call, after stepped instructions; faults
//!     child    the life: opens (recovers), checks, writes, closes; never knows its end
//!     reader   somebody who reads meanwhile, and holds what was read
//!     check    the oracle
//!     workload what is written: follows from seed, thread and number
//!     witness  shared memory: what was acknowledged, seen from outside
//!   snapshot a store's files as a kill has left them
//!   sites, os  system calls by name; what needs `unsafe`
//! ```
//!
//! - KILL-1 The witness is another process, and telling it makes no system call: the writer behaves
//!   as if nobody watched, and what it was told survives it.
//! - KILL-2 A kill loses nothing that was acknowledged, in either mode, so of each thread's n
//!   acknowledged commits n or n + 1 must be there: see `check`.
//! - KILL-3 The process that recovers is the next target. A cycle is counted only for a recovery
//!   that came to its end, was judged, and had a kill before it.
//! - KILL-4 A server has one thread and forks without exec: a life begins in a fraction of a
//!   millisecond. The server's memory of what must be there is the child's by the fork.
//! - KILL-5 A life that does nothing for ten seconds hangs, which is a failure of liveness; waiting
//!   for the device does not count. Neither does waiting for a processor, except if the life uses
//!   one and does nothing with it.
//! - KILL-6 One life in fifty is long. It is killed only when each of its threads has come back from a
//!   call that it made after the three seconds were over; one that does not hangs, whatever the
//!   others do.
//!
//! A kill cannot be replayed to the instruction, nor all plans, which also follow from what was
//! seen. A failure comes with the store as the kill left it, before anything recovered it.
//!
//! Left out: failures of memory allocation, which abort the process as a kill does; power loss,
//! which the simulated disk and the recording block device are for.

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
use super::place::{self, Place};
use super::{Config, Failure, FailureKind, KillSummary, Progress};

/// The hidden command of the program that makes it a server.
pub const SERVER: &str = "torture-kill-server";

/// Servers for each of the run's workers: a life mostly waits, for the device or to be killed.
/// Measured on two busy processors: one server made 44 cycles a second, four 168, eight 225.
const SERVERS_PER_WORKER: usize = 4;

/// Kills processes as `config` says. They are started from the present program, which must be
/// the command-line tool.
pub fn run(config: &Config, progress: &Progress) -> (KillSummary, Vec<Failure>) {
    match std::env::current_exe() {
        Ok(program) => run_program(&program, config, None, progress),
        Err(error) => trouble(format!("this program cannot be found: {error}")),
    }
}

/// As [`run`], by another program, and for at most so many cycles.
pub fn run_program(
    program: &Path,
    config: &Config,
    cycles: Option<u64>,
    progress: &Progress,
) -> (KillSummary, Vec<Failure>) {
    let begun = Instant::now();
    let place = match Place::create(config.directory.as_deref(), "kill") {
        Ok(place) => place,
        Err(error) => return trouble(format!("no directory for the stores: {error}")),
    };
    progress.now("killing processes");
    let servers = servers(config);
    let all = Mutex::new(All { tallies: vec![Tally::default(); servers], ..All::default() });
    std::thread::scope(|scope| {
        for number in 0..servers {
            let (all, place) = (&all, &place);
            scope.spawn(move || {
                let settings = settings(config, cycles, place, number);
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
    summary.directory = place.describe();
    if place.is_in_memory() {
        summary.notes.push(place::IN_MEMORY.to_owned());
    }
    (summary, all.failures)
}

/// What the hidden command does: it serves until its end.
///
/// # Errors
/// The settings cannot be read, or the operating system refuses what cannot be done without.
pub fn serve() -> io::Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    server::serve(&serde_json::from_str(&line)?)
}

fn servers(config: &Config) -> usize {
    config.workers.max(1) * SERVERS_PER_WORKER
}

fn settings(config: &Config, cycles: Option<u64>, place: &Place, number: usize) -> Settings {
    let limit = config.limit.or_else(|| config.tier.limit());
    Settings {
        directory: place.directory.join(format!("server-{number}")),
        failures: std::path::absolute(&config.failures).unwrap_or(config.failures.clone()),
        seed: config.seed.wrapping_add((number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        seconds: limit.map(|limit| limit.as_secs_f64()),
        cycles: cycles.map(|cycles| cycles.div_ceil(servers(config) as u64)),
        replay: format!("syncline torture --suite kill --seed {}", config.seed),
    }
}

/// What all servers have reported.
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
            // Who types Ctrl-C means the suite, which will say how far it has come.
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

/// A server, which does not outlive who listens to it.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Either may find that it is gone already.
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

fn trouble(title: String) -> (KillSummary, Vec<Failure>) {
    (KillSummary::default(), vec![harness(title)])
}
