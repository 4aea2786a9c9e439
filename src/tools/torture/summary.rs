//! The results of a run of the suite.

use std::collections::BTreeMap;

use serde::Serialize;

use super::config::Tier;
use super::failure::{Clause, Failure, FailureKind};

/// All results of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The version of Syncline.
    pub version: &'static str,
    /// How long and how deep.
    pub tier: Tier,
    /// All random draws follow from it.
    pub seed: u64,
    /// Threads that simulated at a time; also the measure for killed processes.
    pub workers: usize,
    /// How long it took.
    pub seconds: f64,
    /// The simulated tier, if it was asked for.
    pub sim: Option<SimSummary>,
    /// The kill tier, if it was asked for and is there.
    pub kill: Option<KillSummary>,
    /// The served stores, if they were asked for.
    pub server: Option<ServerSummary>,
    /// The museum, if it was asked for.
    pub museum: Option<MuseumSummary>,
    /// The mutants, if they were asked for and are compiled.
    pub mutants: Option<GateSummary>,
    /// The requested parts that were left out, with the reason.
    pub skipped: Vec<String>,
    /// All failures.
    pub failures: Vec<Failure>,
}

impl Summary {
    /// The gravest kind of failure.
    pub fn worst(&self) -> Option<FailureKind> {
        self.failures.iter().map(|failure| failure.kind).min()
    }

    /// The number of judgements of every kind.
    pub fn judged(&self) -> u64 {
        let sim = self.sim.as_ref().map_or(0, |sim| sim.states);
        let kill = self.kill.as_ref().map_or(0, |kill| kill.cycles);
        let server = self.server.as_ref().map_or(0, |server| server.kills);
        let museum = self.museum.as_ref().map_or(0, |museum| museum.exhibits.len() as u64);
        let mutants = self.mutants.as_ref().map_or(0, |gate| gate.caught.len() as u64);
        sim + kill + server + museum + mutants
    }
}

/// The results of the simulated tier.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SimSummary {
    /// How long it took.
    pub seconds: f64,
    /// The working time of all workers, added.
    pub worker_seconds: f64,
    /// Crash states of stores whose files, the log included, have up to 512 KiB together.
    pub small_states: u64,
    /// Time that workers spent on them: workloads, and making, recovering and judging the states.
    pub small_seconds: f64,
    /// Workloads that were run.
    pub runs: u64,
    /// Points at which a crash was considered.
    pub crash_points: u64,
    /// Disks after a crash, a fault or rot that were recovered and judged.
    pub states: u64,
    /// States by depth: entry 0 is one crash; each further one is a crash in the recovery before.
    pub states_by_depth: Vec<u64>,
    /// How often each clause was checked.
    pub clauses: BTreeMap<Clause, u64>,
    /// One row per fault of the fault model.
    pub faults: Vec<FaultRow>,
    /// One row per pair of fault and call site.
    pub sites: Vec<SiteRow>,
    /// Windows of unsynced changes of which every subset was tried.
    pub windows_exhausted: u64,
    /// The most changes in such a window.
    pub widest_exhausted: u32,
    /// Windows of which subsets were sampled.
    pub windows_sampled: u64,
    /// Single bits that were flipped.
    pub bits_flipped: u64,
    /// Bits of pages that are never read, flipped a page at a time.
    pub bits_unread: u64,
    /// All bits of the stores in which bits were flipped.
    pub bits: u64,
    /// One row per kind of damage.
    pub rot: Vec<RotRow>,
    /// Pairs of properties that a commit can have, such as the length of its values and the number
    /// of times it names a key.
    pub shapes: u64,
    /// The pairs that a commit had, in a workload whose crashes were judged.
    pub shapes_met: u64,
    /// The pairs that no commit had, in words.
    pub shapes_unmet: Vec<String>,
    /// Runs that were run twice and gave the same trace.
    pub traces_compared: u64,
    /// One run, to be drawn.
    pub picture: Option<Picture>,
}

/// How often a fault of the fault model was met, by the commits at stake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FaultRow {
    /// Its number in the fault model.
    pub fault: u8,
    /// Its name.
    pub name: String,
    /// States that were judged.
    pub states: u64,
    /// Those in which a `Sync` commit had been acknowledged.
    pub sync: u64,
    /// Those in which an `Async` commit had been acknowledged and was not known to be durable.
    pub unsynced: u64,
}

