//! The layout in hex, its edges, and refused bytes.

use super::*;

const STORE: StoreId = StoreId([0xab; 16]);
const LIFE: Life = Life {
    store: STORE,
    incarnation: Incarnation::new(3),
    mark: LifeMark(0x0123_4567_89ab_cdef),
    secret: Secret(*b"never to be told"),
};
/// One that began under format version 1.
const OLD_LIFE: Life = Life { mark: LifeMark::NONE, secret: Secret::NONE, ..LIFE };

fn hex(bytes: &[u8]) -> String {
    bytes
        .chunks(8)
        .map(|part| part.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        .collect::<Vec<_>>()
        .join(" ")
}

fn record(payload: &[u8], at: Lsn, salt: Salt) -> Vec<u8> {
    let header = RecordHeader {
        payload_crc: crc32fast::hash(payload),
        len: payload.len() as u32,
        kind: Kind::Full,
        class: 7,
        lsn: at,
        sync_line: Lsn::new(0x1000),
    };
    let mut bytes = header.encode(salt).to_vec();
    bytes.extend_from_slice(payload);
    bytes.resize(header.record_bytes() as usize, 0);
    bytes
}

#[test]
fn golden_segment_header() {
    let header = SegmentHeader {
        life: LIFE,
        number: 5,
        segment_bytes: 64 << 20,
        sync_line: Lsn::new(0x1000_2000),
        made_bytes: 256 << 10,
    };
    let page = header.encode();
    assert_eq!(
        hex(&page[..96]),
        "53594e434c4f4700 0200000097361e28 abababababababab abababababababab \
         0300000000000000 0500000000000000 0000000400000000 0020001000000000 \
         efcdab8967452301 6e6576657220746f 20626520746f6c64 0000040000000000"
    );
    assert!(page[96..].iter().all(|&byte| byte == 0));
    assert_eq!(SegmentHeader::decode(&page), Ok(header));
}

/// As version 1 wrote it.
#[test]
fn golden_segment_header_of_version_1() {
    let header = SegmentHeader {
        life: OLD_LIFE,
        number: 5,
        segment_bytes: 64 << 20,
        sync_line: Lsn::new(0x1000_2000),
        made_bytes: 0,
    };
    let page = header.encode();
    assert_eq!(
        hex(&page[..64]),
        "53594e434c4f4700 0100000094e4441f abababababababab abababababababab \
         0300000000000000 0500000000000000 0000000400000000 0020001000000000"
    );
    assert!(page[64..].iter().all(|&byte| byte == 0));
    assert_eq!(SegmentHeader::decode(&page), Ok(header));
}

#[test]
fn golden_record_of_version_1() {
    let salt = Salt::of(&OLD_LIFE);
    let bytes = record(b"hello", Lsn::new(0x1040), salt);
    assert_eq!(
        hex(&bytes),
        "3211798486a61036 0500000001070000 4010000000000000 0010000000000000 68656c6c6f000000"
    );
    assert!(decode_record(&bytes, Lsn::new(0x1040), salt).is_ok());
}

#[test]
fn golden_record() {
    let salt = Salt::of(&LIFE);
    let bytes = record(b"hello", Lsn::new(0x1040), salt);
    assert_eq!(
        hex(&bytes),
        "ed6686b686a61036 0500000001070000 2e7576657220746f 0010000000000000 68656c6c6f000000"
    );
    let decoded = decode_record(&bytes, Lsn::new(0x1040), salt).unwrap();
    assert_eq!((decoded.payload, decoded.header.class), (&b"hello"[..], 7));
}

#[test]
fn every_flipped_bit_of_a_record_is_noticed() {
    let salt = Salt::of(&LIFE);
    let at = Lsn::new(0x1040);
    let bytes = record(b"some payload!", at, salt);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode_record(&damaged, at, salt).is_err(), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert!(decode_record(&bytes[..len], at, salt).is_err(), "cut to {len} bytes");
    }
}

