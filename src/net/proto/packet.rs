//! The packet: a header of 24 bytes, then the body.
//!
//! ```text
//!   +-----+-----+----------+------+-------+------+----------+--------------+
//!   | len | crc |    id    | kind | flags | zero | deadline | body ...     |
//!   +-----+-----+----------+------+-------+------+----------+--------------+
//!   0     4     8          16     17      18     20         24        24+len
//! ```
//!
//! All integers are little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | bytes of the body |
//! | 4 | 4 | CRC-32 (IEEE) over bytes 8 to the end of the body |
//! | 8 | 8 | id: chosen by the client, the same in the answer; 0 in packets that belong to no request |
//! | 16 | 1 | kind: [`Kind`](super::Kind) |
//! | 17 | 1 | flags: bit 0 is set if more packets for this id follow; the others are zero |
//! | 18 | 2 | zero |
//! | 20 | 4 | requests: deadline in milliseconds from receipt, 0 for none; answers: zero |
//! | 24 | | body |
//!
//! A packet is valid if the length is at most the limit, the checksum is right, and all reserved bits
//! are zero. The length is checked first, before memory is reserved for the body. The kind is not
//! checked here: an unknown kind gets an answer, while a broken packet ends its connection, since the
//! start of the next one is unknown.

use std::fmt;

use crate::engine::base::codec::{crc32, get_u16, get_u32, get_u64};

/// Bytes of a packet's header.
pub const HEADER: usize = 24;
/// The longest body, unless a peer says otherwise in the handshake.
pub const MAX_BODY: u32 = 16 << 20;
/// The longest body before the handshake is over.
pub const MAX_HELLO: u32 = 4096;

const MORE: u8 = 1;

/// Whether more packets for the same id follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// This is the only packet, or the last.
    Last,
    /// More follow: a part of a stream, or a push.
    More,
}

/// The header without length and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The request that this packet belongs to, 0 for none.
    pub id: u64,
    /// The number of the [`Kind`](super::Kind).
    pub kind: u8,
    /// Whether more packets for this id follow.
    pub part: Part,
    /// The time that a request may take from its receipt, 0 for no limit.
    pub deadline_ms: u32,
}

/// A whole packet with a valid checksum, borrowed from a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The header.
    pub head: Head,
    /// The body.
    pub body: &'a [u8],
}

impl Packet<'_> {
    /// The bytes that the packet takes in the buffer.
    pub fn len_in_buffer(&self) -> usize {
        HEADER + self.body.len()
    }
}

/// The result of looking for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// At least this many bytes of the packet are missing; never zero.
    NeedMore(usize),
    /// The buffer begins with this packet.
    Packet(Packet<'a>),
}

/// Bytes that are no valid packet. Nothing after them can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The body is longer than agreed.
    TooLarge {
        /// The length in the header.
        len: u32,
        /// The longest body that is allowed.
        max: u32,
    },
    /// The checksum is wrong.
    Checksum {
        /// The checksum in the header.
        expected: u32,
        /// The checksum of the bytes.
        found: u32,
    },
    /// Bits are set that must be zero.
    Reserved,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::TooLarge { len, max } => {
                write!(f, "a packet with a body of {len} bytes, where at most {max} are allowed")
            }
            Broken::Checksum { expected, found } => {
                write!(
                    f,
                    "a packet with checksum {found:08x}, where its header says {expected:08x}"
                )
            }
            Broken::Reserved => f.write_str("a packet with bits set that must be zero"),
        }
    }
}

impl std::error::Error for Broken {}

/// Looks for a packet at the start of `buffer`, which may hold a part of one, or several.
/// Allocates nothing.
///
/// # Errors
/// The bytes are no packet, or one with a body longer than `max_body`.
pub fn decode(buffer: &[u8], max_body: u32) -> Result<Progress<'_>, Broken> {
    if buffer.len() < HEADER {
        // A length that is too large is refused as soon as it has come.
        if buffer.len() >= 4 {
            check_len(get_u32(buffer, 0), max_body)?;
        }
        return Ok(Progress::NeedMore(HEADER - buffer.len()));
    }
    let len = get_u32(buffer, 0);
    check_len(len, max_body)?;
    let end = HEADER + len as usize;
    if buffer.len() < end {
        return Ok(Progress::NeedMore(end - buffer.len()));
    }
    let (expected, found) = (get_u32(buffer, 4), crc32(&[&buffer[8..end]]));
    if expected != found {
        return Err(Broken::Checksum { expected, found });
    }
    let flags = buffer[17];
    if flags & !MORE != 0 || get_u16(buffer, 18) != 0 {
        return Err(Broken::Reserved);
    }
    let head = Head {
        id: get_u64(buffer, 8),
        kind: buffer[16],
        part: if flags & MORE == 0 { Part::Last } else { Part::More },
        deadline_ms: get_u32(buffer, 20),
    };
    Ok(Progress::Packet(Packet { head, body: &buffer[HEADER..end] }))
}

/// The kind of the packet at the start of `buffer`, and the bytes that it takes, if it is whole.
/// Does not check whether it is valid.
#[cfg(feature = "server")]
pub(crate) fn peek(buffer: &[u8], max_body: u32) -> Option<(u8, usize)> {
    let len = get_u32(buffer.get(..HEADER)?, 0);
    let end = HEADER + len as usize;
    (len <= max_body && end <= buffer.len()).then(|| (buffer[16], end))
}

fn check_len(len: u32, max: u32) -> Result<(), Broken> {
    if len > max { Err(Broken::TooLarge { len, max }) } else { Ok(()) }
}
