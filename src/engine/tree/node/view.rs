//! Reading a node.

use std::cmp::Ordering;

use super::layout::{
    BLOB_REF, GARBAGE, HEADER, HEAP_START, INFINITE, INNER_FRONT, LEAF_FRONT, LOWER_LEN,
    OUT_OF_LINE, PREFIX_LEN, SHARED, SLOT, Slot, UPPER_LEN, head, slot_head,
};
use crate::engine::base::codec::{get_u16, get_u64, put_u64};
use crate::engine::base::lsn::Lsn;
use crate::engine::space::{LEAF, PageId, header};

/// A value as a leaf holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// The value itself, at most [`super::max_inline`] bytes.
    Inline(&'a [u8]),
    /// Where a longer value is.
    Blob(BlobRef),
}

impl Value<'_> {
    /// The bytes that the value takes in a leaf's cell.
    pub(crate) fn stored_bytes(&self) -> usize {
        match self {
            Value::Inline(bytes) => bytes.len(),
            Value::Blob(_) => BLOB_REF,
        }
    }
}

/// A reference to an out-of-line value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BlobRef {
    /// The value's length in bytes.
    pub(crate) bytes: u64,
    /// Its only page, or the root of its index.
    pub(crate) root: PageId,
}

impl BlobRef {
    pub(super) fn encode(self) -> [u8; BLOB_REF] {
        let mut bytes = [0; BLOB_REF];
        put_u64(&mut bytes, 0, self.bytes);
        put_u64(&mut bytes, 8, self.root.0);
        bytes
    }
}

/// A read-only view of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'a>(&'a [u8]);

impl<'a> Node<'a> {
    /// The node in `page`.
    #[inline]
    pub(crate) fn new(page: &'a [u8]) -> Self {
        assert!(page.len() >= HEADER, "a page of {} bytes is too short for a node", page.len());
        Node(page)
    }

    pub(crate) fn kind(self) -> u8 {
        header::kind(self.0)
    }

    #[inline]
    pub(crate) fn is_leaf(self) -> bool {
        header::kind(self.0) == LEAF
    }

    /// 0 for a leaf; for an inner node, one more than its children's level.
    pub(crate) fn level(self) -> u8 {
        header::level(self.0)
    }

    /// The number of slots: of records in a leaf, of children in an inner node.
    #[inline]
    pub(crate) fn count(self) -> usize {
        header::count(self.0)
    }

    pub(crate) fn lsn(self) -> Lsn {
        header::lsn(self.0)
    }

    pub(crate) fn id(self) -> PageId {
        header::page_id(self.0)
    }

