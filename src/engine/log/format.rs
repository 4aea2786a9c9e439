//! The bytes of the log: where records may lie, and how they and the segment headers look.
//!
//! ```text
//!   segment n, LSNs [n*S, (n+1)*S)
//!   +-------------+--------+--------+-----+--------+------------------+
//!   | header page | record | record | ... | record | rest < 64: skip  |
//!   +-------------+--------+--------+-----+--------+------------------+
//!   0           4096                                                  S
//! ```
//!
//! All integers are little-endian. A **segment header** is the first 4096 bytes of a segment:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `SYNCLOG` and a zero byte |
//! | 8 | 4 | format version, 2 |
//! | 12 | 4 | CRC-32 over bytes 0 to 11 and 16 to 4095 |
//! | 16 | 16 | store id |
//! | 32 | 4 | incarnation |
//! | 36 | 4 | zero |
//! | 40 | 8 | segment number n |
//! | 48 | 8 | segment size S |
//! | 56 | 8 | the sync line when this header was written |
//! | 64 | 8 | mark of the incarnation, not 0 |
//! | 72 | 16 | salt of the incarnation's records |
//! | 88 | 8 | length of the file when this header was written, or 0 |
//! | 88 | 4008 | zero |
//!
//! It is valid iff the magic, the checksum and the mark are right. Every format version keeps the layout of
//! bytes 0 to 15 and the range of the checksum, so that a reader tells a newer version from damage. Version 1 has zeros
//! from byte 64 on: its incarnations have no mark, and their salt follows from the store id.
//!
//! A **record** begins at a multiple of 8:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | header CRC-32 over the salt and bytes 4 to 31 |
//! | 4 | 4 | CRC-32 of the payload |
//! | 8 | 4 | payload bytes in this record |
//! | 12 | 1 | kind: 1 full, 2 first, 3 middle, 4 last of a chain |
//! | 13 | 1 | class: what the payload means, opaque to the log |
//! | 14 | 2 | zero |
//! | 16 | 8 | LSN of this record's first byte, XOR the first 8 bytes of the salt |
//! | 24 | 8 | the sync line when this record was written |
//! | 32 | | payload, then zeros up to a multiple of 8 |
//!
//! It is valid at a position iff it fits into the rest of the segment, its LSN is the position,
//! its sync line is not above its LSN, its header checksum is right, the kind is known, the zero
//! bytes are zero, the payload checksum is right, and the padding is zero.
//!
//! Stale bytes of a recycled segment never validate: those of this incarnation hold another LSN, those
//! of others have another salt. Nor do bytes that a client chose, anywhere in a value: the salt is 16
//! secret random bytes, so a forged record is a guess of 96 bits, those of the position and of the
//! checksum. In an incarnation of version 1 the salt is the store id and the incarnation (as `u32`), and
//! the LSN is stored plain. The payload has its own checksum so that a committer can compute it before
//! it takes the commit lock.

use std::fmt;
use std::ops::Range;

use super::checksum;
use crate::engine::base::codec::{crc32, get_u16, get_u32, get_u64, put_u32, put_u64};
use crate::engine::base::lsn::{Incarnation, Life, LifeMark, Lsn, Secret, StoreId};
use crate::engine::mutants::mutant;

/// Bytes of a segment's header page, which no record enters.
pub(crate) const SEGMENT_HEADER: u64 = 4096;
/// The format version that this software writes, and the newest that it reads.
pub(crate) const FORMAT_VERSION: u32 = 2;
/// The previous version, which is read as well.
const FORMAT_VERSION_1: u32 = 1;
/// Bytes of a record's header.
pub(crate) const RECORD_HEADER: usize = 32;
/// No record begins closer to the end of its segment than this.
pub(crate) const MIN_ROOM: u64 = 64;
/// Records begin at multiples of this.
pub(crate) const ALIGN: u64 = 8;

const MAGIC: &[u8; 8] = b"SYNCLOG\0";
const _: () = assert!(MIN_ROOM > RECORD_HEADER as u64 && MIN_ROOM.is_multiple_of(ALIGN));

/// How positions in the log map to segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    segment_bytes: u64,
}

impl Geometry {
    /// The smallest segment.
    pub(crate) const MIN_SEGMENT_BYTES: u64 = 16 << 10;
    /// The largest segment: a record's length has 32 bits.
    pub(crate) const MAX_SEGMENT_BYTES: u64 = 1 << 31;

