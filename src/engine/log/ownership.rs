//! Which files are segments of this store, and may be removed or recycled.
//!
//! A name proves nothing: the directory may hold a foreign file of any name. A file is the store's
//!
//! - if it begins with a segment header of the store, of any life and number: a recycled file has its
//!   former header until the new one is written;
//! - if it has the name of a segment, and nothing but zeros where the header goes: it was being made
//!   when the process ended.
//!
//! Any other file is left alone, even if it is a segment of this store whose header has rotted, and no
//! new segment takes its name. The same holds for a directory, a link or a pipe.

use super::format::{BadSegmentHeader, Geometry, SEGMENT_HEADER, SegmentHeader, segment_number};
use crate::engine::base::error::Result;
use crate::engine::base::lsn::StoreId;
use crate::engine::disk::Disk;

/// How many numbers after the last segment are searched for foreign files.
const NEAR: u64 = 1 << 16;

/// The numbers of all files with a segment's name, in order.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    /// Segments of this store.
    pub(crate) own: Vec<u64>,
    /// Other files.
    pub(crate) foreign: Vec<u64>,
}

impl Segments {
    /// Looks at the header of every file that has a segment's name.
    ///
    /// # Errors
    /// A file could not be read.
    pub(crate) fn find(disk: &dyn Disk, store: StoreId) -> Result<Segments> {
        let mut found = Segments::default();
        let strangers = disk.strangers()?;
        for name in disk.list()?.iter().filter(|name| !strangers.contains(name)) {
            let Some(number) = segment_number(name) else { continue };
            match is_own(disk, name, store)? {
                true => found.own.push(number),
                false => found.foreign.push(number),
            }
        }
        found.foreign.extend(strangers.iter().filter_map(|name| segment_number(name)));
        Ok(found)
    }

    /// The number of the first segment of a new log, if numbers up to `last` are taken. It is above
    /// every segment, and above foreign files that would soon be in its way.
    pub(crate) fn next_after(&self, last: u64, geometry: Geometry) -> u64 {
        let holdable = |number: &u64| number.checked_add(1).is_some_and(|n| geometry.can_hold(n));
        let own = self.own.iter().copied().filter(holdable).max().unwrap_or(0);
        let last = last.max(own);
        let near = last..last.saturating_add(NEAR);
        let foreign = self.foreign.iter().copied().filter(|number| near.contains(number));
        foreign.filter(holdable).max().unwrap_or(last) + 1
    }
}

/// Whether the file begins with a segment's header, of any store and of any version.
///
/// # Errors
/// The file could not be read.
pub(crate) fn is_segment(disk: &dyn Disk, name: &str) -> Result<bool> {
    let header = SegmentHeader::decode(&first_page(disk, name)?);
    Ok(!matches!(header, Err(BadSegmentHeader::Invalid)))
}

fn first_page(disk: &dyn Disk, name: &str) -> Result<Vec<u8>> {
    let file = disk.open(name)?;
    let mut page = vec![0; file.bytes()?.min(SEGMENT_HEADER) as usize];
    file.read_at(0, &mut page)?;
    Ok(page)
}

fn is_own(disk: &dyn Disk, name: &str, store: StoreId) -> Result<bool> {
    let page = first_page(disk, name)?;
    Ok(match SegmentHeader::decode(&page) {
        Ok(header) => header.life.store == store,
        Err(BadSegmentHeader::Version(_)) => false,
        Err(BadSegmentHeader::Invalid) => page.iter().all(|byte| *byte == 0),
    })
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use super::*;
    use crate::engine::base::lsn::{Incarnation, Life, Lsn};
    use crate::engine::disk::SimDisk;
    use crate::engine::log::format::segment_name;

    const STORE: StoreId = StoreId(*b"a store of tests");
    const S: u64 = 64 << 10;

    #[test]
    fn a_segment_is_recognised_by_its_header() {
        let disk = SimDisk::new();
        let header = |store, number| {
            let life = Life::of_version_1(store, Incarnation::new(1));
            let sync_line = Lsn::ZERO;
            SegmentHeader { life, number, segment_bytes: S, sync_line, made_bytes: 0 }.encode()
        };
        let far = u64::MAX;
        let files: [(u64, Vec<u8>); 8] = [
            (1, header(STORE, 1)),
            (2, header(STORE, 1)), // being recycled
            (3, vec![0; 5000]),    // being made
            (4, vec![]),
            (5, b"a letter".to_vec()),
            (6, header(StoreId([1; 16]), 6)),
            (7, [vec![1], header(STORE, 7)].concat()),
            (far, b"a letter".to_vec()),
        ];
        for (number, bytes) in &files {
            disk.write_file(&segment_name(*number), bytes);
        }
        let found = Segments::find(&disk, STORE).unwrap();
        assert_eq!(found.own, [1, 2, 3, 4]);
        assert_eq!(found.foreign, [5, 6, 7, far]);
        let geometry = Geometry::new(S);
        assert_eq!(found.next_after(0, geometry), 8);
        assert_eq!(found.next_after(9, geometry), 10);
        let none = Segments { own: vec![far], foreign: vec![] };
        assert_eq!(none.next_after(0, geometry), 1);
    }
}
