//! The payload of a commit's record: its operations, in order.
//!
//! | tag | operation | fields |
//! |---|---|---|
//! | 1 | put | keyspace, key length, value length, key, value |
//! | 2 | delete | keyspace, key length, key |
//! | 3 | create keyspace | keyspace, name length, name |
//! | 4 | drop keyspace | keyspace |
//! | 5 | count of keys | keyspace, count |
//! | 6 | take a dropped keyspace apart, some pages; merge leaves of another | keyspace |
//!
//! The tag is one byte; numbers are LEB128, at most 10 bytes (a keyspace, at most 5).
//!
//! A payload is valid iff it is a sequence of whole operations. For example putting "k" = "v"
//! into keyspace 1 and deleting "x" from keyspace 300:
//!
//! ```text
//!   01 01 01 01 6b 76    02 ac 02 01 78
//! ```

use crate::engine::base::codec::crc32;
use crate::engine::base::error::{Error, Result};
use crate::engine::options::CommitMode;
use crate::engine::space::Claim;

/// The class of a record whose payload is operations.
pub(crate) const CLASS_COMMIT: u8 = 1;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const CREATE: u8 = 3;
const DROP: u8 = 4;
const COUNT: u8 = 5;
const TRIM: u8 = 6;

/// The number of a keyspace. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyspaceId(pub(crate) u32);

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op<'a> {
    Put { keyspace: KeyspaceId, key: &'a [u8], value: &'a [u8] },
    Delete { keyspace: KeyspaceId, key: &'a [u8] },
    Create { keyspace: KeyspaceId, name: &'a str },
    Drop { keyspace: KeyspaceId },
    Count { keyspace: KeyspaceId, count: u64 },
    Trim { keyspace: KeyspaceId },
}

/// More than a record's header and its share of a block's end.
const RECORD_OVERHEAD: usize = 64;

/// Operations on their way into a record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payload {
    pub(crate) bytes: Vec<u8>,
    pub(crate) operations: usize,
    /// Bytes of keys and values.
    pub(crate) user_bytes: u64,
    /// The longest value among them.
    pub(crate) longest_value: usize,
    /// Set with the checksum.
    pub(crate) mode: CommitMode,
    /// CRC-32 of the bytes, computed outside of any lock.
    pub(crate) crc: u32,
    /// Number of puts and created keyspaces.
    pub(crate) additions: usize,
    /// Number of counts that a checkpoint notes in the catalog.
    pub(crate) notes: usize,
    /// The most pages that the notes are in.
    pub(crate) noted_in: usize,
    /// Number of housekeeping steps.
    pub(crate) trims: usize,
    /// Set by [`Engine::estimate_needs`](super::Engine::estimate_needs).
    pub(crate) needs: CommitNeeds,
    /// Whether pages that are not in memory are read with the commit lock held (COMMIT-6).
    pub(crate) reads_under_lock: bool,
}

/// The space that a commit needs before its record is appended, so that it cannot fail afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommitNeeds {
    /// The most pages that it can change.
    pub(crate) pages: u64,
    /// The reserves of space that it may use.
    pub(crate) claim: Claim,
}

