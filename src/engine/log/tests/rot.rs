//! Torn tails are cut, damage is refused.

use super::*;
use crate::engine::base::error::Error;
use crate::engine::disk::DiskFile;

/// Three records, the first `durable` of them durable before the next was written.
fn three(durable: usize) -> (Rig, Vec<Lsn>) {
    let mut rig = Rig::new();
    let mut ends = Vec::new();
    for n in 0..3 {
        ends.push(rig.append(&payload(n, 50)));
        if n + 1 == durable {
            rig.log.flush().unwrap();
        }
    }
    (rig, ends)
}

#[test]
fn a_record_torn_at_any_byte_is_cut() {
    let (rig, ends) = three(2);
    let record = rig.read(ends[1], (ends[2].get() - ends[1].get()) as usize);
    for kept in 0..record.len() {
        let mut torn = record.clone();
        torn[kept..].fill(0);
        if torn == record {
            continue; // only padding was lost
        }
        rig.overwrite(ends[1], &torn);
        let (read, tail) = scan(&rig.disk, ends[1]).unwrap();
        assert_eq!((read.len(), tail.end), (2, ends[1]), "{kept} bytes kept");
        // An intact header shows how much was cut.
        let cut = if kept >= 32 { record.len() as u64 } else { tail.cut_bytes };
        assert_eq!(tail.cut_bytes, cut);
        assert_eq!(tail.offset, ends[1].get() % S);
    }
}

