//! Recovery: replays, crashes within them, and the contents served afterwards.

use super::Piece;
use super::script::{SMALL, Script};
use super::stage::{Stage, is_root};
use super::visit::{Broken, LIGHT, NESTED, Visit, WELL};
use crate::engine::disk::{Fault, FaultError, Op, Persistence};
use crate::engine::mutants::Mutant;
use crate::tools::torture::Clause;
use crate::tools::torture::sim::{Change, Depth, Mode, Stamp, Step, Violation};

pub(super) const ROOM: &[Piece] = &[
    Piece {
        name: "replayed twice",
        whose: "the mistake that ARIES (Mohan et al., 1992) prevents",
        showed: "an interrupted replay began again and applied changes twice, or in another order",
        done: "puts and deletes of the same keys, checkpoints between, and crashes in each \
               recovery",
        judged: &[Clause::Prefix, Clause::Sound, Clause::Again],
        mutants: &[Mutant::OperationsSortedUnstably, Mutant::ReplayFromSegmentStart],
        show: replayed_twice,
    },
    Piece {
        name: "the newest commit is missing",
        whose: "RocksDB 4.12, 2016 (issue 1339)",
        showed: "after a crash the newest of the synchronous writes was gone: an off-by-one in the \
                 numbers of the replay",
        done: "synchronous commits before and after a checkpoint, kills and power losses",
        judged: &[Clause::Bounds, Clause::Again],
        mutants: &[Mutant::ReplayTailDropped, Mutant::ReplaySkipsFirst],
        show: the_newest_commit_is_missing,
    },
    Piece {
        name: "served, then undone",
        whose: "PostgreSQL, SQLite, LevelDB, LMDB and Redis, studied by Rebello et al., ATC 2020",
        showed: "after a crash of the process the store served data that was only in the system's \
                 cache; the next power loss took it",
        done: "asynchronous commits, kills, and a power loss during and after each recovery",
        judged: &[Clause::Served, Clause::Bounds, Clause::Again],
        mutants: &[Mutant::RecoveryServedEarly],
        show: served_then_undone,
    },
    Piece {
        name: "a crash during recovery",
        whose: "RocksDB, 2019 (pull request 5856); 2022 (pull request 9942)",
        showed: "a second crash, between two steps of the recovery, left a store that did not open",
        done: "crashes at each call of a recovery, three deep",
        judged: &[Clause::Prefix, Clause::Served, Clause::Again],
        mutants: &[Mutant::RecoveryServedEarly],
        show: a_crash_during_recovery,
    },
    Piece {
        name: "a number given twice",
        whose: "CorfuDB, 2018 (issue 1321)",
        showed: "after a crash a sequencer gave out addresses below those from before: two \
                 histories shared their numbers",
        done: "commits that a power loss takes, then others in their place, and crashes",
        judged: &[Clause::Receipts, Clause::Prefix],
        mutants: &[Mutant::IncarnationReused],
        show: a_number_given_twice,
    },
    Piece {
        name: "the clock goes back",
        whose: "Dgraph, 2016 (issue 59); a transaction log on RocksDB, 2026 (harper issue 2629)",
        showed: "positions in the log came from the clock; it was set back, and new writes were \
                 sorted before old ones or refused",
        done: "the same lives of a store twice, at different times; each position is above all \
               earlier ones, even those lost in a crash. Seen to fail by hand: with segments \
               numbered by the clock",
        judged: &[Clause::Answers],
        mutants: &[],
        show: the_clock_goes_back,
    },
    Piece {
        name: "the counter after a restart",
        whose: "InnoDB before MySQL 8.0, 2003 to 2018 (bug 199)",
        showed: "a counter was in memory only: after a restart it gave out numbers of deleted rows \
                 again",
        done: "keyspaces created and dropped, values of many pages, checkpoints, crashes, and the \
               same again",
        judged: &[Clause::Prefix, Clause::Reported, Clause::Sound],
        mutants: &[Mutant::KeyspaceNumberStale, Mutant::NextPageIdStale],
        show: the_counter_after_a_restart,
    },
    Piece {
        name: "counts after a replay",
        whose: "ours, found by killing writers",
        showed: "a count in the log, amid changes with a sum of zero, stayed in the catalog: the \
                 store counted wrong from the next clean opening on",
        done: "puts and deletes that cancel out around a checkpoint that fails, kills, openings. \
               The bug itself was seen to fail here as well",
        judged: &[Clause::Sound, Clause::Answers],
        mutants: &[Mutant::CountsUnnoted],
        show: counts_after_a_replay,
    },
    Piece {
        name: "closed, they say",
        whose: "a mistake of stores that keep a flag for a clean end",
        showed: "the flag was still set during later writes, and the log was not replayed",
        done: "a store is closed, opened, written to and killed",
        judged: &[Clause::Bounds, Clause::Again],
        mutants: &[Mutant::CleanWhileRunning, Mutant::BeginningUnrecorded],
        show: closed_they_say,
    },
    Piece {
        name: "closed, the cache says",
        whose: "ours, found by the simulated tier",
        showed: "the superblock that marks the store as closed was in the cache only; the next \
                 life removed the log, and a power loss brought back the one that needed it",
        done: "each flush of the closing fails once; the store is opened and written to; at each \
               call a power loss that keeps nothing, or everything except the superblocks",
        judged: &[Clause::Bounds, Clause::Answers],
        mutants: &[Mutant::BeginningUnconfirmed],
        show: closed_the_cache_says,
    },
    Piece {
        name: "a second beginning",
        whose: "ours, found by the model (seed 30)",
        showed: "the superblock that begins an incarnation may have reached the disk although its \
                 flush failed; the next commit began again and used the segment named there",
        done: "each write and flush of the first commit after an opening fails once; the commit is \
               tried again; a kill or a power loss. Seen to fail by hand: with a failure of \
               write_head treated as transient",
        judged: &[Clause::Answers, Clause::Bounds],
        mutants: &[],
        show: a_second_beginning,
    },
    Piece {
        name: "the empty life",
        whose: "ours, found by the simulated tier",
        showed: "a crashed recovery left an incarnation without commits; the next recovery reported \
                 that one as recovered",
        done: "crashes during recovery, two deep, and the store's report after them. Seen to fail \
               by hand: without the exception for an end at the log's start",
        judged: &[Clause::Reported],
        mutants: &[],
        show: the_empty_life,
    },
];

