//! Figures and words that the table and the page share.

use std::collections::{BTreeMap, BTreeSet};

use super::config::Suite;
use super::failure::FailureKind;
use super::summary::{GateSummary, ServerSummary, SimSummary, Summary};
use crate::tools::present::text::{count, counted};

/// The outcome of a run in a word and a line.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) word: &'static str,
    pub(super) detail: String,
    /// None if all held.
    pub(super) worst: Option<FailureKind>,
}

impl Verdict {
    pub(super) fn of(summary: &Summary) -> Verdict {
        let worst = summary.worst();
        let word = match worst {
            None if summary.judged() == 0 => "NOTHING JUDGED",
            None => "ALL HELD",
            Some(FailureKind::Safety) => "PROMISE BROKEN",
            Some(FailureKind::Liveness) => "STORE STUCK",
            Some(FailureKind::Harness) => "SUITE FAILED",
        };
        let detail = match worst {
            None => judged(summary),
            Some(_) => format!("{} among {}", failures(summary), judged(summary)),
        };
        Verdict { word, detail, worst }
    }
}

/// "2 safety, 1 harness failures".
fn failures(summary: &Summary) -> String {
    let kinds = [FailureKind::Safety, FailureKind::Liveness, FailureKind::Harness];
    let of_kind = |kind: FailureKind| {
        let number = summary.failures.iter().filter(|failure| failure.kind == kind).count();
        (number > 0).then(|| format!("{} {}", count(number as u64), kind_name(kind)))
    };
    let numbers = kinds.into_iter().filter_map(of_kind).collect::<Vec<_>>().join(", ");
    let plural = if summary.failures.len() == 1 { "" } else { "s" };
    format!("{numbers} failure{plural}")
}

fn judged(summary: &Summary) -> String {
    let mut parts = Vec::new();
    if let Some(sim) = &summary.sim {
        parts.push(counted(sim.states, "state"));
    }
    if let Some(kill) = &summary.kill {
        parts.push(counted(kill.cycles, "kill"));
    }
    if let Some(server) = &summary.server {
        parts.push(format!("{} of a server", counted(server.kills, "kill")));
    }
    if let Some(museum) = &summary.museum {
        parts.push(counted(museum.exhibits.len() as u64, "exhibit"));
    }
    if let Some(gate) = &summary.mutants {
        let rows = mutants(gate);
        let caught = rows.iter().filter(|row| row.survived == 0).count() as u64;
        parts.push(format!("{} of {} caught", count(caught), counted(rows.len() as u64, "mutant")));
    }
    if parts.is_empty() { "nothing that was judged".to_owned() } else { parts.join(", ") }
}

/// The command that repeats the run, as far as it follows from the seed.
pub(super) fn again(summary: &Summary) -> String {
    let Summary { tier, seed, workers, .. } = summary;
    let ran = |suite: &Suite| match suite {
        Suite::Sim => summary.sim.as_ref().is_some_and(|sim| sim.runs > 0),
        Suite::Flips => summary.sim.as_ref().is_some_and(|sim| sim.bits_flipped > 0),
        Suite::Kill => summary.kill.is_some(),
        Suite::Server => summary.server.is_some(),
        Suite::Museum => summary.museum.is_some(),
        Suite::Mutants => summary.mutants.is_some(),
    };
    let (ran, not): (Vec<Suite>, Vec<Suite>) =
        Suite::ALL.into_iter().filter(|suite| suite.is_compiled()).partition(ran);
    let suites = match (ran.as_slice(), not.as_slice()) {
        ([], _) | (_, []) => String::new(),
        _ => format!(" --suite {}", names(&ran)),
    };
    format!("syncline torture --tier {}{suites} --seed {seed} --workers {workers}", tier.name())
}

/// "sim,kill", as the command line takes it.
pub(super) fn names(suites: &[Suite]) -> String {
    suites.iter().map(|suite| suite.name()).collect::<Vec<_>>().join(",")
}

pub(super) fn kind_name(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Safety => "safety",
        FailureKind::Liveness => "liveness",
        FailureKind::Harness => "harness",
    }
}

/// A mutant over all its seeds.
#[derive(Debug, Default)]
pub(super) struct MutantRow {
    pub(super) class: String,
    pub(super) name: String,
    pub(super) about: String,
    /// Clauses with the workload or fault, each once.
    pub(super) caught_by: String,
    /// The most over all seeds, as is `seconds`.
    pub(super) states: u64,
    pub(super) seconds: f64,
    pub(super) seeds: u64,
    /// Seeds with which it survived.
    pub(super) survived: u64,
}

/// One row per mutant, by class and name.
pub(super) fn mutants(gate: &GateSummary) -> Vec<MutantRow> {
    let mut rows: BTreeMap<(&str, &str), (MutantRow, BTreeSet<String>)> = BTreeMap::new();
    for caught in &gate.caught {
        let (row, by) = rows.entry((&caught.class, &caught.mutant)).or_default();
        row.about.clone_from(&caught.about);
        row.seeds += 1;
        row.states = row.states.max(caught.states);
        row.seconds = row.seconds.max(caught.seconds);
        match caught.clause {
            Some(clause) => drop(by.insert(format!("{clause} {}", caught.by))),
            None => row.survived += 1,
        }
    }
    let row = |((class, name), (row, by)): ((&str, &str), (MutantRow, BTreeSet<String>))| {
        let caught_by = by.into_iter().collect::<Vec<_>>().join("; ");
        MutantRow { class: class.to_owned(), name: name.to_owned(), caught_by, ..row }
    };
    rows.into_iter().map(row).collect()
}

