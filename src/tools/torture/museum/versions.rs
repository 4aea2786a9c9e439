//! Snapshots, eviction, and the pages that both need.

use super::Piece;
use super::script::{SMALL, Script};
use super::stage::Stage;
use super::visit::{Broken, LIGHT, Visit};
use crate::engine::mutants::Mutant;
use crate::tools::torture::Clause;
use crate::tools::torture::sim::{Mode, Setup, Violation};
use crate::{CommitMode, Options};

pub(super) const ROOM: &[Piece] = &[
    Piece {
        name: "a snapshot takes others' versions",
        whose: "ours, found by the model with threads",
        showed: "a snapshot that ended dropped versions of pages that others still read",
        done: "three overlapping snapshots, changes between, and a read of each as it ends",
        judged: &[Clause::Answers, Clause::Sound],
        mutants: &[
            Mutant::OthersVersionsDropped,
            Mutant::HistoryRangeInclusive,
            Mutant::SnapshotRangeReadsNewest,
        ],
        show: a_snapshot_takes_others_versions,
    },
    Piece {
        name: "a freed page under a reader",
        whose: "LMDB's rule, that a page is not reused while the oldest reader can reach it",
        showed: "a page was reused that a snapshot could still reach",
        done: "values of many pages are overwritten and deleted under a snapshot, over checkpoints",
        judged: &[Clause::Answers],
        mutants: &[Mutant::ReapedUnderSnapshot],
        show: a_freed_page_under_a_reader,
    },
    Piece {
        name: "dirty, and evicted as clean",
        whose: "ours, found by the model (a claim that failed put a page's word back)",
        showed: "a page newer than its copy on disk was evicted, and the old copy came back",
        done: "more data than the cache holds, changes of all of it, checkpoints, crashes",
        judged: &[Clause::Answers, Clause::Prefix, Clause::Reported],
        mutants: &[Mutant::DirtyPageDropped, Mutant::EvictedPageUnlisted],
        show: dirty_and_evicted_as_clean,
    },
    Piece {
        name: "changed, and not in the list",
        whose: "a mistake of incremental checkpoints",
        showed: "a page changed as the list was taken, and was in neither list",
        done: "checkpoints amid commits to the same pages, and crashes after each",
        judged: &[Clause::Prefix, Clause::Reported, Clause::Again],
        mutants: &[Mutant::ChangedPageUnlisted],
        show: changed_and_not_in_the_list,
    },
    Piece {
        name: "pages of nobody",
        whose: "ours, while values of many pages were built",
        showed: "a value that was overwritten, or whose keyspace was dropped, kept its pages",
        done: "long values overwritten, deleted, dropped with their keyspace; verify finds an owner \
               for each page",
        judged: &[Clause::Sound],
        mutants: &[Mutant::BlobLeaked, Mutant::TrimForgetsBlobs],
        show: pages_of_nobody,
    },
    Piece {
        name: "the end of a range",
        whose: "ours, found by the model",
        showed: "the end of a range was searched in leaves whose keys all had another prefix: \
                 ranges ended early",
        done: "a range over leaves with one prefix, up to a key with another. Seen to fail by \
               hand: with the end searched in every leaf",
        judged: &[Clause::Answers],
        mutants: &[],
        show: the_end_of_a_range,
    },
];

const TIGHT: Setup = Setup { cache_bytes: 128 << 10, ..SMALL };

fn a_snapshot_takes_others_versions(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    let mut script = Script::new().each(0..30, 400);
    for round in 0..4 {
        script = script.snapshot().each(0..30, 300 + round).checkpoint().snapshot();
        script = script.snapshot().each((0..30).step_by(3), 300).end_snapshot();
        script = script.each(0..30, 200).end_snapshot().read().each(5..9, 10).end_snapshot();
    }
    stage.all(&script.reopen().read())?;
    drop(stage);
    // Both snapshots need the last changes, and the first one ends first. Then frames are reused.
    let mut stage = Stage::open(visit, &SMALL)?;
    let script = Script::new().each(0..30, 400).snapshot().quick(40, 10).snapshot();
    let script = script.each(0..30, 250).end_snapshot().each(100..200, 900).end_snapshot();
    stage.all(&script)
}

fn a_freed_page_under_a_reader(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    let mut script = Script::new();
    for _ in 0..2 {
        script = script.each(0..4, 9000).checkpoint().snapshot().each(0..2, 9000).checkpoint();
        script = script.delete(Mode::Async, 2..4).checkpoint().each(10..16, 9000).checkpoint();
        script = script.end_snapshot().read();
    }
    stage.all(&script.reopen().read())
}

fn dirty_and_evicted_as_clean(visit: &mut Visit) -> Result<(), Broken> {
    let mut script = Script::new().each(0..200, 900).checkpoint();
    for round in 0..2 {
        script = script.commit(Mode::Async, (round..200).step_by(4), 900).read();
        script = script.commit(Mode::Async, (round..200).step_by(3), 800).checkpoint();
        script = script.commit(Mode::Async, (0..200).step_by(2), 700);
        // A commit of more pages than fit: some are evicted before they are changed again.
        script = script.commit(Mode::Async, (0..200).chain(0..200), 300).kill();
    }
    let mut stage = Stage::open(visit, &TIGHT)?;
    stage.all(&script.read().reopen().read())
}

fn changed_and_not_in_the_list(visit: &mut Visit) -> Result<(), Broken> {
    let mut script = Script::new().each(0..40, 700);
    for round in 0..3u16 {
        script = script.beside(0, [[round], [20], [39]], 700).checkpoint().quick(round + 5, 700);
        script = script.checkpoint().quick(round + 5, 600);
    }
    visit.explore(&SMALL, script.checkpoint(), LIGHT)
}

fn pages_of_nobody(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    let mut script = Script::new();
    for _ in 0..2 {
        script = script.each(0..3, 9000).each(0..2, 12_000).create(1).quick_in(1, 1, 15_000);
        script = script.checkpoint().each(0..3, 20).drop(1).checkpoint().checkpoint().read();
    }
    stage.all(&script.reopen().read())
}

fn the_end_of_a_range(visit: &mut Visit) -> Result<(), Broken> {
    visit.states += 1;
    let found = range_with_another_end()
        .map_err(|error| Violation::safety(format!("a range could not be read: {error}")))?;
    if found != (500, 484) {
        let what = format!("ranges of 500 and 484 keys have {} and {}", found.0, found.1);
        return Err(Violation::safety(what).into());
    }
    Ok(())
}

fn range_with_another_end() -> crate::Result<(usize, usize)> {
    let options = Options::new().page_bytes(4096).cache_bytes(1 << 20).without_threads();
    let store = options.open_on(std::sync::Arc::new(crate::engine::disk::SimDisk::new()))?;
    let keyspace = store.keyspace("k")?;
    for i in 0..500 {
        keyspace.put_with(format!("user/{i:05}"), [0; 60], CommitMode::Async)?;
    }
    keyspace.put_with("zone", "end", CommitMode::Async)?;
    let all = keyspace.range(.."zone")?.count();
    Ok((all, keyspace.range("user/00017"..="zone")?.count()))
}
