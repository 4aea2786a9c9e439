//! A log whose first segment begins small, and which removes files that it does not need.

use std::sync::atomic::Ordering::SeqCst;

use parking_lot::Mutex;

use super::*;
use crate::engine::base::error::Error;
use crate::engine::disk::{Fault, FaultError, Keep, Op, Persistence, SimDisk};
use crate::engine::log::format::SegmentHeader;

const FIRST: u64 = S / 8;

fn growing() -> LogOptions {
    LogOptions { first_bytes: FIRST, ..small() }
}

fn begin(disk: &SimDisk) -> (Log, Appender) {
    Log::begin(Arc::new(disk.clone()), growing(), LIFE, 2, &[]).unwrap()
}

/// The length of the file of a segment.
fn bytes_of(disk: &dyn Disk, number: u64) -> u64 {
    disk.open(&segment_name(number)).unwrap().bytes().unwrap()
}

#[test]
fn the_first_segment_begins_small_and_doubles_ahead_of_its_use() {
    let mut rig = Rig::with(growing());
    let mut seen = Vec::new();
    loop {
        rig.log.preallocate().unwrap();
        let (used, exists) = (rig.log.appended().get() % S, bytes_of(&*rig.disk, 2));
        assert!(exists == S || exists - used >= exists / 2, "{used} of {exists}");
        assert_eq!(rig.log.limit.load(SeqCst), 2 * S + exists, "LOG-8");
        seen.push(exists);
        if used > S / 2 - 200 {
            break;
        }
        rig.append(&payload(seen.len(), 100));
    }
    assert_eq!(rig.disk.list().unwrap(), [segment_name(2)], "one is enough until half of it");
    seen.dedup();
    assert_eq!(seen, [S / 8, S / 4, S / 2, S]);
    // The next one is whole from the beginning.
    rig.append(&payload(0, 300));
    rig.log.preallocate().unwrap();
    assert_eq!(bytes_of(&*rig.disk, 3), S);
}

#[test]
fn a_payload_that_does_not_fit_gets_its_space_at_once() {
    let mut rig = Rig::with(growing());
    rig.append(&payload(0, 20_000));
    assert_eq!(bytes_of(&*rig.disk, 2), S / 2);
    rig.append(&payload(1, 100_000));
    assert_eq!(bytes_of(&*rig.disk, 2), S);
    assert_eq!(rig.scan().unwrap().0, [payload(0, 20_000), payload(1, 100_000)]);
}

