//! Reads the log back by whole transactions, and tells a torn end from damage.
//!
//! Every record carries the sync line of the moment when it was written. At the first position L without
//! a valid record, the scan searches everything after it for a record header whose sync line is above the
//! end of the log as read. If there is one, or the caller knows of such a sync line from elsewhere,
//! durable bytes have been damaged: an error. Otherwise a crash cut the log there, as it may: the tail is
//! everything after the last whole transaction.
//!
//! ```text
//!   | whole | whole | First | Middle |  L: invalid  ...  valid, sync_line s | ...
//!           ^ end of the log         ^ s above this: damaged; else: torn
//! ```
//!
//! For the search a header with a right checksum is enough: its sync line was true when it was written,
//! even if the payload was torn. Headers of later segments carry the sync line too.
//!
//! For example, a record ends at 5000 and is flushed. The next two begin at 5000 and 5104, both with sync
//! line 5000. If the record at 5000 is invalid, the header at 5104 has no line above the end, 5000: a
//! torn tail. If the first record is invalid, the end is below 5000: both headers prove damage.
//!
//! - SCAN-1 what is read back is a prefix of the log, with everything that was durable
//! - SCAN-2 a transaction is there whole or not at all

use std::sync::Arc;

use super::cursor::{CHUNK_BYTES, RecordScan, Source, Stop};
use super::format::{ALIGN, Kind, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, segment_name};
use crate::engine::base::codec::get_u64;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Life, Lsn};
use crate::engine::disk::Disk;
use crate::engine::mutants::mutant;

/// A whole transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// The meaning of the payload.
    pub(crate) class: u8,
    /// The payload, joined if it was in several records.
    pub(crate) payload: &'a [u8],
    /// The end of its last record, which names the commit.
    pub(crate) end: Lsn,
    /// The sync line when its last record was written.
    pub(crate) sync_line: Lsn,
}

/// Where the log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The end of the last whole transaction.
    pub(crate) end: Lsn,
    /// How far beyond the end the last written record header, or part of a transaction, reaches. 0
    /// after a clean end.
    pub(crate) cut_bytes: u64,
    /// The file that the next record would have been in.
    pub(crate) file: String,
    /// Its offset in that file.
    pub(crate) offset: u64,
}

/// The log of one incarnation from a position on.
#[derive(Debug)]
pub(crate) struct Scan {
    records: RecordScan,
    known_durable: Lsn,
    /// The end of the last whole transaction.
    end: Lsn,
    /// The chain that is being joined.
    chain: Option<Chain>,
    joined: Vec<u8>,
    tail: Option<Tail>,
}

#[derive(Clone, Copy, Debug)]
struct Chain {
    class: u8,
}

impl Scan {
    /// Reads from `from`, the end of a transaction or the start of a segment. The log up to
    /// `known_durable` is known to have been durable.
    ///
    /// # Errors
    /// None yet; reading finds what is wrong with the log.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        life: Life,
        segment_bytes: u64,
        from: Lsn,
        known_durable: Lsn,
    ) -> Result<Scan> {
        let records = RecordScan::open(disk, life, segment_bytes, from);
        let (chain, joined, tail) = (None, Vec::new(), None);
        Ok(Scan { end: records.end(), records, known_durable, chain, joined, tail })
    }

    /// The next whole transaction, or `None` at the end of the log.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Missing`] if durable bytes are gone, [`Error::WrongStore`] or
    /// [`Error::Version`] if a file is not one of this store's, and errors of reading a file.
    pub(crate) fn next(&mut self) -> Result<Option<Entry<'_>>> {
        if self.tail.is_some() {
            return Ok(None);
        }
        loop {
            let Some(found) = self.records.advance()? else {
                mutant!(UnfinishedChainApplied => if let Some(Chain { class }) = self.chain.take() {
                    self.end = self.records.end();
                    let (end, sync_line) = (self.end, self.known_durable);
                    return Ok(Some(Entry { class, payload: &self.joined, end, sync_line }));
                });
                self.tail = Some(self.classify_end()?);
                return Ok(None);
            };
            let header = found.header;
            match (header.kind, self.chain) {
                (Kind::Full, None) => {
                    self.end = header.end();
                    let payload = self.records.payload(&found);
                    return Ok(Some(entry(&header, payload)));
                }
                (Kind::First, None) => {
                    self.chain = Some(Chain { class: header.class });
                    self.joined.clear();
                    self.joined.extend_from_slice(self.records.payload(&found));
                }
                (Kind::Middle | Kind::Last, Some(chain)) if chain.class == header.class => {
                    self.joined.extend_from_slice(self.records.payload(&found));
                    if header.kind == Kind::Last {
                        self.chain = None;
                        self.end = header.end();
                        return Ok(Some(entry(&header, &self.joined)));
                    }
                }
                _ => return Err(self.broken_chain(&header)),
            }
        }
    }

    /// Where the log ends. KnownLife once `next` has returned `None`.
    pub(crate) fn tail(&self) -> &Tail {
        self.tail.as_ref().expect("the log has been read to its end")
    }

    /// The error for a sequence of records that neither the writer nor a crash makes.
    fn broken_chain(&self, header: &RecordHeader) -> Error {
        let source = self.records.source();
        let number = source.geometry.segment_of(header.lsn);
        let expected = if self.chain.is_some() {
            "the next record of a chain"
        } else {
            "the first record of a transaction"
        };
        Error::Corrupt {
            file: source.path(number),
            offset: source.geometry.offset_of(header.lsn),
            expected: expected.to_owned(),
            found: format!("a record of kind {} and class {}", header.kind.name(), header.class),
        }
    }

    /// Decides between a torn tail and damage.
    fn classify_end(&self) -> Result<Tail> {
        let stop = self.records.stop().expect("the records have been read to their end");
        let source = self.records.source();
        let search = mutant!(RotTakenForTorn: search(source, stop)? => Search::default());
        let durable = search.sync_line.max(self.known_durable);
        if durable > stop.end {
            return Err(damage(
                stop,
                format!("a valid record: bytes up to LSN {durable} were durable"),
            ));
        }
        if mutant!(TruncatedSegmentAccepted: stop.file_is_cut => false) {
            let expected = "a longer file, for it holds records that were written to one";
            return Err(damage(stop, expected.to_owned()));
        }
        let geometry = source.geometry;
        let next = geometry.record_after(self.end);
        Ok(Tail {
            end: self.end,
            cut_bytes: search.written.max(stop.end).get().saturating_sub(self.end.get()),
            file: source.path(geometry.segment_of(next)),
            offset: geometry.offset_of(next),
        })
    }
}

