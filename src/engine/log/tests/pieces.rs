//! Segments longer than a chunk, and evidence that is hard to find.

use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::engine::base::error::Error;
use crate::engine::log::RecordScan;
use crate::engine::log::format::{Kind, RecordHeader, Salt, SegmentHeader};

/// Many times as long as a chunk.
const LONG: u64 = 4 << 20;
const CHUNK: u64 = 256 << 10;

fn long() -> Rig {
    Rig::with(LogOptions { segment_bytes: LONG, ..small() })
}

fn scan_long(rig: &Rig) -> Result<(Vec<Vec<u8>>, Tail)> {
    let disk = Arc::clone(&rig.disk);
    let mut scan = Scan::open(disk, LIFE, LONG, Lsn::new(2 * LONG), Lsn::ZERO)?;
    let mut payloads = Vec::new();
    while let Some(entry) = scan.next()? {
        payloads.push(entry.payload.to_vec());
    }
    Ok((payloads, scan.tail().clone()))
}

fn spoil(rig: &Rig, at: Lsn) {
    let file = rig.disk.open(&segment_name(2)).unwrap();
    file.write_at(at.get() % LONG, &[0xff; 32]).unwrap();
}

#[test]
fn a_long_segment_is_read_in_chunks() {
    let mut rig = long();
    let mut payloads = Vec::new();
    for n in 0..1500 {
        payloads.push(payload(n, 777));
    }
    payloads.push(payload(1, 1_500_000)); // longer than a chunk
    payloads.extend((0..100).map(|n| payload(n, 100)));
    payloads.iter().for_each(|payload| {
        rig.append(payload);
    });
    let before = rig.knobs.reads.load(SeqCst);
    let (read, tail) = scan_long(&rig).unwrap();
    assert!(read == payloads);
    assert_eq!((tail.end, tail.cut_bytes), (rig.appender.position(), 0));
    // Twice: to read the log, and to search the space beyond its end.
    let reads = rig.knobs.reads.load(SeqCst) - before;
    assert!(reads <= 2 * LONG / CHUNK + 6, "{reads} reads");
}

#[test]
fn records_far_beyond_the_end_are_found() {
    // A spoilt record that ends just before, at, or after the end of the first chunk searched, and the
    // header of the next record.
    for ends in (CHUNK - 40..=CHUNK + 16).step_by(8) {
        let mut rig = long();
        let first = rig.append(&payload(0, 100));
        let second = rig.append(&payload(1, (ends - 32) as usize));
        assert_eq!(second.get() - first.get(), ends);
        let third = rig.append(&payload(2, 10));
        spoil(&rig, first);
        let (read, tail) = scan_long(&rig).unwrap();
        assert_eq!((read.len(), tail.end), (1, first));
        assert_eq!(tail.cut_bytes, third.get() - first.get(), "{ends} bytes on");
    }
}

