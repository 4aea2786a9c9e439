//! Positions in the log, and the watermarks that divide it.
//!
//! An [`Lsn`] is a byte position in an endless log. A commit is named by the LSN at the end of
//! its last record; the same number is a page's version and a snapshot's point in time.
//!
//! ```text
//!   0 ------------ checkpoint ------- durable ------- visible ------- appended --->
//!     in the data       flushed to the     readable          in the mapped log
//!     file                device
//! ```
//!
//! Invariants, for the four watermarks of one incarnation:
//!
//! - LSN-1 `checkpoint <= durable <= appended`
//! - LSN-2 `visible <= appended`
//! - LSN-3 every watermark only grows

use crate::engine::base::sync::atomic::{AtomicU64, Ordering};
use std::fmt;

/// A position in the log, in bytes. Positions only grow, over all incarnations of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

impl Lsn {
    /// The position before every record.
    pub const ZERO: Lsn = Lsn(0);
    /// A position above every record.
    pub const MAX: Lsn = Lsn(u64::MAX);

    /// The position `bytes` from the start of the log.
    pub const fn new(bytes: u64) -> Self {
        Lsn(bytes)
    }

    /// The number of bytes from the start of the log.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of a store, from an open that wrote to the next one. Starts at 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(u32);

impl Incarnation {
    /// The incarnation with this number.
    pub const fn new(number: u32) -> Self {
        Incarnation(number)
    }

    /// The number of this incarnation.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The incarnation after this one.
    pub(crate) fn next(self) -> Self {
        Incarnation(self.0.checked_add(1).expect("fewer than 2^32 incarnations"))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The random id of a store, which is in each of its files.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub(crate) [u8; 16]);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreId({self})")
    }
}

/// The public random id of an incarnation, which is in its tokens. Two copies of a store that are both
/// used have incarnations with equal numbers, but different marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LifeMark(pub(crate) u64);

impl LifeMark {
    /// The mark of an incarnation that began under format version 1.
    pub(crate) const NONE: LifeMark = LifeMark(0);

    pub(crate) fn is_none(self) -> bool {
        self == LifeMark::NONE
    }
}

/// The secret random number of an incarnation, which salts the checksums of its records. It is in the
/// superblock and in the segment headers, and never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) [u8; 16]);

impl Secret {
    /// The secret of an incarnation that began under format version 1, which has none.
    pub(crate) const NONE: Secret = Secret([0; 16]);
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// One life of one store, as its log identifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) store: StoreId,
    pub(crate) incarnation: Incarnation,
    pub(crate) mark: LifeMark,
    pub(crate) secret: Secret,
}

impl Life {
    /// A life that began under format version 1.
    #[cfg(any(test, feature = "cli"))]
    pub(crate) fn of_version_1(store: StoreId, incarnation: Incarnation) -> Life {
        Life { store, incarnation, mark: LifeMark::NONE, secret: Secret::NONE }
    }
}

/// One shared watermark, which only grows (LSN-3).
#[derive(Debug)]
pub(crate) struct Watermark(AtomicU64);

impl Watermark {
    pub(crate) const fn new(at: Lsn) -> Self {
        Watermark(AtomicU64::new(at.0))
    }

    /// Everything written before the watermark moved here is visible to the caller.
    ///
    /// `SeqCst` prevents a lost wake-up. The mover moves the watermark, then looks for sleepers; a
    /// sleeper announces itself, then looks at the watermark. One of them sees the other.
    pub(crate) fn load(&self) -> Lsn {
        Lsn(self.0.load(Ordering::SeqCst))
    }

    /// Like [`Watermark::advance`] but cheaper, for a watermark that nobody waits for. The caller must not
    /// afterwards look at anything that others change once they have seen the watermark.
    pub(crate) fn advance_quietly(&self, to: Lsn) {
        let from = self.0.load(Ordering::Relaxed);
        assert!(from <= to.0, "LSN-3: a watermark fell from {from} to {to}");
        self.0.store(to.0, Ordering::Release);
    }

    /// Moves the watermark, which nobody else may do meanwhile.
    pub(crate) fn advance(&self, to: Lsn) {
        let from = self.0.swap(to.0, Ordering::SeqCst);
        assert!(from <= to.0, "LSN-3: a watermark fell from {from} to {to}");
    }
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use super::*;

    #[test]
    fn positions_incarnations_and_store_ids_are_shown_as_in_messages() {
        assert_eq!(format!("{} {:>4}", Lsn::new(4128), Lsn::new(7)), "4128    7");
        assert_eq!(Incarnation::new(12).to_string(), "12");
        assert_eq!(Incarnation::new(12).next(), Incarnation::new(13));
        let id = StoreId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xd0, 0xe0, 0xff]);
        assert_eq!(id.to_string(), "000102030405060708090a0b0cd0e0ff");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let store = StoreId([7; 16]);
        let secret = Secret([0xa5; 16]);
        let life = Life { secret, ..Life::of_version_1(store, Incarnation::new(3)) };
        for text in [format!("{secret:?}"), format!("{life:?}"), format!("{life:#?}")] {
            assert!(text.contains("Secret(..)"), "{text}");
            for told in ["a5", "165", "A5"] {
                assert!(!text.contains(told), "{text}");
            }
        }
    }

    #[test]
    fn a_watermark_grows_or_stays() {
        let watermark = Watermark::new(Lsn::new(5));
        assert_eq!(watermark.load(), Lsn::new(5));
        watermark.advance(Lsn::new(5));
        watermark.advance(Lsn::new(8));
        assert_eq!(watermark.load(), Lsn::new(8));
        watermark.advance_quietly(Lsn::new(8));
        watermark.advance_quietly(Lsn::new(9));
        assert_eq!(watermark.load(), Lsn::new(9));
    }

    #[test]
    #[should_panic(expected = "LSN-3: a watermark fell from 9 to 8")]
    fn a_watermark_never_falls() {
        Watermark::new(Lsn::new(9)).advance(Lsn::new(8));
    }

    #[test]
    #[should_panic(expected = "LSN-3: a watermark fell from 9 to 8")]
    fn a_watermark_never_falls_quietly() {
        Watermark::new(Lsn::new(9)).advance_quietly(Lsn::new(8));
    }
}