impl Payload {
    /// Makes the payload empty, and keeps its memory unless that is large.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(1 << 20);
        (self.operations, self.user_bytes, self.longest_value) = (0, 0, 0);
        (self.additions, self.notes, self.noted_in, self.trims) = (0, 0, 0, 0);
        self.needs = CommitNeeds::default();
        self.reads_under_lock = false;
    }

    /// The most bytes of the log that it takes.
    #[inline]
    pub(super) fn log_bytes(&self) -> usize {
        self.bytes.len() + RECORD_OVERHEAD
    }

    /// Computes the checksum. No operation may be added afterwards.
    pub(crate) fn seal(&mut self, mode: CommitMode) {
        self.crc = crc32(&[&self.bytes]);
        self.mode = mode;
    }

    /// Appends an operation.
    pub(crate) fn push(&mut self, op: Op<'_>) {
        self.additions += usize::from(matches!(op, Op::Put { .. } | Op::Create { .. }));
        self.notes += usize::from(matches!(op, Op::Count { .. }));
        self.trims += usize::from(matches!(op, Op::Trim { .. }));
        let out = &mut self.bytes;
        match op {
            Op::Put { keyspace, key, value } => {
                out.reserve(1 + 5 + 10 + 10 + key.len() + value.len());
                out.push(PUT);
                put_number(out, u64::from(keyspace.0));
                put_number(out, key.len() as u64);
                put_number(out, value.len() as u64);
                out.extend_from_slice(key);
                out.extend_from_slice(value);
                self.user_bytes += (key.len() + value.len()) as u64;
                self.longest_value = self.longest_value.max(value.len());
            }
            Op::Delete { keyspace, key } => {
                out.push(DELETE);
                put_number(out, u64::from(keyspace.0));
                put_number(out, key.len() as u64);
                out.extend_from_slice(key);
                self.user_bytes += key.len() as u64;
            }
            Op::Create { keyspace, name } => {
                out.push(CREATE);
                put_number(out, u64::from(keyspace.0));
                put_number(out, name.len() as u64);
                out.extend_from_slice(name.as_bytes());
            }
            Op::Drop { keyspace } => {
                out.push(DROP);
                put_number(out, u64::from(keyspace.0));
            }
            Op::Count { keyspace, count } => {
                out.push(COUNT);
                put_number(out, u64::from(keyspace.0));
                put_number(out, count);
            }
            Op::Trim { keyspace } => {
                out.push(TRIM);
                put_number(out, u64::from(keyspace.0));
            }
        }
        self.operations += 1;
    }
}

/// The operations of a payload, in order. The first invalid one is an error and the end.
#[derive(Clone, Debug)]
pub(crate) struct Operations<'a> {
    rest: &'a [u8],
    bytes: usize,
}

/// Whether the first operation of `payload` notes a count.
pub(crate) fn begins_with_a_count(payload: &[u8]) -> bool {
    payload.first() == Some(&COUNT)
}

impl<'a> Operations<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        Operations { rest: payload, bytes: payload.len() }
    }

    /// How many bytes have been read.
    pub(super) fn consumed(&self) -> usize {
        self.bytes - self.rest.len()
    }

    fn read(&mut self) -> Option<Op<'a>> {
        let tag = self.bytes(1)?[0];
        let keyspace = KeyspaceId(u32::try_from(self.number()?).ok()?);
        Some(match tag {
            PUT => {
                let (key, value) = (self.length()?, self.length()?);
                Op::Put { keyspace, key: self.bytes(key)?, value: self.bytes(value)? }
            }
            DELETE => {
                let key = self.length()?;
                Op::Delete { keyspace, key: self.bytes(key)? }
            }
            CREATE => {
                let name = self.length()?;
                Op::Create { keyspace, name: std::str::from_utf8(self.bytes(name)?).ok()? }
            }
            DROP => Op::Drop { keyspace },
            COUNT => Op::Count { keyspace, count: self.number()? },
            TRIM => Op::Trim { keyspace },
            _ => return None,
        })
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(bytes)
    }

    #[inline]
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.bytes(1)?[0];
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                return None;
            }
            number |= low << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

impl<'a> Iterator for Operations<'a> {
    type Item = Result<Op<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let at = self.consumed();
        Some(self.read().ok_or_else(|| {
            self.rest = &[];
            Error::Corrupt {
                file: "a log record's payload".into(),
                offset: at as u64,
                expected: "an operation".into(),
                found: "an unknown tag, a number that is too large, or a cut-off field".into(),
            }
        }))
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Payload {
        let mut payload = Payload::default();
        payload.push(Op::Put { keyspace: KeyspaceId(1), key: b"k", value: b"v" });
        payload.push(Op::Delete { keyspace: KeyspaceId(300), key: b"x" });
        payload
    }

    #[test]
    fn the_example_in_the_header_holds() {
        let payload = sample();
        let expected = [1, 1, 1, 1, 0x6b, 0x76, 2, 0xac, 2, 1, 0x78];
        assert_eq!(payload.bytes, expected);
        assert_eq!((payload.operations, payload.user_bytes, payload.longest_value), (2, 3, 1));
    }