    pub(crate) fn new(segment_bytes: u64) -> Self {
        assert!(
            (Self::MIN_SEGMENT_BYTES..=Self::MAX_SEGMENT_BYTES).contains(&segment_bytes)
                && segment_bytes.is_multiple_of(SEGMENT_HEADER),
            "a segment cannot have {segment_bytes} bytes"
        );
        Geometry { segment_bytes }
    }

    pub(crate) fn segment_bytes(self) -> u64 {
        self.segment_bytes
    }

    /// The segment that holds the byte at `lsn`.
    pub(crate) fn segment_of(self, lsn: Lsn) -> u64 {
        lsn.get() / self.segment_bytes
    }

    /// The offset of `lsn` in its segment.
    pub(crate) fn offset_of(self, lsn: Lsn) -> u64 {
        lsn.get() % self.segment_bytes
    }

    /// The first byte of a segment, its header's.
    pub(crate) fn segment_start(self, number: u64) -> Lsn {
        Lsn::new(number * self.segment_bytes)
    }

    /// The first byte after a segment.
    pub(crate) fn segment_end(self, number: u64) -> Lsn {
        self.segment_start(number + 1)
    }

    /// Whether an LSN can hold every position in this segment.
    pub(crate) fn can_hold(self, number: u64) -> bool {
        number < u64::MAX / self.segment_bytes - 1
    }

    /// Where the next record begins after one that ends at `end`.
    pub(crate) fn record_after(self, end: Lsn) -> Lsn {
        let offset = self.offset_of(end);
        let start = end.get() - offset;
        if offset < SEGMENT_HEADER {
            Lsn::new(start + SEGMENT_HEADER)
        } else if self.segment_bytes - offset < MIN_ROOM {
            Lsn::new(start + self.segment_bytes + SEGMENT_HEADER)
        } else {
            end
        }
    }

    /// The end of a transaction of `payload_bytes` that is appended after `end`.
    pub(crate) fn end_of_append(self, end: Lsn, payload_bytes: usize) -> Lsn {
        let mut at = self.record_after(end);
        let mut rest = payload_bytes as u64;
        loop {
            let room = self.segment_bytes - self.offset_of(at);
            if record_bytes(rest) <= room {
                return Lsn::new(at.get() + record_bytes(rest));
            }
            rest -= room - RECORD_HEADER as u64;
            at = Lsn::new(at.get() + room + SEGMENT_HEADER);
        }
    }

    /// A bound on how far a transaction of `payload_bytes` moves the end of the log, from any position.
    pub(crate) fn demand(self, payload_bytes: usize) -> u64 {
        // In each segment it crosses: a header page, a skipped rest, a record header, padding.
        const EACH: u64 = SEGMENT_HEADER + MIN_ROOM + RECORD_HEADER as u64 + ALIGN;
        let payload = payload_bytes as u64;
        let whole = self.segment_bytes - SEGMENT_HEADER - RECORD_HEADER as u64;
        let crossed = if payload < whole { 1 } else { payload / whole + 1 };
        payload + (crossed + 1) * EACH
    }
}

/// Bytes of a record with this much payload, padding included.
pub(crate) fn record_bytes(payload_bytes: u64) -> u64 {
    (RECORD_HEADER as u64 + payload_bytes).next_multiple_of(ALIGN)
}

/// Whether a record may end at `lsn`, or the log begin there.
pub(crate) fn is_end_of_record(lsn: Lsn, segment_bytes: u64) -> bool {
    let offset = lsn.get() % segment_bytes;
    lsn.get().is_multiple_of(ALIGN) && (offset == 0 || offset >= SEGMENT_HEADER)
}

/// The name of the file of segment `number`.
pub(crate) fn segment_name(number: u64) -> String {
    format!("log-{number:016x}")
}

/// The number of the segment in the file `name`, or `None` if that is no segment's name.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("log-")?;
    let is_ours = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    if digits.len() != 16 || !digits.bytes().all(is_ours) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) life: Life,
    pub(crate) number: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) sync_line: Lsn,
    /// The length of the file when this header was written; 0 if unknown.
    pub(crate) made_bytes: u64,
}

/// Why bytes are no segment header of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadSegmentHeader {
    /// Not a header of any version.
    Invalid,
    /// A valid header of another format version.
    Version(u32),
}

