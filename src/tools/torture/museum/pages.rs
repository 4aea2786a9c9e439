//! The data file: superblocks, pages, and a device that loses or misdirects writes.

use super::Piece;
use super::script::{SMALL, Script};
use super::stage::{Stage, at_write, is_root};
use super::visit::{Broken, LIGHT, Visit};
use crate::engine::disk::{Choice, Fault, FaultError, Keep, Op, Persistence, SimDisk};
use crate::engine::mutants::Mutant;
use crate::engine::space::header;
use crate::tools::torture::Clause;
use crate::tools::torture::sim::{Crash, KeyNo, Mode, Point, Setup, Step, Watch};

pub(super) const ROOM: &[Piece] = &[
    Piece {
        name: "header before extension",
        whose: "redb up to 4.1, 2026 (pull request 1276)",
        showed: "the header reached the disk before the file's extension and named a length that \
                 the file did not have: the store could never be opened again",
        done: "checkpoints for which the data file must grow; at each of their calls a power loss \
               takes the length, or keeps the superblocks only",
        judged: &[Clause::Answers],
        mutants: &[Mutant::SuperblockBeforePages],
        show: header_before_extension,
    },
    Piece {
        name: "log gone before the root",
        whose: "RocksDB under MongoDB 3.0, 2016 (mongo-rocks issue 35)",
        showed: "the old log was removed before its replacement was known to be durable",
        done: "checkpoints, each of which frees a part of the log",
        judged: &[Clause::Bounds, Clause::Answers, Clause::Again],
        mutants: &[
            Mutant::SuperblockUnflushed,
            Mutant::LogRecycledEarly,
            Mutant::CurrentSegmentRecycled,
        ],
        show: log_gone_before_the_root,
    },
    Piece {
        name: "checkpoint ahead of the log",
        whose: "RocksDB, 2019 (pull request 5856: \"SST file is ahead of WALs\")",
        showed: "data files held commits that the log had lost; one part of the store was newer \
                 than the others, and it did not open any more",
        done: "asynchronous commits, a checkpoint, and commits by others meanwhile",
        judged: &[Clause::Prefix, Clause::Bounds, Clause::Sound, Clause::Answers],
        mutants: &[Mutant::CheckpointTakesNewest, Mutant::CheckpointLsnLate],
        show: checkpoint_ahead_of_the_log,
    },
    Piece {
        name: "page used again too early",
        whose: "Bolt, 2015 (issue 348)",
        showed: "power cuts left pages that were freed twice or had no owner",
        done: "a checkpoint, and during one of its calls a commit of a long value, which goes to \
               free blocks at once; power losses that keep the value and not the superblock",
        judged: &[Clause::Prefix, Clause::Bounds, Clause::Answers],
        mutants: &[Mutant::SuperblockUnflushed],
        show: page_used_again_too_early,
    },
    Piece {
        name: "block given to two pages",
        whose: "bbolt 1.3.9, 2024 (issue 778)",
        showed: "after a restart a page had two references: the list of free pages had named a \
                 page in use",
        done: "checkpoints and openings by turns",
        judged: &[Clause::Prefix, Clause::Sound],
        mutants: &[Mutant::TakenBlocksUnmarked],
        show: block_given_to_two_pages,
    },
    Piece {
        name: "half of a page map",
        whose: "a mistake of any map with several pages",
        showed: "a checkpoint had changed several pages of the map and wrote one: the pages that \
                 the others lead to were gone after the next opening",
        done: "more pages than one page of the map has words, a checkpoint, and openings",
        judged: &[Clause::Prefix, Clause::Sound, Clause::Answers],
        mutants: &[Mutant::OneMapLeafWritten],
        show: half_of_a_page_map,
    },
    Piece {
        name: "rot in the newest root",
        whose: "any store with two roots by turns (LMDB, Bolt, redb)",
        showed: "with the newest root damaged the store opened at the one before, whose pages and \
                 log were no longer there",
        done: "one bit flipped in each slot, then in both, after a checkpoint, and again when its \
               freed space is in use",
        judged: &[Clause::Bounds, Clause::Answers],
        mutants: &[Mutant::SuperblockNotCopied],
        show: rot_in_the_newest_root,
    },
    Piece {
        name: "torn page",
        whose: "the reason for InnoDB's doublewrite and PostgreSQL's full_page_writes",
        showed: "one part of a page was new and another old",
        done: "one bit flipped in each sector of each page of a closed store",
        judged: &[Clause::Prefix, Clause::Answers],
        mutants: &[Mutant::PageTailUncovered, Mutant::PageUnverified],
        show: torn_page,
    },
    Piece {
        name: "lost and misdirected writes",
        whose: "measured in the field by Bairavasundaram et al., FAST 2008",
        showed: "a write was reported as done and never arrived, or hit a neighbour: an old \
                 version of a page, with a right checksum, came back",
        done: "each older version of a page in the data file replaces the newer one; then each \
               write of recovery's checkpoint is lost, or goes a page further",
        judged: &[Clause::Prefix, Clause::Bounds],
        mutants: &[Mutant::PageAddressUnchecked],
        show: lost_and_misdirected_writes,
    },
    Piece {
        name: "a root that was only cached",
        whose: "ours",
        showed: "a killed process left a superblock in the cache; the next one treated it as \
                 durable, and overwrote pages that the durable one led to",
        done: "a kill before each flush of a checkpoint, and at each call of the recovery a power \
               loss that keeps everything except the superblocks",
        judged: &[Clause::Prefix, Clause::Answers],
        mutants: &[Mutant::SuperblockUnconfirmed],
        show: a_root_that_was_only_cached,
    },
    Piece {
        name: "a life begun on a cached root",
        whose: "ours, found in the design of the check for an older data file",
        showed: "recovery created a segment of the next life while the superblock of this one was \
                 in the cache only; a power loss left the log two lives ahead of its superblock",
        done: "recovery is killed before each flush of the data file; at each call of the recovery \
               after that a power loss that keeps everything except the superblocks",
        judged: &[Clause::Answers],
        mutants: &[Mutant::RecoveryUnconfirmed],
        show: a_life_begun_on_a_cached_root,
    },
    Piece {
        name: "a length that was only cached",
        whose: "ours, found by the simulated tier",
        showed: "the data file had grown and the flush failed; the next life found it long enough, \
                 wrote there and flushed the bytes, but never the length",
        done: "each flush of a checkpoint for which the data file must grow fails once; a kill, \
               and a recovery that needs that space; a power loss",
        judged: &[Clause::Bounds, Clause::Answers],
        mutants: &[Mutant::FoundLengthTrusted],
        show: a_length_that_was_only_cached,
    },
];

