//! A node of the tree: sorted cells in a slotted page.
//!
//! ```text
//!  0        40                                                                page size
//!  +--------+---------+------------>            <-------------------+-------+-------+
//!  | header | slot 0  | slot 1 ...    free space    .. cells ..     | upper | lower |
//!  +--------+---------+------------>            <-------------------+-------+-------+
//!                                               ^ heap start
//! ```
//!
//! A node holds the keys from its **lower fence** (inclusive) to its **upper fence** (exclusive);
//! the fences of neighbours meet. All keys between them begin with what the fences have in common,
//! the **prefix**, so only the rest of each key, its **suffix**, is stored. Slots are sorted by
//! key, cells lie in any order. A slot carries the first four bytes of its suffix as a number, the
//! **head**: the binary search runs over the dense slot array and touches a cell only where heads
//! are equal, as a rule once per lookup in a leaf and never in an inner node.
//!
//! Fences may have less in common than the keys between them, above all at the right edge of the
//! tree, where the upper fence is infinite: there all heads would be equal. So if all suffixes
//! **share** four bytes or more, heads are taken from the bytes after these. The shared bytes are still
//! stored, since a later key may not begin with them.
//!
//! Nothing here does I/O, and reading never allocates. [`Node`] reads a page, [`NodeMut`] changes
//! one, [`split()`] and [`merge()`] move cells between two.
//!
//! # Format
//!
//! Little-endian. Bytes 0 to 23 are the header of every page ([`crate::engine::space::header`]).
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 24 | 2 | heap start: the lowest offset in use by cells or fences |
//! | 26 | 2 | garbage: bytes between heap start and the fences that belong to no cell |
//! | 28 | 2 | length of the prefix |
//! | 30 | 2 | length of the lower fence, which ends at the page's end |
//! | 32 | 2 | length of the upper fence, which ends where the lower begins; 0xFFFF: infinite |
//! | 34 | 2 | shared: the length of the beginning of all suffixes that heads skip |
//! | 36 | 4 | zero |
//! | 40 | 8 each | slots |
//!
//! | slot | bytes | field |
//! |---|---|---|
//! | 0 | 4 | head: the first 4 bytes of the suffix beyond the shared ones, padded with zeros, |
//! | | | as a number of which the first byte is the highest |
//! | 4 | 2 | offset of the cell |
//! | 6 | 2 | length of the suffix |
//!
//! | leaf cell | bytes | field |
//! |---|---|---|
//! | 0 | 2 | length of the value; or 0x8000: the value is out of line |
//! | 2 | s | suffix |
//! | 2 + s | v | value; or, out of line, its length (8) and the page of its index (8) |
//!
//! | inner cell | bytes | field |
//! |---|---|---|
//! | 0 | 8 | page id of the child |
//! | 8 | s | suffix |
//!
//! A page is a valid node iff
//! 1. the page has 4096, 8192, 16384 or 32768 bytes, and bytes 36 to 39 are zero; it is a leaf of
//!    level 0, or an inner node of a higher level with at least one slot;
//! 2. `40 + 8 * count <= heap start`, and every cell lies between heap start and the fences;
//! 3. cells do not overlap, and `garbage` is exactly the bytes between them;
//! 4. `lower < upper`, and the prefix is their longest common prefix (empty if upper is infinite);
//! 5. all suffixes begin with the same `shared` bytes (0 if there are none), and every head is
//!    that of its suffix;
//! 6. keys ascend strictly, `lower <= key < upper`;
//! 7. slot 0 of an inner node has no suffix and head 0, and rule 5 does not count it: its key is
//!    the lower fence; all other keys of the node are above that; children are not page 0;
//! 8. keys and fences are at most [`max_key`] long, inline values at most [`max_inline`].
//!
//! [`Node::check`] decides this without panicking, whatever the bytes. All other functions assume a
//! valid node (the page's checksum ensures it), and may panic on an invalid one.
//!
//! For example, this is a leaf of 4096 bytes between "car" and "cat" (so the prefix is "ca"), page 0x77,
//! LSN 0x1234. It has "car" with an empty value, "carbon" with the value "C" (which was "C6", so that
//! there is a byte of garbage), and "carpet" with 0x10000 bytes out of line at page 0x99:
//!
//! ```text
//!    0  00 00 00 00 01 00 03 00  34 12 00 00 00 00 00 00  77 00 00 00 00 00 00 00
//!   24  d9 0f 01 00 02 00 03 00  03 00 00 00 00 00 00 00
//!   40  00 00 00 72 ef 0f 01 00  slot of "r"
//!   48  6e 6f 62 72 f2 0f 04 00  slot of "rbon"
//!   56  74 65 70 72 d9 0f 04 00  slot of "rpet"
//! 4057  00 80 72 70 65 74  00 00 01 00 00 00 00 00  99 00 00 00 00 00 00 00
//! 4079  00 00 72
//! 4082  01 00 72 62 6f 6e 43 36
//! 4090  63 61 74 63 61 72
//! ```
//!
//! # Left out
//!
//! - Sibling links: a page version must not depend on its neighbours' versions, so scans go
//!   through the parent.
//! - Compression of the bytes that suffixes share beyond the prefix: a key that does not share them would
//!   undo it, and then may not fit.

mod check;
mod edit;
mod layout;
mod split;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use edit::{Full, NodeMut, copy_used};
pub(crate) use layout::{max_inline, max_key};
pub(crate) use split::{Pending, can_merge, merge, split};
pub(crate) use view::{BlobRef, Node, Value};