    /// The common prefix of all keys from the lower to the upper fence.
    pub(crate) fn prefix(self) -> &'a [u8] {
        &self.lower()[..self.prefix_len()]
    }

    /// The lower fence: no key in this node is below it. Empty at the left edge of the tree.
    pub(crate) fn lower(self) -> &'a [u8] {
        &self.0[self.0.len() - self.field(LOWER_LEN)..]
    }

    /// The upper fence: all keys in this node are below it. `None` at the right edge of the tree.
    pub(crate) fn upper(self) -> Option<&'a [u8]> {
        let end = self.0.len() - self.field(LOWER_LEN);
        let len = get_u16(self.0, UPPER_LEN);
        (len != INFINITE).then(|| &self.0[end - usize::from(len)..end])
    }

    /// The slot of `key` in this leaf; otherwise `Err` with the slot at which it would be inserted.
    ///
    /// For a key outside the fences the result is meaningless.
    #[inline]
    pub(crate) fn search(self, key: &[u8]) -> Result<usize, usize> {
        debug_assert!(self.is_leaf());
        self.position(self.slots(), LEAF_FRONT, self.beyond_prefix(key))
    }

    /// Whether `key` is above all keys of this leaf, which must not be empty.
    #[inline]
    pub(crate) fn is_beyond_last(self, key: &[u8]) -> bool {
        self.suffix(self.count() - 1) < self.beyond_prefix(key)
    }

    /// Which child of this inner node has `key` within its fences: the last one whose separator is not
    /// above it. For a key outside the fences, some child.
    #[inline]
    pub(crate) fn child_index(self, key: &[u8]) -> usize {
        debug_assert!(!self.is_leaf());
        // Slot 0 is below all keys, so it is left out of the search, and a position among the others is
        // one less than the slot's number.
        let separators = self.slots().get(1..).unwrap_or_default();
        match self.position(separators, INNER_FRONT, self.beyond_prefix(key)) {
            Ok(at) => at + 1,
            Err(at) => at,
        }
    }

    /// Child `i` of this inner node.
    #[inline]
    pub(crate) fn child(self, i: usize) -> PageId {
        debug_assert!(!self.is_leaf());
        PageId(get_u64(self.0, self.slot(i).offset))
    }

    /// Key `i` without the prefix. Empty for child 0, whose key is the lower fence.
    #[inline]
    pub(crate) fn suffix(self, i: usize) -> &'a [u8] {
        let slot = self.slot(i);
        self.suffix_of(slot, self.front())
    }

    /// Appends the whole of key `i` to `out`. The key of child 0 is the lower fence.
    pub(crate) fn append_key(self, i: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.prefix());
        out.extend_from_slice(self.routing_suffix(i));
    }

    /// The length of key `i`.
    pub(crate) fn key_len(self, i: usize) -> usize {
        self.prefix_len() + self.routing_suffix(i).len()
    }

    /// Value `i` of this leaf.
    #[inline]
    pub(crate) fn value(self, i: usize) -> Value<'a> {
        debug_assert!(self.is_leaf());
        let slot = self.slot(i);
        let word = get_u16(self.0, slot.offset);
        let at = slot.offset + LEAF_FRONT + slot.suffix_len;
        if word & OUT_OF_LINE == 0 {
            Value::Inline(&self.0[at..at + usize::from(word)])
        } else {
            Value::Blob(BlobRef {
                bytes: get_u64(self.0, at),
                root: PageId(get_u64(self.0, at + 8)),
            })
        }
    }

    /// The bytes that new slots and cells can take, after compaction if needed.
    pub(crate) fn free_bytes(self) -> usize {
        self.gap() + self.garbage()
    }

    /// The bytes that a record would take in this leaf, where its key belongs.
    pub(crate) fn record_bytes(self, key: &[u8], value: Value<'_>) -> usize {
        debug_assert!(self.is_leaf());
        SLOT + LEAF_FRONT + (key.len() - self.prefix_len()) + value.stored_bytes()
    }

    /// The bytes that header, slots, cells and fences take.
    pub(crate) fn used_bytes(self) -> usize {
        self.0.len() - self.free_bytes()
    }
}

