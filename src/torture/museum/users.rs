//! What users do: name a key twice, fill the disk, lose a log, go on with a copy.

use super::Piece;
use super::script::{SMALL, Script};
use super::stage::{Stage, segments};
use super::visit::{Broken, Visit};
use crate::disk::{Disk, Keep};
use crate::mutants::Mutant;
use crate::torture::Clause;
use crate::torture::awaited::{Awaited, is_mended};
use crate::torture::sim::{Change, Crash, KeyNo, Mode, Setup, Stamp, Step, Violation};
use crate::{CommitMode, Error, Status};

pub(super) const ROOM: &[Piece] = &[
    Piece {
        name: "named again after a long value",
        whose: "ours, found by a client that sent one batch",
        showed: "a batch put a key with a value that bypasses the cache and then once more; freeing \
                 the first value took a guard that the group itself held off, and the batch and \
                 every later read waited for ever",
        done: "batches that name a key twice, with values of every class in either order, and \
               deletes between",
        judged: &[Clause::Answers, Clause::Prefix],
        mutants: &[Mutant::ReplacedLongNoted],
        show: named_again_after_a_long_value,
    },
    Piece {
        name: "full with every size of batch",
        whose: "ours, found from outside",
        showed: "with the disk full, a batch that needed more room than the cache could make was \
                 logged, could not be applied, and poisoned the store",
        done: "batches of 20 to 1000 rows over caches of several sizes, until the disk is full; \
               then reads, deletes, and space. Seen to fail by hand: with nothing reserved before \
               the record is appended",
        judged: &[Clause::Answers, Clause::Prefix],
        mutants: &[],
        show: full_with_every_size_of_batch,
    },
    Piece {
        name: "each attempt takes a segment",
        whose: "ours, found from outside",
        showed: "a store that had ended uncleanly on a full disk did not open, and each attempt left \
                 a new segment behind, which took the space that somebody had made",
        done: "a kill, a disk that is full after a little more each time, and openings that are \
               refused or not. Seen to fail by hand: with the segment of a failed opening left",
        judged: &[Clause::Answers, Clause::Prefix, Clause::Bounds],
        mutants: &[],
        show: each_attempt_takes_a_segment,
    },
    Piece {
        name: "a log that is gone",
        whose: "ours, found from outside",
        showed: "after an unclean end the log was removed, and the store opened without it: what \
                 had been acknowledged was gone, and a check found nothing wrong",
        done: "after a kill all segments are removed, cut to nothing, or filled with zeros. Seen to \
               fail by hand: with a log that is missing taken for one that is empty",
        judged: &[Clause::Answers, Clause::Bounds],
        mutants: &[],
        show: a_log_that_is_gone,
    },
    Piece {
        name: "a copy that lives on",
        whose: "ours, found from outside; the same befell PostgreSQL before its time lines",
        showed: "a copy of a closed store was put back; the tokens of commits that only the other \
                 one had made were told to be durable",
        done: "a copy of a closed store, and commits in both; each is asked about the other's \
               tokens. Seen to fail by hand: with tokens judged by incarnation and position alone",
        judged: &[Clause::Receipts],
        mutants: &[],
        show: a_copy_that_lives_on,
    },
];

fn named_again_after_a_long_value(visit: &mut Visit) -> Result<(), Broken> {
    const LENGTHS: [u32; 7] = [0, 100, 960, 4096, 65_536, 131_072, 200_000];
    let setup = Setup { cache_bytes: 1 << 20, segment_bytes: 64 << 10, ..SMALL };
    let mut stage = Stage::open(visit, &setup)?;
    stage.all(&Script::new().each(0..20, 300))?;
    let mut id = 1000;
    let mut put = |key: KeyNo, bytes| {
        id += 1;
        Change::Put { keyspace: 0, key, value: Stamp { id, bytes } }
    };
    for first in LENGTHS {
        for second in LENGTHS {
            let delete = Change::Delete { keyspace: 0, key: 7 };
            let twice = vec![put(7, first), put(3, 10), put(7, second)];
            let gone = vec![put(7, first), delete, put(8, second), put(8, 50)];
            for changes in [twice, gone] {
                let step = Step::Commit { mode: Mode::Async, changes };
                if let Some(error) = stage.one(&step)? {
                    return Err(Violation::safety(format!("refused: {error}")).into());
                }
            }
        }
    }
    let end = Script::after(&Script::new());
    stage.all(&end.read().checkpoint().power_loss().read())
}

fn full_with_every_size_of_batch(visit: &mut Visit) -> Result<(), Broken> {
    if !is_mended(Awaited::FullDiskPoisons) {
        visit.states += 1;
        return Ok(());
    }
    for cache_bytes in [256 << 10, 1 << 20, 4 << 20] {
        for rows in [20, 200, 1000] {
            let setup = Setup { cache_bytes, segment_bytes: 64 << 10, ..SMALL };
            let mut stage = Stage::open(visit, &setup)?;
            let script = Script::new().commit(Mode::Async, 0..200, 900).checkpoint();
            stage.all(&script)?;
            full(&mut stage, 300 << 10);
            let mut more = Script::after(&script);
            for n in 0..8 {
                let keys = (0..rows).map(|key| (key * 7 + n * 131) % 1200);
                more = more.commit(Mode::Async, keys, 900);
            }
            refused_only_for_space(&mut stage, &more.read())?;
            let deletes = Script::after(&script).delete(Mode::Async, 0..100).read();
            refused_only_for_space(&mut stage, &deletes)?;
            stage.disk().set_capacity(None);
            stage.visit.note("there is space again");
            let end = Step::Read;
            let steps = [Step::Flush, Step::Checkpoint, end];
            for step in steps {
                if let Some(error) = stage.one(&step)? {
                    return Err(Violation::liveness(format!("and then: {error}")).into());
                }
            }
        }
    }
    Ok(())
}