/// A log in one segment, because a new segment writes the superblock.
const ROOMY: Setup = Setup { cache_bytes: 2 << 20, segment_bytes: 4 << 20, ..SMALL };

/// Makes a tree and a long value, and deletes all rows of the tree. The next checkpoint frees its
/// leaves.
fn leaves_to_be_free() -> Script {
    let script = Script::new().each(0..352, 900).checkpoint();
    script.quick(997, 320_000).checkpoint().delete(Mode::Async, 0..352)
}

fn header_before_extension(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    // A new data file has 256 KiB.
    stage.all(&Script::new().quick(0, 150_000).checkpoint().quick(1, 150_000).flush())?;
    for moment in stage.moments(&Step::Checkpoint)? {
        stage.loses(&moment, |change| !matches!(change, Choice::Length { .. }))?;
        stage.loses(&moment, is_root)?;
        stage.loses(&moment, |_| false)?;
    }
    Ok(())
}

fn log_gone_before_the_root(visit: &mut Visit) -> Result<(), Broken> {
    let script = Script::new().each(0..20, 900).checkpoint().each(0..20, 900).flush();
    visit.explore(&SMALL, script.checkpoint().each(0..20, 900).flush(), LIGHT)
}

fn checkpoint_ahead_of_the_log(visit: &mut Visit) -> Result<(), Broken> {
    let one_each = |from: KeyNo| (from..from + 5).map(|key| [key, key + 100]);
    let script = Script::new().each(0..10, 500).beside(1, one_each(50), 300).checkpoint();
    let script = script.each(10..14, 500).beside(0, one_each(60), 300).checkpoint().quick(1, 10);
    visit.explore(&SMALL, script, LIGHT)
}

