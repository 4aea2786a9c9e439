//! The bytes of every kind, pinned in `tests/golden/proto/packets.txt`. Clients that were written from
//! the specification rely on them: a difference is a new protocol version.

use super::super::*;
use super::{again, hex, only, samples, unhex};

pub(super) const FILE: &str = include_str!("../../../../tests/golden/proto/packets.txt");

/// The packets of the file, by name.
pub(super) fn lines() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let lines = FILE.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| {
        let (name, bytes) = line.split_once(' ').expect("a name, then the bytes");
        (name, unhex(bytes))
    })
}

#[test]
fn bytes_of_every_kind_are_pinned() {
    let samples = samples::packets();
    let made: String =
        samples.iter().map(|(name, bytes)| format!("{name} {}\n", hex(bytes))).collect();
    let pinned: String = FILE
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect();
    for (made, pinned) in made.lines().zip(pinned.lines()) {
        assert_eq!(made, pinned, "the bytes of a packet have changed");
    }
    assert_eq!(made, pinned, "packets were added or removed");
}

#[test]
fn every_kind_has_its_line() {
    for kind in Kind::ALL {
        let is_of_kind = |(_, bytes): (_, Vec<u8>)| bytes[16] == kind.number();
        assert!(lines().any(is_of_kind), "{kind:?}");
        assert_eq!(Kind::from_number(kind.number()), Some(*kind));
        assert_eq!(kind.is_request(), kind.number() < 128);
    }
    for (name, bytes) in lines() {
        let kind = Kind::from_number(bytes[16]).expect("a kind");
        assert_eq!(name.split('.').next(), Some(kind.name()));
    }
}

#[test]
fn pinned_bytes_are_read_and_written_again() {
    for (name, bytes) in lines() {
        assert_eq!(again(&only(&bytes)), bytes, "{name}");
    }
}

#[test]
fn pinned_bytes_decode_to_the_sampled_messages() {
    let pinned = |wanted: &str| lines().find(|(name, _)| *name == wanted).expect("a line").1;
    let bytes = pinned("Put.job_once");
    let packet = only(&bytes);
    let head = Head { id: 6, kind: 17, part: Part::Last, deadline_ms: 1000 };
    assert_eq!(packet.head, head);
    let put =
        Put { keyspace: "users", key: b"ada", value: b"1815", mode: Mode::Job, once: Some(b"r-1") };
    assert_eq!(Request::decode(&packet), Ok(Request::Put(put)));
    let bytes = pinned("Entries");
    let Ok(Response::Entries(entries)) = Response::decode(&only(&bytes)) else { panic!("entries") };
    assert_eq!(entries.at, CommitPosition { incarnation: 3, lsn: 0x10040 });
    assert_eq!(entries.next, Some(&b"alice"[..]));
    let rows: Vec<_> = entries.rows.collect();
    assert_eq!(rows, [(&b"ada"[..], &b"1815"[..]), (&b"alan"[..], &b""[..])]);
    let bytes = pinned("Batch");
    let Ok(Request::Batch(batch)) = Request::decode(&only(&bytes)) else { panic!("a batch") };
    let ops: Vec<Op<'_>> = batch.ops.collect();
    assert_eq!(ops[0], Op::Put { keyspace: "users", key: b"alan", value: b"1912" });
    assert_eq!(ops[1], Op::Delete { keyspace: "people", key: b"ada" });
    assert_eq!((batch.ops.len(), ops.len()), (2, 2));
}

#[test]
fn codes_have_one_number_each() {
    for code in Code::ALL {
        assert_eq!(Code::from_number(code.number()), *code);
    }
    let mut numbers: Vec<u16> = Code::ALL.iter().map(|code| code.number()).collect();
    numbers.dedup();
    assert!(numbers.is_sorted() && numbers.len() == Code::ALL.len());
    assert_eq!(Code::from_number(9999), Code::Other(9999));
    assert!(Code::TooBusy.is_retryable() && !Code::Poisoned.is_retryable());
}