/// Does what it can; what is refused is refused for want of space, and nothing is poisoned.
fn refused_only_for_space(stage: &mut Stage<'_>, script: &Script) -> Result<(), Broken> {
    for error in stage.as_far(script)? {
        if !matches!(error, Error::DiskFull { .. }) {
            let what = format!("the disk is full, and the error is: {error}");
            return Err(Violation::of(Clause::Answers, what).into());
        }
    }
    Ok(())
}

fn full(stage: &mut Stage<'_>, room: u64) {
    stage.visit.note(format!("the disk has room for {room} more bytes"));
    let used = stage.disk().used_bytes();
    stage.disk().set_capacity(Some(used + room));
}

fn each_attempt_takes_a_segment(visit: &mut Visit) -> Result<(), Broken> {
    if !is_mended(Awaited::LeftByOpening) {
        visit.states += 1;
        return Ok(());
    }
    let mut stage = Stage::open(visit, &SMALL)?;
    stage.all(&Script::new().each(0..20, 900).checkpoint().each(10..60, 900))?;
    let left = stage.left(Keep::Everything);
    for room in [0, 4096, 16 << 10, 20 << 10, 64 << 10] {
        let disk = left.fork(Keep::Everything);
        disk.set_capacity(Some(disk.used_bytes() + room));
        let before = disk.list().expect("nothing fails");
        stage.visit.note(format!("  it has room for {room} bytes, and is opened three times"));
        for _ in 0..3 {
            match stage.run.setup.open(&disk) {
                Ok(store) => {
                    drop(store);
                    break;
                }
                Err(Error::DiskFull { .. }) => {}
                Err(error) => {
                    let what = format!("a full disk, and the error is: {error}");
                    return Err(Violation::of(Clause::Answers, what).into());
                }
            }
            let after = disk.list().expect("nothing fails");
            if let Some(name) = after.iter().find(|name| !before.contains(name)) {
                let what = format!("an opening that was refused left {name} behind");
                return Err(Violation::of(Clause::Answers, what).into());
            }
        }
        let next = disk.fork(Keep::Everything);
        next.set_capacity(None);
        stage.recovers(&next, Crash::Kill)?;
    }
    Ok(())
}

fn a_log_that_is_gone(visit: &mut Visit) -> Result<(), Broken> {
    if !is_mended(Awaited::MissingLog) {
        visit.states += 1;
        return Ok(());
    }
    let mut stage = Stage::open(visit, &SMALL)?;
    stage.all(&Script::new().each(0..30, 900).checkpoint().each(0..9, 100).sync(1, 10))?;
    let left = stage.left(Keep::Everything);
    for how in ["removed", "cut to nothing", "filled with zeros"] {
        let damaged = left.fork(Keep::Everything);
        stage.visit.note(format!("  all segments are {how}"));
        for name in segments(&left) {
            match how {
                "removed" => damaged.remove_file(&name),
                "cut to nothing" => damaged.truncate(&name, 0),
                _ => damaged.write_file(&name, &vec![0; left.read_file(&name).len()]),
            }
        }
        stage.refuses(&damaged, "log-")?;
    }
    Ok(())
}

fn a_copy_that_lives_on(visit: &mut Visit) -> Result<(), Broken> {
    if !is_mended(Awaited::OtherLife) {
        visit.states += 1;
        return Ok(());
    }
    let mut stage = Stage::open(visit, &SMALL)?;
    stage.all(&Script::new().each(0..9, 100).reopen())?;
    let copy = stage.left(Keep::Everything);
    let lives = [copy.fork(Keep::Everything), copy.fork(Keep::Everything)];
    let mut tokens = Vec::new();
    let mut stores = Vec::new();
    for (number, disk) in lives.iter().enumerate() {
        stage.visit.states += 1;
        let opened = stage.run.setup.open(disk).and_then(|store| {
            let keyspace = store.keyspace("k0")?;
            let mut own = Vec::new();
            for n in 0..4u8 {
                own.push(keyspace.put_with([n, number as u8], [n; 50], CommitMode::Sync)?.token());
            }
            Ok((store, own))
        });
        let (store, own) = opened.map_err(|error| Violation::safety(error.to_string()))?;
        stores.push(store);
        tokens.push(own);
    }
    for (store, others) in stores.iter().zip(tokens.iter().rev()) {
        for token in others {
            if let Ok(Status::Durable) = store.status(token) {
                let what = format!("{token} is of the other copy, and is told to be durable");
                return Err(Violation::of(Clause::Receipts, what).into());
            }
        }
    }
    Ok(())
}
