//! Deferred puts: rows whose leaves are changed last, in place if nobody reads them.
//!
//! A batch of rows in random order changes nearly as many leaves as it has rows, and copies of all these
//! leaves take more than a third of its time. A change in place is possible only when nothing can fail
//! any more (CACHE-7). So a batch is put in two passes:
//!
//! 1. Rows that are sure to fit into their leaf are deferred. The others are put, with copies, splits and
//!    all else that may need memory or the disk.
//! 2. The deferred rows are put, in place if possible.
//!
//! A deferred row never replaces an out-of-line value, neither one in the leaf nor one in an earlier row
//! with the same key. Its pages would have to be freed, and a group frees nothing after a change in
//! place (CACHE-8).
//!
//! A leaf with deferred rows does not change before the second pass. Its fences move only if the leaf
//! itself is split or merged; all rows that belong there are deferred, and puts merge nothing.

use super::edit::{InsertHint, PriorValue, TreeMut, put_here};
use super::node::{Node, NodeMut, Value};
use crate::engine::base::error::Result;
use crate::engine::mutants::mutant;
use crate::engine::space::PageId;

/// From about this many rows per leaf on, a copy of the leaf costs less than two passes over its rows. The
/// next leaves are then likely to get as many.
const DENSE: usize = 8;

/// Leaves, and the deferred rows that belong there.
#[derive(Debug, Default)]
pub(super) struct DeferredChanges {
    leaves: Vec<PageId>,
    /// The first row of each leaf, and the one after its last.
    rows: Vec<(usize, usize)>,
}

impl DeferredChanges {
    pub(super) fn clear(&mut self) {
        self.leaves.clear();
        self.rows.clear();
    }
}

/// Rows, by number.
pub(super) trait Rows<'r>: Fn(usize) -> (&'r [u8], Value<'r>) {}

impl<'r, F: Fn(usize) -> (&'r [u8], Value<'r>)> Rows<'r> for F {}

impl TreeMut<'_, '_> {
    /// [`TreeMut::put_sorted`], except that it may defer rows: the group's last change must be
    /// [`TreeMut::put_deferred`], which puts those.
    pub(crate) fn put_or_defer<'r>(
        &mut self,
        count: usize,
        row: impl Fn(usize) -> (&'r [u8], Value<'r>),
        mut met: impl FnMut(PriorValue),
    ) -> Result<()> {
        debug_assert!(self.scratch.deferred.leaves.is_empty(), "deferred rows were never put");
        let (mut next, mut is_sparse) = (0, true);
        while next < count {
            let (leaf, first) = (self.descend(row(next).0)?, next);
            self.fetch_ahead()?;
            if is_sparse {
                next = self.defer(leaf, first, count, &row)?;
            }
            if next == first {
                next = self.put_into(leaf, first..count, &row, &mut met)?;
                is_sparse = next - first < DENSE;
            }
        }
        Ok(())
    }

    /// Defers the rows from `first` on that belong into `leaf`, if they are few and sure to fit, and if no
    /// snapshot needs the leaf. Returns the number of the row after them, or `first` if it defers none.
    fn defer<'r>(
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
                    return Ok(first); // its pages must be freed before readers are excluded (CACHE-8)
                }
            }
            let Some(needed) = needed(node, key, value, is_repeated) else { return Ok(first) };
            let Some(left) = room.checked_sub(needed) else { return Ok(first) };
            (room, next) = (left, next + 1);
        }
        self.scratch.deferred.leaves.push(leaf);
        self.scratch.deferred.rows.push((first, next));
        Ok(next)
    }

    /// Puts the deferred rows, as the last change of the group.
    pub(crate) fn put_deferred<'r>(
        &mut self,
        row: impl Fn(usize) -> (&'r [u8], Value<'r>),
        mut met: impl FnMut(PriorValue),
    ) -> Result<()> {
        let deferred = std::mem::take(&mut self.scratch.deferred);
        let result = self.put_all(&deferred, &row, &mut met);
        self.scratch.deferred = deferred;
        self.scratch.deferred.clear();
        result
    }

    fn put_all<'r>(
        &mut self,
        deferred: &DeferredChanges,
        row: &impl Rows<'r>,
        met: &mut impl FnMut(PriorValue),
    ) -> Result<()> {
        if deferred.leaves.is_empty() {
            return Ok(());
        }
        let is_done = self.group.change_all_in_place(&deferred.leaves, |at, page| {
            let (first, end) = deferred.rows[at];
            let mut node = NodeMut::new(page);
            let mut hint = InsertHint::Anywhere;
            for (key, value) in (first..end).map(row) {
                let mut prior = PriorValue::Absent;
                hint = put_here(&mut node, key, value, hint, &mut prior)
                    .expect("deferred rows fit into their leaf");
                met(prior);
            }
        });
        if is_done {
            return Ok(());
        }
        for &(first, end) in &deferred.rows {
            self.put_sorted(end - first, |at| row(first + at), &mut *met)?;
        }
        Ok(())
    }
}

/// The most free bytes that a row takes in its leaf. `None` if it replaces an out-of-line value of the
/// leaf, whose pages must be freed.
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
