//! Splitting a full node, and merging two neighbours.

use super::edit::NodeMut;
use super::layout::{HEADER, SLOT, common, max_key};
use super::view::Node;
use crate::engine::space::PageId;

/// A merge may fill its page up to this: the next inserts would soon split a fuller node again.
const MERGED_FILL_PERCENT: usize = 75;

/// The cell for which a node had no room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending<'a> {
    /// The slot that it would have had.
    pub(crate) at: usize,
    pub(crate) key: &'a [u8],
    /// Its value's [`super::Value::stored_bytes`]; in an inner node 0.
    pub(crate) value_bytes: usize,
}

/// Splits the node in `page`, which has no room for `pending`: the left node keeps the page and its id,
/// the right node is made in `right` and has the id `right_id`. Sets `separator`, the upper fence of the
/// left node and the lower fence of the right.
///
/// Afterwards `pending` fits in the node where it belongs: left if its key is below `separator`,
/// otherwise right. Its slot there must be searched anew. In an inner node `separator` is not the
/// key of `pending`.
///
/// The nodes get about half of the bytes each. The exception is the right edge of the tree: a pending
/// cell behind all others hints at ascending keys, and the left node stays full. Between leaves the
/// separator is the shortest key that divides them. `scratch` is overwritten.
pub(crate) fn split(
    page: &mut [u8],
    right: &mut [u8],
    right_id: PageId,
    pending: Pending<'_>,
    separator: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
) {
    assert!(page.len() == right.len(), "pages have one size");
    scratch.clear();
    scratch.extend_from_slice(page);
    let old = Node::new(scratch);
    let all = Cells { old, pending };

    // 1. Choose where to divide: the preferred position that leaves room on both sides.
    //    There is one (`layout::prove_split`).
    let at = all.choose(separator);

    // 2. The pending cell was counted, but the caller inserts it.
    let old_at = if at > pending.at { at - 1 } else { at };

    let (kind, level, lsn) = (old.kind(), old.level(), old.lsn());
    NodeMut::init(page, kind, level, lsn, old.id(), old.lower(), Some(separator))
        .append(old, 0, old_at);
    NodeMut::init(right, kind, level, lsn, right_id, separator, old.upper()).append(
        old,
        old_at,
        old.count(),
    );
}

/// Whether the neighbours `left` and `right`, children of one parent, can become one node with
/// room to spare, or at all if one of them is empty.
pub(crate) fn can_merge(left: Node<'_>, right: Node<'_>) -> bool {
    // An empty node is merged whenever the other one can take over its key range.
    let percent = if left.count().min(right.count()) == 0 { 100 } else { MERGED_FILL_PERCENT };
    let limit = left.bytes().len() * percent / 100;
    left.kind() == right.kind() && merged_bytes(left, right) <= limit
}

/// Moves the cells and the key range of `right` to its left neighbour in `left`. The caller removes
/// `right` from the parent. `scratch` is overwritten.
pub(crate) fn merge(left: &mut [u8], right: &[u8], scratch: &mut Vec<u8>) {
    scratch.clear();
    scratch.extend_from_slice(left);
    let (old, right) = (Node::new(scratch), Node::new(right));
    assert!(old.upper() == Some(right.lower()), "only neighbours are merged");
    assert!(old.level() == right.level(), "only nodes of one level are merged");

    let lsn = old.lsn().max(right.lsn());
    let (lower, upper) = (old.lower(), right.upper());
    let mut node = NodeMut::init(left, old.kind(), old.level(), lsn, old.id(), lower, upper);
    node.append(old, 0, old.count());
    node.append(right, 0, right.count());
}