/// The outcomes of one kind of damage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RotRow {
    /// The damage.
    pub what: String,
    /// The store showed the right contents.
    pub right: u64,
    /// It opened and reported the damage.
    pub told: u64,
    /// It did not open and reported why.
    pub refused: u64,
    /// It lacked commits of the last flush, which nothing had proved to be durable, without a report.
    pub unnoticed: u64,
}

/// How often a fault was injected at a call site.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SiteRow {
    /// The fault.
    pub fault: String,
    /// The disk's operation.
    pub operation: String,
    /// The kind of file: data file, log segment, directory.
    pub file: String,
    /// What the store was doing: commit, checkpoint, recovery.
    pub phase: String,
    /// How often it failed once.
    pub once: u64,
    /// How often it went on failing.
    pub forever: u64,
}

/// The crash states of one run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Picture {
    /// The workload of the run.
    pub title: String,
    /// Its crash points in order.
    pub moments: Vec<Moment>,
}

/// One crash point.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Moment {
    /// The number of the disk operation before which the crash comes.
    pub operation: u64,
    /// That operation.
    pub what: String,
    /// Commits that had been submitted by then.
    pub submitted: u64,
    /// Commits that had been acknowledged by then.
    pub acknowledged: u64,
    /// Commits that had been reported durable by then.
    pub durable: u64,
    /// Changes that a power loss decided about.
    pub choices: u64,
    /// Pairs (commits, states): how many states recovered to that many commits.
    pub recovered: Vec<(u64, u64)>,
}

/// The results of the kill tier.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KillSummary {
    /// How long it took.
    pub seconds: f64,
    /// The directory, and the file system that it is on.
    pub directory: String,
    /// Kills with a judged recovery after them.
    pub cycles: u64,
    /// Kills by place: a system call, its entry or exit; a random moment; stepped instructions.
    pub places: BTreeMap<String, u64>,
    /// Faults injected into system calls: short, interrupted, failed.
    pub injected: BTreeMap<String, u64>,
    /// `Sync` commits acknowledged to a witness.
    pub sync_commits: u64,
    /// `Async` commits acknowledged to a witness.
    pub async_commits: u64,
    /// Recoveries that were killed.
    pub recoveries_killed: u64,
    /// The longest run of killed recoveries.
    pub deepest: u64,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// The results of the tier of served stores.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ServerSummary {
    /// How long it took.
    pub seconds: f64,
    /// The directory, and the file system that it is on.
    pub directory: String,
    /// Killed servers whose store was judged.
    pub kills: u64,
    /// Those of them that were killed before a client was connected.
    pub unmet: u64,
    /// Answered writes, by kind.
    pub writes: BTreeMap<String, u64>,
    /// Writes under way when the server was killed.
    pub unanswered: u64,
    /// Those of them that had been applied.
    pub unanswered_found: u64,
    /// Jobs of killed servers, by the state that the next server reported.
    pub jobs: BTreeMap<String, u64>,
    /// Writes with an idempotency key that were sent again in the next life.
    pub retries: u64,
    /// Keys whose value was judged.
    pub rows: u64,
    /// Checks of whole stores.
    pub checks: u64,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// The results of the museum.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MuseumSummary {
    /// How long it took.
    pub seconds: f64,
    /// All exhibits.
    pub exhibits: Vec<Exhibit>,
}

/// A known bug as a scenario.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Exhibit {
    /// Its name.
    pub name: String,
    /// The store that had the bug, and its symptom there.
    pub story: String,
    /// States that were judged.
    pub states: u64,
    /// Whether every state passed.
    pub passed: bool,
    /// Mutants that are this bug, built in.
    pub mutants: Vec<String>,
}

/// The results of the mutants.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GateSummary {
    /// How long it took.
    pub seconds: f64,
    /// Pairs of mutant and seed for which there was no time.
    pub untried: u64,
    /// One per mutant and seed.
    pub caught: Vec<Caught>,
}

/// The result of one mutant.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Caught {
    /// Its name.
    pub mutant: String,
    /// The part of the store that it breaks.
    pub class: String,
    /// The mistake.
    pub about: String,
    /// The seed.
    pub seed: u64,
    /// The clause of P that caught it. None if it survived.
    pub clause: Option<Clause>,
    /// The workload or fault that caught it, by name.
    pub by: String,
    /// The states until then.
    pub states: u64,
    /// The time until then.
    pub seconds: f64,
}