impl SegmentHeader {
    /// The header page.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut page = vec![0; SEGMENT_HEADER as usize];
        page[..8].copy_from_slice(MAGIC);
        let Life { store, incarnation, mark, secret } = self.life;
        put_u32(&mut page, 8, if mark.is_none() { FORMAT_VERSION_1 } else { FORMAT_VERSION });
        page[16..32].copy_from_slice(&store.0);
        put_u32(&mut page, 32, incarnation.get());
        put_u64(&mut page, 40, self.number);
        put_u64(&mut page, 48, self.segment_bytes);
        put_u64(&mut page, 56, self.sync_line.get());
        put_u64(&mut page, 64, mark.0);
        page[72..88].copy_from_slice(&secret.0);
        put_u64(&mut page, 88, self.made_bytes);
        let crc = crc32(&[&page[..12], &page[16..]]);
        put_u32(&mut page, 12, crc);
        page
    }

    /// The header in the first bytes of a segment.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadSegmentHeader> {
        let Some(page) = bytes.get(..SEGMENT_HEADER as usize) else {
            return Err(BadSegmentHeader::Invalid);
        };
        if &page[..8] != MAGIC || get_u32(page, 12) != crc32(&[&page[..12], &page[16..]]) {
            return Err(BadSegmentHeader::Invalid);
        }
        let (mark, secret) = match get_u32(page, 8) {
            FORMAT_VERSION_1 => (LifeMark::NONE, Secret::NONE),
            FORMAT_VERSION if get_u64(page, 64) == 0 => return Err(BadSegmentHeader::Invalid),
            FORMAT_VERSION => {
                (LifeMark(get_u64(page, 64)), Secret(page[72..88].try_into().expect("16 bytes")))
            }
            other => return Err(BadSegmentHeader::Version(other)),
        };
        let store = StoreId(page[16..32].try_into().expect("16 bytes"));
        let incarnation = Incarnation::new(get_u32(page, 32));
        Ok(SegmentHeader {
            life: Life { store, incarnation, mark, secret },
            number: get_u64(page, 40),
            segment_bytes: get_u64(page, 48),
            sync_line: Lsn::new(get_u64(page, 56)),
            made_bytes: get_u64(page, 88),
        })
    }
}

/// Makes the records of one incarnation of one store unlike all others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Salt {
    /// The state of the header checksum after the salt.
    state: u32,
    /// Positions are stored XOR this.
    mask: u64,
}

impl Salt {
    pub(crate) fn of(life: &Life) -> Self {
        let Life { store, incarnation, mark, secret } = life;
        if mark.is_none() {
            let state = crc32(&[&store.0, &incarnation.get().to_le_bytes()]);
            return Salt { state, mask: 0 };
        }
        Salt { state: crc32(&[&secret.0]), mask: get_u64(&secret.0, 0) }
    }

    /// The position `at` as a record at `at` stores it.
    #[inline]
    pub(super) fn hide(self, at: Lsn) -> u64 {
        at.get() ^ self.mask
    }

    fn header_crc(self, header: &[u8]) -> u32 {
        let covered = header[4..RECORD_HEADER].try_into().expect("28 bytes");
        checksum::extend(self.state, covered)
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(..)")
    }
}

/// A record's part in its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The whole transaction.
    Full = 1,
    /// The first part.
    First = 2,
    /// A part between the first and the last.
    Middle = 3,
    /// The last part.
    Last = 4,
}

impl Kind {
    /// The kind in a word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Full => "full",
            Kind::First => "first",
            Kind::Middle => "middle",
            Kind::Last => "last",
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Kind::Full,
            2 => Kind::First,
            3 => Kind::Middle,
            4 => Kind::Last,
            _ => return None,
        })
    }
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) payload_crc: u32,
    pub(crate) len: u32,
    pub(crate) kind: Kind,
    pub(crate) class: u8,
    pub(crate) lsn: Lsn,
    pub(crate) sync_line: Lsn,
}

/// A valid record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) header: RecordHeader,
    pub(crate) payload: &'a [u8],
}