fn replayed_twice(visit: &mut Visit) -> Result<(), Broken> {
    let mut steps = Script::new().each(0..6, 200).checkpoint();
    steps = steps.delete(Mode::Async, [1, 2]).each([1, 2, 1, 3], 60).delete(Mode::Async, [1]);
    // One key many times in one commit: its last change counts.
    let stamp = |id| Stamp { id: 1000 + id, bytes: 30 };
    let put = |id: u32| Change::Put { keyspace: 0, key: (id % 3) as u16, value: stamp(id) };
    let changes: Vec<Change> = (0..90).map(put).collect();
    steps = steps.step(Step::Commit { mode: Mode::Async, changes }).create(1).quick_in(1, 4, 30);
    let steps = steps.drop(1).create(1).quick_in(1, 5, 30).flush();
    visit.explore(&SMALL, steps, NESTED)
}

fn the_newest_commit_is_missing(visit: &mut Visit) -> Result<(), Broken> {
    let script = Script::new().sync(1, 10).checkpoint().sync(2, 10).kill().sync(3, 10);
    let script = script.checkpoint().sync(4, 10).power_loss().sync(5, 10);
    visit.explore(&SMALL, script, WELL)
}

fn served_then_undone(visit: &mut Visit) -> Result<(), Broken> {
    let script = Script::new().each(0..4, 300).kill().read().power_loss().read();
    let script = script.each(4..6, 300).kill().each(6..8, 30).power_loss();
    visit.explore(&SMALL, script, Depth { again_one_in: 3, ..LIGHT })
}

fn a_crash_during_recovery(visit: &mut Visit) -> Result<(), Broken> {
    let script = Script::new().each(0..12, 700).checkpoint().each(3..9, 700).flush().quick(1, 9);
    let script = script.kill().kill().power_loss().kill().quick(2, 10);
    visit.explore(&SMALL, script, NESTED)
}

fn a_number_given_twice(visit: &mut Visit) -> Result<(), Broken> {
    let mut script = Script::new().sync(0, 50);
    for _ in 0..3 {
        script = script.each(1..5, 300).power_loss().each(1..4, 300).flush();
    }
    visit.explore(&SMALL, script.read(), WELL)
}

