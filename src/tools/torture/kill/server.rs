//! The server: a process with a single thread that forks, kills and judges, life after life.
//!
//! ```text
//!   suite --- settings, a line on standard input ---> server --- fork ---> child, killed
//!     ^                                                |  ^                  |
//!     '--- reports, lines on standard output ----------'  '--- witness ------'
//! ```
//!
//! Before each life the server reads the store's files into memory, as the kill before has left them.
//! If the life fails, it saves them with the failure.
//!
//! The server ends with its limits, after a few failures, or when the suite kills it.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, FileTimes};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::check::{Depth, Verdict};
use super::child::{self, Task};
use super::os;
use super::plan::{Plan, Planner};
use super::sites::Guide;
use super::snapshot::Snapshot;
use super::tracer::{self, Ending, NOT_FILTERED, NOT_TRACED};
use super::witness::{Phase, Told, Witness};
use super::workload::{Model, Rng, THREADS, is_large};
use crate::tools::torture::{Clause, Failure, FailureKind};

/// The interval between reports to the suite.
const REPORT: Duration = Duration::from_millis(100);
/// Lives of one store.
const LIVES: u64 = 100;
/// The server ends after this number of failures.
const FAILURES: u32 = 3;
/// Old tokens that each life checks.
const OLDER: usize = 24;
/// The latest lives that a failure describes.
const STORY: usize = 10;

/// The settings of a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Settings {
    /// A directory of its own.
    pub(super) directory: PathBuf,
    /// Where failures save the files of their stores.
    pub(super) failures: PathBuf,
    pub(super) seed: u64,
    pub(super) seconds: Option<f64>,
    pub(super) cycles: Option<u64>,
    /// The command that starts the run again.
    pub(super) replay: String,
}

/// A message of a server to the suite.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// Totals since the server began.
    Tally(Tally),
    Failure(Failure),
    Note(String),
}

/// The counts of a server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) lives: u64,
    /// Kills with a judged recovery after them.
    pub(super) cycles: u64,
    pub(super) places: BTreeMap<String, u64>,
    pub(super) injected: BTreeMap<String, u64>,
    pub(super) sync_commits: u64,
    pub(super) async_commits: u64,
    /// Errors that injected faults caused.
    pub(super) errors: u64,
    pub(super) recoveries_killed: u64,
    pub(super) deepest: u64,
    pub(super) clocks_set: u64,
    pub(super) closed: u64,
}

/// Serves until the end.
pub(super) fn serve(settings: &Settings) -> io::Result<()> {
    let threads = fs::read_dir("/proc/self/task")?.count();
    assert_eq!(threads, 1, "only a process with a single thread can fork and go on");
    // The server ends with the suite. A child, which does not inherit this, sets the same for itself.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    nix::sys::prctl::set_timerslack(1000)?;
    // The first hash detects the processor's features, which is slow in a virtual machine. Doing it
    // here saves each child the time.
    let _ = crc32fast::hash(b"once");
    let mut server = Server::new(settings)?;
    let begun = Instant::now();
    let mut reported = begun;
    let mut failures = 0;
    let is_over = |tally: &Tally| {
        settings.seconds.is_some_and(|seconds| begun.elapsed().as_secs_f64() >= seconds)
            || settings.cycles.is_some_and(|cycles| tally.cycles >= cycles)
    };
    while !is_over(&server.tally) && failures < FAILURES {
        if let Some(failure) = server.life()? {
            failures += 1;
            tell(&Report::Failure(failure))?;
            server.renew()?;
        }
        if reported.elapsed() >= REPORT {
            reported = Instant::now();
            tell(&Report::Tally(server.tally()))?;
        }
    }
    tell(&Report::Tally(server.tally()))
}

fn tell(report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_string(report)?;
    line.push('\n');
    io::stdout().lock().write_all(line.as_bytes())
}

struct Server<'a> {
    settings: &'a Settings,
    planner: Planner,
    guide: Guide,
    witness: Witness,
    model: Model,
    older: Vec<Told>,
    tally: Tally,
    /// The number of the present store, and its lives so far.
    store: u64,
    lives: u64,
    /// A recovery has been judged since the store was new.
    is_made: bool,
    /// There was a kill since the last judged recovery.
    owes: bool,
    /// Recoveries killed since then.
    depth: u64,
    before: Snapshot,
    story: VecDeque<String>,
}

