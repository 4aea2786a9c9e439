//! Puts whose leaves are changed last, in place if nobody reads them.
//!
//! A batch of rows in random order changes nearly as many leaves as it has rows, and to copy them
//! all is more than a third of its cost. In place they can be changed only while nothing can fail
//! any more (CACHE-7). So rows that are sure to fit into their leaf are noted, the others
//! are put, with copies, splits and whatever else may need memory or the disk; the noted ones come
//! at the end, in place or else as the others.
//!
//! A noted row never replaces a value that is out of line, be it in the leaf or in a row before of
//! the same key: its pages are to be freed, and after the change in place nothing is (CACHE-8).
//!
//! A leaf that is noted stays what it is until then: its fences move only when it is split or
//! merged itself. No row but those noted with it belongs there, and puts merge nothing.

use super::edit::{Outcome, Place, TreeMut, put_here};
use super::node::{Node, NodeMut, Value};
use crate::engine::base::error::Result;
use crate::engine::mutants::mutant;
use crate::engine::space::PageId;

/// Where so many rows go into one leaf, its copy costs less than to look at each of them twice; and
/// the next ones are like them.
const DENSE: usize = 8;

/// Leaves, and the rows that go there.
#[derive(Debug, Default)]
pub(super) struct Later {
    leaves: Vec<PageId>,
    /// The first of the rows of each leaf, and the one after the last.
    rows: Vec<(usize, usize)>,
}

impl Later {
    pub(super) fn clear(&mut self) {
        self.leaves.clear();
        self.rows.clear();
    }
}

/// Rows, by number.
pub(super) trait Rows<'r>: Fn(usize) -> (&'r [u8], Value<'r>) {}

impl<'r, F: Fn(usize) -> (&'r [u8], Value<'r>)> Rows<'r> for F {}

impl TreeMut<'_, '_> {
    /// [`TreeMut::put_sorted`], but for rows that are noted: the group's last change must be
    /// [`TreeMut::put_noted`], which puts those.
    pub(crate) fn put_or_note<'r>(
        &mut self,
        count: usize,
        row: impl Fn(usize) -> (&'r [u8], Value<'r>),
        mut met: impl FnMut(Outcome),
    ) -> Result<()> {
        debug_assert!(self.scratch.later.leaves.is_empty(), "what was noted has been put");
        let (mut next, mut is_sparse) = (0, true);
        while next < count {
            let (leaf, first) = (self.descend(row(next).0)?, next);
            self.fetch_ahead()?;
            if is_sparse {
                next = self.note(leaf, first, count, &row)?;
            }
            if next == first {
                next = self.put_into(leaf, first..count, &row, &mut met)?;
                is_sparse = next - first < DENSE;
            }
        }
        Ok(())
    }

    /// Notes the rows from `first` on that belong into `leaf`, if they are few, sure to fit there as
    /// it is, and no snapshot needs it. Returns the number of the row after them; `first` if they are not noted.
    fn note<'r>(
        &mut self,
        leaf: PageId,
        first: usize,
        count: usize,
        row: &impl Rows<'r>,
    ) -> Result<usize> {
        if !self.group.is_unneeded(leaf) {
            return Ok(first);
        }
        let node = Node::new(self.group.page(leaf)?);
        let (mut room, upper) = (node.free_bytes(), node.upper());
        let mut next = first;
        while next < count {
            let (key, value) = row(next);
            if upper.is_some_and(|upper| upper <= key) {
                break;
            }
            if next - first == DENSE {
                return Ok(first);
            }
            let mut is_repeated = false;
            if next > first {
                let (before, replaced) = row(next - 1);
                is_repeated = before == key;
                if is_repeated
                    && mutant!(ReplacedLongNoted: matches!(replaced, Value::Blob(_)) => false)
                {
                    return Ok(first); // its pages must be freed before readers are kept away (CACHE-8)
                }
            }
            let Some(needed) = needed(node, key, value, is_repeated) else { return Ok(first) };
            let Some(left) = room.checked_sub(needed) else { return Ok(first) };
            (room, next) = (left, next + 1);
        }
        self.scratch.later.leaves.push(leaf);
        self.scratch.later.rows.push((first, next));
        Ok(next)
    }

    /// Puts the rows that were noted, as the last change of the group.
    pub(crate) fn put_noted<'r>(
        &mut self,
        row: impl Fn(usize) -> (&'r [u8], Value<'r>),
        mut met: impl FnMut(Outcome),
    ) -> Result<()> {
        let later = std::mem::take(&mut self.scratch.later);
        let result = self.put_all(&later, &row, &mut met);
        self.scratch.later = later;
        self.scratch.later.clear();
        result
    }

    fn put_all<'r>(
        &mut self,
        later: &Later,
        row: &impl Rows<'r>,
        met: &mut impl FnMut(Outcome),
    ) -> Result<()> {
        if later.leaves.is_empty() {
            return Ok(());
        }
        let is_done = self.group.change_all_in_place(&later.leaves, |at, page| {
            let (first, end) = later.rows[at];
            let mut node = NodeMut::new(page);
            let mut place = Place::Anywhere;
            for (key, value) in (first..end).map(row) {
                let mut outcome = Outcome::Absent;
                place = put_here(&mut node, key, value, place, &mut outcome)
                    .expect("noted rows fit into their leaf");
                met(outcome);
            }
        });
        if is_done {
            return Ok(());
        }
        for &(first, end) in &later.rows {
            self.put_sorted(end - first, |at| row(first + at), &mut *met)?;
        }
        Ok(())
    }
}

/// The bytes that a row takes of what is free in its leaf, at most. `None` if it replaces a value
/// that is out of line in the leaf, whose pages must be freed.
fn needed(node: Node<'_>, key: &[u8], value: Value<'_>, is_repeated: bool) -> Option<usize> {
    match node.search(key) {
        Ok(at) => match node.value(at) {
            Value::Blob(_) => None,
            Value::Inline(old) if old.len() >= value.stored_bytes() && !is_repeated => Some(0),
            Value::Inline(_) => Some(node.record_bytes(key, value)),
        },
        Err(_) => Some(node.record_bytes(key, value)),
    }
}