/// The parts of a node, for the sibling modules.
impl<'a> Node<'a> {
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.0
    }

    #[inline]
    fn field(self, at: usize) -> usize {
        usize::from(get_u16(self.0, at))
    }

    #[inline]
    pub(super) fn prefix_len(self) -> usize {
        self.field(PREFIX_LEN)
    }

    /// How many first bytes all suffixes share and heads skip.
    #[inline]
    pub(super) fn shared(self) -> usize {
        self.field(SHARED)
    }

    /// The first slot that stores a key: child 0 of an inner node stores none.
    pub(super) fn first_key(self) -> usize {
        usize::from(!self.is_leaf())
    }

    pub(super) fn garbage(self) -> usize {
        self.field(GARBAGE)
    }

    pub(super) fn heap_start(self) -> usize {
        self.field(HEAP_START)
    }

    /// Where the cells end and the fences begin.
    pub(super) fn heap_end(self) -> usize {
        self.0.len() - self.fence_bytes()
    }

    pub(super) fn fence_bytes(self) -> usize {
        self.lower().len() + self.upper().map_or(0, <[u8]>::len)
    }

    pub(super) fn slots_end(self) -> usize {
        HEADER + SLOT * self.count()
    }

    /// The bytes between the slots and the cells.
    pub(super) fn gap(self) -> usize {
        self.heap_start() - self.slots_end()
    }

    #[inline]
    fn slots(self) -> &'a [[u8; SLOT]] {
        let (slots, _) = self.0[HEADER..HEADER + SLOT * self.count()].as_chunks();
        slots
    }

    #[inline]
    pub(super) fn slot(self, i: usize) -> Slot {
        Slot::decode(&self.slots()[i])
    }

    /// Bytes in front of the suffix in this node's cells.
    #[inline]
    pub(super) fn front(self) -> usize {
        if self.is_leaf() { LEAF_FRONT } else { INNER_FRONT }
    }

    /// Bytes of cell `i`, without its slot.
    pub(super) fn cell_bytes(self, i: usize) -> usize {
        self.front() + self.slot(i).suffix_len + self.back(i).len()
    }

    /// The bytes in front of the suffix in cell `i`.
    pub(super) fn front_of(self, i: usize) -> &'a [u8] {
        &self.0[self.slot(i).offset..][..self.front()]
    }

    /// The bytes behind the suffix in cell `i`.
    pub(super) fn back(self, i: usize) -> &'a [u8] {
        if !self.is_leaf() {
            return &[];
        }
        let slot = self.slot(i);
        let word = get_u16(self.0, slot.offset);
        let len = if word & OUT_OF_LINE == 0 { usize::from(word) } else { BLOB_REF };
        &self.0[slot.offset + LEAF_FRONT + slot.suffix_len..][..len]
    }

    /// Key `i` without the prefix, also for child 0, whose key is the lower fence.
    pub(super) fn routing_suffix(self, i: usize) -> &'a [u8] {
        if i == 0 && !self.is_leaf() { &self.lower()[self.prefix_len()..] } else { self.suffix(i) }
    }

    #[inline]
    fn suffix_of(self, slot: Slot, front: usize) -> &'a [u8] {
        &self.0[slot.offset + front..][..slot.suffix_len]
    }

    /// `key`, which is between the fences, without the prefix.
    #[inline]
    fn beyond_prefix(self, key: &'_ [u8]) -> &[u8] {
        debug_assert!(key.starts_with(self.prefix()), "the key belongs to another node");
        key.get(self.prefix_len()..).unwrap_or_default()
    }

    /// The position of `suffix` in `slots`, whose cells have `front` bytes in front of their suffixes;
    /// otherwise `Err` with where it would be inserted.
    #[inline]
    fn position(self, slots: &[[u8; SLOT]], front: usize, suffix: &[u8]) -> Result<usize, usize> {
        // 1. Compare the shared bytes. As a rule there are none.
        let (shared, mut rest) = (self.shared(), suffix);
        if shared > 0 {
            match self.compare_shared(slots, front, suffix) {
                Ordering::Less => return Err(0),
                Ordering::Equal => rest = &suffix[shared..],
                Ordering::Greater => return Err(slots.len()),
            }
        }

        // 2. Find the end of the heads that are not above this one. The standard library's search has
        //    no branch that depends on the comparison.
        let head = head(rest);
        let end = slots.partition_point(|slot| slot_head(slot) <= head);

        // 3. If no head is equal, return without touching a cell.
        if end == 0 || slot_head(&slots[end - 1]) != head {
            return Err(end);
        }

        // 4. As a rule one is equal, and its cell decides; otherwise search among the equal ones.
        let mut start = end - 1;
        if start > 0 && slot_head(&slots[start - 1]) == head {
            start = slots[..start].partition_point(|slot| slot_head(slot) < head);
        }
        let found = slots[start..end]
            .binary_search_by(|slot| self.compare_tail(Slot::decode(slot), front, shared, rest));
        match found {
            Ok(at) => Ok(start + at),
            Err(at) => Err(start + at),
        }
    }

    /// Compares the start of `suffix` with the bytes that all suffixes of `slots` share. `Less` and
    /// `Greater` hold for all of them; `Equal` means that `suffix` begins with the shared bytes.
    #[inline(never)]
    fn compare_shared(self, slots: &[[u8; SLOT]], front: usize, suffix: &[u8]) -> Ordering {
        let Some(first) = slots.first() else { return Ordering::Less };
        let shared = &self.suffix_of(Slot::decode(first), front)[..self.shared()];
        suffix[..shared.len().min(suffix.len())].cmp(shared)
    }

    /// Compares the suffix of `slot`, without the `shared` bytes, with `rest`, which has the same
    /// head.
    #[inline]
    fn compare_tail(self, slot: Slot, front: usize, shared: usize, rest: &[u8]) -> Ordering {
        let len = slot.suffix_len - shared;
        // If one is no longer than a head, the other begins with it and zeros: the shorter one is less,
        // and the cell need not be touched.
        if len <= 4 || rest.len() <= 4 {
            return len.cmp(&rest.len());
        }
        self.suffix_of(slot, front)[shared + 4..].cmp(&rest[4..])
    }
}
