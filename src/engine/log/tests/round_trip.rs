//! Appended records come back, over segments, recycling and lives.

use super::super::segment_number;
use super::*;
use crate::engine::log::RecordScan;

#[test]
fn payloads_of_all_sizes_come_back() {
    let mut rig = Rig::new();
    let sizes = [0, 1, 7, 8, 31, 32, 200, 223, 224, 225, 4000, 61_408, 61_409, 5, 200_000, 3];
    let payloads: Vec<_> = sizes.iter().enumerate().map(|(n, len)| payload(n, *len)).collect();
    let mut ends = vec![rig.log.start()];
    for payload in &payloads {
        let end = rig.append(payload);
        assert!(end > *ends.last().unwrap());
        ends.push(end);
    }
    let (read, tail) = rig.scan().unwrap();
    assert!(read == payloads);
    assert_eq!(tail.end, *ends.last().unwrap());
    assert_eq!(tail.cut_bytes, 0);

    // From the end of any transaction, the rest comes back.
    for (n, end) in ends.iter().enumerate() {
        let disk = Arc::clone(&rig.disk);
        let mut scan = Scan::open(disk, LIFE, S, *end, Lsn::ZERO).unwrap();
        for (payload, end) in payloads[n..].iter().zip(&ends[n + 1..]) {
            let entry = scan.next().unwrap().unwrap();
            assert!(entry.payload == payload && entry.end == *end);
        }
        assert!(scan.next().unwrap().is_none());
        assert!(scan.next().unwrap().is_none());
    }
}

#[test]
fn records_fill_a_segment_to_every_rest() {
    // The last record before the boundary leaves 0, 8, 16, ... 120 bytes.
    for rest in (0..128).step_by(8) {
        let mut rig = Rig::new();
        let first = payload(1, (S - 4096 - 32 - rest) as usize);
        let payloads = [first, payload(2, 16), payload(3, 300)];
        payloads.iter().for_each(|payload| {
            rig.append(payload);
        });
        let (read, tail) = rig.scan().unwrap();
        assert!(read == payloads, "rest {rest}");
        assert_eq!((tail.end, tail.cut_bytes), (rig.appender.position(), 0), "rest {rest}");
        rig.log.flush().unwrap();
        assert!(scan(&rig.disk, rig.log.durable()).is_ok());
    }
}

#[test]
fn a_dump_shows_every_record_of_a_chain() {
    use crate::engine::log::format::Kind;
    let mut rig = Rig::new();
    rig.append(&payload(0, 100));
    rig.append(&payload(1, 150_000));
    let disk = Arc::clone(&rig.disk);
    let mut records = RecordScan::open(disk, LIFE, S, Lsn::new(2 * S));
    let mut kinds = Vec::new();
    while let Some(record) = records.next().unwrap() {
        kinds.push(record.header.kind);
    }
    assert_eq!(kinds, [Kind::Full, Kind::First, Kind::Middle, Kind::Last]);
    assert_eq!(records.stop().unwrap().end, rig.appender.position());
}

#[test]
fn recycled_segments_show_nothing_of_what_they_held() {
    let mut rig = Rig::new();
    let mut kept = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for n in 0..390 {
        let payload = payload(n, 3000);
        let end = rig.append(&payload);
        kept.push((end, payload));
        rig.log.preallocate().unwrap();
        if n % 20 == 19 {
            let durable = rig.log.flush().unwrap();
            rig.log.recycle_below(durable).unwrap();
            names.extend(rig.disk.list().unwrap());
        }
    }
    assert!(rig.disk.list().unwrap().len() <= 8);
    assert!(names.len() > 15);
    assert!(rig.log.stats().segments_recycled > 10, "{:?}", rig.log.stats());

    // Exactly the records since the last recycling come back.
    let from = kept[379].0;
    let mut scan = Scan::open(Arc::clone(&rig.disk), LIFE, S, from, rig.log.durable()).unwrap();
    for (end, payload) in &kept[380..] {
        let entry = scan.next().unwrap().unwrap();
        assert!(entry.end == *end && entry.payload == payload);
    }
    assert!(scan.next().unwrap().is_none());
    assert_eq!((scan.tail().end, scan.tail().cut_bytes), (rig.appender.position(), 0));
}