/// Why there is no valid record at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// The file of the segment ends before the record.
    Short,
    /// Not a record of this position. The message does not show the position found: decoded from zeros
    /// it would be a part of the salt.
    Position,
    /// The header's checksum is wrong.
    HeaderCrc,
    /// The header's checksum is right, but a field is wrong.
    Header(&'static str),
    /// The payload's checksum is wrong.
    PayloadCrc,
    /// The padding is not zero.
    Padding,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Invalid::Short => f.write_str("the end of the file"),
            Invalid::Position => f.write_str("no record of this position"),
            Invalid::HeaderCrc => f.write_str("a record header with a wrong checksum"),
            Invalid::Header(what) => write!(f, "a record header with {what}"),
            Invalid::PayloadCrc => f.write_str("a record whose payload has a wrong checksum"),
            Invalid::Padding => f.write_str("a record whose padding is not zero"),
        }
    }
}

impl RecordHeader {
    /// The header's bytes.
    #[inline]
    pub(crate) fn encode(&self, salt: Salt) -> [u8; RECORD_HEADER] {
        let mut bytes = [0; RECORD_HEADER];
        put_u32(&mut bytes, 4, self.payload_crc);
        put_u32(&mut bytes, 8, self.len);
        bytes[12] = self.kind as u8;
        bytes[13] = self.class;
        put_u64(&mut bytes, 16, salt.hide(self.lsn));
        put_u64(&mut bytes, 24, self.sync_line.get());
        let crc = salt.header_crc(&bytes);
        put_u32(&mut bytes, 0, crc);
        bytes
    }

    /// Decodes the header of the record at `at`, which may take `room` bytes.
    pub(crate) fn decode(bytes: &[u8], at: Lsn, room: u64, salt: Salt) -> Result<Self, Invalid> {
        if bytes.len() < RECORD_HEADER {
            return Err(Invalid::Short);
        }
        let lsn = mutant!(RecordPositionUnchecked: Lsn::new(get_u64(bytes, 16) ^ salt.mask) => at);
        if lsn != at {
            return Err(Invalid::Position);
        }
        if get_u32(bytes, 0) != salt.header_crc(bytes) {
            return Err(Invalid::HeaderCrc);
        }
        let kind = Kind::from_byte(bytes[12]).ok_or(Invalid::Header("an unknown kind"))?;
        let sync_line = Lsn::new(get_u64(bytes, 24));
        let len = get_u32(bytes, 8);
        if get_u16(bytes, 14) != 0 {
            return Err(Invalid::Header("bytes that should be zero"));
        }
        if sync_line > at {
            return Err(Invalid::Header("a sync line above its own position"));
        }
        if record_bytes(u64::from(len)) > room {
            return Err(Invalid::Header("a length beyond its segment"));
        }
        Ok(RecordHeader {
            payload_crc: get_u32(bytes, 4),
            len,
            kind,
            class: bytes[13],
            lsn,
            sync_line,
        })
    }

    /// Bytes of the whole record.
    pub(crate) fn record_bytes(&self) -> u64 {
        record_bytes(u64::from(self.len))
    }

    /// The end of the record.
    pub(crate) fn end(&self) -> Lsn {
        Lsn::new(self.lsn.get() + self.record_bytes())
    }

    /// Where the payload lies in the record.
    pub(crate) fn payload(&self) -> Range<usize> {
        RECORD_HEADER..RECORD_HEADER + self.len as usize
    }

    /// Checks payload and padding in `record`, the bytes of the whole record.
    pub(crate) fn check_body(&self, record: &[u8]) -> Result<(), Invalid> {
        let payload = self.payload();
        mutant!(RecordPayloadUnchecked => return Ok(()));
        if crc32fast::hash(&record[payload.clone()]) != self.payload_crc {
            return Err(Invalid::PayloadCrc);
        }
        if record[payload.end..].iter().any(|&byte| byte != 0) {
            return Err(Invalid::Padding);
        }
        Ok(())
    }
}

/// Decodes the record at `at` from `bytes`, which reach to the end of the segment or file. For tests and
/// fuzzing: the reader has the header before it has the rest.
#[cfg(any(test, fuzzing))]
pub(crate) fn decode_record(bytes: &[u8], at: Lsn, salt: Salt) -> Result<Record<'_>, Invalid> {
    let header = RecordHeader::decode(bytes, at, bytes.len() as u64, salt)?;
    let record = &bytes[..header.record_bytes() as usize];
    header.check_body(record)?;
    Ok(Record { header, payload: &record[header.payload()] })
}

#[cfg(test)]
mod tests;
