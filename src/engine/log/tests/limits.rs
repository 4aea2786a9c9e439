//! Full disks, failed flushes, and limits on unsynced bytes.

use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::engine::base::error::Error;

#[test]
fn a_full_disk_changes_nothing_and_heals() {
    let mut rig = Rig::new();
    rig.knobs.full.store(true, SeqCst);
    let mut appended = Vec::new();
    let error = loop {
        let before = rig.log.appended();
        match rig.try_append(&payload(appended.len(), 1000)) {
            Ok(_) => appended.push(payload(appended.len(), 1000)),
            Err(error) => {
                assert_eq!(rig.log.appended(), before);
                break error;
            }
        }
    };
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    assert!(error.is_retryable());
    assert!(appended.len() > 40, "the first segment was nearly filled: {}", appended.len());
    // The appended records become durable.
    assert!(rig.log.preallocate().is_err());
    assert_eq!(rig.log.flush().unwrap(), rig.log.appended());
    assert!(rig.log.poisoned().is_none());

    rig.knobs.full.store(false, SeqCst);
    for n in appended.len()..100 {
        rig.append(&payload(n, 1000));
        appended.push(payload(n, 1000));
    }
    assert!(rig.scan().unwrap().0 == appended);
}

#[test]
fn append_refuses_space_that_is_not_prepared() {
    let mut rig = Rig::new();
    let big = payload(0, 100_000);
    let before = rig.appender.position();
    let crc = crc32fast::hash(&big);
    assert_eq!(rig.log.append(&mut rig.appender, 9, &big, crc), None);
    assert_eq!(rig.appender.position(), before);
    rig.append(&big);
    assert!(rig.scan().unwrap().0 == [big]);
}

#[test]
fn has_room_needs_space_and_few_unsynced_bytes() {
    const MOST: usize = 10_000;
    let mut rig = Rig::with(LogOptions { max_unsynced_bytes: MOST as u64, ..small() });
    for n in 0..10 {
        rig.append(&payload(n, MOST / 8));
        rig.log.flush().unwrap();
        assert!(rig.log.has_room(8), "all is durable up to {}", rig.log.appended());
        assert!(!rig.log.has_room(1 << 30), "no log has so much space");
    }
    let mut unsynced = 0;
    while unsynced <= MOST {
        assert!(rig.log.has_room(8), "{unsynced} bytes are unsynced");
        let before = rig.log.appended();
        rig.append(&payload(0, MOST / 8));
        unsynced += (rig.log.appended().get() - before.get()) as usize;
    }
    assert!(!rig.log.has_room(8), "{unsynced} bytes are unsynced");
}

/// LOG-7: the copy under the commit lock meets no page that must be read first.
#[test]
fn a_large_payload_is_appended_only_to_prefaulted_memory() {
    let mut rig = Rig::new();
    rig.append(&payload(0, 1000));
    rig.log.preallocate().unwrap();
    let big = payload(1, 70_000);
    let crc = crc32fast::hash(&big);
    assert!(!rig.log.has_room(big.len()));
    assert_eq!(rig.log.append(&mut rig.appender, 9, &big, crc), None, "there are segments for it");
    rig.log.reserve(big.len()).unwrap();
    assert!(rig.log.has_room(big.len()));
    let from = rig.appender.position();
    let end = rig.log.append(&mut rig.appender, 9, &big, crc).unwrap();
    rig.log.publish(end);
    let prefaulted = rig.knobs.prefaulted.lock().unwrap().clone();
    let mut ready: Vec<_> = prefaulted
        .iter()
        .map(|(name, at, len)| {
            let start = super::super::segment_number(name).unwrap() * S + *at as u64;
            (start, start + *len as u64)
        })
        .collect();
    ready.sort_unstable();
    let reached = ready.iter().fold(from.get(), |at, &(start, to)| match start <= at {
        true => at.max(to),
        false => at,
    });
    assert!(reached >= end.get(), "ready up to {reached}, written up to {end}");
    // The prefaulted memory is used up.
    assert_eq!(rig.log.append(&mut rig.appender, 9, &big, crc), None);
    assert_eq!(rig.scan().unwrap().0, [payload(0, 1000), big]);
}

/// So a small commit does not wait for the flush of other large ones.
#[test]
fn large_payloads_leave_room_for_small_ones() {
    const MOST: u64 = 1 << 20;
    let mut rig = Rig::with(LogOptions { max_unsynced_bytes: MOST, ..small() });
    let unsynced = |rig: &Rig| rig.log.appended().get() - rig.log.durable().get();
    while unsynced(&rig) <= MOST - MOST / 4 {
        rig.append(&payload(0, 100_000));
    }
    assert!(unsynced(&rig) < MOST);
    rig.log.reserve(8).unwrap();
    assert!(rig.log.has_room(8));
    assert_eq!(rig.log.stats().flushes, 0);
    rig.append(&payload(0, 100_000));
    assert_eq!(rig.log.stats().flushes, 1, "a large one waits");
}