#[test]
fn a_recycled_segment_of_the_same_shape_ends_where_its_new_records_end() {
    let mut rig = Rig::new();
    // Segments full of equal records: stale ones lie at exactly the places of new ones.
    let each = (S - 4096) / 32;
    let payload = payload(1, each as usize - 32);
    for _ in 0..64 {
        rig.append(&payload);
    }
    assert_eq!(rig.appender.position().get(), 4 * S);
    // Segment 4 is prepared already; 5 is made of 2 or 3.
    rig.log.flush().unwrap();
    rig.log.recycle_below(Lsn::new(4 * S)).unwrap();
    for _ in 0..32 {
        rig.append(&payload);
    }
    let durable = rig.log.flush().unwrap();
    assert_eq!(durable.get(), 5 * S);
    for _ in 0..5 {
        rig.append(&payload);
    }
    assert_eq!(rig.log.stats().segments_recycled, 1);
    let from = Lsn::new(5 * S);
    let mut scan = Scan::open(Arc::clone(&rig.disk), LIFE, S, from, durable).unwrap();
    let mut count = 0;
    while scan.next().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 5);
    assert_eq!(scan.tail().end, rig.appender.position());
    assert_eq!(scan.tail().cut_bytes, 0);
}

#[test]
fn a_new_life_does_not_see_the_records_of_the_old_one() {
    let mut rig = Rig::new();
    for n in 0..60 {
        rig.append(&payload(n, 2000));
    }
    rig.log.flush().unwrap();
    let life = NEXT_LIFE;
    // The same segment number in another life.
    let (log, mut appender) = Log::begin(Arc::clone(&rig.disk), small(), life, 2, &[]).unwrap();
    append(&log, &mut appender, &payload(0, 2000)).unwrap();
    let from = Lsn::new(2 * S);
    let mut scan = Scan::open(Arc::clone(&rig.disk), life, S, from, log.durable()).unwrap();
    assert!(scan.next().unwrap().is_some());
    assert!(scan.next().unwrap().is_none());
    assert_eq!(scan.tail().end, appender.position());
    // The old life's log is gone.
    assert!(super::scan(&rig.disk, Lsn::ZERO).unwrap().0.is_empty());
}

#[test]
fn segments_of_an_earlier_life_stay_until_they_are_not_needed() {
    let mut rig = Rig::new();
    for n in 0..60 {
        rig.append(&payload(n, 2000));
    }
    rig.log.flush().unwrap();
    let before = rig.disk.list().unwrap();
    let first = rig.appender.position().get() / S + 1;
    let (log, _) = Log::begin(Arc::clone(&rig.disk), small(), NEXT_LIFE, first, &[]).unwrap();
    log.preallocate().unwrap();
    assert!(before.iter().all(|name| rig.disk.list().unwrap().contains(name)));
    assert_eq!(rig.scan().unwrap().0.len(), 60);
    log.recycle_below(log.start()).unwrap();
    // They are removed, not recycled: a flush of them may have failed.
    let left = rig.disk.list().unwrap();
    let mut older = before.iter().filter(|name| segment_number(name).unwrap() < first);
    assert!(older.all(|name| !left.contains(name)));
}

#[test]
fn files_of_another_life_are_removed_and_not_recycled() {
    let (disk, _) = spied_disk();
    disk.create(&segment_name(0), 3 * 4096).unwrap();
    disk.create(&segment_name(2), S + 4096).unwrap();
    let (log, _) = Log::begin(Arc::clone(&disk), small(), LIFE, 2, &[0, 0xff]).unwrap();
    log.reserve(200_000).unwrap();
    for name in disk.list().unwrap() {
        assert_eq!(disk.open(&name).unwrap().bytes().unwrap(), S, "{name}");
    }
}
