//! Flushes that are skipped, too short, believed too early, or failed and forgotten.

use super::Piece;
use super::script::{SMALL, Script};
use super::stage::Stage;
use super::visit::{Broken, Visit, WELL};
use crate::engine::disk::{Fault, FaultError, Keep, Op, Persistence};
use crate::engine::mutants::Mutant;
use crate::tools::torture::Clause;
use crate::tools::torture::sim::{Crash, Mode, Setup};

pub(super) const ROOM: &[Piece] = &[
    Piece {
        name: "acknowledged before the flush",
        whose: "NATS JetStream, 2025 (issue 7564), and many by default",
        showed: "a write was acknowledged while it was in the operating system's cache only",
        done: "synchronous commits and the making of keyspaces, and power losses after each",
        judged: &[Clause::Bounds, Clause::Again],
        mutants: &[Mutant::SyncAcknowledgedEarly, Mutant::CreationAcknowledgedEarly],
        show: acknowledged_before_the_flush,
    },
    Piece {
        name: "more durable than was flushed",
        whose: "RocksDB 7.3, 2022 (pull request 10185)",
        showed: "the size noted as synced was larger than the synced part of the log: others had \
                 appended meanwhile",
        done: "others commit while a flush runs, and then all committers read the watermark",
        judged: &[Clause::Bounds],
        mutants: &[Mutant::DurableBeyondTarget],
        show: more_durable_than_was_flushed,
    },
    Piece {
        name: "half a page is not flushed",
        whose: "a common mistake with mapped files: msync takes whole pages only",
        showed: "the start or the end of the range was rounded the wrong way",
        done: "commits of several pages that begin and end within a page, and a flush after each",
        judged: &[Clause::Bounds],
        mutants: &[Mutant::FlushFirstPageSkipped, Mutant::FlushLastPageSkipped],
        show: half_a_page_is_not_flushed,
    },
    Piece {
        name: "fsync again",
        whose: "PostgreSQL up to 11.1, 2018 (\"fsyncgate\"); WiredTiger (WT-4045)",
        showed: "a failed fsync was repeated, and the second one succeeded: the kernel had marked \
                 the pages clean although the device did not have them",
        done: "a flush of the log fails once; then a power loss, or a kill that leaves the cache",
        judged: &[Clause::Bounds, Clause::Answers],
        mutants: &[Mutant::FailedFlushRetried],
        show: fsync_again,
    },
    Piece {
        name: "a failed flush is told once",
        whose: "CockroachDB on RocksDB, 2019 (pull request 37102)",
        showed: "after a failed sync of the log the next one succeeded, and acknowledged commits \
                 that no recovery could reach",
        done: "a flush of the log fails once; then come more commits and flushes",
        judged: &[Clause::Bounds, Clause::Answers],
        mutants: &[Mutant::PoisonToldOnce, Mutant::CommitsAfterPoison],
        show: a_failed_flush_is_told_once,
    },
    Piece {
        name: "the checkpoint's fsync again",
        whose: "PostgreSQL up to 11.1, 2018 (\"fsyncgate\")",
        showed: "a checkpoint whose fsync of a data file had failed was tried again, succeeded, \
                 and the log was thrown away",
        done: "a flush of the data file fails at each of a checkpoint's calls; another checkpoint; \
               a power loss",
        judged: &[Clause::Bounds, Clause::Answers],
        mutants: &[Mutant::DataFailureForgotten],
        show: the_checkpoints_fsync_again,
    },
    Piece {
        name: "a failed flush that only the checkpoint knows",
        whose: "ours, from the same story",
        showed: "the data file could not be trusted any more, and commits went on",
        done: "as before, with commits after it",
        judged: &[Clause::Answers],
        mutants: &[Mutant::DataPoisonUntold],
        show: only_the_checkpoint_knows,
    },
    Piece {
        name: "a new segment whose flush failed",
        whose: "ours, found by the model (seed 5078)",
        showed: "a segment left by a failed flush was used again; its length never became \
                 durable, and a power loss took the records in it",
        done: "each flush of a segment and of the directory fails once; a kill; commits until that \
               file would have been used again, and after each a power loss",
        judged: &[Clause::Bounds, Clause::Answers],
        mutants: &[Mutant::SegmentFailurePassing, Mutant::FormerSegmentRecycled],
        show: a_new_segment_whose_flush_failed,
    },
];

fn acknowledged_before_the_flush(visit: &mut Visit) -> Result<(), Broken> {
    let script = Script::new().sync(1, 50).create(1).sync(2, 300).delete(Mode::Sync, [1]);
    visit.explore(&SMALL, script.create(2).quick(3, 5), WELL)
}

