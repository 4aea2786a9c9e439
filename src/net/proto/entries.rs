//! Entries of a range: written one by one into the packet, and iterated without a copy.
//!
//! | order | field |
//! |---|---|
//! | 1 | their snapshot: [`CommitPosition`] |
//! | 2 | the number of entries, as the byte 252 and a `u32` |
//! | 3 | key and value of each |
//! | 4 | where to go on: an optional key |
//!
//! The number is a varint in its five-byte form, which every reader of varints understands. So it can
//! be filled in after the entries are written, however many there are.

use serde::{Deserialize, Serialize};

use super::body::{self, Malformed};
use super::job::CommitPosition;
use super::kind::Kind;
use super::packet::{Head, Part};
use super::writer::{Begun, TooLarge};
use crate::engine::base::codec::put_u32;

/// Entries of one snapshot, in the order of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries<'a> {
    /// The snapshot.
    pub at: CommitPosition,
    /// Keys and values.
    pub rows: Rows<'a>,
    /// In a page: the first key of the next page. Use it as the lower bound of the next request,
    /// included (the upper bound, if descending).
    pub next: Option<&'a [u8]>,
}

/// Keys and values, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows<'a> {
    count: u64,
    bytes: &'a [u8],
}

/// The part of the body after the entries.
#[derive(Serialize, Deserialize)]
struct Tail<'a>(#[serde(with = "serde_bytes", borrow)] Option<&'a [u8]>);

#[derive(Serialize, Deserialize)]
struct Row<'a> {
    #[serde(with = "serde_bytes")]
    key: &'a [u8],
    #[serde(with = "serde_bytes")]
    value: &'a [u8],
}

impl Rows<'_> {
    /// The number of entries.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let (row, used): (Row<'a>, usize) =
            body::decode_first(self.bytes).expect("checked when it was read");
        self.bytes = &self.bytes[used..];
        Some((row.key, row.value))
    }
}

impl<'a> Entries<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Entries<'a>, Malformed> {
        let ((at, count), used): ((CommitPosition, u64), usize) = body::decode_first(bytes)?;
        let start = &bytes[used..];
        let mut rest = start;
        for _ in 0..count {
            let (_, used) = body::decode_first::<Row<'a>>(rest)?;
            rest = &rest[used..];
        }
        let rows = Rows { count, bytes: &start[..start.len() - rest.len()] };
        let Tail(next) = body::decode(rest)?;
        Ok(Entries { at, rows, next })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        body::encode(&self.at, out);
        encode_count(self.rows.count, out);
        out.extend_from_slice(self.rows.bytes);
        body::encode(&Tail(self.next), out);
    }
}

/// An `Entries` packet in the making, at the end of a buffer.
#[derive(Debug)]
#[must_use = "a packet that is begun has to be finished"]
pub struct EntriesWriter {
    begun: Begun,
    count: u64,
    /// The offset of the number of entries.
    count_at: usize,
}

impl EntriesWriter {
    /// Begins a packet at the end of `out`.
    pub fn new(at: CommitPosition, out: &mut Vec<u8>) -> EntriesWriter {
        let begun = Begun::new(out);
        body::encode(&at, out);
        let count_at = out.len();
        encode_count(0, out);
        EntriesWriter { begun, count: 0, count_at }
    }

    /// Adds an entry.
    #[inline]
    pub fn push(&mut self, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
        body::encode(&Row { key, value }, out);
        self.count += 1;
    }

    /// The number of entries so far.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none so far.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the body so far.
    pub fn body_len(&self, out: &[u8]) -> usize {
        self.begun.body_len(out)
    }

    /// Whether an entry fits into a body of at most `max_body` bytes, with room for the first key of the
    /// next page (at most `max_next` bytes).
    pub fn fits(
        &self,
        key: &[u8],
        value: &[u8],
        max_next: usize,
        max_body: u32,
        out: &[u8],
    ) -> bool {
        // A length takes at most 9 bytes.
        let more = key.len() + value.len() + max_next + 3 * 9;
        self.body_len(out) + more <= max_body as usize
    }

    /// Removes the packet from `out`.
    pub fn abandon(self, out: &mut Vec<u8>) {
        self.begun.abandon(out);
    }

    /// Finishes the packet.
    ///
    /// # Errors
    /// The body is longer than the client takes: the packet is removed.
    pub fn finish(
        self,
        id: u64,
        part: Part,
        next: Option<&[u8]>,
        max_body: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLarge> {
        let count = u32::try_from(self.count).expect("each entry takes two bytes of a body");
        put_u32(out, self.count_at + 1, count);
        body::encode(&Tail(next), out);
        let kind = Kind::Entries.number();
        self.begun.finish(out, Head { id, kind, part, deadline_ms: 0 }, max_body)
    }
}

/// The varint of a number in its five-byte form.
fn encode_count(count: u64, out: &mut Vec<u8>) {
    let count = u32::try_from(count).expect("each entry takes two bytes of a body");
    out.push(252);
    out.extend_from_slice(&count.to_le_bytes());
}