#[test]
fn memory_that_cannot_be_prefaulted_is_not_written() {
    let mut rig = Rig::new();
    rig.append(&payload(0, 100));
    rig.knobs.fail_prefault.store(true, SeqCst);
    assert!(matches!(rig.log.preallocate(), Err(Error::DiskFull { .. })));
    assert!(matches!(rig.try_append(&payload(1, 100)), Err(Error::DiskFull { .. })));
    rig.knobs.fail_prefault.store(false, SeqCst);
    rig.append(&payload(1, 100));
    rig.log.preallocate().unwrap();
    assert_eq!(rig.scan().unwrap().0.len(), 2);
}

#[test]
fn a_failed_flush_is_final() {
    let mut rig = Rig::new();
    let first = rig.append(&payload(0, 100));
    rig.log.flush().unwrap();
    let second = rig.append(&payload(1, 100));
    rig.knobs.fail_flush.store(1, SeqCst);
    let error = rig.log.wait_durable(second, None).unwrap_err();
    let Error::Poisoned { source, .. } = &error else { panic!("{error}") };
    assert!(source.to_string().contains("injected"), "{source}");
    // The disk works again, but the log does not trust it.
    for _ in 0..2 {
        assert!(matches!(rig.log.flush(), Err(Error::Poisoned { .. })));
        assert!(matches!(rig.log.wait_durable(second, None), Err(Error::Poisoned { .. })));
        assert!(matches!(rig.log.wait_moved(first, None), Err(Error::Poisoned { .. })));
        assert!(matches!(rig.log.reserve(1), Err(Error::Poisoned { .. })));
        assert!(matches!(rig.log.preallocate(), Err(Error::Poisoned { .. })));
    }
    assert_eq!(rig.log.append(&mut rig.appender, 9, b"", 0), None);
    assert_eq!(rig.log.durable(), first);
    assert!(rig.log.wait_durable(first, None).unwrap());
    assert_eq!(rig.log.wait_moved(rig.log.start(), None).unwrap(), first);
    // Only the first cause counts.
    rig.log.poison(Error::Closed);
    assert!(rig.log.poisoned().unwrap().to_string().contains("injected"));
    assert_eq!(rig.knobs.flushes.load(SeqCst), 1);
}

#[test]
fn a_flush_over_two_segments_syncs_both() {
    let mut rig = Rig::new();
    let end = rig.append(&payload(0, 70_000));
    rig.log.flush().unwrap();
    let flushed = rig.knobs.flushed.lock().unwrap().clone();
    let rest = (end.get() % S) as usize;
    let (first, second) = (segment_name(2), segment_name(3));
    assert_eq!(flushed, [(first, 4096, (S - 4096) as usize), (second.clone(), 0, rest)]);
    // The next flush begins where this one ended.
    rig.append(&payload(1, 8));
    rig.log.flush().unwrap();
    let flushed = rig.knobs.flushed.lock().unwrap().clone();
    assert_eq!(flushed[2..], [(second, rest, 40)]);
    // A further flush has nothing to do.
    rig.log.flush().unwrap();
    assert_eq!(rig.knobs.flushes.load(SeqCst), 3);
}

#[test]
fn a_flush_skips_segments_outside_its_range() {
    let mut rig = Rig::new();
    // Up to the last byte of the segment, and on from there.
    rig.append(&payload(0, (S - 4096 - 32) as usize));
    assert_eq!(rig.log.flush().unwrap(), Lsn::new(3 * S));
    let end = rig.append(&payload(1, 8));
    rig.log.flush().unwrap();
    let flushed = rig.knobs.flushed.lock().unwrap().clone();
    let (first, second) = ((segment_name(2), 4096), (segment_name(3), 0));
    let bytes = |(name, from), bytes: u64| (name, from, bytes as usize);
    assert_eq!(flushed, [bytes(first, S - 4096), bytes(second, end.get() % S)]);
}

#[test]
fn a_flush_failing_in_its_second_segment_moves_nothing() {
    let mut rig = Rig::new();
    rig.append(&payload(0, 70_000));
    rig.knobs.fail_flush.store(2, SeqCst);
    assert!(rig.log.flush().is_err());
    assert_eq!(rig.log.durable(), rig.log.start());
}

#[test]
fn appends_wait_while_too_much_is_unsynced() {
    let options = LogOptions { max_unsynced_bytes: 10_000, ..small() };
    let mut rig = Rig::with(options);
    for n in 0..200 {
        rig.append(&payload(n, 1000));
        let unsynced = rig.log.appended().get() - rig.log.durable().get();
        assert!(unsynced <= 10_000 + 1032 + 4096 + 64, "{unsynced}");
    }
    let flushes = rig.log.stats().flushes;
    assert!((15..=25).contains(&flushes), "{flushes}");
    assert_eq!(rig.scan().unwrap().0.len(), 200);
}