fn entry<'a>(last: &RecordHeader, payload: &'a [u8]) -> Entry<'a> {
    Entry { class: last.class, payload, end: last.end(), sync_line: last.sync_line }
}

fn damage(stop: &Stop, expected: String) -> Error {
    if !stop.file_exists {
        return Error::Missing { file: stop.file.clone(), expected };
    }
    let (file, offset, found) = (stop.file.clone(), stop.offset, stop.found.clone());
    Error::Corrupt { file, offset, expected, found }
}

/// Findings after the first invalid record.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// The highest sync line found; the search ends at the first one above the end of the log.
    pub(super) sync_line: Lsn,
    /// The end of the last record that has a valid header.
    pub(super) written: Lsn,
}

/// Searches the rest of the segment where reading stopped, and all later ones.
fn search(source: &Source, stop: &Stop) -> Result<Search> {
    let mut search = Search::default();
    let mut buffer = Vec::new();
    let first = source.geometry.segment_of(stop.next);
    for number in source.segments()? {
        if number < first || search.sync_line > stop.end {
            continue;
        }
        let file = source.disk.open(&segment_name(number))?;
        let bytes = file.bytes()?.min(source.geometry.segment_bytes());
        // Files of another life, or half made, are no evidence: their records do not validate.
        if let Some(header) = source.read_header(number, &*file, bytes)? {
            search.sync_line = search.sync_line.max(header.sync_line);
        }
        let start = source.geometry.segment_start(number).get();
        let from = stop.next.get().max(start + SEGMENT_HEADER) - start;
        let place = (number, &*file, from..bytes);
        search_segment(source, stop.end, place, &mut buffer, &mut search)?;
    }
    Ok(search)
}

/// Looks for record headers at every aligned offset in `range`.
pub(super) fn search_segment(
    source: &Source,
    end: Lsn,
    (number, file, range): (u64, &dyn crate::engine::disk::DiskFile, std::ops::Range<u64>),
    buffer: &mut Vec<u8>,
    search: &mut Search,
) -> Result<()> {
    const HEADER: u64 = RECORD_HEADER as u64;
    let start = source.geometry.segment_start(number).get();
    let mut offset = range.start;
    while offset + HEADER <= range.end {
        let len = (range.end - offset).min(CHUNK_BYTES);
        if buffer.len() < len as usize {
            buffer.resize(len as usize, 0);
        }
        let buffer = &mut buffer[..len as usize];
        file.read_at(offset, buffer)?;
        // Headers that cross the end of this chunk are found in the next one.
        let places = (len - HEADER) / ALIGN + 1;
        // Each header holds its own position at byte 16: few places need a closer look.
        let positions = buffer[16..].chunks_exact(ALIGN as usize).map(|word| get_u64(word, 0));
        for (place, position) in (0..places).zip(positions) {
            let (here, at) = ((place * ALIGN) as usize, start + offset + place * ALIGN);
            if position != source.salt.hide(Lsn::new(at)) {
                continue;
            }
            let room = source.geometry.segment_bytes() - (offset + place * ALIGN);
            let found = RecordHeader::decode(&buffer[here..], Lsn::new(at), room, source.salt);
            if let Ok(header) = found {
                search.sync_line = search.sync_line.max(header.sync_line);
                search.written = search.written.max(header.end());
            }
        }
        if search.sync_line > end {
            return Ok(());
        }
        offset += places * ALIGN;
    }
    Ok(())
}
