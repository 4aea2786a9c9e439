//! A device without space, or one that fails once: refusals, losses, and the way back.

use super::Piece;
use super::script::{SMALL, Script};
use super::stage::Stage;
use super::visit::{Broken, Visit};
use crate::Error;
use crate::engine::disk::{Fault, FaultError, Keep, Op, Persistence};
use crate::engine::mutants::Mutant;
use crate::tools::torture::Clause;
use crate::tools::torture::sim::{Crash, Setup, Violation};

pub(super) const ROOM: &[Piece] = &[
    Piece {
        name: "full once, full for ever",
        whose: "RocksDB up to 5.x, 2016 (issue 919)",
        showed: "after the disk had been full every write failed until the store was opened again",
        done: "the disk is full when the log needs a segment, and then has space again",
        judged: &[Clause::Answers],
        mutants: &[Mutant::FullDiskPoisons],
        show: full_once_full_for_ever,
    },
    Piece {
        name: "a commit in the log and nowhere else",
        whose: "ours, found by tests with bad input",
        showed: "with the disk full and the cache full of dirty pages a commit was logged, found \
                 no frame, and poisoned the store",
        done: "a small cache, a log with room, a full disk, and commits until one is refused",
        judged: &[Clause::Answers, Clause::Prefix],
        mutants: &[Mutant::RoomNotMade],
        show: a_commit_in_the_log_and_nowhere_else,
    },
    Piece {
        name: "a full disk corrupts",
        whose: "RocksDB, 2020 (issue 6316); redb 1.0, 2023 (issue 620); DuckDB, 2023 (issue 9667)",
        showed: "a store that ran out of space while it wrote its data did not open again",
        done: "the disk is full when a long value needs a longer data file, which is fuller each \
               time; a checkpoint; the same with space; a power loss",
        judged: &[Clause::Prefix, Clause::Bounds, Clause::Sound, Clause::Answers],
        mutants: &[Mutant::GrowthFailureIgnored],
        show: a_full_disk_corrupts,
    },
    Piece {
        name: "a checkpoint that found no space",
        whose: "a mistake of incremental checkpoints",
        showed: "the list of changes was lost with the checkpoint that could not write them, so that \
                 the next one lacked them",
        done: "a checkpoint whose writes find no space, from a later one on each time; the next has \
               space; a power loss",
        judged: &[Clause::Prefix, Clause::Bounds, Clause::Sound, Clause::Answers],
        mutants: &[Mutant::ChangesLostOnFailure],
        show: a_checkpoint_that_found_no_space,
    },
    Piece {
        name: "a page that could not be written",
        whose: "a mistake of caches that evict",
        showed: "a page whose write had failed was marked as clean and evicted",
        done: "a small cache, and each write of the data file in turn fails once",
        judged: &[Clause::Prefix, Clause::Answers],
        mutants: &[Mutant::PageWriteErrorIgnored],
        show: a_page_that_could_not_be_written,
    },
    Piece {
        name: "blocks that cannot be overwritten",
        whose: "ours, found by the failing calls of this suite",
        showed: "a batch that evicted its own pages met a disk that took no more writes, and the \
                 store was poisoned",
        done: "a batch that changes more pages than the cache holds; its writes find no space, from \
               a later one on each time, as on a file system that copies on write; the same with \
               space; a power loss",
        judged: &[Clause::Answers, Clause::Prefix],
        mutants: &[Mutant::BatchNeedsDisk],
        show: blocks_that_cannot_be_overwritten,
    },
    Piece {
        name: "a device that failed for a moment",
        whose: "ours, found by the failing calls of this suite",
        showed: "a batch that evicted its own pages read one of them again, the device failed once, \
                 and the store was poisoned",
        done: "a batch that changes more pages than the cache holds, in which one read fails once, a \
               later one each time; a power loss",
        judged: &[Clause::Answers, Clause::Prefix],
        mutants: &[Mutant::ReadNotRepeated],
        show: a_device_that_failed_for_a_moment,
    },
    Piece {
        name: "full during recovery",
        whose: "RocksDB 6.4, 2020 (issue 7784)",
        showed: "a store that had met a full disk crashed again and again in recovery",
        done: "a crash, a disk that is full after a little more each time, an opening that succeeds \
               or fails, commits, and the same with space",
        judged: &[Clause::Answers, Clause::Prefix, Clause::Bounds],
        mutants: &[Mutant::FullDiskPoisons],
        show: full_during_recovery,
    },
];

