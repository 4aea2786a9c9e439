//! Reads the log record by record, up to the first position without a valid one.
//!
//! Memory is bounded: the buffer holds one chunk, and grows to one record only after the record's
//! header, checksum included, has proved a length that fits into the segment.

use std::ops::Range;
use std::sync::Arc;

use super::format::{
    BadSegmentHeader, FORMAT_VERSION, Geometry, Invalid, RECORD_HEADER, Record, RecordHeader,
    SEGMENT_HEADER, Salt, SegmentHeader, segment_name, segment_number,
};
use super::steps::step_within;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Life, Lsn};
use crate::engine::disk::{Disk, DiskFile};
use crate::engine::mutants::mutant;

/// The log is read in chunks of this size.
pub(super) const CHUNK_BYTES: u64 = 256 << 10;

/// The log that is read: its files, life and layout.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) life: Life,
    pub(super) geometry: Geometry,
    pub(super) salt: Salt,
}

impl Source {
    /// The numbers of all segment files, sorted.
    pub(super) fn segments(&self) -> Result<Vec<u64>> {
        let names = self.disk.list()?;
        let mut numbers: Vec<_> = names
            .iter()
            .filter_map(|name| segment_number(name))
            .filter(|&number| self.geometry.can_hold(number))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The file of segment `number`, for messages.
    pub(super) fn path(&self, number: u64) -> String {
        self.disk.path(&segment_name(number))
    }

    /// The header of `file`, if it is segment `number` of this incarnation.
    pub(super) fn read_header(
        &self,
        number: u64,
        file: &dyn DiskFile,
        bytes: u64,
    ) -> Result<Option<SegmentHeader>> {
        if bytes < SEGMENT_HEADER {
            return Ok(None);
        }
        let mut page = vec![0; SEGMENT_HEADER as usize];
        file.read_at(0, &mut page)?;
        let header = match SegmentHeader::decode(&page) {
            Ok(header) => header,
            Err(BadSegmentHeader::Invalid) => return Ok(None),
            Err(BadSegmentHeader::Version(found)) => {
                let file = self.path(number);
                return Err(Error::Version { file, supported: FORMAT_VERSION, found });
            }
        };
        if header.life.store != self.life.store {
            mutant!(ForeignSegmentIgnored => return Ok(None));
            let (file, expected) = (self.path(number), self.life.store);
            return Err(Error::WrongStore { file, expected, found: header.life.store });
        }
        if header.life != self.life || header.number != number {
            return Ok(None); // a file to be recycled, or of another life
        }
        if header.segment_bytes != self.geometry.segment_bytes() {
            return Err(Error::Corrupt {
                file: self.path(number),
                offset: 48,
                expected: format!("segments of {} bytes", self.geometry.segment_bytes()),
                found: format!("one of {} bytes", header.segment_bytes),
            });
        }
        Ok(Some(header))
    }
}

/// Why and where reading stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    /// The end of the last valid record.
    pub(crate) end: Lsn,
    /// Where the next one would begin.
    pub(crate) next: Lsn,
    /// The file that `next` lies in.
    pub(crate) file: String,
    /// The offset of `next` in the file.
    pub(crate) offset: u64,
    /// A description of what is there.
    pub(crate) found: String,
    /// Whether the file exists.
    pub(crate) file_exists: bool,
    /// Whether the file has been longer (LOG-9).
    pub(crate) file_is_cut: bool,
}

/// A valid record whose payload is in the buffer.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) header: RecordHeader,
    payload: Range<usize>,
}

/// The records of one incarnation from a position on, of whole transactions or not.
#[derive(Debug)]
pub(crate) struct RecordScan {
    source: Source,
    segment: Option<OpenSegment>,
    /// The end of the last valid record.
    end: Lsn,
    /// Bytes of the segment from `buffer_at` on; the first `buffer_len` are filled.
    buffer: Vec<u8>,
    buffer_at: Lsn,
    buffer_len: usize,
    stop: Option<Stop>,
}

#[derive(Debug)]
struct OpenSegment {
    number: u64,
    file: Arc<dyn DiskFile>,
    /// The end of its file, or of the segment if the file is longer.
    end: Lsn,
    /// A record that ends above this proves that the file has been longer (LOG-9).
    proof: Lsn,
    /// Whether there is such a record, or the header of one that ends beyond the file.
    is_cut: bool,
}

impl RecordScan {
    /// Reads from `from`, the end of a record or the start of a segment.
    pub(crate) fn open(disk: Arc<dyn Disk>, life: Life, segment_bytes: u64, from: Lsn) -> Self {
        let geometry = Geometry::new(segment_bytes);
        let salt = Salt::of(&life);
        // The start of a segment is the same position as its first record.
        let within = geometry.offset_of(from) < SEGMENT_HEADER;
        let end = if within { geometry.record_after(from) } else { from };
        RecordScan {
            source: Source { disk, life, geometry, salt },
            segment: None,
            end,
            buffer: Vec::new(),
            buffer_at: end,
            buffer_len: 0,
            stop: None,
        }
    }

