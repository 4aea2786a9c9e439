//! The log: its records, their positions, and their damage.

use super::Piece;
use super::script::{SMALL, Script};
use super::stage::{Stage, segments};
use super::visit::{Broken, Visit, WELL};
use crate::engine::disk::Keep;
use crate::engine::mutants::Mutant;
use crate::tools::torture::Clause;
use crate::tools::torture::sim::{Crash, Mode, Setup};

pub(super) const ROOM: &[Piece] = &[
    Piece {
        name: "damage below the sync line",
        whose: "NATS JetStream 2.12.1, 2025 (issue 7549), and every store whose replay ends at the \
                first bad checksum",
        showed: "one flipped bit in a file of the log took many acknowledged records after it, \
                 without a word",
        done: "synchronous commits, a power loss, and one bit flipped in the record of each commit \
               except the last",
        judged: &[Clause::Bounds, Clause::Answers],
        mutants: &[Mutant::RotTakenForTorn],
        show: damage_below_the_sync_line,
    },
    Piece {
        name: "a torn tail is not damage",
        whose: "Badger 1.x, 2018 (issue 434)",
        showed: "after a crash in the middle of an append the store did not open until the user had \
                 its log cut, for it could not tell a torn end from rot",
        done: "asynchronous commits, some flushes, and each subset of the sectors that a power loss \
               can leave",
        judged: &[Clause::Prefix, Clause::Answers],
        mutants: &[Mutant::SyncLineAhead],
        show: a_torn_tail_is_not_damage,
    },
    Piece {
        name: "half a transaction",
        whose: "Badger 1.x, 2018 (issues 408, 592)",
        showed: "a transaction whose last entry had not reached the disk confused the replay, or \
                 was kept for the next one",
        done: "commits of many records, longer than a segment, and crashes within them",
        judged: &[Clause::Prefix, Clause::Answers],
        mutants: &[Mutant::UnfinishedChainApplied],
        show: half_a_transaction,
    },
    Piece {
        name: "a header without its body",
        whose: "found in several stores by Pillai et al., OSDI 2014",
        showed: "the store relied on atomic appends, and part of one reached the disk: the length \
                 without the bytes",
        done: "records of several sectors, and power losses that keep the first and not the last",
        judged: &[Clause::Prefix, Clause::Answers],
        mutants: &[Mutant::RecordPayloadUnchecked],
        show: a_header_without_its_body,
    },
    Piece {
        name: "stale record in a recycled file",
        whose: "RocksDB up to 9.0, 2015 to 2024 (log recycling: pull requests 6351, 12403, 12918)",
        showed: "old records in a recycled log could not be told from new ones, and a replay went \
                 on across a hole",
        done: "checkpoints until segments are used again, short records over long ones, crashes",
        judged: &[Clause::Prefix, Clause::Bounds, Clause::Reported, Clause::Answers],
        mutants: &[Mutant::RecordPositionUnchecked],
        show: stale_record_in_a_recycled_file,
    },
    Piece {
        name: "a segment cut short",
        whose: "ext4 with delayed allocation, 2009, and the stores on it",
        showed: "written files came back with a length of 0",
        done: "a segment that recovery needs is cut to 0, to its header, to half; the first one, which \
               grows, where a page and a record end",
        judged: &[Clause::Bounds, Clause::Answers],
        mutants: &[Mutant::TruncatedSegmentAccepted, Mutant::GrowthUnnoted],
        show: a_segment_cut_short,
    },
    Piece {
        name: "hole between two segments",
        whose: "YugabyteDB, 2020 (issue 3490); RocksDB, 2024 (issue 12488)",
        showed: "the log went on in a new file whose flush did not cover the old one: after a crash \
                 there was a hole, and the replay went on behind it",
        done: "asynchronous commits across the end of a segment, then one flush",
        judged: &[Clause::Bounds],
        mutants: &[Mutant::FlushLastSegmentOnly, Mutant::FlushFirstSegmentOnly],
        show: hole_between_two_segments,
    },
    Piece {
        name: "the next segment is not read",
        whose: "RocksDB, 2020 (issue 7784)",
        showed: "recovery stopped at a file of the log that was not the last",
        done: "synchronous commits over several segments, and a kill",
        judged: &[Clause::Bounds, Clause::Answers],
        mutants: &[Mutant::ScanEndsWithSegment],
        show: the_next_segment_is_not_read,
    },
];

fn damage_below_the_sync_line(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    let script = (0..8).fold(Script::new(), |script, key| script.sync(key, 300));
    stage.all(&script)?;
    let left = stage.left(Keep::Nothing);
    let ends: Vec<_> = stage.history().commits().iter().map(|commit| commit.lsn).collect();
    for end in &ends[1..ends.len() - 1] {
        let (file, offset) = stage.place_before(*end);
        for back in [4, 200, 310] {
            let damaged = left.fork(Keep::Everything);
            let at = offset - back;
            stage.visit.note(format!("  bit 5 of the byte at {at} of {file} is flipped"));
            damaged.flip(&file, at, 5);
            stage.refuses(&damaged, &file)?;
        }
    }
    stage.recovers(&left, Crash::PowerLoss).map(|_| ())
}

