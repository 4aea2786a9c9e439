//! Checks whether a page is a valid node, for any bytes.

use super::layout::{
    BLOB_REF, HEADER, INFINITE, INNER_FRONT, LEAF_FRONT, LOWER_LEN, MAX_PAGE, MIN_PAGE,
    OUT_OF_LINE, RESERVED, UPPER_LEN, common, head, max_inline, max_key,
};
use super::view::Node;
use crate::engine::base::codec::{get_u16, get_u64};
use crate::engine::space::{INNER, LEAF, PageId};

impl Node<'_> {
    /// Whether this is a valid node, by the list in the module's header. Never panics,
    /// whatever the bytes.
    ///
    /// # Errors
    /// The first rule that is broken, in words.
    pub(crate) fn check(self) -> Result<(), String> {
        self.check_header()?;
        self.check_fences()?;
        self.check_cells()?;
        self.check_keys()
    }

    /// Rule 1.
    fn check_header(self) -> Result<(), String> {
        let page_size = self.bytes().len();
        ensure(page_size.is_power_of_two() && (MIN_PAGE..=MAX_PAGE).contains(&page_size), || {
            format!("a page of {page_size} bytes, expected 4096, 8192, 16384 or 32768")
        })?;
        match (self.kind(), self.level(), self.count()) {
            (LEAF, 0, _) | (INNER, 1.., 1..) => {}
            (kind, level, count) => {
                return Err(format!("kind {kind} at level {level} with {count} slots"));
            }
        }
        ensure(self.bytes()[RESERVED..HEADER] == [0; HEADER - RESERVED], || {
            "the reserved bytes are not zero".to_owned()
        })
    }

    /// Rule 4, and the parts of rules 2 and 8 that concern the fences.
    fn check_fences(self) -> Result<(), String> {
        let page_size = self.bytes().len();
        let lower_len = usize::from(get_u16(self.bytes(), LOWER_LEN));
        let upper_len = match get_u16(self.bytes(), UPPER_LEN) {
            INFINITE => 0,
            len => usize::from(len),
        };
        ensure(lower_len.max(upper_len) <= max_key(page_size), || {
            format!("fences of {lower_len} and {upper_len} bytes")
        })?;
        // From here on the fences can be read: two keys take at most a quarter of the page.
        let common = match self.upper() {
            Some(upper) => {
                ensure(self.lower() < upper, || "the fences are not in order".to_owned())?;
                common(self.lower(), upper)
            }
            None => 0,
        };
        ensure(self.prefix_len() == common, || {
            format!("prefix of {} bytes, but the fences share {common}", self.prefix_len())
        })
    }

    /// Rules 2 and 3, and the limits of rule 8.
    fn check_cells(self) -> Result<(), String> {
        let (start, end) = (self.heap_start(), self.heap_end());
        ensure(self.slots_end() <= start && start <= end, || {
            format!("{} slots, cells from {start} to {end}", self.count())
        })?;
        // The slots are within the page, which bounds this allocation.
        let mut cells = Vec::with_capacity(self.count());
        for i in 0..self.count() {
            cells.push(self.check_cell(i, start, end)?);
        }
        cells.sort_unstable();
        ensure(cells.is_sorted_by(|a, b| a.1 <= b.0), || "cells overlap".to_owned())?;
        ensure(self.count() > 0 || start == end, || "cells without slots".to_owned())?;
        let live: usize = cells.iter().map(|(from, to)| to - from).sum();
        ensure(live + self.garbage() == end - start, || {
            format!(
                "{live} bytes in cells and {} of garbage in a heap of {}",
                self.garbage(),
                end - start
            )
        })
    }

    /// Where cell `i` begins and ends, if that is between `start` and `end`.
    fn check_cell(self, i: usize, start: usize, end: usize) -> Result<(usize, usize), String> {
        let (page_size, slot) = (self.bytes().len(), self.slot(i));
        let front = if self.is_leaf() { LEAF_FRONT } else { INNER_FRONT };
        let suffix_end = slot.offset + front + slot.suffix_len;
        ensure(start <= slot.offset && suffix_end <= end, || {
            format!("cell {i} at {} to {suffix_end} is outside {start} to {end}", slot.offset)
        })?;
        ensure(self.prefix_len() + slot.suffix_len <= max_key(page_size), || {
            format!("key {i} has a suffix of {} bytes", slot.suffix_len)
        })?;
        if !self.is_leaf() {
            let child = PageId(get_u64(self.bytes(), slot.offset));
            ensure(child != PageId::NONE, || format!("child {i} is page 0"))?;
            return Ok((slot.offset, suffix_end));
        }
        let value_len = match get_u16(self.bytes(), slot.offset) {
            OUT_OF_LINE => BLOB_REF,
            len => {
                ensure(usize::from(len) <= max_inline(page_size), || {
                    format!("value {i} has the length {len:#x}")
                })?;
                usize::from(len)
            }
        };
        let cell_end = suffix_end + value_len;
        ensure(cell_end <= end, || format!("value {i} ends at {cell_end}, beyond {end}"))?;
        Ok((slot.offset, cell_end))
    }

    /// Rules 5, 6 and 7. The cells can be read.
    fn check_keys(self) -> Result<(), String> {
        let lower = &self.lower()[self.prefix_len()..];
        let upper = self.upper().map(|upper| &upper[self.prefix_len()..]);
        let mut before: Option<&[u8]> = None;
        let first =
            if self.count() > self.first_key() { self.suffix(self.first_key()) } else { &[] };
        let shared = first
            .get(..self.shared())
            .ok_or_else(|| format!("the suffixes cannot share {} bytes", self.shared()))?;
        for i in 0..self.count() {
            let (slot, suffix) = (self.slot(i), self.suffix(i));
            if i < self.first_key() {
                ensure(suffix.is_empty() && slot.head == 0, || "child 0 has a key".to_owned())?;
                before = Some(lower);
                continue;
            }
            let rest = suffix.strip_prefix(shared);
            ensure(rest.is_some_and(|rest| slot.head == head(rest)), || {
                format!("slot {i} has head {:#x}", slot.head)
            })?;
            ensure(lower <= suffix, || format!("key {i} is below the lower fence"))?;
            ensure(before.is_none_or(|before| before < suffix), || {
                format!("key {i} is not above the one before")
            })?;
            ensure(upper.is_none_or(|upper| suffix < upper), || {
                format!("key {i} is not below the upper fence")
            })?;
            before = Some(suffix);
        }
        Ok(())
    }
}

fn ensure(valid: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if valid { Ok(()) } else { Err(problem()) }
}
