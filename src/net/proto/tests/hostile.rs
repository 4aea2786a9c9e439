//! Malformed and damaged bytes.

use super::super::packet::{Broken, HEADER};
use super::super::*;
use super::golden::lines;
use super::{only, samples};

#[test]
fn packet_cut_short_needs_more_bytes() {
    for (name, bytes) in lines() {
        for len in 0..bytes.len() {
            let missing = if len < HEADER { HEADER } else { bytes.len() } - len;
            let progress = decode(&bytes[..len], MAX_BODY);
            assert_eq!(progress, Ok(Progress::NeedMore(missing)), "{name}, {len} bytes");
        }
    }
}

/// With any bit flipped, the packet is refused, or more bytes are needed.
#[test]
fn a_flipped_bit_is_never_another_packet() {
    for (name, bytes) in lines() {
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match decode(&flipped, MAX_BODY) {
                Err(_) => {}
                Ok(Progress::NeedMore(_)) => assert!(bit < 32, "{name}, bit {bit}: a length grew"),
                Ok(Progress::Packet(packet)) => panic!("{name}, bit {bit}: {packet:?}"),
            }
        }
    }
}

/// Reserved bits are checked after the checksum, so that damage is reported as damage.
#[test]
fn reserved_bits_are_refused() {
    let (_, ping) = lines().find(|(name, _)| *name == "Ping").expect("a line");
    for (at, mask) in [(17, 0xfeu8), (18, 0xff), (19, 0xff)] {
        for bit in (0..8).filter(|bit| mask & (1 << bit) != 0) {
            let mut bytes = ping.clone();
            bytes[at] |= 1 << bit;
            assert!(matches!(decode(&bytes, MAX_BODY), Err(Broken::Checksum { .. })));
            seal(&mut bytes);
            assert_eq!(decode(&bytes, MAX_BODY), Err(Broken::Reserved), "byte {at}, bit {bit}");
        }
    }
}

fn seal(packet: &mut [u8]) {
    let crc = crate::engine::base::codec::crc32(&[&packet[8..]]);
    crate::engine::base::codec::put_u32(packet, 4, crc);
}

#[test]
fn length_above_the_limit_is_refused_before_the_rest_arrives() {
    let header = [0x01, 0x10, 0, 0, 0, 0];
    assert_eq!(decode(&header[..3], 4096), Ok(Progress::NeedMore(21)));
    let refused = Err(Broken::TooLarge { len: 4097, max: 4096 });
    assert_eq!(decode(&header[..4], 4096), refused);
    assert_eq!(decode(&header, 4096), refused);
    assert_eq!(decode(&header, 4097), Ok(Progress::NeedMore(18)));
    let most = [0xff; HEADER];
    assert_eq!(
        decode(&most, u32::MAX - 1),
        Err(Broken::TooLarge { len: u32::MAX, max: u32::MAX - 1 })
    );
}

#[test]
fn message_too_long_to_send_leaves_the_output_unchanged() {
    let mut out = b"before".to_vec();
    let value = vec![7; 1000];
    let response = Response::Value(Some(&value));
    let refused = response.encode(1, 1000, &mut out);
    assert_eq!(refused, Err(TooLarge { len: 1000, max: 1000 }));
    let refused = response.encode(1, 1003, &mut out);
    assert_eq!(refused, Err(TooLarge { len: 1004, max: 1003 }));
    assert_eq!(out, b"before");
    assert_eq!(response.encode(1, 1004, &mut out), Ok(()));
    assert_eq!(Response::decode(&only(&out[6..])), Ok(response));
}

fn packet_of(kind: u8, body: &[u8]) -> Packet<'_> {
    Packet { head: Head { id: 1, kind, part: Part::Last, deadline_ms: 0 }, body }
}

#[test]
fn unknown_kinds_are_told_apart_from_malformed_bodies() {
    for kind in 0..=255u8 {
        let packet = packet_of(kind, &[]);
        let (request, response) = (Request::decode(&packet), Response::decode(&packet));
        match Kind::from_number(kind) {
            Some(known) if known.is_request() => {
                assert!(!matches!(request, Err(Refused::UnknownKind(_))), "{kind}");
                assert_eq!(response, Err(Refused::UnknownKind(kind)));
            }
            Some(_) => {
                assert_eq!(request, Err(Refused::UnknownKind(kind)));
                assert!(!matches!(response, Err(Refused::UnknownKind(_))), "{kind}");
            }
            None => {
                assert_eq!(request, Err(Refused::UnknownKind(kind)));
                assert_eq!(response, Err(Refused::UnknownKind(kind)));
            }
        }
    }
}

#[test]
fn a_request_in_parts_is_refused() {
    let mut packet = packet_of(Kind::Ping.number(), &[]);
    assert_eq!(Request::decode(&packet), Ok(Request::Ping));
    packet.head.part = Part::More;
    assert!(matches!(Request::decode(&packet), Err(Refused::Malformed(_))));
}

/// A body is read whole (PROTO-3).
#[test]
fn body_with_a_byte_more_or_less_is_malformed() {
    for (name, bytes) in lines() {
        let kind = bytes[16];
        let is_malformed = |body: &[u8]| {
            let packet = packet_of(kind, body);
            match kind < 128 {
                true => matches!(Request::decode(&packet), Err(Refused::Malformed(_))),
                false => matches!(Response::decode(&packet), Err(Refused::Malformed(_))),
            }
        };
        let body = &bytes[HEADER..];
        assert!(!is_malformed(body), "{name}");
        for len in 0..body.len() {
            assert!(is_malformed(&body[..len]), "{name}, {len} bytes of the body");
        }
        assert!(is_malformed(&[body, &[0]].concat()), "{name} and a zero");
    }
}