/// [`Node::used_bytes`] of the merged node.
fn merged_bytes(left: Node<'_>, right: Node<'_>) -> usize {
    let prefix = right.upper().map_or(0, |upper| common(left.lower(), upper));
    let fences = left.lower().len() + right.upper().map_or(0, <[u8]>::len);
    let cells = |node: Node<'_>| {
        node.used_bytes() - HEADER - node.fence_bytes()
            + node.count() * (node.prefix_len() - prefix)
    };
    let mut bytes = HEADER + fences + cells(left) + cells(right);
    if !left.is_leaf() {
        // Child 0 of the left node still has no suffix; child 0 of the right node gets one.
        bytes -= left.prefix_len() - prefix;
        bytes += right.lower().len() - right.prefix_len();
    }
    bytes
}

/// The cells of a node with the pending one among them, as if there were room.
struct Cells<'a> {
    old: Node<'a>,
    pending: Pending<'a>,
}

impl Cells<'_> {
    fn count(&self) -> usize {
        self.old.count() + 1
    }

    /// Bytes of cell `i` with its slot.
    fn bytes(&self, i: usize) -> usize {
        let (old, pending) = (self.old, &self.pending);
        if i == pending.at {
            let suffix = pending.key.len() - old.prefix_len();
            return SLOT + old.front() + suffix + pending.value_bytes;
        }
        SLOT + old.cell_bytes(if i < pending.at { i } else { i - 1 })
    }

    /// Key `i` without the prefix.
    fn suffix(&self, i: usize) -> &[u8] {
        let (old, pending) = (self.old, &self.pending);
        if i == pending.at {
            return &pending.key[old.prefix_len()..];
        }
        old.routing_suffix(if i < pending.at { i } else { i - 1 })
    }

    /// The number of cells for the left node, at least 1 and not all. Sets `separator`.
    fn choose(&self, separator: &mut Vec<u8>) -> usize {
        let total: usize = (0..self.count()).map(|i| self.bytes(i)).sum();
        let last = self.count() - 1;
        let ascending = self.pending.at == last && self.old.upper().is_none();
        let start = if ascending { last } else { self.middle(total) };

        // Outward from the start, nearest first.
        for distance in 0..=last {
            let after = (distance > 0).then_some(start + distance);
            for at in [start.checked_sub(distance), after].into_iter().flatten() {
                if (1..=last).contains(&at) && self.is_possible(at, total, separator) {
                    return at;
                }
            }
        }
        panic!("one split is enough, but {:?} cannot be split", self.old.id());
    }

    /// The position nearest to half of the bytes.
    fn middle(&self, total: usize) -> usize {
        let (mut at, mut left) = (0, 0);
        while left < total / 2 {
            left += self.bytes(at);
            at += 1;
        }
        // One less may be nearer.
        let over = left - total / 2;
        if at > 1 && 2 * over > self.bytes(at - 1) { at - 1 } else { at }
    }

    /// Whether the cells below `at` fit in a left node and the others in a right one. Counts the present
    /// suffixes: the new prefixes are not shorter.
    fn is_possible(&self, at: usize, total: usize, separator: &mut Vec<u8>) -> bool {
        if !self.old.is_leaf() && at == self.pending.at {
            // The pending child would be child 0 of the right node, which cannot be inserted.
            return false;
        }
        self.write_separator(at, separator);
        let (old, left) = (self.old, (0..at).map(|i| self.bytes(i)).sum::<usize>());
        let room = old.bytes().len() - HEADER - separator.len();
        let upper = old.upper().map_or(0, <[u8]>::len);
        left + old.lower().len() <= room && total - left + upper <= room
    }

    /// The separator for a split before cell `at`: in an inner node its key, in a leaf the shortest
    /// beginning of it that is above the previous key.
    fn write_separator(&self, at: usize, separator: &mut Vec<u8>) {
        let suffix = self.suffix(at);
        let len =
            if self.old.is_leaf() { common(self.suffix(at - 1), suffix) + 1 } else { suffix.len() };
        separator.clear();
        separator.extend_from_slice(self.old.prefix());
        separator.extend_from_slice(&suffix[..len]);
        debug_assert!(separator.len() <= max_key(self.old.bytes().len()));
    }
}