fn a_torn_tail_is_not_damage(visit: &mut Visit) -> Result<(), Broken> {
    let script = Script::new().each(0..3, 700).flush().each(3..6, 200).flush().quick(6, 900);
    visit.explore(&SMALL, script.flush(), WELL)
}

fn half_a_transaction(visit: &mut Visit) -> Result<(), Broken> {
    let script = Script::new().sync(0, 100).commit(Mode::Async, 1..30, 900).flush();
    visit.explore(&SMALL, script.sync(40, 10), WELL)
}

fn a_header_without_its_body(visit: &mut Visit) -> Result<(), Broken> {
    let script = Script::new().quick(1, 1000).flush().quick(2, 1000).quick(3, 40).flush();
    visit.explore(&SMALL, script, WELL)
}

fn stale_record_in_a_recycled_file(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    let mut script = Script::new().quick(0, 900).quick(0, 900);
    stage.all(&script)?;
    // Twelve records fill a segment: where a new one ends, an old one begins.
    let [.., former, last] = stage.history().commits() else { unreachable!("three commits") };
    let rest = last.lsn.get() - former.lsn.get() - 900;
    let bytes = 1024 - rest as u32;
    script = Script::after(&script);
    for _ in 0..4 {
        script = script.each([0; 30], bytes).checkpoint();
    }
    stage.all(&script)?;
    for _ in 0..14 {
        script = Script::after(&script).sync(0, bytes);
        stage.all(&script)?;
        let kill = stage.left(Keep::Everything);
        stage.recovers(&kill, Crash::Kill)?;
    }
    Ok(())
}

fn a_segment_cut_short(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    let script = (0..30).fold(Script::new(), |script, key| script.sync(key, 900));
    stage.all(&script)?;
    let left = stage.left(Keep::Nothing);
    // The last one too: only the superblock and the records before it show that it is needed.
    let first = stage.place_before(stage.history().commits()[0].lsn).0;
    let last = stage.place_before(stage.history().commits()[29].lsn).0;
    for file in [first, last] {
        for bytes in [0, 1, 4096, 8192] {
            let damaged = left.fork(Keep::Everything);
            stage.visit.note(format!("  {file} is cut to {bytes} bytes"));
            damaged.truncate(&file, bytes);
            stage.refuses(&damaged, &file)?;
        }
    }
    drop(stage);
    a_grown_segment_cut_between_two_records(visit)
}

fn a_grown_segment_cut_between_two_records(visit: &mut Visit) -> Result<(), Broken> {
    const CUT: u64 = 24 << 10; // above its initial length
    const LEN: u32 = 900;
    let mut stage = Stage::open(visit, &Setup { segment_bytes: 64 << 10, ..SMALL })?;
    let mut script = Script::new().sync(0, LEN);
    let (mut file, mut ends, mut each) = (String::new(), 0, CUT);
    while ends == 0 || ends + 2 * each < CUT {
        stage.all(&script)?;
        let last = stage.history().commits().last().expect("one was made").lsn;
        let (at, byte) = stage.place_before(last);
        each = byte + 1 - ends;
        (file, ends, script) = (at, byte + 1, Script::new().sync(1, LEN));
    }
    // One record that ends at the cut, and others behind it.
    let script = Script::new().sync(1, LEN + (CUT - ends - each) as u32);
    stage.all(&(0..3).fold(script, |script, key| script.sync(key, LEN)))?;
    let left = stage.left(Keep::Nothing);
    left.truncate(&file, CUT);
    stage.visit.note(format!("  {file} is cut to {CUT} bytes, where a record ends"));
    stage.refuses(&left, &file)
}

fn hole_between_two_segments(visit: &mut Visit) -> Result<(), Broken> {
    let script = Script::new().each(0..14, 800).flush().each(14..20, 800).flush();
    visit.explore(&SMALL, script.sync(20, 10), WELL)
}

fn the_next_segment_is_not_read(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &Setup { max_unsynced_bytes: 4096, ..SMALL })?;
    let script = (0..40).fold(Script::new(), |script, key| script.sync(key, 900));
    stage.all(&script)?;
    let count = segments(stage.disk()).len();
    stage.visit.note(format!("the log has {count} segments"));
    for keep in [Keep::Everything, Keep::Nothing] {
        let left = stage.left(keep.clone());
        let crash = if keep == Keep::Nothing { Crash::PowerLoss } else { Crash::Kill };
        stage.recovers(&left, crash)?;
    }
    Ok(())
}