fn page_used_again_too_early(visit: &mut Visit) -> Result<(), Broken> {
    // This many calls of a checkpoint wait for the device, and others can commit in each: the log's
    // flush, the writes of pages and maps, of the superblock and of its copy.
    for call in 0..9 {
        let mut stage = Stage::open(visit, &SMALL)?;
        // The data file has 64 blocks, and few are free except those that the checkpoint frees. A
        // value of 18 pages bypasses the cache and takes them all before the file grows.
        let script = Script::new().each(0..8, 500).quick(99, 190_000).checkpoint();
        let script = script.each(0..8, 500).beside(call, [[20]], 70_000);
        stage.all(&script)?;
        let mut moments = stage.moments(&Step::Checkpoint)?;
        let script = Script::after(&script).quick(22, 9000);
        moments.extend(stage.moments(&script.steps[0])?);
        for moment in moments.iter().filter(|moment| moment.is_window()) {
            stage.loses(moment, |change| !is_root(change))?;
        }
    }
    Ok(())
}

fn block_given_to_two_pages(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    let mut script = Script::new();
    for round in 0..4 {
        script = script.each(round * 5..round * 5 + 12, 900).checkpoint().reopen();
        script = script.each(round..round + 4, 2000).checkpoint().read().kill();
    }
    stage.all(&script.read().reopen().read())
}

fn half_of_a_page_map(visit: &mut Visit) -> Result<(), Broken> {
    // A page of the map has 508 words, and each of these values 47 pages.
    let mut stage = Stage::open(visit, &SMALL)?;
    let script = Script::new().each(0..14, 190_000).checkpoint().reopen().read();
    stage.all(&script.each([0, 13], 500).checkpoint().kill().read())
}

fn rot_in_the_newest_root(visit: &mut Visit) -> Result<(), Broken> {
    for setup in [SMALL, ROOMY] {
        let mut stage = Stage::open(visit, &setup)?;
        let script = leaves_to_be_free().checkpoint();
        // Uses the space that the last checkpoint freed.
        let more = Script::after(&script).quick(999, 345_000).flush();
        for script in [&script, &more] {
            stage.all(script)?;
            let left = stage.left(Keep::Everything);
            rot_in_each_root(&mut stage, &left)?;
        }
    }
    Ok(())
}

fn rot_in_each_root(stage: &mut Stage<'_>, left: &SimDisk) -> Result<(), Broken> {
    for slots in [&[0][..], &[4096], &[0, 4096]] {
        let damaged = left.fork(Keep::Everything);
        for slot in slots {
            stage.visit.note(format!("  bit 3 of the byte at {} of data is flipped", slot + 60));
            damaged.flip("data", slot + 60, 3);
        }
        if slots.len() == 2 {
            stage.refuses(&damaged, "data")?;
        } else {
            stage.recovers(&damaged, Crash::Kill)?;
        }
        slots.iter().for_each(|_| drop(stage.visit.notes.pop()));
    }
    Ok(())
}

fn torn_page(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    stage.all(&Script::new().each(0..24, 900).checkpoint().reopen())?;
    let left = stage.left(Keep::Everything);
    let bytes = left.read_file("data");
    for (sector, held) in bytes.chunks(512).enumerate() {
        // The two ends of a page, which checksums forget, and one sector of its middle.
        let zeros = held.iter().filter(|byte| **byte == 0).count();
        if !matches!(sector % 8, 0 | 3 | 7) || zeros > 64 {
            continue;
        }
        let at = sector as u64 * 512 + 300;
        let damaged = left.fork(Keep::Everything);
        damaged.flip("data", at, 0);
        stage.visit.note(format!("  bit 0 of the byte at {at} of data is flipped"));
        stage.right_or_told(&damaged)?;
        stage.visit.notes.pop();
    }
    Ok(())
}

fn lost_and_misdirected_writes(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    let mut script = Script::new().each(0..8, 700).checkpoint();
    for _ in 0..3 {
        script = script.each([0, 4], 700).checkpoint();
    }
    stage.all(&script)?;
    let left = stage.left(Keep::Everything);
    let bytes = left.read_file("data");
    let block = |at: usize| &bytes[at * 4096..(at + 1) * 4096];
    let pages: Vec<usize> = (2..bytes.len() / 4096).filter(|&at| block(at)[0] != 0).collect();
    for (from, to) in pages.iter().flat_map(|from| pages.iter().map(move |to| (*from, *to))) {
        if from == to || header::page_id(block(from)) != header::page_id(block(to)) {
            continue;
        }
        let damaged = left.fork(Keep::Everything);
        let mut mixed = bytes.clone();
        mixed.copy_within(from * 4096..(from + 1) * 4096, to * 4096);
        damaged.write_file("data", &mixed);
        stage.visit.note(format!("  block {to} of data has what is in block {from}"));
        stage.right_or_told(&damaged)?;
        stage.visit.notes.pop();
    }
    stage.all(&Script::after(&script).each([0, 4], 700).flush())?;
    damaged_writes(&mut stage, SimDisk::lose_next_write)?;
    damaged_writes(&mut stage, |disk| disk.misdirect_next_write(4096))
}

