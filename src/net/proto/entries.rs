//! A range's entries: written one by one into the packet, and walked without a copy.
//!
//! | order | field |
//! |---|---|
//! | 1 | the snapshot that they are of: [`Place`] |
//! | 2 | how many entries, as the byte 252 and a `u32` |
//! | 3 | key and value of each |
//! | 4 | where to go on: an optional key |
//!
//! The number is a varint that always takes its five-byte form, which every reader of varints
//! understands: so it can be filled in when the entries are written, however many they become.

use serde::{Deserialize, Serialize};

use super::body::{self, Malformed};
use super::kind::Kind;
use super::packet::{Head, Part};
use super::response::Place;
use super::writer::{Begun, TooLarge};
use crate::engine::base::codec::put_u32;

/// Entries of one snapshot, in the order that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries<'a> {
    /// The snapshot.
    pub at: Place,
    /// Keys and values.
    pub rows: Rows<'a>,
    /// A page's only: the first key that is left. Ask again with this as the lower bound, included
    /// (the upper one, if descending).
    pub next: Option<&'a [u8]>,
}

/// Keys and values, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows<'a> {
    count: u64,
    bytes: &'a [u8],
}

/// What comes behind the entries.
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
    /// How many there are.
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
        let ((at, count), used): ((Place, u64), usize) = body::decode_first(bytes)?;
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
    /// Where the entries' number is.
    count_at: usize,
}

impl EntriesWriter {
    /// Begins a packet at the end of `out`.
    pub fn new(at: Place, out: &mut Vec<u8>) -> EntriesWriter {
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

    /// How many entries there are so far.
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

    /// Whether an entry fits into a body of at most `max_body` bytes, with room for the key at
    /// which to go on (`next` has at most `max_next` bytes).
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

    /// Takes the packet back.
    pub fn abandon(self, out: &mut Vec<u8>) {
        self.begun.abandon(out);
    }

    /// Finishes the packet.
    ///
    /// # Errors
    /// The body is longer than the client takes: the packet is taken back.
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