/// A cache that holds few pages.
const TIGHT: Setup = Setup { cache_bytes: 128 << 10, ..SMALL };

/// Free space for a recovery, in bytes.
const ROOMS_LEFT: [u64; 5] = [0, 4096, 16 << 10, 20 << 10, 64 << 10];

fn full_once_full_for_ever(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    let script = Script::new().sync(0, 900);
    stage.all(&script)?;
    full(&mut stage, 0);
    let more = Script::after(&script).each(1..60, 900);
    heals(&mut stage, &more)?;
    let end = Script::after(&more).sync(61, 900).each(0..60, 900).flush().read();
    stage.all(&end.power_loss().read())
}

fn a_commit_in_the_log_and_nowhere_else(visit: &mut Visit) -> Result<(), Broken> {
    // The first segment is used up, and the second one has its full length: the log has room for
    // more than the data file has blocks for.
    let setup = Setup { segment_bytes: 1 << 20, ..TIGHT };
    let mut stage = Stage::open(visit, &setup)?;
    let script = Script::new().each((0..2600).map(|at| at % 8), 400).checkpoint();
    stage.all(&script)?;
    full(&mut stage, 0);
    let more = Script::after(&script).each(8..1200, 400);
    heals(&mut stage, &more)?;
    stage.all(&Script::after(&more).sync(2000, 900).read().power_loss().read())
}

fn a_full_disk_corrupts(visit: &mut Visit) -> Result<(), Broken> {
    // The data file has 256 KiB and is nearly full: the long value needs more.
    for filled in (50_000..200_000).step_by(30_000) {
        for room in [0, 12 << 10] {
            let mut stage = Stage::open(visit, &SMALL)?;
            let script = Script::new().each(0..20, 900).quick(99, filled).checkpoint();
            let script = script.each(10..60, 900).flush();
            stage.all(&script)?;
            full(&mut stage, room);
            let failing = Script::after(&script).quick(98, 190_000).checkpoint().read();
            heals(&mut stage, &failing)?;
            let end = Script::after(&failing).checkpoint().read().sync(70, 10).power_loss().read();
            stage.all(&end.each(0..10, 900).checkpoint().reopen().read())?;
        }
    }
    Ok(())
}

fn a_checkpoint_that_found_no_space(visit: &mut Visit) -> Result<(), Broken> {
    for after in 0..8 {
        let mut stage = Stage::open(visit, &SMALL)?;
        let script = Script::new().each(0..20, 900).checkpoint().each(10..60, 900).flush();
        stage.all(&script)?;
        let (op, error, persistence) = (Op::Write, FaultError::NoSpace, Persistence::Forever);
        stage.visit.note(format!("no Write finds space after {after} more"));
        stage.disk().fail(Fault { op, after, error, persistence });
        let failing = Script::after(&script).checkpoint().read().checkpoint();
        heals(&mut stage, &failing)?;
        let end = Script::after(&failing).checkpoint().read().sync(70, 10).power_loss().read();
        stage.all(&end.each(0..10, 900).checkpoint().reopen().read())?;
    }
    Ok(())
}

fn a_page_that_could_not_be_written(visit: &mut Visit) -> Result<(), Broken> {
    for after in 0..5 {
        let mut stage = Stage::open(visit, &TIGHT)?;
        let script = Script::new().each(0..60, 1000).flush();
        stage.all(&script)?;
        let (op, error, persistence) = (Op::Write, FaultError::NoSpace, Persistence::Once);
        stage.visit.note(format!("one Write finds no space after {after} more"));
        stage.disk().fail(Fault { op, after, error, persistence });
        let more = Script::after(&script).each(60..120, 1000).checkpoint();
        stage.as_far(&more)?;
        stage.disk().clear_faults();
        stage.all(&Script::after(&more).read().flush().checkpoint().power_loss().read())?;
    }
    Ok(())
}