    /// The next valid record, or `None` at the end of the log, which [`RecordScan::stop`] describes.
    ///
    /// # Errors
    /// A file could not be read, or belongs to another store or version.
    pub(crate) fn next(&mut self) -> Result<Option<Record<'_>>> {
        Ok(match self.advance()? {
            Some(found) => Some(Record { header: found.header, payload: self.payload(&found) }),
            None => None,
        })
    }

    /// Why there was no further record.
    pub(crate) fn stop(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// The end of the last valid record; at first where reading began.
    pub(super) fn end(&self) -> Lsn {
        self.end
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// The payload of the record that was found last.
    pub(super) fn payload(&self, found: &Found) -> &[u8] {
        &self.buffer[found.payload.clone()]
    }

    /// Like `next`, without a borrow.
    pub(super) fn advance(&mut self) -> Result<Option<Found>> {
        if self.stop.is_some() {
            return Ok(None);
        }
        let at = self.source.geometry.record_after(self.end);
        if let Err(stop) = self.enter_segment(at)? {
            self.stop = Some(stop);
            return Ok(None);
        }
        match self.read_record(at)? {
            Ok(found) => {
                self.end = found.header.end();
                let segment = self.segment.as_mut().expect("just read from");
                segment.is_cut |= self.end > segment.proof;
                Ok(Some(found))
            }
            Err(invalid) => {
                self.stop = Some(self.stop_at(at, invalid.to_string()));
                Ok(None)
            }
        }
    }

    /// Opens the segment that holds `at`, if it belongs to this log.
    #[inline]
    fn enter_segment(&mut self, at: Lsn) -> Result<Result<(), Stop>> {
        match &self.segment {
            Some(segment) if at < self.source.geometry.segment_end(segment.number) => Ok(Ok(())),
            #[cfg(feature = "mutants")]
            Some(_) if mutant!(ScanEndsWithSegment: false => true) => {
                Ok(Err(self.stop_at(at, "the end of the segment".to_owned())))
            }
            _ => self.open_segment(at),
        }
    }

    fn open_segment(&mut self, at: Lsn) -> Result<Result<(), Stop>> {
        let geometry = self.source.geometry;
        let number = geometry.segment_of(at);
        self.segment = None;
        if self.source.segments()?.binary_search(&number).is_err() {
            let stop = self.stop_at(at, "no file".to_owned());
            return Ok(Err(Stop { file_exists: false, ..stop }));
        }
        let file = self.source.disk.open(&segment_name(number))?;
        let bytes = file.bytes()?;
        let Some(header) = self.source.read_header(number, &*file, bytes)? else {
            let stop = self.stop_at(at, "no segment header of this incarnation".to_owned());
            return Ok(Err(Stop { offset: 0, ..stop }));
        };
        let readable = bytes.min(geometry.segment_bytes());
        let start = geometry.segment_start(number).get();
        // If the file is shorter than its header says, any record proves the cut.
        let step = match readable < header.made_bytes {
            true => SEGMENT_HEADER,
            false => step_within(geometry.segment_bytes(), readable),
        };
        self.segment = Some(OpenSegment {
            number,
            file,
            end: Lsn::new(start + readable),
            proof: Lsn::new(start + step),
            is_cut: false,
        });
        self.buffer_len = 0;
        Ok(Ok(()))
    }

    fn stop_at(&self, at: Lsn, found: String) -> Stop {
        let geometry = self.source.geometry;
        let segment = self.segment.as_ref();
        Stop {
            end: self.end,
            next: at,
            file: self.source.path(geometry.segment_of(at)),
            offset: geometry.offset_of(at),
            found,
            file_exists: true,
            file_is_cut: segment.is_some_and(|segment| segment.is_cut),
        }
    }

    #[inline]
    fn read_record(&mut self, at: Lsn) -> Result<Result<Found, Invalid>> {
        let segment = self.segment.as_ref().expect("a segment is open");
        let (file_end, number) = (segment.end.get(), segment.number);
        if file_end < at.get() + RECORD_HEADER as u64 {
            return Ok(Err(Invalid::Short));
        }
        let room = self.source.geometry.segment_end(number).get() - at.get();
        let start = self.fill(at, RECORD_HEADER)?;
        let salt = self.source.salt;
        let header = match RecordHeader::decode(&self.buffer[start..], at, room, salt) {
            Ok(header) => header,
            Err(invalid) => return Ok(Err(invalid)),
        };
        if header.end().get() > file_end {
            self.segment.as_mut().expect("a segment is open").is_cut = true;
            return Ok(Err(Invalid::Short));
        }
        let bytes = header.record_bytes() as usize;
        let start = self.fill(at, bytes)?;
        let payload = header.payload();
        Ok(header
            .check_body(&self.buffer[start..start + bytes])
            .map(|()| Found { header, payload: start + payload.start..start + payload.end }))
    }

    /// Fills the buffer with at least `bytes` bytes from `at` on, which the file has. Returns where they
    /// begin in the buffer.
    #[inline]
    fn fill(&mut self, at: Lsn, bytes: usize) -> Result<usize> {
        let buffered = at >= self.buffer_at
            && at.get() + bytes as u64 <= self.buffer_at.get() + self.buffer_len as u64;
        if !buffered {
            self.refill(at, bytes)?;
        }
        Ok((at.get() - self.buffer_at.get()) as usize)
    }

    fn refill(&mut self, at: Lsn, bytes: usize) -> Result<()> {
        let segment = self.segment.as_ref().expect("a segment is open");
        let rest = segment.end.get() - at.get();
        let len = rest.min(CHUNK_BYTES.max(bytes as u64)) as usize;
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        self.buffer_len = 0;
        let offset = self.source.geometry.offset_of(at);
        segment.file.read_at(offset, &mut self.buffer[..len])?;
        self.buffer_at = at;
        self.buffer_len = len;
        Ok(())
    }
}
