//! The directory: names that are not durable, or durable too early.

use super::Piece;
use super::script::{SMALL, Script};
use super::stage::Stage;
use super::visit::{Broken, LIGHT, NESTED, Visit, WELL};
use crate::engine::disk::{Fault, FaultError, Keep, Op, Persistence, SimDisk};
use crate::engine::mutants::Mutant;
use crate::tools::torture::Clause;
use crate::tools::torture::sim::{Mode, Violation};

pub(super) const ROOM: &[Piece] = &[
    Piece {
        name: "a new file without a name",
        whose: "LevelDB, 2013 (issue 196); CorfuDB, 2017 (issue 433); many others",
        showed: "a new file of the log was flushed and its directory was not: after a power loss \
                 the file was gone, with all acknowledged commits in it",
        done: "synchronous commits across the end of a segment",
        judged: &[Clause::Bounds, Clause::Again, Clause::Answers],
        mutants: &[Mutant::SegmentNameUnflushed],
        show: a_new_file_without_a_name,
    },
    Piece {
        name: "rename without the directory",
        whose: "etcd, 2016 (issue 6368); PostgreSQL before 9.5.2",
        showed: "a file of the log got its name by a rename without a flush of the directory",
        done: "checkpoints until segments are renamed to be used again, then synchronous commits",
        judged: &[Clause::Bounds, Clause::Answers],
        mutants: &[Mutant::RecycledNameUnflushed],
        show: rename_without_the_directory,
    },
    Piece {
        name: "named before it is whole",
        whose: "LevelDB, 2012 (issue 74: CURRENT came back as 16 zero bytes)",
        showed: "a file was renamed into its place before its bytes were flushed",
        done: "a store is created, and crashes come at each call",
        judged: &[Clause::Again, Clause::Answers, Clause::Sound],
        mutants: &[Mutant::DataFileUnflushed, Mutant::DataFileMadeInPlace],
        show: named_before_it_is_whole,
    },
    Piece {
        name: "the store's own name",
        whose: "RocksDB, told in 2015 (issue 236: the directory was not flushed after the \
                MANIFEST)",
        showed: "the file that leads to all others was gone after a power loss",
        done: "a store is created and written to at once",
        judged: &[Clause::Bounds, Clause::Answers],
        mutants: &[Mutant::DataNameUnflushed],
        show: the_stores_own_name,
    },
    Piece {
        name: "a failed flush of the directory",
        whose: "ours, from the story of fsync",
        showed: "the flush of the directory was tried again, and believed",
        done: "the flush of the directory fails once as a segment is created, and commits go on",
        judged: &[Clause::Bounds, Clause::Answers],
        mutants: &[Mutant::DirectoryFailurePassing],
        show: a_failed_flush_of_the_directory,
    },
    Piece {
        name: "a name that was only cached",
        whose: "ours, found by the simulated tier",
        showed: "the flush of the directory failed as a store was created; the next opening found \
                 the name and relied on later flushes, and a power loss took the store",
        done: "that flush fails once; the store is opened again, at once or after a kill, and \
               written to; a power loss",
        judged: &[Clause::Bounds, Clause::Answers],
        mutants: &[Mutant::UnnamedDataFileLeft],
        show: a_name_that_was_only_cached,
    },
];

fn a_new_file_without_a_name(visit: &mut Visit) -> Result<(), Broken> {
    let script = (0..16).fold(Script::new(), |script, key| script.sync(key, 900));
    visit.explore(&SMALL, script, LIGHT)
}

fn rename_without_the_directory(visit: &mut Visit) -> Result<(), Broken> {
    let mut script = Script::new();
    for _ in 0..3 {
        script = script.commit(Mode::Async, 0..17, 900).checkpoint();
    }
    let script = (20..38).fold(script, |script, key| script.sync(key, 900));
    visit.explore(&SMALL, script, LIGHT)
}

fn named_before_it_is_whole(visit: &mut Visit) -> Result<(), Broken> {
    visit.explore(&SMALL, Script::new().quick(1, 10), NESTED)
}

fn the_stores_own_name(visit: &mut Visit) -> Result<(), Broken> {
    visit.explore(&SMALL, Script::new().sync(1, 10).sync(2, 10), WELL)
}

fn a_failed_flush_of_the_directory(visit: &mut Visit) -> Result<(), Broken> {
    for after in 0..2 {
        let mut stage = Stage::open(visit, &SMALL)?;
        let script = Script::new().sync(0, 900);
        stage.all(&script)?;
        stage.visit.note(format!("one SyncDir fails after {after} more"));
        let (error, persistence) = (FaultError::Io, Persistence::Once);
        stage.disk().fail(Fault { op: Op::SyncDir, after, error, persistence });
        let more = (1..40).fold(Script::after(&script), |script, key| script.sync(key, 900));
        stage.as_far(&more)?;
        stage.disk().clear_faults();
        stage.all(&Script::after(&more).power_loss().read().sync(50, 10).power_loss())?;
    }
    Ok(())
}

fn a_name_that_was_only_cached(visit: &mut Visit) -> Result<(), Broken> {
    for is_killed in [false, true] {
        visit.notes.clear();
        visit.note("the flush of the directory fails as the store is created");
        let disk = SimDisk::new();
        let (error, persistence) = (FaultError::Io, Persistence::Once);
        disk.fail(Fault { op: Op::SyncDir, after: 0, error, persistence });
        if SMALL.open(&disk).is_ok() {
            let what = "the store opened although its name could not be flushed";
            return Err(Violation::safety(what).into());
        }
        let disk = if is_killed { disk.crash(Keep::Everything) } else { disk };
        let mut stage = Stage::open_on(visit, &SMALL, disk)?;
        stage.all(&Script::new().sync(0, 900).power_loss().read().sync(1, 10).power_loss())?;
    }
    Ok(())
}
