//! The museum: bugs that storage engines have had, ours and others', as scenarios that this engine
//! must survive.
//!
//! ```text
//!   log  flush  directory      the log, and its durability
//!   pages  space               the data file, and a full device
//!   recovery  receipts         recovery, and the status of commits after it
//!   files  versions  users     missing and foreign files; snapshots; user operations
//!   forged  copies             bytes that a client chose; copies of a store that diverge
//!        \   |   /
//!         Piece        name, origin and symptom of a bug; the scenario, its clauses, its mutants
//!           |
//!         Visit        one showing: the notes so far, the number of judged states
//!         /    \
//!   Script      Stage  a workload whose every crash is explored; or step by step, with damage
//!                      and failing calls between
//! ```
//!
//! - MUSEUM-1 An exhibit shows the same each time: it uses neither chance nor the clock.
//! - MUSEUM-2 Oracle P judges, not the scenario. The engine may do a step or refuse it; only the contents
//!   after the next crash count.
//! - MUSEUM-3 An exhibit can fail. Its mutants are the bug itself, built in; a test switches each on and
//!   must see the exhibit fail. An exhibit without a mutant says how it was seen to fail.
//! - MUSEUM-4 The museum has no code of other engines, only the stories of their bugs.
//!
//! Left out: bugs that only a race of threads can show. Tests hold those of this engine:
//!
//! - `cache::tests::interleavings`: eviction under a second claim; a version in neither chain nor
//!   history; a snapshot's versions dropped for a group that was not visible yet; an extent that
//!   history and checkpoint shared;
//! - `a_claim_that_fails_leaves_the_page_where_it_is`: a page whose word a failed claim wrote back;
//! - `tests/api.rs`: a count taken between its commit and the pin;
//! - `tree::tests`: a hang, in which two pages evicted each other.

mod copies;
mod directory;
mod files;
mod flush;
mod forged;
mod log;
mod pages;
mod receipts;
mod recovery;
mod script;
mod space;
mod stage;
mod users;
mod versions;
mod visit;

#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;

use self::visit::{Broken, Visit};
use super::sim::{Violation, panics};
use super::{Clause, Config, Exhibit, Failure, FailureKind, MuseumSummary, Progress};
use crate::engine::mutants::Mutant;

/// A bug as a scenario.
struct Piece {
    name: &'static str,
    /// The store that had it, the year, and the source.
    whose: &'static str,
    /// The symptom there.
    showed: &'static str,
    /// The scenario for this engine.
    done: &'static str,
    /// The clauses that the bug would break.
    judged: &'static [Clause],
    /// The bug itself, as a switch in the engine.
    mutants: &'static [Mutant],
    show: fn(&mut Visit) -> Result<(), Broken>,
}

/// All exhibits, room by room.
const ROOMS: [&[Piece]; 12] = [
    log::ROOM,
    forged::ROOM,
    flush::ROOM,
    directory::ROOM,
    pages::ROOM,
    space::ROOM,
    recovery::ROOM,
    receipts::ROOM,
    copies::ROOM,
    files::ROOM,
    versions::ROOM,
    users::ROOM,
];

/// Runs the tier.
pub(super) fn run(config: &Config, progress: &Progress) -> (MuseumSummary, Vec<Failure>) {
    let begun = Instant::now();
    let pieces: Vec<&Piece> = ROOMS.into_iter().flatten().collect();
    let shown: Vec<Mutex<Option<Shown>>> = pieces.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    let show_rest = || {
        panics::catch();
        while let Some(&piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            if progress.is_stopped() {
                return;
            }
            progress.now(format!("museum: {}", piece.name));
            let result = show(piece);
            Progress::add(&progress.exhibits, 1);
            Progress::add(&progress.states, result.exhibit.states);
            if let Some(failure) = &result.failure {
                progress.found(failure);
            }
            let at = pieces.iter().position(|other| std::ptr::eq(*other, piece));
            *shown[at.expect("one of them")].lock() = Some(result);
        }
    };
    thread::scope(|scope| {
        for _ in 0..config.workers.max(1) {
            scope.spawn(show_rest);
        }
    });
    let shown: Vec<Shown> = shown.into_iter().filter_map(Mutex::into_inner).collect();
    let exhibits = shown.iter().map(|shown| shown.exhibit.clone()).collect();
    let failures = shown.into_iter().filter_map(|shown| shown.failure).collect();
    (MuseumSummary { seconds: begun.elapsed().as_secs_f64(), exhibits }, failures)
}

/// Shows one exhibit after the other until one fails. Returns its name, the broken clause, and the
/// number of states judged until then. Calls `beat` after each exhibit.
#[cfg(feature = "mutants")]
pub(super) fn first_failure(beat: &dyn Fn()) -> (Option<(&'static str, Clause)>, u64) {
    panics::catch();
    let mut states = 0;
    for piece in ROOMS.into_iter().flatten() {
        let Shown { exhibit, failure } = show(piece);
        states += exhibit.states;
        beat();
        if let Some(clause) = failure.and_then(|failure| failure.clause) {
            return (Some((piece.name, clause)), states);
        }
    }
    (None, states)
}

/// The result of an exhibit.
struct Shown {
    exhibit: Exhibit,
    failure: Option<Failure>,
}

/// Shows an exhibit, in a thread that keeps its panics ([`panics::catch`]).
fn show(piece: &Piece) -> Shown {
    let mut visit = Visit::default();
    let result = catch_unwind(AssertUnwindSafe(|| (piece.show)(&mut visit)));
    let result = result.unwrap_or_else(|_| Err(Violation::safety(panics::take()).into()));
    let exhibit = Exhibit {
        name: piece.name.to_owned(),
        story: format!("{}: {}", piece.whose, piece.showed),
        states: visit.states,
        passed: result.is_ok(),
        mutants: piece.mutants.iter().map(|mutant| mutant.name().to_owned()).collect(),
    };
    let failure = result.err().map(|broken| told(piece, &visit, broken));
    Shown { exhibit, failure }
}

fn told(piece: &Piece, visit: &Visit, broken: Broken) -> Failure {
    let Broken { violation, story } = broken;
    let mut lines = vec![
        format!("Origin of the bug: {}", piece.whose),
        format!("  {}", piece.showed),
        format!("Scenario: {}", piece.done),
        "Clauses that the bug would break:".to_owned(),
    ];
    lines.extend(piece.judged.iter().map(|clause| format!("  {clause}: {}", clause.demand())));
    if story.is_empty() {
        lines.push("Steps:".to_owned());
        lines.extend(visit.notes.iter().map(|note| format!("  {note}")));
        lines.push("What came back:".to_owned());
        lines.push(format!("  {}", violation.what));
        let Violation { clause, .. } = violation;
        lines.push(format!("Broken: {clause}: {}", clause.demand()));
    } else {
        lines.extend(story);
    }
    Failure {
        kind: violation.kind,
        clause: Some(violation.clause).filter(|_| violation.kind != FailureKind::Harness),
        title: format!("museum, {}: {}", piece.name, violation.what),
        story: lines,
        replay: "syncline torture --suite museum".to_owned(),
    }
}