fn more_durable_than_was_flushed(visit: &mut Visit) -> Result<(), Broken> {
    // The commits beside cross the end of the page in which the flush ends.
    let script =
        Script::new().quick(0, 100).beside(0, std::iter::once(10..18), 900).flush().quick(1, 60);
    let script = script.beside(0, std::iter::once(20..28), 900).sync(2, 60).quick(3, 10).flush();
    visit.explore(&SMALL, script, WELL)
}

fn half_a_page_is_not_flushed(visit: &mut Visit) -> Result<(), Broken> {
    let setup = Setup { segment_bytes: 64 << 10, ..SMALL };
    let mut script = Script::new();
    for round in 0..3 {
        script = script.commit(Mode::Async, round * 10..round * 10 + 7, 900).flush();
    }
    visit.explore(&setup, script, WELL)
}

fn fsync_again(visit: &mut Visit) -> Result<(), Broken> {
    for after in [0, 1] {
        let mut stage = Stage::open(visit, &SMALL)?;
        let script = Script::new().sync(1, 100);
        stage.all(&script)?;
        fail(&mut stage, Op::MapSync, after);
        let script = Script::after(&script).quick(2, 900).sync(3, 900).sync(4, 30);
        stage.as_far(&script)?;
        stage.disk().evict();
        stage.all(&Script::after(&script).power_loss().read().sync(5, 10).power_loss())?;
    }
    Ok(())
}

fn a_failed_flush_is_told_once(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    let script = Script::new().sync(1, 100);
    stage.all(&script)?;
    fail(&mut stage, Op::MapSync, 0);
    let script = Script::after(&script).quick(2, 2000).sync(3, 900).quick(4, 50).flush();
    let script = script.sync(5, 900).flush();
    stage.as_far(&script)?;
    stage.all(&Script::after(&script).power_loss().read().sync(6, 10).power_loss())
}

fn the_checkpoints_fsync_again(visit: &mut Visit) -> Result<(), Broken> {
    for after in 0..3 {
        let mut stage = Stage::open(visit, &SMALL)?;
        let script = Script::new().each(0..30, 400).checkpoint().each(10..50, 400).flush();
        stage.all(&script)?;
        fail(&mut stage, Op::Sync, after);
        let again = Script::after(&script).checkpoint().checkpoint().checkpoint();
        stage.as_far(&again)?;
        stage.disk().clear_faults();
        let end = Script::after(&again).power_loss().read().sync(60, 10).checkpoint();
        stage.all(&end.power_loss().read())?;
    }
    Ok(())
}

fn only_the_checkpoint_knows(visit: &mut Visit) -> Result<(), Broken> {
    for after in 0..4 {
        let mut stage = Stage::open(visit, &SMALL)?;
        let script = Script::new().each(0..30, 400).flush();
        stage.all(&script)?;
        fail(&mut stage, Op::Sync, after);
        let more = Script::after(&script).checkpoint().quick(50, 10).sync(51, 10);
        stage.as_far(&more)?;
        stage.disk().clear_faults();
        stage.all(&Script::after(&more).power_loss().read())?;
    }
    Ok(())
}

fn a_new_segment_whose_flush_failed(visit: &mut Visit) -> Result<(), Broken> {
    for op in [Op::Sync, Op::SyncDir] {
        for after in 0..3 {
            let mut stage = Stage::open(visit, &SMALL)?;
            let script = Script::new().each(0..8, 900).flush();
            stage.all(&script)?;
            fail(&mut stage, op, after);
            let more = Script::after(&script).each(8..50, 900).flush();
            stage.as_far(&more)?;
            stage.disk().clear_faults();
            let left = stage.left(Keep::Nothing);
            stage.recovers(&left, Crash::PowerLoss)?;
            let mut script = Script::after(&more).kill();
            for _ in 0..34 {
                stage.all(&script)?;
                let left = stage.left(Keep::Nothing);
                stage.recovers(&left, Crash::PowerLoss)?;
                script = Script::after(&script).sync(0, 900);
            }
        }
    }
    Ok(())
}

/// The `after + 1`-th call of `op` from now on fails once.
fn fail(stage: &mut Stage<'_>, op: Op, after: u64) {
    stage.visit.note(format!("one {op:?} fails after {after} more"));
    let (error, persistence) = (FaultError::Io, Persistence::Once);
    stage.disk().fail(Fault { op, after, error, persistence });
}