#[test]
fn evidence_may_lie_in_any_later_chunk() {
    let mut rig = long();
    let first = rig.append(&payload(0, 100));
    rig.log.flush().unwrap();
    for n in 0..40 {
        rig.append(&payload(n, 60_000));
    }
    // So far no sync line is above the first record.
    spoil(&rig, first);
    let (_, tail) = scan_long(&rig).unwrap();
    assert_eq!(tail.cut_bytes, rig.appender.position().get() - first.get());
    let durable = rig.log.flush().unwrap();
    spoil(&rig, first);
    rig.append(&payload(1, 10));
    match scan_long(&rig) {
        Err(Error::Corrupt { expected, .. }) => {
            assert!(expected.contains(&format!("LSN {durable}")), "{expected}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn evidence_may_lie_in_any_later_segment() {
    let mut rig = Rig::new();
    let first = rig.append(&payload(0, 100));
    rig.log.flush().unwrap();
    for n in 0..25 {
        rig.append(&payload(n, 2500));
    }
    assert_eq!(rig.appender.position().get() / S, 3);
    let durable = rig.log.flush().unwrap();
    rig.append(&payload(1, 10));
    // The sync lines in the same segment are not above the first record.
    rig.overwrite(first, &[0xff; 32]);
    match rig.scan() {
        Err(Error::Corrupt { file, expected, .. }) => {
            assert!(file.ends_with(&segment_name(2)), "{file}");
            assert!(expected.contains(&format!("LSN {durable}")), "{expected}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn headers_of_other_lives_and_places_are_no_evidence() {
    let mut rig = Rig::new();
    let end = rig.append(&payload(0, S as usize / 2));
    rig.log.preallocate().unwrap(); // prepares segment 3
    let header = SegmentHeader {
        life: LIFE,
        number: 3,
        segment_bytes: S,
        sync_line: Lsn::new(3 * S),
        made_bytes: 0,
    };
    for other in [
        SegmentHeader { life: NEXT_LIFE, ..header },
        SegmentHeader { life: LogLife { mark: NEXT_LIFE.mark, ..LIFE }, ..header },
        SegmentHeader { life: LogLife { secret: NEXT_LIFE.secret, ..LIFE }, ..header },
        SegmentHeader { number: 4, ..header },
    ] {
        rig.overwrite(Lsn::new(3 * S), &other.encode());
        let (read, tail) = rig.scan().unwrap();
        assert_eq!((read.len(), tail.end), (1, end));
    }
    rig.overwrite(Lsn::new(3 * S), &header.encode());
    assert!(matches!(rig.scan(), Err(Error::Corrupt { .. })));
    let other = SegmentHeader { segment_bytes: 2 * S, ..header };
    rig.overwrite(Lsn::new(3 * S), &other.encode());
    assert!(matches!(rig.scan(), Err(Error::Corrupt { offset: 48, .. })));
}

fn header(lsn: Lsn, kind: Kind, class: u8, payload: &[u8]) -> RecordHeader {
    let (payload_crc, len) = (crc32fast::hash(payload), payload.len() as u32);
    RecordHeader { payload_crc, len, kind, class, lsn, sync_line: Lsn::ZERO }
}

/// No writer makes a header that reaches beyond its segment.
#[test]
fn a_header_that_does_not_fit_its_segment_is_no_evidence() {
    for at in [4096 + 168, 5000, S / 2, S - 64] {
        let mut rig = Rig::new();
        let end = rig.append(&payload(0, 100));
        let at = Lsn::new(2 * S + at);
        for (extra, is_evidence) in [(0, true), (1, false), (1000, false)] {
            let rest = (3 * S - at.get() - 32) as u32;
            let claims =
                RecordHeader { sync_line: at, len: rest + extra, ..header(at, Kind::Full, 9, b"") };
            rig.overwrite(at, &claims.encode(Salt::of(&LIFE)));
            assert_eq!(rig.scan().is_err(), is_evidence, "{end} {at} {extra}");
        }
    }
}

#[test]
fn chains_that_no_writer_makes_are_refused() {
    let salt = Salt::of(&LIFE);
    let refused = |kinds: &[(Kind, u8)]| {
        let mut rig = Rig::new();
        for (n, &(kind, class)) in kinds.iter().enumerate() {
            let at = rig.appender.position();
            rig.append(&payload(n, 20));
            let header = header(at, kind, class, &payload(n, 20));
            rig.overwrite(at, &header.encode(salt));
        }
        match rig.scan() {
            Err(Error::Corrupt { offset, expected, found, .. }) => {
                assert_eq!(offset, 4096 + 56 * (kinds.len() as u64 - 1));
                (expected, found)
            }
            other => panic!("{other:?}"),
        }
    };
    let (next, first) = ("the next record of a chain", "the first record of a transaction");
    for (kinds, expected, found) in [
        (&[(Kind::First, 9), (Kind::Last, 8)][..], next, "a record of kind last and class 8"),
        (&[(Kind::First, 9), (Kind::Middle, 8)], next, "a record of kind middle and class 8"),
        (&[(Kind::First, 9), (Kind::Full, 9)], next, "a record of kind full and class 9"),
        (&[(Kind::First, 9), (Kind::First, 9)], next, "a record of kind first and class 9"),
        (&[(Kind::Full, 9), (Kind::Middle, 9)], first, "a record of kind middle and class 9"),
        (&[(Kind::Last, 9)], first, "a record of kind last and class 9"),
    ] {
        assert_eq!(refused(kinds), (expected.to_owned(), found.to_owned()));
    }
}

/// A file may end with any record, even one that is a header only.
#[test]
fn a_cut_file_is_read_to_its_last_byte() {
    let mut rig = Rig::new();
    rig.append(b"");
    let name = segment_name(2);
    let bytes = rig.read(Lsn::new(2 * S), 4096 + 32);
    let stops = |len: usize, records: usize| {
        rig.disk.remove(&name).unwrap();
        let file = rig.disk.create(&name, len as u64).unwrap();
        file.write_at(0, &bytes[..len]).unwrap();
        let disk = Arc::clone(&rig.disk);
        let mut scan = RecordScan::open(disk, LIFE, S, Lsn::new(2 * S));
        for _ in 0..records {
            assert_eq!(scan.next().unwrap().unwrap().payload, b"");
        }
        assert!(scan.next().unwrap().is_none());
        let stop = scan.stop().unwrap();
        (stop.offset, stop.found.clone(), stop.file_is_cut)
    };
    assert_eq!(stops(4096 + 32, 1), (4096 + 32, "the end of the file".to_owned(), true));
    assert_eq!(stops(4096 + 31, 0), (4096, "the end of the file".to_owned(), false));
    assert_eq!(stops(4096, 0), (4096, "the end of the file".to_owned(), false));
    let none = "no segment header of this incarnation".to_owned();
    assert_eq!(stops(4095, 0), (0, none, false));
}

/// Spares of any origin may lie below the start of the scan.
#[test]
fn files_below_the_start_are_ignored() {
    let mut rig = Rig::new();
    let end = rig.append(&payload(0, 100));
    let header = SegmentHeader {
        life: LogLife { store: StoreId([8; 16]), ..LIFE },
        number: 1,
        segment_bytes: S,
        sync_line: Lsn::new(9 * S),
        made_bytes: 0,
    };
    let file = rig.disk.create(&segment_name(1), S).unwrap();
    file.write_at(0, &header.encode()).unwrap();
    let (read, tail) = rig.scan().unwrap();
    assert_eq!((read.len(), tail.end), (1, end));
}