#[test]
fn records_of_another_place_incarnation_or_store_are_invalid() {
    let salt = Salt::of(&LIFE);
    let at = Lsn::new(0x1040);
    let bytes = record(b"payload", at, salt);
    assert!(decode_record(&bytes, Lsn::new(0x2040), salt).is_err());
    let incarnation = Incarnation::new(4);
    assert!(
        decode_record(&bytes, at, Salt::of(&Life { secret: Secret([1; 16]), ..LIFE })).is_err()
    );
    let old = Salt::of(&OLD_LIFE);
    assert!(decode_record(&bytes, at, old).is_err());
    let bytes = record(b"payload", at, old);
    assert!(decode_record(&bytes, at, old).is_ok());
    assert!(decode_record(&bytes, at, Salt::of(&Life { incarnation, ..OLD_LIFE })).is_err());
    let store = StoreId([0xac; 16]);
    assert!(decode_record(&bytes, at, Salt::of(&Life { store, ..OLD_LIFE })).is_err());
}

#[test]
fn every_flipped_bit_of_a_segment_header_is_noticed() {
    let page = SegmentHeader {
        life: LIFE,
        number: 5,
        segment_bytes: 64 << 20,
        sync_line: Lsn::new(0),
        made_bytes: 0,
    }
    .encode();
    for bit in (0..96 * 8).chain([4095 * 8]) {
        let mut damaged = page.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(SegmentHeader::decode(&damaged), Err(BadSegmentHeader::Invalid));
    }
    assert_eq!(SegmentHeader::decode(&page[..4095]), Err(BadSegmentHeader::Invalid));
}

#[test]
fn end_of_append_stays_within_the_bound() {
    let geometry = Geometry::new(64 << 10);
    for at in (4096..3 * 65536u64).step_by(8) {
        let end = Lsn::new(at);
        for payload in [0, 1, 31, 32, 33, 5000, 61_000, 61_408, 61_409, 200_000] {
            let reached = geometry.end_of_append(end, payload);
            assert!(reached.get() - at <= geometry.demand(payload), "{at} {payload}");
            assert!(reached.get().is_multiple_of(8));
        }
    }
    assert_eq!(geometry.record_after(Lsn::new(65536)), Lsn::new(65536 + 4096));
    assert_eq!(geometry.record_after(Lsn::new(65536 - 56)), Lsn::new(65536 + 4096));
    assert_eq!(geometry.record_after(Lsn::new(65536 - 64)), Lsn::new(65536 - 64));
}

/// In segments of 64 KiB, positions 131072 to 196607 are segment 2.
#[test]
fn positions_map_to_segments() {
    let geometry = Geometry::new(64 << 10);
    assert_eq!(geometry.segment_bytes(), 65_536);
    for (lsn, number, offset) in
        [(0, 0, 0), (65_535, 0, 65_535), (131_072, 2, 0), (135_170, 2, 4098)]
    {
        assert_eq!(geometry.segment_of(Lsn::new(lsn)), number);
        assert_eq!(geometry.offset_of(Lsn::new(lsn)), offset);
    }
    assert_eq!(geometry.segment_start(2), Lsn::new(131_072));
    assert_eq!(geometry.segment_end(2), Lsn::new(196_608));
    assert_eq!(geometry.record_after(Lsn::new(131_072)), Lsn::new(135_168));
    assert_eq!(geometry.record_after(Lsn::new(135_168)), Lsn::new(135_168));
    assert_eq!(geometry.record_after(Lsn::new(135_200)), Lsn::new(135_200));
}

#[test]
fn segments_beyond_the_last_lsn_are_refused() {
    let geometry = Geometry::new(64 << 10);
    // 2^48 segments of 2^16 bytes; the end of the last but one is the last that is needed.
    assert!(geometry.can_hold(0) && geometry.can_hold((1 << 48) - 3));
    assert!(!geometry.can_hold((1 << 48) - 2) && !geometry.can_hold(u64::MAX));
}

#[test]
fn segment_sizes_have_limits() {
    for good in [16 << 10, 20 << 10, 64 << 20, 1 << 31] {
        assert_eq!(Geometry::new(good).segment_bytes(), good);
    }
    for bad in [0, 4096, 12 << 10, 17 << 10, (1 << 31) + 4096] {
        assert!(std::panic::catch_unwind(|| Geometry::new(bad)).is_err(), "{bad}");
    }
}