    #[test]
    fn every_operation_comes_back() {
        let ops = [
            Op::Put { keyspace: KeyspaceId(7), key: b"", value: &[9; 1000] },
            Op::Create { keyspace: KeyspaceId(u32::MAX), name: "näme" },
            Op::Drop { keyspace: KeyspaceId(0) },
            Op::Count { keyspace: KeyspaceId(1), count: u64::MAX },
            Op::Trim { keyspace: KeyspaceId(2) },
            Op::Delete { keyspace: KeyspaceId(3), key: b"gone" },
        ];
        let mut payload = Payload::default();
        ops.iter().for_each(|op| payload.push(*op));
        let back: Vec<_> = Operations::new(&payload.bytes).map(Result::unwrap).collect();
        assert_eq!(back, ops);
    }

    #[test]
    fn a_cut_payload_ends_with_an_error() {
        let payload = sample();
        for cut in (1..payload.bytes.len()).filter(|cut| *cut != 6) {
            let read: Vec<_> = Operations::new(&payload.bytes[..cut]).collect();
            assert!(read.last().unwrap().is_err(), "cut at {cut}");
        }
        assert!(Operations::new(&[9, 1]).next().unwrap().is_err(), "an unknown tag");
    }

    #[test]
    fn an_error_says_where_the_bad_operation_begins() {
        let mut payload = sample();
        payload.bytes.extend([9, 9, 9]);
        let read: Vec<_> = Operations::new(&payload.bytes).collect();
        match &read[..] {
            [Ok(_), Ok(_), Err(Error::Corrupt { offset: 11, .. })] => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_have_at_most_ten_bytes_and_sixty_four_bits() {
        for shift in 0..64 {
            for number in [1 << shift, u64::MAX >> shift] {
                let op = Op::Count { keyspace: KeyspaceId(1), count: number };
                let mut payload = Payload::default();
                payload.push(op);
                let mut back = Operations::new(&payload.bytes);
                assert_eq!(back.next().unwrap().unwrap(), op);
                assert!(back.next().is_none());
            }
        }
        let with_count = |count: &[u8]| {
            let bytes = [&[COUNT, 1], count].concat();
            Operations::new(&bytes).next().unwrap().is_ok()
        };
        assert!(with_count(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]));
        for last in [2, 3, 0x7f, 0x80, 0x81] {
            let count = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, last, 0];
            assert!(!with_count(&count), "{last}");
        }
        // A keyspace has no more than 32 bits.
        assert!(Operations::new(&[DROP, 0xff, 0xff, 0xff, 0xff, 0x0f]).next().unwrap().is_ok());
        assert!(Operations::new(&[DROP, 0xff, 0xff, 0xff, 0xff, 0x1f]).next().unwrap().is_err());
    }

    #[test]
    fn a_cleared_payload_keeps_its_memory_unless_that_is_large() {
        let mut payload = Payload::default();
        payload.push(Op::Put { keyspace: KeyspaceId(1), key: &[1; 1000], value: &[2; 3000] });
        assert_eq!((payload.user_bytes, payload.longest_value), (4000, 3000));
        assert!(payload.bytes.capacity() < 8000, "not much more than it needs");
        payload.push(Op::Put { keyspace: KeyspaceId(1), key: &[1; 1000], value: b"" });
        assert_eq!((payload.user_bytes, payload.longest_value), (5000, 3000));
        payload.seal(CommitMode::Async);
        assert_eq!(payload.crc, crc32(&[&payload.bytes]));
        assert_eq!(payload.mode, CommitMode::Async);

        payload.clear();
        assert!(payload.bytes.is_empty() && payload.bytes.capacity() >= 4000);
        assert_eq!((payload.operations, payload.user_bytes, payload.longest_value), (0, 0, 0));
        payload.push(Op::Put { keyspace: KeyspaceId(1), key: b"k", value: &vec![3; 3 << 20] });
        payload.clear();
        let kept = payload.bytes.capacity();
        assert!((1 << 20..2 << 20).contains(&kept), "{kept} bytes are kept");
    }
}