#[test]
fn at_most_a_few_spares_are_kept() {
    let mut rig = Rig::new();
    for n in 0..400 {
        rig.append(&payload(n, 3000));
    }
    let durable = rig.log.flush().unwrap();
    assert!(rig.disk.list().unwrap().len() > 15);
    rig.log.recycle_below(durable).unwrap();
    // The current segment, perhaps the next one, and four spares.
    let live = rig.log.mapped.lock().len();
    assert_eq!(rig.disk.list().unwrap().len(), live + 4, "{:?}", rig.disk.list());
}

#[test]
fn append_uses_prepared_space_to_the_last_byte() {
    // The rest of the only segment, to the last byte.
    let mut rig = Rig::new();
    let whole = payload(0, (S - 4096 - 32) as usize);
    let crc = crc32fast::hash(&whole);
    let end = Lsn::new(3 * S);
    assert_eq!(rig.log.append(&mut rig.appender, 9, &whole, crc), Some(end));
    assert_eq!(rig.log.append(&mut rig.appender, 9, b"", 0), None);
    rig.log.publish(end);
    assert_eq!(rig.scan().unwrap().0, [whole]);
    // The rest of two segments, in a chain.
    let mut rig = Rig::new();
    rig.log.reserve(2 * (S - 4096 - 32) as usize).unwrap();
    let whole = payload(0, 2 * (S - 4096 - 32) as usize);
    let crc = crc32fast::hash(&whole);
    let end = Lsn::new(4 * S);
    assert_eq!(rig.log.append(&mut rig.appender, 9, &whole, crc), Some(end));
    rig.log.publish(end);
    assert_eq!(rig.scan().unwrap().0, [whole]);
}

#[test]
fn a_log_shorter_than_the_unsynced_limit_never_waits() {
    let options = LogOptions { max_unsynced_bytes: 80_000, ..small() };
    let (disk, knobs) = spied_disk();
    let (log, mut appender) = Log::begin(disk, options, LIFE, 0, &[]).unwrap();
    for n in 0..20 {
        super::append(&log, &mut appender, &payload(n, 2000)).unwrap();
    }
    log.flush().unwrap();
    for n in 20..33 {
        super::append(&log, &mut appender, &payload(n, 2000)).unwrap();
    }
    assert_eq!(appender.position().get() / S, 1);
    assert_eq!(knobs.flushes.load(SeqCst), 1);
}

#[test]
fn memory_is_prefaulted_a_step_ahead_and_once() {
    let mut rig = Rig::new();
    let prefaulted = || std::mem::take(&mut *rig.knobs.prefaulted.lock().unwrap());
    let name = segment_name(2);
    rig.log.preallocate().unwrap();
    assert_eq!(prefaulted(), [(name.clone(), 4096, 8192)]);
    rig.log.preallocate().unwrap();
    assert_eq!(prefaulted(), []);
    append(&rig.log, &mut rig.appender, &payload(0, 1000)).unwrap();
    rig.log.preallocate().unwrap();
    assert_eq!(prefaulted(), [(name.clone(), 4096 + 8192, 1032)]);
    // To the end of the segment, and on into the next one.
    append(&rig.log, &mut rig.appender, &payload(0, 57_000)).unwrap();
    rig.log.preallocate().unwrap();
    let end = rig.appender.position().get() % S;
    let rest = S - end;
    let ranges =
        [(name, end as usize, rest as usize), (segment_name(3), 0, (8192 - rest) as usize)];
    assert_eq!(prefaulted(), ranges);
}

#[test]
fn only_segments_that_are_written_or_flushed_stay_mapped() {
    let mut rig = Rig::new();
    let mapped = |log: &Log| {
        let mapped = log.mapped.lock();
        mapped.iter().map(|segment| segment.number()).collect::<Vec<_>>()
    };
    for n in 0..60 {
        rig.append(&payload(n, 3000));
    }
    rig.log.preallocate().unwrap();
    assert_eq!(mapped(&rig.log), [2, 3, 4, 5]);
    rig.log.flush().unwrap();
    rig.log.preallocate().unwrap();
    assert_eq!(mapped(&rig.log), [4, 5]);
    // The last one stays, even if nothing more fits into it.
    let mut rig = Rig::new();
    rig.append(&payload(0, 10));
    let rest = 3 * S - rig.appender.position().get() - 32;
    let last = payload(1, rest as usize);
    let crc = crc32fast::hash(&last);
    let end = rig.log.append(&mut rig.appender, 9, &last, crc).unwrap();
    rig.log.publish(end);
    rig.log.flush().unwrap();
    rig.log.recycle_below(end).unwrap();
    assert_eq!(mapped(&rig.log), [2]);
}

#[test]
fn stats_count_appends_flushes_and_segments() {
    let mut rig = Rig::new();
    for n in 0..30 {
        rig.append(&payload(n, 3000));
    }
    let durable = rig.log.flush().unwrap();
    rig.append(&payload(0, 3000));
    let stats = rig.log.stats();
    assert_eq!(stats.bytes_appended, rig.appender.position().get() - rig.log.start().get());
    assert_eq!(stats.bytes_flushed, durable.get() - rig.log.start().get());
    assert_eq!((stats.flushes, stats.segments_created, stats.segments_recycled), (1, 2, 0));
}
