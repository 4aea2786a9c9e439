//! Files of the store that are missing, foreign or old, and a store opened twice.

use super::Piece;
use super::script::{SMALL, Script};
use super::stage::{Stage, segments};
use super::visit::{Broken, LIGHT, Visit};
use crate::engine::disk::{Keep, SimDisk};
use crate::engine::log::format::segment_name;
use crate::engine::mutants::Mutant;
use crate::engine::space::superblock::{SLOT_BYTES, Superblock};
use crate::tools::torture::Clause;
use crate::tools::torture::sim::{Crash, Step, Violation};
use crate::{CommitMode, Error, Options};

pub(super) const ROOM: &[Piece] = &[
    Piece {
        name: "a new store over the old one",
        whose: "LevelDB and its relatives (goleveldb issue 49, 2014)",
        showed: "the file that names all others was missing; a new, empty store was created, and \
                 the old one's files were removed as garbage",
        done: "the data file is removed, beside a log. Seen to fail by hand: with a data file \
               created whenever there is none",
        judged: &[Clause::Answers, Clause::Bounds],
        mutants: &[],
        show: a_new_store_over_the_old_one,
    },
    Piece {
        name: "another store's files",
        whose: "the reason for PostgreSQL's system identifier",
        showed: "a log or a data file of another store was taken for the store's own",
        done: "a segment, then the data file, is swapped for that of another store of the same age",
        judged: &[Clause::Answers, Clause::Bounds],
        mutants: &[Mutant::ForeignSegmentIgnored],
        show: another_stores_files,
    },
    Piece {
        name: "an older copy of the data file",
        whose: "a user who restores one file of two",
        showed: "an old data file beside a new log: the store opened, with a hole between them",
        done: "the data file of an earlier checkpoint is put back when its log is gone: beside the \
               newer log, beside the log of a closed store, and beside none",
        judged: &[Clause::Answers, Clause::Bounds],
        mutants: &[Mutant::MissingLogAccepted],
        show: an_older_copy_of_the_data_file,
    },
    Piece {
        name: "an older copy from another life",
        whose: "a user who restores one file of two, or whose newest root has rotted",
        showed: "the store had been closed when the copy was made: it opened with the contents of \
                 that time, and ignored the log of all later lives",
        done: "the data file as a former life left it, running or closed, is put back beside the \
               log of the next life, and of the one after",
        judged: &[Clause::Answers, Clause::Bounds],
        mutants: &[Mutant::OlderDataUnnoticed, Mutant::LaterCommitUnread],
        show: an_older_copy_from_another_life,
    },
    Piece {
        name: "the log is gone",
        whose: "ours, found from outside; and every store that creates a log where it finds none",
        showed: "after a kill the files of the log were removed, or emptied: the store opened \
                 without the commits that had been acknowledged, and found nothing wrong",
        done: "a store is not closed; all its segments are removed, then each of them is removed, \
               emptied, zeroed, and has its header zeroed; the newest one is replaced by its copy \
               from before an idle time",
        judged: &[Clause::Bounds, Clause::Answers],
        mutants: &[Mutant::MissingLogAccepted, Mutant::SegmentUnnoted],
        show: the_log_is_gone,
    },
    Piece {
        name: "noted before it is so",
        whose: "a mistake of stores that record which files must exist",
        showed: "the root named a file before the file was durable, or a sync line before its \
                 flush: after a power loss the store did not open",
        done: "commits across the ends of segments, with flushes at other times, and crashes at \
               every moment",
        judged: &[Clause::Answers, Clause::Bounds],
        mutants: &[Mutant::SegmentNotedEarly, Mutant::LineNotedAhead],
        show: noted_before_it_is_so,
    },
    Piece {
        name: "opened twice",
        whose: "SQLite's \"How To Corrupt\", section 2.2: closing any descriptor of the file \
                released the lock",
        showed: "two processes wrote to one file",
        done: "a second opening while the first is writing, again after it has been refused once. \
               Seen to fail by hand: with the lock released once the store is open",
        judged: &[Clause::Answers],
        mutants: &[],
        show: opened_twice,
    },
];

fn filled(visit: &mut Visit) -> Result<Stage<'_>, Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    stage.all(&Script::new().each(0..30, 900).checkpoint().each(10..40, 900).flush())?;
    Ok(stage)
}

fn a_new_store_over_the_old_one(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = filled(visit)?;
    for keep in [Keep::Everything, Keep::Nothing] {
        let left = stage.left(keep);
        let damaged = left.fork(Keep::Everything);
        stage.visit.note("  data is removed");
        damaged.remove_file("data");
        stage.refuses(&damaged, "data")?;
        // The refusal has removed nothing.
        let again = damaged.fork(Keep::Everything);
        again.write_file("data", &left.read_file("data"));
        stage.visit.note("  data is put back");
        stage.recovers(&again, Crash::PowerLoss)?;
    }
    Ok(())
}