fn blocks_that_cannot_be_overwritten(visit: &mut Visit) -> Result<(), Broken> {
    // As above: the second segment has its full length, and room for the batch.
    let setup = Setup { segment_bytes: 1 << 20, ..TIGHT };
    for after in 0..6 {
        let mut stage = Stage::open(visit, &setup)?;
        let script = Script::new().each((0..1200).map(|at| at % 200), 900).checkpoint();
        stage.all(&script)?;
        let (op, error, persistence) = (Op::Write, FaultError::NoSpace, Persistence::Forever);
        stage.visit.note(format!("no Write finds space after {after} more"));
        stage.disk().fail(Fault { op, after, error, persistence });
        let more = Script::after(&script).together(0..200, 900).read();
        stage.all(&more)?;
        stage.disk().clear_faults();
        stage.all(&Script::after(&more).read().flush().checkpoint().power_loss().read())?;
    }
    Ok(())
}

fn a_device_that_failed_for_a_moment(visit: &mut Visit) -> Result<(), Broken> {
    let setup = Setup { segment_bytes: 1 << 20, ..TIGHT };
    for after in (0..120).step_by(8) {
        let mut stage = Stage::open(visit, &setup)?;
        let script = Script::new().each((0..1200).map(|at| at % 200), 900).checkpoint();
        stage.all(&script)?;
        let (op, error, persistence) = (Op::Read, FaultError::Io, Persistence::Once);
        stage.visit.note(format!("one Read fails after {after} more"));
        stage.disk().fail(Fault { op, after, error, persistence });
        let more = Script::after(&script).together(0..200, 900);
        // A failure before the batch is in the log refuses the batch.
        for error in stage.as_far(&more)? {
            if !matches!(error, Error::Io { .. }) {
                let what = format!("a device failed one read, and the error is: {error}");
                return Err(Violation::of(Clause::Answers, what).into());
            }
        }
        stage.disk().clear_faults();
        stage.all(&Script::after(&more).read().flush().checkpoint().power_loss().read())?;
    }
    Ok(())
}

fn full_during_recovery(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    stage.all(&Script::new().each(0..20, 900).checkpoint().each(10..60, 900).flush())?;
    let left = stage.left(Keep::Nothing);
    for room in ROOMS_LEFT {
        let disk = left.fork(Keep::Everything);
        disk.set_capacity(Some(disk.used_bytes() + room));
        stage.visit.note(format!("  it has room for {room} bytes, is opened, and then has space"));
        match stage.run.setup.open(&disk) {
            Ok(store) => drop(store),
            Err(Error::DiskFull { .. }) => {}
            Err(error) => {
                let what = format!("a full disk, and the error is: {error}");
                return Err(Violation::of(Clause::Answers, what).into());
            }
        }
        let next = disk.fork(Keep::Nothing);
        next.set_capacity(None);
        stage.recovers(&next, Crash::PowerLoss)?;
    }
    for room in ROOMS_LEFT {
        written_to_while_full(stage.visit, room)?;
    }
    Ok(())
}

/// Checks that a store opened on a full disk takes commits as soon as there is space.
fn written_to_while_full(visit: &mut Visit, room: u64) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    let script = Script::new().each(0..20, 900).checkpoint().each(10..60, 900).flush();
    stage.all(&script)?;
    full(&mut stage, room);
    let more = Script::after(&script).kill().each(60..200, 900);
    heals(&mut stage, &more)?;
    if stage.run.store.is_none() {
        stage.opens(Crash::Kill)?;
    }
    stage.all(&Script::after(&more).each(60..90, 900).flush().read().power_loss().read())
}

/// From now on the disk has room for `room` more bytes only.
fn full(stage: &mut Stage<'_>, room: u64) {
    stage.visit.note(format!("the disk has room for {room} more bytes"));
    let used = stage.disk().used_bytes();
    stage.disk().set_capacity(Some(used + room));
}

/// Does each step that the store does not refuse, and then makes space. The only reason for a refusal
/// is a full disk.
fn heals(stage: &mut Stage<'_>, script: &Script) -> Result<(), Broken> {
    for error in stage.as_far(script)? {
        if !matches!(error, Error::DiskFull { .. }) {
            let what = format!("the disk is full, and the error is: {error}");
            return Err(Violation::of(Clause::Answers, what).into());
        }
    }
    stage.visit.note("there is space again");
    stage.disk().clear_faults();
    stage.disk().set_capacity(None);
    Ok(())
}
