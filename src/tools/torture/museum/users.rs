//! User operations: naming a key twice in a batch, filling the disk.

use super::Piece;
use super::script::{SMALL, Script};
use super::stage::Stage;
use super::visit::{Broken, Visit};
use crate::Error;
use crate::engine::disk::{Disk, Keep};
use crate::engine::mutants::Mutant;
use crate::tools::torture::Clause;
use crate::tools::torture::sim::{Change, Crash, KeyNo, Mode, Setup, Stamp, Step, Violation};

pub(super) const ROOM: &[Piece] = &[
    Piece {
        name: "named again after a long value",
        whose: "ours, found by a client that sent one batch",
        showed: "a batch put a key twice, first with a value that bypasses the cache; freeing that \
                 value took a guard that the group itself held off, and the batch and every later \
                 read hung",
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
                 a new segment behind, which took the space that the user had freed",
        done: "a kill, a disk that is full after a little more each time, and openings that succeed \
               or fail. Seen to fail by hand: with the segment of a failed opening left",
        judged: &[Clause::Answers, Clause::Prefix, Clause::Bounds],
        mutants: &[],
        show: each_attempt_takes_a_segment,
    },
    Piece {
        name: "no space to delete",
        whose: "ours, found from outside",
        showed: "small rows filled a small disk one by one, and then every delete was refused: the \
                 log was at the end of its file, a checkpoint freed whole segments only, and the \
                 disk had no space to extend the file",
        done: "small rows until the disk is full, and deletes, repeatedly; no delete may be refused; \
               power losses",
        judged: &[Clause::Answers, Clause::Prefix],
        mutants: &[Mutant::HoleTooLong, Mutant::HoleUsedAgain],
        show: no_space_to_delete,
    },
];

fn no_space_to_delete(visit: &mut Visit) -> Result<(), Broken> {
    let setup = Setup { cache_bytes: 1 << 20, segment_bytes: 64 << 10, ..SMALL };
    let mut stage = Stage::open(visit, &setup)?;
    let mut script = Script::new().each(0..20, 60);
    stage.all(&script)?;
    full(&mut stage, 200 << 10);
    for round in 0..6 {
        script = Script::after(&script).each((0..900).map(|n| (n * 7 + round * 131) % 1000), 60);
        refused_only_for_space(&mut stage, &script)?;
        for key in (0..1000).filter(|key| key % 8 != 0) {
            let changes = vec![Change::Delete { keyspace: 0, key }];
            if let Some(error) = stage.one(&Step::Commit { mode: Mode::Async, changes })? {
                return Err(Violation::liveness(format!("a delete is refused: {error}")).into());
            }
        }
        // The log begins anew and needs space for that.
        if round == 2 {
            stage.disk().set_capacity(None);
            stage.all(&Script::after(&script).checkpoint().power_loss().read())?;
            full(&mut stage, 100 << 10);
        }
    }
    stage.disk().set_capacity(None);
    stage.all(&Script::after(&script).checkpoint().read().power_loss().read())
}

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
                    return Err(Violation::liveness(format!(
                        "with space again, a step is refused: {error}"
                    ))
                    .into());
                }
            }
        }
    }
    Ok(())
}

/// Does each step that the store does not refuse. The only reason for a refusal is a full disk.
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