#[test]
fn a_disk_too_full_to_grow_changes_nothing_and_heals() {
    let mut rig = Rig::with(growing());
    rig.knobs.full.store(true, SeqCst);
    let mut appended = 0;
    let error = loop {
        match rig.try_append(&payload(appended, 100)) {
            Ok(_) => appended += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    assert!(matches!(rig.log.preallocate(), Err(Error::DiskFull { .. })));
    assert!(rig.log.poisoned().is_none());
    assert_eq!(rig.log.flush().unwrap(), rig.log.appended());
    rig.knobs.full.store(false, SeqCst);
    for n in appended..1000 {
        rig.append(&payload(n, 100));
    }
    assert_eq!(rig.scan().unwrap().0.len(), 1000);
}

#[test]
fn a_failed_flush_of_a_new_length_poisons_the_log() {
    let disk = SimDisk::new();
    let (log, mut appender) = begin(&disk);
    let (op, error) = (Op::Sync, FaultError::Io);
    disk.fail(Fault { op, after: 0, error, persistence: Persistence::Once });
    let grown = append(&log, &mut appender, &payload(0, 20_000));
    assert!(matches!(grown, Err(Error::Poisoned { .. })), "{grown:?}");
    assert_eq!(log.appended(), log.start());
}

/// A log that has grown to half a segment, and where each record of it ends in the file.
fn grown() -> (SimDisk, Vec<u64>) {
    let disk = SimDisk::new();
    let (log, mut appender) = begin(&disk);
    let mut ends = Vec::new();
    while ends.last().is_none_or(|end| *end < S / 4 + 1000) {
        ends.push(append(&log, &mut appender, &payload(ends.len(), 100)).unwrap().get() % S);
    }
    log.flush().unwrap();
    (disk, ends)
}

#[test]
fn a_file_that_grew_and_was_cut_is_damaged() {
    let (disk, ends) = grown();
    let name = segment_name(2);
    let shared = |disk: &SimDisk| -> Arc<dyn Disk> { Arc::new(disk.clone()) };
    let whole = disk.fork(Keep::Nothing);
    assert_eq!(scan(&shared(&whole), Lsn::ZERO).unwrap().0.len(), ends.len(), "small, not cut");
    for cut in (4096 + 32..ends[ends.len() - 1]).step_by(4) {
        let damaged = whole.fork(Keep::Everything);
        damaged.truncate(&name, cut);
        let read = scan(&shared(&damaged), Lsn::ZERO);
        // Also at the end of a step, between two records: the header holds the new length.
        assert!(matches!(read, Err(Error::Corrupt { .. })), "cut to {cut}: {read:?}");
        // A caller that knows a higher sync line gets the error in any case.
        let known = Lsn::new(2 * S + ends[ends.len() - 1]);
        assert!(matches!(scan(&shared(&damaged), known), Err(Error::Corrupt { .. })));
    }
}

/// A crash may come at any moment of a growth: the header never holds more than the file's length.
#[test]
fn a_header_gets_a_new_length_only_once_it_is_durable() {
    let (disk, mut states) = (SimDisk::new(), 0);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    disk.watch(move |disk, _| noted.lock().push(disk.fork(Keep::Everything)));
    let (log, mut appender) = begin(&disk);
    for n in 0..200 {
        append(&log, &mut appender, &payload(n, 100)).unwrap();
        log.flush().unwrap();
    }
    for moment in std::mem::take(&mut *seen.lock()) {
        for keep in [Keep::Nothing, Keep::Everything].into_iter().chain((0..4).map(Keep::Seeded)) {
            let left = moment.fork(keep);
            let name = segment_name(2);
            if !left.list().unwrap().contains(&name) {
                continue;
            }
            let content = left.read_file(&name);
            let Some(Ok(header)) = content.get(..4096).map(SegmentHeader::decode) else { continue };
            assert!(header.made_bytes <= content.len() as u64, "{header:?}");
            states += 1;
        }
    }
    assert!(states > 1000, "{states}");
}

#[test]
fn a_crash_while_a_file_grows_is_no_damage() {
    let (disk, ends) = grown();
    for bytes in [S / 2 + 1, S / 2 + 4096, S - 1, S] {
        let disk = disk.fork(Keep::Nothing);
        disk.open(&segment_name(2)).unwrap().allocate(bytes).unwrap();
        let read = scan(&(Arc::new(disk) as Arc<dyn Disk>), Lsn::ZERO).unwrap();
        assert_eq!(read.0.len(), ends.len(), "{bytes} bytes");
    }
}

#[test]
fn spares_follow_the_load_and_an_idle_log_has_none() {
    let mut rig = Rig::with(growing());
    let spares = |rig: &Rig| rig.disk.list().unwrap().len() - rig.log.mapped.lock().len();
    let checkpoint = |rig: &Rig| {
        let durable = rig.log.flush().unwrap();
        rig.log.recycle_below(durable).unwrap();
        spares(rig)
    };
    for n in 0..200 {
        rig.append(&payload(n, 3000));
    }
    assert_eq!(checkpoint(&rig), 4);
    let mut left = Vec::new();
    for n in 0..3 {
        rig.append(&payload(n, 100));
        left.push(checkpoint(&rig));
    }
    assert_eq!(left, [3, 2, 1], "the load has ended");
    rig.log.remove_spares().unwrap();
    assert_eq!(spares(&rig), 0);
    for n in 0..200 {
        rig.append(&payload(n, 3000));
    }
    assert_eq!(checkpoint(&rig), 4);
}

#[test]
fn a_retired_log_leaves_a_mark_that_proves_what_was_durable() {
    let mut rig = Rig::with(growing());
    for n in 0..100 {
        rig.append(&payload(n, 3000));
    }
    rig.log.flush().unwrap();
    let Rig { disk, log, appender, .. } = rig;
    let last = log.mapped.lock().back().unwrap().number();
    log.retire(Some(appender)).unwrap();
    assert_eq!(disk.list().unwrap(), [segment_name(last + 1)]);
    assert_eq!(bytes_of(&*disk, last + 1), 16384);
    // To a reader that expects this log its records are missing, not a torn tail.
    assert!(matches!(scan(&disk, Lsn::ZERO), Err(Error::Missing { .. })));
    // A commit that comes now is refused, and makes no file.
    log.preallocate().unwrap();
    assert!(matches!(log.reserve(1 << 20), Err(Error::Closed)));
    assert_eq!(disk.list().unwrap().len(), 1);
}