fn another_stores_files(visit: &mut Visit) -> Result<(), Broken> {
    let other = SimDisk::new();
    let theirs = another_store(&other).map_err(|error| {
        Violation::safety(format!("the other store could not be created: {error}"))
    })?;
    let mut stage = filled(visit)?;
    let left = stage.left(Keep::Nothing);
    let last = stage.history().commits().last().expect("there are some").lsn;
    let needed = stage.place_before(last).0;
    let their_segment = segments(&theirs).pop().expect("they have a log");
    for (file, from) in [(needed.as_str(), their_segment.as_str()), ("data", "data")] {
        let damaged = left.fork(Keep::Everything);
        stage.visit.note(format!("  {file} is swapped for another store's"));
        damaged.write_file(file, &theirs.read_file(from));
        match stage.right_or_told(&damaged)? {
            Some(Error::WrongStore { .. }) => {}
            other => {
                let what = format!("{file} is another store's, and the answer is {other:?}");
                return Err(Violation::of(Clause::Answers, what).into());
            }
        }
    }
    Ok(())
}

/// The disk of a store with another id, after a power loss.
fn another_store(disk: &SimDisk) -> crate::Result<SimDisk> {
    let options = Options::new().page_bytes(4096).cache_bytes(1 << 20).segment_bytes(64 << 10);
    let options = options.store_id(*b"some other store").without_threads();
    let store = options.open_on(std::sync::Arc::new(disk.clone()))?;
    let keyspace = store.keyspace("k0")?;
    for n in 0..60u8 {
        keyspace.put_with([n], [n; 900], CommitMode::Async)?;
    }
    store.flush()?;
    Ok(disk.crash(Keep::Nothing))
}

fn an_older_copy_of_the_data_file(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    let script = Script::new().each(0..20, 900).checkpoint();
    stage.all(&script)?;
    let old = stage.disk().read_file("data");
    let mut more = Script::after(&script);
    for _ in 0..3 {
        more = more.each(0..40, 900).checkpoint();
    }
    let more = more.sync(1, 10);
    stage.all(&more)?;
    puts_back(&mut stage, &old)?;
    stage.all(&Script::after(&more).reopen())?;
    puts_back(&mut stage, &old)
}

fn puts_back(stage: &mut Stage<'_>, old: &[u8]) -> Result<(), Broken> {
    for keep in [Keep::Everything, Keep::Nothing] {
        let damaged = stage.left(keep);
        stage.visit.note("  the data file of the first checkpoint is put back");
        damaged.write_file("data", old);
        stage.refuses(&damaged, "")?;
        stage.visit.note("  the log is removed");
        segments(&damaged).iter().for_each(|name| damaged.remove_file(name));
        stage.refuses(&damaged, "log-")?;
    }
    Ok(())
}

fn an_older_copy_from_another_life(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    let script = Script::new().each(0..20, 900).checkpoint().each(0..5, 100).flush();
    stage.all(&script)?;
    let mut copies = vec![("running", stage.disk().read_file("data"))];
    let closing = Script::after(&script).reopen();
    stage.all(&closing)?;
    copies.push(("closed", stage.disk().read_file("data")));
    let mut script = Script::after(&closing).sync(50, 10);
    for life in 1..3 {
        stage.all(&script)?;
        for keep in [Keep::Everything, Keep::Nothing] {
            let left = stage.left(keep);
            for (state, copy) in &copies {
                stage.visit.note(format!("  data of life 1, {state}, is put back in {life} more"));
                let damaged = left.fork(Keep::Everything);
                damaged.write_file("data", copy);
                stage.refuses(&damaged, "")?;
            }
        }
        script = Script::after(&script).kill().sync(60, 900).checkpoint().sync(61, 10);
    }
    drop(stage);
    beside_one_commit(visit)
}

/// The log of the life before is still there, and the next one has made a single commit.
fn beside_one_commit(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    let script = Script::new().sync(0, 10);
    stage.all(&script)?;
    let copy = stage.disk().read_file("data");
    let killed = Script::after(&script).sync(1, 900).sync(2, 900).kill().sync(50, 10);
    stage.all(&killed)?;
    for keep in [Keep::Everything, Keep::Nothing] {
        let damaged = stage.left(keep);
        stage.visit.note("  data of life 1 is put back beside the first commit of life 2");
        damaged.write_file("data", &copy);
        stage.refuses(&damaged, "")?;
    }
    Ok(())
}

