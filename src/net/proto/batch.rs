//! Batches: operations are checked once when the packet is read, and iterated without a copy.
//!
//! On the wire they are a list like every other: the count, then the operations. The list comes last,
//! so it is the rest of the body.

use serde::{Deserialize, Serialize};

use super::body::{self, Malformed};

/// When a write is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// When it is durable.
    Sync,
    /// When it is appended.
    Async,
    /// When it is appended, with a job id to ask for its state.
    Job,
}

/// Several puts and deletes, committed together: whole or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// When it is answered.
    pub mode: Mode,
    /// Idempotency key: a retry with the same one is not applied again.
    pub once: Option<&'a [u8]>,
    /// The changes. Of several changes to one key the last counts.
    pub ops: Ops<'a>,
}

/// One change of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Op<'a> {
    /// Gives a key a value.
    Put {
        keyspace: &'a str,
        #[serde(with = "serde_bytes")]
        key: &'a [u8],
        #[serde(with = "serde_bytes")]
        value: &'a [u8],
    },
    /// Deletes a key.
    Delete {
        keyspace: &'a str,
        #[serde(with = "serde_bytes")]
        key: &'a [u8],
    },
}

/// The operations of a batch, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ops<'a> {
    count: u64,
    bytes: &'a [u8],
}

/// Operations to be sent, as bytes.
#[derive(Clone, Debug, Default)]
pub struct OpsBuffer {
    count: u64,
    bytes: Vec<u8>,
}

impl OpsBuffer {
    /// No operations.
    pub fn new() -> OpsBuffer {
        OpsBuffer::default()
    }

    /// Adds an operation.
    pub fn push(&mut self, op: &Op<'_>) {
        self.count += 1;
        body::encode(op, &mut self.bytes);
    }

    /// Bytes so far.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The operations, for a [`Batch`].
    pub fn ops(&self) -> Ops<'_> {
        Ops { count: self.count, bytes: &self.bytes }
    }
}

impl Ops<'_> {
    /// The number of operations.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Op<'a>;

    fn next(&mut self) -> Option<Op<'a>> {
        self.count = self.count.checked_sub(1)?;
        let (op, used) = body::decode_first(self.bytes).expect("checked when it was read");
        self.bytes = &self.bytes[used..];
        Some(op)
    }
}

impl<'a> Batch<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Batch<'a>, Malformed> {
        let (Head { mode, once, count }, used) = body::decode_first::<Head<'a>>(bytes)?;
        let ops = Ops { count, bytes: &bytes[used..] };
        let mut rest = ops.bytes;
        for _ in 0..count {
            let (_, used) = body::decode_first::<Op<'a>>(rest)?;
            rest = &rest[used..];
        }
        match rest.len() {
            0 => Ok(Batch { mode, once, ops }),
            left => Err(Malformed::new(format!("{left} bytes too many"))),
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        body::encode(&Head { mode: self.mode, once: self.once, count: self.ops.count }, out);
        out.extend_from_slice(self.ops.bytes);
    }
}

/// The part of the body before the operations.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    mode: Mode,
    #[serde(with = "serde_bytes", borrow)]
    once: Option<&'a [u8]>,
    count: u64,
}
