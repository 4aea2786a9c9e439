//! Writing of packets, straight into the output buffer.
//!
//! The body is written behind room for the header, which is filled in when length and checksum are
//! known. Nothing is copied, and only the output grows.

use std::fmt;

use super::packet::{HEADER, Head, Part};
use crate::engine::base::codec::{crc32, put_u32, put_u64};

/// An unfinished packet at the end of a buffer.
#[derive(Debug)]
#[must_use = "a packet that is begun has to be finished"]
pub struct Begun {
    start: usize,
}

/// A message whose body would be longer than the receiver takes. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The length of the body.
    pub len: usize,
    /// The longest body that the receiver takes.
    pub max: u32,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a body of {} bytes, where at most {} may be sent", self.len, self.max)
    }
}

impl std::error::Error for TooLarge {}

impl Begun {
    /// Leaves room for a header at the end of `out`. Write the body behind it.
    pub fn new(out: &mut Vec<u8>) -> Begun {
        let start = out.len();
        out.resize(start + HEADER, 0);
        Begun { start }
    }

    /// Bytes of the body so far.
    pub fn body_len(&self, out: &[u8]) -> usize {
        out.len() - self.start - HEADER
    }

    /// Removes the packet from `out`.
    pub fn abandon(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }

    /// Fills in the header.
    ///
    /// # Errors
    /// The body is longer than `max_body`: the packet is removed.
    pub fn finish(self, out: &mut Vec<u8>, head: Head, max_body: u32) -> Result<(), TooLarge> {
        let len = self.body_len(out);
        let Some(short) = u32::try_from(len).ok().filter(|len| *len <= max_body) else {
            self.abandon(out);
            return Err(TooLarge { len, max: max_body });
        };
        let packet = &mut out[self.start..];
        put_u32(packet, 0, short);
        put_u64(packet, 8, head.id);
        packet[16] = head.kind;
        packet[17] = u8::from(head.part == Part::More);
        put_u32(packet, 20, head.deadline_ms);
        let crc = crc32(&[&packet[8..]]);
        put_u32(packet, 4, crc);
        Ok(())
    }
}