/// Lists that claim to be endless (PROTO-4), in each place where there is a list.
#[test]
fn list_that_claims_more_than_the_body_holds_is_malformed() {
    let endless = [253, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let hello = [&b"syncline"[..], &[1, 1, 0, 0, 0]].concat();
    let marks = [3, 0, 0, 0, 0];
    let lists: [(Kind, &[u8]); 9] = [
        (Kind::Hello, &hello),
        (Kind::Batch, &[0, 0]),
        (Kind::JobWatch, &[]),
        (Kind::Get, &[]),
        (Kind::Entries, &[3, 0]),
        (Kind::Names, &[]),
        (Kind::Figures, &marks),
        (Kind::Error, &[1, 0]),
        (Kind::Verified, &[]),
    ];
    for (kind, before) in lists {
        for rest in [&[][..], &[0; 40]] {
            let body = [before, &endless, rest].concat();
            let packet = packet_of(kind.number(), &body);
            let refused = match kind.is_request() {
                true => Request::decode(&packet).map(|_| ()),
                false => Response::decode(&packet).map(|_| ()),
            };
            assert!(matches!(refused, Err(Refused::Malformed(_))), "{kind:?}: {refused:?}");
        }
    }
}

#[test]
fn texts_are_utf8_and_tags_are_known() {
    let malformed = |kind: Kind, body: &[u8]| {
        let refused = Request::decode(&packet_of(kind.number(), body));
        assert!(matches!(refused, Err(Refused::Malformed(_))), "{body:?}: {refused:?}");
    };
    malformed(Kind::DropKeyspace, &[1, 0xff]);
    malformed(Kind::Checkpoint, &[2]);
    // A put in mode 3, and a put whose option begins with 2.
    malformed(Kind::Put, &[1, b'k', 0, 0, 3, 0]);
    malformed(Kind::Put, &[1, b'k', 0, 0, 0, 2]);
    // A boolean of 2.
    let written = packet_of(Kind::Written.number(), &[3, 9, 2, 0]);
    assert!(matches!(Response::decode(&written), Err(Refused::Malformed(_))));
}

#[test]
fn limits_beyond_the_types_are_checked() {
    let with_once = |once| {
        let mut out = Vec::new();
        let put = Put { keyspace: "k", key: b"", value: b"", mode: Mode::Sync, once };
        Request::Put(put).encode(1, 0, MAX_BODY, &mut out).expect("it fits");
        Request::decode(&only(&out)).map(|_| ())
    };
    assert_eq!(with_once(Some(&[1; 64])), Ok(()));
    assert_eq!(with_once(Some(&[1])), Ok(()));
    assert!(with_once(Some(&[])).is_err() && with_once(Some(&[1; 65])).is_err());
    let watch = |count| {
        let (jobs, mut out) = (vec![samples::WRITE; count], Vec::new());
        let watch = Request::JobWatch(JobWatch { jobs, credit: 1 });
        watch.encode(1, 0, MAX_BODY, &mut out).expect("it fits");
        Request::decode(&only(&out)).map(|_| ())
    };
    assert_eq!((watch(1), watch(1024)), (Ok(()), Ok(())));
    assert!(watch(0).is_err() && watch(1025).is_err());
}

/// Why a request with this body is malformed.
fn reason(kind: Kind, body: &[u8]) -> String {
    let head = Head { id: 1, kind: kind.number(), part: Part::Last, deadline_ms: 0 };
    match Request::decode(&Packet { head, body }) {
        Err(Refused::Malformed(malformed)) => malformed.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn malformed_body_is_explained_in_plain_words() {
    for (kind, body, expected) in [
        (Kind::Get, &b"\x01a"[..], "the body ends too early"),
        (Kind::Get, b"\x01a\x01b!!", "2 bytes too many"),
        (Kind::Get, b"\x01\xff\x01b", "a text is not UTF-8"),
        (Kind::Get, b"\xfe\x01\x01b", "254 and 255 begin no number"),
        (Kind::JobWait, b"\x01a\xfd\0\0\0\0\0\0\0\0", "a number is too long for its field"),
        (Kind::Delete, b"\x01a\x01b\x03\0", "a choice names a case that it does not have"),
        (Kind::Delete, b"\x01a\x01b\x00\x02", "an option begins with 0 or 1, not with 2"),
        (Kind::Ping, b"x", "1 bytes too many"),
        (Kind::JobWatch, b"\x00\x05", "a watch without jobs"),
    ] {
        assert_eq!(reason(kind, body), expected, "{} {body:?}", kind.name());
    }
    let written = [3, 0, 2, 0];
    let head = Head { id: 1, kind: Kind::Written.number(), part: Part::Last, deadline_ms: 0 };
    let refused = Response::decode(&Packet { head, body: &written }).unwrap_err();
    let Refused::Malformed(malformed) = refused else { panic!() };
    assert_eq!(malformed.to_string(), "a bool is 0 or 1, not 2");
}

#[test]
fn texts_of_a_failure_are_cut_at_their_limits() {
    let long = "\u{e9}".repeat(3000);
    let failure = Failure::new(Code::InvalidName, long.clone())
        .with("token", long.clone())
        .with("reason", long.clone())
        .with("job", long.clone());
    assert_eq!(failure.message.len(), 2047, "no character is cut in two");
    assert!(failure.message.ends_with("\u{e9}...") && failure.job().unwrap().len() == 511);
    let mut out = Vec::new();
    Response::Error(failure).encode(1, MAX_HELLO, &mut out).unwrap();
    let whole = "x".repeat(512);
    assert_eq!(
        Failure::new(Code::Io, "").with("file", whole.clone()).detail("file"),
        Some(&*whole)
    );
}
