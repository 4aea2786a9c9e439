//! What a run of the suite has to tell.

use std::collections::BTreeMap;

use serde::Serialize;

use super::config::Tier;
use super::failure::{Clause, Failure, FailureKind};

/// All that a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The version of Syncline.
    pub version: &'static str,
    /// How long and how deep.
    pub tier: Tier,
    /// Everything that was drawn by chance follows from it.
    pub seed: u64,
    /// Threads that simulated, and processes that were killed, at a time.
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
    /// What was asked for and not done, and why.
    pub skipped: Vec<String>,
    /// All failures.
    pub failures: Vec<Failure>,
}

impl Summary {
    /// The gravest kind of failure.
    pub fn worst(&self) -> Option<FailureKind> {
        self.failures.iter().map(|failure| failure.kind).min()
    }

    /// How much was judged, whatever it was.
    pub fn judged(&self) -> u64 {
        let sim = self.sim.as_ref().map_or(0, |sim| sim.states);
        let kill = self.kill.as_ref().map_or(0, |kill| kill.cycles);
        let server = self.server.as_ref().map_or(0, |server| server.kills);
        let museum = self.museum.as_ref().map_or(0, |museum| museum.exhibits.len() as u64);
        let mutants = self.mutants.as_ref().map_or(0, |gate| gate.caught.len() as u64);
        sim + kill + server + museum + mutants
    }
}

/// What the simulated tier did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SimSummary {
    /// How long it took.
    pub seconds: f64,
    /// Time that all workers were at it, added.
    pub worker_seconds: f64,
    /// Crash states of stores whose files, the log included, have up to 512 KiB together.
    pub small_states: u64,
    /// Time of workers that went to them: to the workloads, and to making, recovering and judging
    /// the states.
    pub small_seconds: f64,
    /// Workloads that were run.
    pub runs: u64,
    /// Moments at which a crash was considered.
    pub crash_points: u64,
    /// Disks that a crash, a fault or rot left, that were recovered and judged.
    pub states: u64,
    /// States by how many crashes lay one within the other's recovery; the first is 0.
    pub states_by_depth: Vec<u64>,
    /// How often each clause was checked.
    pub clauses: BTreeMap<Clause, u64>,
    /// For each fault of the fault model.
    pub faults: Vec<FaultRow>,
    /// For each pair of fault and call site.
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
    /// How many bits the stores have in which they were flipped.
    pub bits: u64,
    /// For each sort of damage.
    pub rot: Vec<RotRow>,
    /// Pairs of what a commit can be like: how long its values are, how often it names a key, and
    /// so on.
    pub shapes: u64,
    /// Those that a commit had, of a workload whose crashes were judged.
    pub shapes_met: u64,
    /// Those that none had, in words.
    pub shapes_unmet: Vec<String>,
    /// Runs that were run twice and gave the same trace.
    pub traces_compared: u64,
    /// One run, to be drawn.
    pub picture: Option<Picture>,
}

/// How often a fault of the fault model was met, by what was at stake.
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

/// What became of stores that were damaged in one way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RotRow {
    /// The damage.
    pub what: String,
    /// The store showed what it should.
    pub right: u64,
    /// It opened, and told of the damage.
    pub told: u64,
    /// It did not open, and told why.
    pub refused: u64,
    /// It lacked commits of the last flush, which nothing had proved to be durable, and did not
    /// tell.
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
    /// What the store was doing.
    pub phase: String,
    /// How often it failed once.
    pub once: u64,
    /// How often it went on failing.
    pub forever: u64,
}

/// The crash states of one run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Picture {
    /// What the run did.
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
    /// How many of the states recovered to how many commits: (commits, states).
    pub recovered: Vec<(u64, u64)>,
}

/// What the kill tier did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KillSummary {
    /// How long it took.
    pub seconds: f64,
    /// The directory, and the file system that it is on.
    pub directory: String,
    /// Kills followed by a recovery that was judged.
    pub cycles: u64,
    /// Kills by place: a system call, its entry or exit; a random moment; stepped instructions.
    pub places: BTreeMap<String, u64>,
    /// Faults injected into system calls: short, interrupted, failed.
    pub injected: BTreeMap<String, u64>,
    /// `Sync` commits that were acknowledged to a witness.
    pub sync_commits: u64,
    /// `Async` commits that were acknowledged to a witness.
    pub async_commits: u64,
    /// Recoveries that were killed themselves.
    pub recoveries_killed: u64,
    /// The most recoveries that were killed one after the other.
    pub deepest: u64,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// What was done to served stores.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ServerSummary {
    /// How long it took.
    pub seconds: f64,
    /// The directory, and the file system that it is on.
    pub directory: String,
    /// Servers that were killed, and what they left judged.
    pub kills: u64,
    /// Those of them that were killed before anybody was connected.
    pub unmet: u64,
    /// Writes that were answered, by kind.
    pub writes: BTreeMap<String, u64>,
    /// Writes that were under way when the server was killed.
    pub unanswered: u64,
    /// Those of them that had been applied.
    pub unanswered_found: u64,
    /// Jobs of killed servers that were asked about, by what was told.
    pub jobs: BTreeMap<String, u64>,
    /// Writes with an idempotency key that were sent again by the next life.
    pub retries: u64,
    /// Keys whose value was judged.
    pub rows: u64,
    /// Checks of whole stores.
    pub checks: u64,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// What the museum showed.
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
    /// Which store had it, and how it showed.
    pub story: String,
    /// States that were judged.
    pub states: u64,
    /// Whether all was well.
    pub passed: bool,
    /// Mutants that are this bug, built in.
    pub mutants: Vec<String>,
}

/// What became of the mutants.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GateSummary {
    /// How long it took.
    pub seconds: f64,
    /// Pairs of mutant and seed for which there was no time.
    pub untried: u64,
    /// One for each mutant and seed.
    pub caught: Vec<Caught>,
}

/// What became of one mutant.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Caught {
    /// Its name.
    pub mutant: String,
    /// What it breaks.
    pub class: String,
    /// The mistake.
    pub about: String,
    /// The seed.
    pub seed: u64,
    /// What caught it: a clause of P. None if nothing did.
    pub clause: Option<Clause>,
    /// By which means: the name of a workload or fault.
    pub by: String,
    /// After how many states.
    pub states: u64,
    /// After what time.
    pub seconds: f64,
}