#[test]
fn every_flipped_byte_below_the_sync_line_is_refused() {
    let (rig, ends) = three(2);
    // The third record says that the first two were durable.
    for at in rig.log.start().get()..ends[1].get() {
        let at = Lsn::new(at);
        let byte = rig.read(at, 1)[0];
        rig.overwrite(at, &[byte ^ 0x10]);
        match rig.scan() {
            Err(Error::Corrupt { file, offset, expected, .. }) => {
                assert!(file.ends_with(&segment_name(2)), "{file}");
                let record = if at < ends[0] { rig.log.start() } else { ends[0] };
                assert_eq!(offset, record.get() % S);
                assert!(expected.contains(&format!("LSN {}", ends[1])), "{expected}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
        rig.overwrite(at, &[byte]);
    }
    assert_eq!(rig.scan().unwrap().0.len(), 3);
}

#[test]
fn every_flipped_byte_above_the_sync_line_is_cut() {
    let (rig, ends) = three(1);
    for at in ends[0].get()..ends[1].get() {
        let at = Lsn::new(at);
        let byte = rig.read(at, 1)[0];
        rig.overwrite(at, &[byte ^ 0x10]);
        let (read, tail) = scan(&rig.disk, ends[0]).unwrap();
        assert_eq!((read.len(), tail.end), (1, ends[0]));
        // The record after it shows how much was written.
        assert_eq!(tail.cut_bytes, ends[2].get() - ends[0].get());
        // A caller that knows a higher sync line gets the error.
        assert!(matches!(scan(&rig.disk, ends[1]), Err(Error::Corrupt { .. })));
        rig.overwrite(at, &[byte]);
    }
}

#[test]
fn a_chain_without_its_end_is_cut_whole() {
    let mut rig = Rig::new();
    let whole = rig.append(&payload(0, 100));
    let end = rig.append(&payload(1, 150_000));
    rig.overwrite(Lsn::new(end.get() - 8), &[0xff; 8]);
    let (read, tail) = rig.scan().unwrap();
    assert_eq!((read.len(), tail.end), (1, whole));
    assert_eq!(tail.cut_bytes, end.get() - whole.get());
    // The same if the segment with its end was never made.
    rig.disk.remove(&segment_name(end.get() / S)).unwrap();
    let (read, tail) = rig.scan().unwrap();
    assert_eq!((read.len(), tail.end), (1, whole));
}

/// A log over five segments, whose last record was written when all before it was durable.
fn five_segments() -> Rig {
    let mut rig = Rig::new();
    for n in 0..100 {
        rig.append(&payload(n, 2500));
    }
    rig.log.flush().unwrap();
    rig.append(&payload(100, 10));
    assert_eq!(rig.appender.position().get() / S, 6);
    rig
}

#[test]
fn a_missing_segment_is_named() {
    for number in 2..6 {
        let rig = five_segments();
        rig.disk.remove(&segment_name(number)).unwrap();
        match rig.scan() {
            Err(Error::Missing { file, .. }) => {
                assert!(file.ends_with(&segment_name(number)), "{file}");
            }
            other => panic!("{other:?}"),
        }
    }
    // Only the caller's sync line proves the last segment.
    let rig = five_segments();
    rig.disk.remove(&segment_name(6)).unwrap();
    assert!(rig.scan().is_ok());
    assert!(matches!(scan(&rig.disk, rig.log.durable()), Err(Error::Missing { .. })));
}

#[test]
fn a_damaged_segment_header_is_refused_if_its_records_were_durable() {
    for number in 2..=6 {
        let rig = five_segments();
        rig.overwrite(Lsn::new(number * S + 20), &[0xee]);
        match rig.scan() {
            Err(Error::Corrupt { file, offset: 0, .. }) => {
                assert!(file.ends_with(&segment_name(number)), "{file}");
            }
            other => panic!("segment {number}: {other:?}"),
        }
    }
}

#[test]
fn the_header_of_a_later_segment_is_evidence() {
    let mut rig = Rig::new();
    let first = rig.append(&payload(0, 100));
    rig.log.flush().unwrap();
    rig.append(&payload(1, S as usize / 2));
    rig.log.preallocate().unwrap(); // prepares segment 3, which holds no record yet
    assert!(rig.disk.list().unwrap().contains(&segment_name(3)));
    rig.overwrite(rig.log.start(), &vec![0; 4096]);
    match rig.scan() {
        Err(Error::Corrupt { expected, .. }) => {
            assert!(expected.contains(&format!("LSN {first}")), "{expected}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_of_another_store_or_version_are_refused() {
    use crate::engine::log::format::SegmentHeader;
    let rig = five_segments();
    let header = SegmentHeader {
        life: LogLife { store: StoreId([8; 16]), ..LIFE },
        number: 3,
        segment_bytes: S,
        sync_line: Lsn::ZERO,
        made_bytes: 0,
    };
    rig.overwrite(Lsn::new(3 * S), &header.encode());
    assert!(matches!(rig.scan(), Err(Error::WrongStore { .. })));

    let mut page = SegmentHeader { life: LIFE, ..header }.encode();
    page[8] = 3;
    let crc = crate::engine::base::codec::crc32(&[&page[..12], &page[16..]]);
    crate::engine::base::codec::put_u32(&mut page, 12, crc);
    rig.overwrite(Lsn::new(3 * S), &page);
    assert!(matches!(rig.scan(), Err(Error::Version { found: 3, .. })));
}

#[test]
fn a_cut_file_that_holds_records_is_refused() {
    let mut rig = Rig::new();
    let end = rig.append(&payload(0, 100));
    rig.append(&payload(1, 100));
    let name = segment_name(2);
    let bytes = rig.read(Lsn::new(2 * S), (end.get() % S) as usize + 20);
    rig.disk.remove(&name).unwrap();
    let file: Arc<dyn DiskFile> = rig.disk.create(&name, bytes.len() as u64).unwrap();
    file.write_at(0, &bytes).unwrap();
    assert!(matches!(rig.scan(), Err(Error::Corrupt { .. })));
    // Without records it was only half made.
    for len in [0, 100, 4096, 4100] {
        rig.disk.remove(&name).unwrap();
        let file = rig.disk.create(&name, len).unwrap();
        file.write_at(0, &bytes[..len.min(4096) as usize]).unwrap();
        let (read, tail) = rig.scan().unwrap();
        assert_eq!((read.len(), tail.end), (0, rig.log.start()), "{len} bytes");
    }
}

#[test]
fn random_bytes_never_panic() {
    let rig = five_segments();
    let original = rig.read(Lsn::new(3 * S), S as usize);
    let mut state = 0x1234_5678_9abc_def1u64;
    for round in 0..300 {
        let mut bytes = original.clone();
        for _ in 0..=round % 5 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = (state >> 33) as usize % bytes.len();
            bytes[at] ^= (state >> 20) as u8 | 1;
        }
        rig.overwrite(Lsn::new(3 * S), &bytes);
        // A few bytes after the last record of the segment are never read.
        if let Ok((read, tail)) = rig.scan() {
            assert_eq!((read.len(), tail.cut_bytes), (101, 0), "seed round {round}");
        }
    }
}