#[test]
fn a_transaction_takes_the_computed_space() {
    let geometry = Geometry::new(64 << 10);
    let start = Lsn::new(131_072);
    for (payload, end) in [
        (0, 135_200),
        (1, 135_208),
        // Exactly the rest of segment 2, then one byte into segment 3, then into segment 4.
        (61_408, 196_608),
        (61_409, 200_744),
        (150_000, 293_456),
    ] {
        assert_eq!(geometry.end_of_append(start, payload), Lsn::new(end), "{payload} bytes");
    }
    assert_eq!(geometry.demand(0), 8400);
    assert_eq!(geometry.demand(61_407), 61_407 + 8400);
    assert_eq!(geometry.demand(61_408), 61_408 + 12_600);
    assert_eq!(geometry.demand(200_000), 200_000 + 21_000);
}

#[test]
fn every_kind_comes_back_and_has_a_name() {
    let salt = Salt::of(&LIFE);
    for (kind, name) in [
        (Kind::Full, "full"),
        (Kind::First, "first"),
        (Kind::Middle, "middle"),
        (Kind::Last, "last"),
    ] {
        let lsn = Lsn::new(0x1040);
        // A header without payload, and the highest possible sync line.
        let header = RecordHeader { payload_crc: 0, len: 0, kind, class: 7, lsn, sync_line: lsn };
        let bytes = header.encode(salt);
        assert_eq!(decode_record(&bytes, lsn, salt).unwrap().header, header);
        assert_eq!((header.record_bytes(), header.end()), (32, Lsn::new(0x1060)));
        assert_eq!(kind.name(), name);
    }
}

/// Each rule of the "valid iff" list that the checksums do not cover.
#[test]
fn impossible_fields_are_refused_under_right_checksums() {
    let salt = Salt::of(&LIFE);
    let at = Lsn::new(0x1040);
    type Break = fn(&mut [u8]);
    let cases: [(Break, &str); 5] = [
        (|b| b[12] = 0, "a record header with an unknown kind"),
        (|b| b[12] = 5, "a record header with an unknown kind"),
        (|b| b[15] = 1, "a record header with bytes that should be zero"),
        (|b| put_u64(b, 24, 0x1041), "a record header with a sync line above its own position"),
        (|b| put_u32(b, 8, 9), "a record header with a length beyond its segment"),
    ];
    for (break_it, reason) in cases {
        let mut bytes = record(b"payload!", at, salt);
        break_it(&mut bytes);
        let crc = salt.header_crc(&bytes);
        put_u32(&mut bytes, 0, crc);
        assert_eq!(decode_record(&bytes, at, salt).unwrap_err().to_string(), reason);
    }
}

#[test]
fn each_kind_of_damage_has_its_error() {
    let salt = Salt::of(&LIFE);
    let at = Lsn::new(0x1040);
    let bytes = record(b"hello", at, salt);
    let told = |bytes: &[u8], at| decode_record(bytes, at, salt).unwrap_err();
    let changed = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        bytes
    };
    assert_eq!(told(&bytes[..31], at), Invalid::Short);
    assert_eq!(told(&bytes, Lsn::new(0x2040)), Invalid::Position);
    assert_eq!(told(&changed(13), at), Invalid::HeaderCrc);
    assert_eq!(told(&changed(32), at), Invalid::PayloadCrc);
    assert_eq!(told(&changed(39), at), Invalid::Padding);
    assert_eq!(Invalid::Short.to_string(), "the end of the file");
    assert_eq!(Invalid::Position.to_string(), "no record of this position");
    assert_eq!(Invalid::HeaderCrc.to_string(), "a record header with a wrong checksum");
    assert_eq!(Invalid::PayloadCrc.to_string(), "a record whose payload has a wrong checksum");
    assert_eq!(Invalid::Padding.to_string(), "a record whose padding is not zero");
}

#[test]
fn segment_names() {
    assert_eq!(segment_name(0x2a), "log-000000000000002a");
    assert_eq!(segment_number("log-000000000000002a"), Some(0x2a));
    for name in ["log-2a", "log-000000000000002A", "log-+00000000000002a", "data"] {
        assert_eq!(segment_number(name), None);
    }
}