fn the_log_is_gone(visit: &mut Visit) -> Result<(), Broken> {
    let rows = |script: Script| script.each(0..16, 900).flush();
    let lives = [
        Script::new().sync(0, 10),
        rows(Script::new()),
        rows(rows(rows(Script::new()))),
        rows(rows(Script::new()).checkpoint()),
        rows(rows(Script::new())).checkpoint(),
        rows(rows(rows(Script::new()).kill())),
        rows(rows(rows(Script::new()).reopen())),
    ];
    for script in &lives {
        let mut stage = Stage::open(visit, &SMALL)?;
        stage.all(script)?;
        for keep in [Keep::Everything, Keep::Nothing] {
            let left = stage.left(keep);
            takes_away_the_log(&mut stage, &left)?;
        }
    }
    let mut stage = Stage::open(visit, &SMALL)?;
    let script = Script::new().sync(0, 100);
    stage.all(&script)?;
    let segments = segments(stage.disk());
    let before: Vec<_> = segments.iter().map(|name| stage.disk().read_file(name)).collect();
    stage.all(&Script::after(&script).sync(1, 100).sync(2, 100))?;
    // Skips segments that are prepared for later.
    let is_in_use = |at: &usize| stage.disk().read_file(&segments[*at]) != before[*at];
    let at = (0..segments.len()).find(is_in_use).expect("there is a log");
    let (newest, old) = (segments[at].clone(), before[at].clone());
    stage.visit.note("nothing is committed for a while");
    stage
        .store()
        .note_sync_line()
        .map_err(|error| Violation::safety(format!("the sync line is not noted: {error}")))?;
    let damaged = stage.left(Keep::Nothing);
    stage.visit.note(format!("  {newest} is replaced by an older copy"));
    damaged.write_file(&newest, &old);
    stage.refuses(&damaged, &newest)
}

fn takes_away_the_log(stage: &mut Stage<'_>, left: &SimDisk) -> Result<(), Broken> {
    let needed = needed_segments(left);
    let damaged = left.fork(Keep::Everything);
    stage.visit.note("  every segment is removed");
    segments(left).iter().for_each(|name| damaged.remove_file(name));
    stage.refuses(&damaged, &needed[0])?;
    type Damage = (&'static str, fn(&SimDisk, &str));
    let damages: [Damage; 4] = [
        ("removed", |disk, name| disk.remove_file(name)),
        ("emptied", |disk, name| disk.write_file(name, &[])),
        ("zeroed", |disk, name| disk.write_file(name, &vec![0; disk.read_file(name).len()])),
        ("without its header", |disk, name| {
            let mut bytes = disk.read_file(name);
            bytes[..4096].fill(0);
            disk.write_file(name, &bytes);
        }),
    ];
    for name in &needed {
        for (how, damage) in damages {
            let damaged = left.fork(Keep::Everything);
            stage.visit.note(format!("  {name} is {how}"));
            damage(&damaged, name);
            stage.refuses(&damaged, name)?;
            stage.visit.notes.pop();
        }
    }
    // The refusals have changed nothing.
    stage.recovers(left, Crash::PowerLoss).map(|_| ())
}

/// The segments from the checkpoint on.
fn needed_segments(disk: &SimDisk) -> Vec<String> {
    let data = disk.read_file("data");
    let slots = data.chunks(SLOT_BYTES).take(2).filter_map(|slot| Superblock::decode(slot).ok());
    let newest = slots.max_by_key(|slot| slot.sequence).expect("a superblock");
    let from = newest.head.checkpoint.max(newest.head.log_start).get() - 1;
    let first = segment_name(from / newest.segment_bytes);
    segments(disk).into_iter().filter(|name| *name >= first).collect()
}

fn noted_before_it_is_so(visit: &mut Visit) -> Result<(), Broken> {
    let script = Script::new().each(0..18, 900).flush().each(18..40, 900).checkpoint();
    visit.explore(&SMALL, script.each(0..20, 900).kill().each(0..20, 900), LIGHT)
}

fn opened_twice(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = filled(visit)?;
    for _ in 0..2 {
        stage.visit.note("another user opens the store");
        stage.visit.states += 1;
        match stage.run.setup.open(stage.disk()) {
            Err(Error::Locked { .. }) => {}
            Ok(_) => return Err(Violation::safety("the store was opened twice").into()),
            Err(error) => {
                let what = format!("the store is open, and the error is: {error}");
                return Err(Violation::safety(what).into());
            }
        }
        if let Some(error) = stage.one(&Step::Read)? {
            return Err(Violation::safety(format!(
                "after a second opening the first user gets: {error}"
            ))
            .into());
        }
    }
    stage.all(&Script::new().sync(1, 10).reopen().read())
}