fn the_clock_goes_back(visit: &mut Visit) -> Result<(), Broken> {
    let mut script = Script::new();
    for _ in 0..4 {
        script = script.each(0..6, 500).sync(7, 20).quick(8, 900).power_loss();
    }
    let mut traces = Vec::new();
    for _ in 0..2 {
        let mut stage = Stage::open(visit, &SMALL)?;
        let mut highest = crate::Lsn::ZERO;
        for step in &script.steps {
            let former = stage.history().commits().len();
            stage.one(step)?;
            let now = stage.history().commits();
            if now.len() > former {
                let lsn = now[former].lsn;
                if lsn <= highest {
                    let what = format!("LSN {lsn} came after {highest}");
                    return Err(Violation::safety(what).into());
                }
                highest = lsn;
            }
        }
        traces.push(stage.disk().trace_hash());
    }
    if traces[0] != traces[1] {
        return Err(
            Violation::safety("the same lives at another time wrote different bytes").into()
        );
    }
    Ok(())
}

fn the_counter_after_a_restart(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    let mut script = Script::new();
    for _ in 0..2 {
        script = script.create(1).quick_in(1, 1, 9000).checkpoint().kill();
        script = script.create(2).quick_in(2, 2, 9000).drop(1).checkpoint().reopen();
        script = script.create(3).quick_in(3, 3, 9000).drop(2).checkpoint().power_loss();
        script = script.each(0..30, 900).checkpoint().drop(3).read().reopen();
    }
    stage.all(&script.read())
}

fn counts_after_a_replay(visit: &mut Visit) -> Result<(), Broken> {
    // The counts are committed by a checkpoint that then finds no space.
    for balance in 0..3u16 {
        let mut stage = Stage::open(visit, &SMALL)?;
        let script = Script::new().each(0..4, 100).checkpoint().each(10..10 + balance, 100);
        stage.all(&script)?;
        let (error, persistence) = (FaultError::NoSpace, Persistence::Forever);
        stage.visit.note("writes find no space");
        stage.disk().fail(Fault { op: Op::Write, after: 0, error, persistence });
        let failing = Script::after(&script).checkpoint();
        stage.as_far(&failing)?;
        stage.disk().clear_faults();
        let end = Script::after(&failing).delete(Mode::Async, 10..10 + balance);
        let end = end.kill().read().reopen().read().quick(30, 10).reopen();
        stage.all(&end.read())?;
    }
    Ok(())
}

fn closed_they_say(visit: &mut Visit) -> Result<(), Broken> {
    let script = Script::new().quick(0, 10).checkpoint().sync(1, 10).reopen().sync(2, 10).kill();
    visit.explore(&SMALL, script.sync(3, 10).reopen().read(), WELL)
}

fn closed_the_cache_says(visit: &mut Visit) -> Result<(), Broken> {
    for after in 0..4 {
        let mut stage = Stage::open(visit, &SMALL)?;
        let script = Script::new().each(0..40, 900).flush();
        stage.all(&script)?;
        stage.visit.note(format!("one Sync fails after {after} more"));
        let (op, error, persistence) = (Op::Sync, FaultError::Io, Persistence::Once);
        stage.disk().fail(Fault { op, after, error, persistence });
        let closing = Script::after(&script).reopen();
        stage.as_far(&closing)?;
        stage.disk().clear_faults();
        let next = Script::after(&closing).sync(1, 10);
        for moment in stage.moments(&next.steps[0])? {
            stage.loses(&moment, |_| false)?;
            stage.loses(&moment, |change| !is_root(change))?;
        }
    }
    Ok(())
}

fn a_second_beginning(visit: &mut Visit) -> Result<(), Broken> {
    for op in [Op::Write, Op::Sync, Op::SyncDir, Op::MapSync] {
        for after in 0..3 {
            for is_kill in [true, false] {
                let mut stage = Stage::open(visit, &SMALL)?;
                let script = Script::new().each(0..20, 900).checkpoint().reopen();
                stage.all(&script)?;
                stage.visit.note(format!("one {op:?} fails after {after} more"));
                let (error, persistence) = (FaultError::Io, Persistence::Once);
                stage.disk().fail(Fault { op, after, error, persistence });
                let failing = Script::after(&script).sync(1, 10).sync(2, 10).sync(3, 10);
                stage.as_far(&failing)?;
                stage.disk().clear_faults();
                let end = Script::after(&failing);
                let end = if is_kill { end.kill() } else { end.power_loss() };
                stage.all(&end.read().sync(4, 10).power_loss().read())?;
            }
        }
    }
    Ok(())
}

fn the_empty_life(visit: &mut Visit) -> Result<(), Broken> {
    let depth = Depth { nested_one_in: 2, deepest: 2, ..LIGHT };
    visit.explore(&SMALL, Script::new().sync(1, 10).kill(), depth)
}