/// Damages each write of a recovery's checkpoint in turn. The next opening shows all commits or an
/// error.
fn damaged_writes(stage: &mut Stage<'_>, damage: fn(&SimDisk)) -> Result<(), Broken> {
    let left = stage.left(Keep::Everything);
    for number in 0..8 {
        let disk = left.fork(Keep::Everything);
        at_write(&disk, number, damage);
        stage.visit.note(format!("  write {number} of the data file, by recovery, is damaged"));
        if let Ok(store) = stage.run.setup.open(&disk) {
            let next = disk.fork(Keep::Everything);
            disk.crash_after(0);
            drop(store);
            stage.right_or_told(&next)?;
        }
        stage.visit.notes.pop();
    }
    Ok(())
}

fn a_root_that_was_only_cached(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    stage.all(&Script::new().each(0..12, 700).checkpoint().each(0..12, 700).flush())?;
    let points = stage.moments(&Step::Checkpoint)?;
    stage.visit.note("a kill before a flush of the data file; recovery");
    roots_are_lost_within_recovery(&mut stage, &points)
}

fn a_life_begun_on_a_cached_root(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    stage.all(&Script::new().each(0..12, 700).checkpoint().each(0..6, 700).flush())?;
    let killed = stage.left(Keep::Everything);
    let points = recovery_of(&stage, &killed);
    stage.visit.note("a kill before a flush of the data file by recovery; recovery");
    roots_are_lost_within_recovery(&mut stage, &points)
}

/// Kills before each flush of the data file, and within the next recovery power losses that take
/// only the superblocks.
fn roots_are_lost_within_recovery(stage: &mut Stage<'_>, points: &[Point]) -> Result<(), Broken> {
    for point in points.iter().filter(|at| at.op == Op::Sync && at.path.ends_with("/data")) {
        let killed = point.disk.fork(Keep::Everything);
        for within in recovery_of(stage, &killed) {
            let choices = within.disk.choices();
            let mask = choices.iter().map(|change| !is_root(change)).collect();
            let left = within.disk.fork(Keep::Mask(mask));
            stage.visit.note("  a power loss in it, which keeps all except the superblocks");
            stage.recovers(&left, Crash::PowerLoss)?;
            stage.visit.notes.pop();
        }
    }
    Ok(())
}

/// Opens the store on `killed`. Returns all crash points within the recovery.
fn recovery_of(stage: &Stage<'_>, killed: &SimDisk) -> Vec<Point> {
    let watch = Watch::default();
    watch.over(killed);
    watch.note_points(true);
    let recovered = stage.run.setup.open(killed);
    killed.crash_after(0);
    drop(recovered);
    watch.take_points()
}

fn a_length_that_was_only_cached(visit: &mut Visit) -> Result<(), Broken> {
    // A log of one segment, because a new segment flushes the data file.
    let setup = Setup { segment_bytes: 4 << 20, ..SMALL };
    // The data file grows in steps: its free space decides which value needs the next one.
    for (after, bytes) in (0..3).flat_map(|after| (1..9).map(move |n| (after, n * 60_000))) {
        let mut stage = Stage::open(visit, &setup)?;
        let script = Script::new().quick(0, 150_000).checkpoint().quick(1, bytes).flush();
        stage.all(&script)?;
        stage.visit.note(format!("one Sync fails after {after} more"));
        let (error, persistence) = (FaultError::Io, Persistence::Once);
        stage.disk().fail(Fault { op: Op::Sync, after, error, persistence });
        let failing = Script::after(&script).checkpoint();
        stage.as_far(&failing)?;
        stage.disk().clear_faults();
        let end = Script::after(&failing).kill().read().sync(2, 10).checkpoint();
        stage.all(&end.power_loss().read())?;
    }
    Ok(())
}