impl<'a> Server<'a> {
    fn new(settings: &'a Settings) -> io::Result<Server<'a>> {
        let mut server = Server {
            settings,
            planner: Planner {
                rng: Rng::new(settings.seed),
                can_trace: true,
                can_inject: tracer::CAN_INJECT,
                opening: Duration::from_millis(2),
            },
            guide: Guide::default(),
            witness: Witness::new()?,
            model: Model::new(0),
            older: Vec::new(),
            tally: Tally::default(),
            store: 0,
            lives: 0,
            is_made: false,
            owes: false,
            depth: 0,
            before: Snapshot::new()?,
            story: VecDeque::new(),
        };
        server.renew()?;
        Ok(server)
    }

    /// Goes on with a new store, which the next life creates.
    fn renew(&mut self) -> io::Result<()> {
        self.tally.sync_commits += self.witness.sync_commits();
        self.tally.async_commits += self.witness.async_commits();
        self.tally.errors += self.witness.errors();
        self.witness.clear();
        if self.parent().exists() {
            fs::remove_dir_all(self.parent())?;
        }
        self.store += 1;
        self.model = Model::new(self.planner.rng.next());
        self.older.clear();
        self.story.clear();
        self.before.clear();
        (self.lives, self.depth) = (0, 0);
        (self.is_made, self.owes) = (false, false);
        Ok(())
    }

    /// At first this is missing too, so that creating a store makes two directories.
    fn parent(&self) -> PathBuf {
        self.settings.directory.join(format!("{}", self.store))
    }

    fn directory(&self) -> PathBuf {
        self.parent().join("store")
    }

    fn tally(&self) -> Tally {
        let mut tally = self.tally.clone();
        tally.sync_commits += self.witness.sync_commits();
        tally.async_commits += self.witness.async_commits();
        tally.errors += self.witness.errors();
        tally
    }

    /// One life, from the fork to the judgement.
    fn life(&mut self) -> io::Result<Option<Failure>> {
        if self.lives >= LIVES {
            self.renew()?;
        }
        self.lives += 1;
        self.tally.lives += 1;
        let directory = self.directory();
        self.before.take(&directory)?;
        if self.planner.rng.one_in(50) {
            self.tally.clocks_set += 1;
            set_clocks(&directory, &mut self.planner.rng)?;
        }
        let mut plan = self.draw();
        plan.task.reads = plan.is_long || is_large(self.model.seed());
        self.witness.begin_life();
        let begun = Instant::now();
        let ending = self.live(&plan)?;
        if let Ending::Ended(NOT_TRACED | NOT_FILTERED) = ending {
            return self.go_without_tracing(&ending).map(|()| None);
        }
        self.note(&plan, &ending, begun.elapsed());
        match self.verdict(&ending) {
            Some(verdict) => self.failure(&verdict).map(Some),
            None => Ok(None),
        }
    }

    fn draw(&mut self) -> Plan {
        let task = Task {
            directory: self.directory(),
            opens: if self.is_made { Phase::Open } else { Phase::Create },
            depth: Depth::Contents,
            again: false,
            close_after: None,
            marked: None,
            is_long: false,
            reads: false,
            stops_from: None,
            older: self.older.clone(),
            seed: 0,
        };
        self.planner.draw(task, &mut self.guide)
    }

    fn live(&mut self, plan: &Plan) -> io::Result<Ending> {
        let is_traced = plan.is_traced();
        let (witness, model) = (self.witness, &mut self.model);
        let server = nix::unistd::getpid();
        let child = os::fork_child(|| {
            // The end of the server ends its child, even if it comes before this call.
            let bound = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
            if bound.is_err() || nix::unistd::getppid() != server {
                return NOT_TRACED;
            }
            match if is_traced { tracer::submit() } else { Ok(()) } {
                Ok(()) => child::live(&plan.task, model, witness),
                Err(status) => status,
            }
        })?;
        if !is_traced {
            return tracer::watch(child, plan, &self.witness);
        }
        let (ending, injected) = tracer::trace(child, plan, &self.witness, &mut self.guide)?;
        if let Some(injected) = injected {
            *self.tally.injected.entry(injected.what).or_default() += 1;
        }
        Ok(ending)
    }

    fn go_without_tracing(&mut self, ending: &Ending) -> io::Result<()> {
        let what = match ending {
            Ending::Ended(NOT_FILTERED) => "its system calls cannot be filtered (seccomp)",
            _ => "a child cannot be traced (ptrace)",
        };
        self.planner.can_trace = false;
        self.planner.can_inject = false;
        tell(&Report::Note(format!(
            "kills at system calls, stepped instructions and injected faults are left out: {what}"
        )))
    }

    /// Takes the counts, the story and the model on to the end of a life.
    fn note(&mut self, plan: &Plan, ending: &Ending, took: Duration) {
        let phase = self.witness.phase();
        let judged = matches!(phase, Phase::Write | Phase::Close | Phase::Done);
        if judged {
            self.is_made = true;
            self.tally.cycles += u64::from(self.owes);
            (self.owes, self.depth) = (false, 0);
        }
        match ending {
            Ending::Killed(place) => {
                self.owes = true;
                *self.tally.places.entry(place.clone()).or_default() += 1;
                if matches!(phase, Phase::Open | Phase::Check) {
                    self.depth += 1;
                    self.tally.recoveries_killed += 1;
                    self.tally.deepest = self.tally.deepest.max(self.depth);
                }
                if phase <= Phase::Open {
                    // A killed opening took at least this long.
                    let opening = self.planner.opening.max(took);
                    self.planner.opening = opening.min(Duration::from_millis(8));
                }
            }
            Ending::Ended(_) => self.tally.closed += u64::from(phase == Phase::Done),
            Ending::Died(_) | Ending::Hung(_) => {}
        }
        let acked: Vec<u64> = (0..THREADS).map(|thread| self.witness.acked(thread)).collect();
        if self.story.len() == STORY {
            self.story.pop_front();
        }
        self.story.push_back(format!(
            "life {}: {}; {ending:?} in {} after {took:.1?}, acknowledged {acked:?}, \
             LSN {:#x}, durable {:#x}",
            self.lives,
            plan.describe(),
            phase.name(),
            self.witness.acked_lsn(),
            self.witness.durable_lsn(),
        ));
        for (thread, acked) in acked.into_iter().enumerate() {
            self.model.advance(thread, acked);
        }
        for told in self.witness.tokens().into_iter().step_by(23) {
            if self.older.len() < OLDER {
                self.older.push(told);
            } else {
                let at = self.planner.rng.below(OLDER as u64) as usize;
                self.older[at] = told;
            }
        }
    }

    /// The broken clause, if there is one.
    fn verdict(&self, ending: &Ending) -> Option<Verdict> {
        let phase = self.witness.phase().name();
        if let Some(text) = self.witness.verdict() {
            return Some(serde_json::from_str(&text).unwrap_or_else(|_| {
                Verdict::new(Clause::Answers, format!("{phase}: cut short: {text}"))
            }));
        }
        let answers = |title: String| Some(Verdict::new(Clause::Answers, title));
        match ending {
            Ending::Killed(_) | Ending::Ended(0) => None,
            Ending::Ended(status) => answers(format!("{phase}: ended with status {status}")),
            Ending::Died(signal) => answers(format!("{phase}: died of {signal}")),
            Ending::Hung(threads) => {
                let mut verdict =
                    Verdict::new(Clause::Answers, format!("{phase}: nothing moves any more"));
                verdict.kind = FailureKind::Liveness;
                let named = threads.iter().map(|(name, state)| format!("{name} {state}"));
                let named: Vec<String> = named.collect();
                verdict.story.push(format!("its threads: {}", named.join(", ")));
                Some(verdict)
            }
        }
    }

    /// Saves the store as it was before the life and as it is now.
    fn failure(&self, verdict: &Verdict) -> io::Result<Failure> {
        let name = format!("kill-{:x}-{}-{}", self.settings.seed, self.store, self.lives);
        let place = self.settings.failures.join(name);
        let (before, after) = (place.join("before"), place.join("after"));
        self.before.put(&before)?;
        fs::create_dir_all(&after)?;
        let mut left = Snapshot::new()?;
        left.take(&self.directory())?;
        left.put(&after)?;
        let mut story = verdict.story.clone();
        story.push("the latest lives of this store; the last one failed:".to_owned());
        story.extend(self.story.iter().cloned());
        story.push(format!("the store before that life: {}", before.display()));
        story.push(format!("the store after it: {}", after.display()));
        story.push(format!("syncline dump-log {}", before.display()));
        story.push(format!("syncline verify {} (recovers it: copy it first)", before.display()));
        Ok(Failure {
            kind: verdict.kind,
            clause: verdict.clause,
            title: verdict.title.clone(),
            story,
            replay: self.settings.replay.clone(),
        })
    }
}

/// Sets the times of all files to random times between 1970 and 2120.
fn set_clocks(directory: &Path, rng: &mut Rng) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    for entry in entries {
        let seconds = Duration::from_secs(rng.below(150 * 365 * 86_400));
        let time = SystemTime::UNIX_EPOCH + seconds;
        let times = FileTimes::new().set_accessed(time).set_modified(time);
        File::options().write(true).open(entry?.path())?.set_times(times)?;
    }
    Ok(())
}