/// The figures of served stores, except those of their writes.
pub(super) fn served(server: &ServerSummary) -> Vec<(String, u64)> {
    let mut facts = vec![
        ("under way when the server was killed".to_owned(), server.unanswered),
        ("of these applied".to_owned(), server.unanswered_found),
    ];
    let job = |(state, number): (&String, &u64)| {
        (format!("jobs reported after a kill: {state}"), *number)
    };
    facts.extend(server.jobs.iter().map(job));
    facts.extend([
        ("writes with an idempotency key sent again".to_owned(), server.retries),
        ("values judged".to_owned(), server.rows),
        ("whole stores checked".to_owned(), server.checks),
        ("killed before a client was connected".to_owned(), server.unmet),
    ]);
    facts
}

/// Call sites that differ only in the phase of the store.
#[derive(Debug)]
pub(super) struct SiteGroup<'a> {
    pub(super) fault: &'a str,
    pub(super) operation: &'a str,
    pub(super) file: &'a str,
    /// By phase: how often it failed once, and how often it went on failing.
    pub(super) phases: BTreeMap<&'a str, (u64, u64)>,
}

pub(super) fn sites(sim: &SimSummary) -> Vec<SiteGroup<'_>> {
    let mut groups: BTreeMap<_, BTreeMap<&str, (u64, u64)>> = BTreeMap::new();
    for row in &sim.sites {
        let key = (row.fault.as_str(), row.operation.as_str(), row.file.as_str());
        let counts = groups.entry(key).or_default().entry(&row.phase).or_default();
        counts.0 += row.once;
        counts.1 += row.forever;
    }
    let group = |((fault, operation, file), phases)| SiteGroup { fault, operation, file, phases };
    groups.into_iter().map(group).collect()
}

/// "140 pairs of fault and call site, 3 never activated".
pub(super) fn sites_counted(sim: &SimSummary) -> String {
    let never = sim.sites.iter().filter(|row| row.once + row.forever == 0).count();
    let pairs = counted(sim.sites.len() as u64, "pair");
    match never {
        _ if sim.sites.is_empty() => "none was made to fail".to_owned(),
        0 => format!("{pairs} of fault and call site, each activated"),
        _ => format!("{pairs} of fault and call site, {} NEVER ACTIVATED", count(never as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_gravest_failure_names_the_verdict() {
        let bad = sample::bad();
        let verdict = Verdict::of(&bad);
        assert_eq!(verdict.worst, Some(FailureKind::Safety));
        assert_eq!(verdict.word, "PROMISE BROKEN");
        let text = "1 safety, 1 liveness, 1 harness failures among";
        assert!(verdict.detail.starts_with(text), "{}", verdict.detail);
        assert!(verdict.detail.ends_with("3 of 4 mutants caught"), "{}", verdict.detail);
        assert_eq!(Verdict::of(&sample::good()).word, "ALL HELD");
        let nothing = Summary { sim: None, kill: None, server: None, ..sample::good() };
        let nothing = Summary { museum: None, mutants: None, ..nothing };
        assert_eq!(Verdict::of(&nothing).word, "NOTHING JUDGED");
    }

    #[test]
    fn again_names_the_suites_unless_all_were_run() {
        let all = "syncline torture --tier smoke --seed 123456789 --workers 2";
        assert_eq!(again(&sample::good()), all);
        let mut some = Summary { kill: None, server: None, museum: None, ..sample::good() };
        some.mutants = None;
        assert!(again(&some).contains("--tier smoke --suite sim,flips --seed"), "{}", again(&some));
        some.sim.as_mut().unwrap().runs = 0;
        assert!(again(&some).contains("--tier smoke --suite flips --seed"), "{}", again(&some));
    }

    #[test]
    fn a_mutant_is_as_good_as_its_worst_seed() {
        let gate = sample::bad().mutants.expect("mutants");
        let rows = mutants(&gate);
        let flush = rows.iter().find(|row| row.name == "flush-skipped").expect("the mutant");
        assert_eq!((flush.seeds, flush.survived, flush.states), (2, 0, 310));
        assert_eq!(flush.caught_by, "P2 power loss; P7 power loss");
        let survivor = rows.iter().find(|row| row.survived > 0).expect("a survivor");
        assert_eq!((survivor.seeds, survivor.survived), (2, 1));
    }

    #[test]
    fn sites_are_grouped_by_phase() {
        let sim = sample::bad().sim.expect("a simulated tier");
        let groups = sites(&sim);
        assert!(groups.len() < sim.sites.len());
        let phases: usize = groups.iter().map(|group| group.phases.len()).sum();
        assert_eq!(phases, sim.sites.len());
        assert!(sites_counted(&sim).ends_with("2 NEVER ACTIVATED"), "{}", sites_counted(&sim));
    }
}
