//! Changing a node.

use super::layout::{
    GARBAGE, HEADER, HEAP_START, INFINITE, LEAF_FRONT, LOWER_LEN, OUT_OF_LINE, PREFIX_LEN, SHARED,
    SLOT, Slot, UPPER_LEN, as_u16, common, head, max_inline, max_key, worth_sharing,
};
use super::view::{Node, Value};
use crate::engine::base::codec::put_u16;
use crate::engine::base::lsn::Lsn;
use crate::engine::space::{INNER, LEAF, PageId, header};

/// There is no room in the node: split it. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// A mutable view of a node.
///
/// Bytes 0 to 3 of the page belong to the cache: nothing here writes them.
#[derive(Debug)]
pub(crate) struct NodeMut<'a>(&'a mut [u8]);

impl<'a> NodeMut<'a> {
    /// The node in `page`.
    pub(crate) fn new(page: &'a mut [u8]) -> Self {
        Node::new(page);
        NodeMut(page)
    }

    /// Makes `page` an empty node for the keys from `lower` to `upper`, which is infinite if
    /// `None`.
    pub(crate) fn init(
        page: &'a mut [u8],
        kind: u8,
        level: u8,
        lsn: Lsn,
        id: PageId,
        lower: &[u8],
        upper: Option<&[u8]>,
    ) -> Self {
        assert!(kind == LEAF && level == 0 || kind == INNER && level > 0, "a node has a level");
        assert!(upper.is_none_or(|upper| lower < upper), "a node's fences are in order");
        let longest = lower.len().max(upper.map_or(0, <[u8]>::len));
        assert!(longest <= max_key(page.len()), "a fence of {longest} bytes is too long");

        let (lower_at, cache_word) = (page.len() - lower.len(), page[..4].to_owned());
        let heap_end = lower_at - upper.map_or(0, <[u8]>::len);
        header::init(page, kind, level, lsn, id);
        page[..4].copy_from_slice(&cache_word);
        put_u16(page, HEAP_START, as_u16(heap_end));
        put_u16(page, GARBAGE, 0);
        put_u16(page, PREFIX_LEN, as_u16(upper.map_or(0, |upper| common(lower, upper))));
        put_u16(page, LOWER_LEN, as_u16(lower.len()));
        put_u16(page, UPPER_LEN, upper.map_or(INFINITE, |upper| as_u16(upper.len())));
        page[SHARED..HEADER].fill(0);
        page[lower_at..].copy_from_slice(lower);
        page[heap_end..lower_at].copy_from_slice(upper.unwrap_or_default());
        NodeMut(page)
    }

    pub(crate) fn view(&self) -> Node<'_> {
        Node::new(self.0)
    }

    /// Inserts a record at `i` in this leaf, where [`Node::search`] says it belongs.
    ///
    /// # Errors
    /// [`Full`]: split the node first.
    pub(crate) fn insert(&mut self, i: usize, key: &[u8], value: Value<'_>) -> Result<(), Full> {
        debug_assert!(self.view().is_leaf());
        let suffix = self.suffix_of(i, key);
        self.check_value(value);
        let (word, reference);
        let back = match value {
            Value::Inline(bytes) => {
                word = as_u16(bytes.len());
                bytes
            }
            Value::Blob(blob) => {
                word = OUT_OF_LINE;
                reference = blob.encode();
                &reference
            }
        };
        let cell = Cell { front: &word.to_le_bytes(), lead: &[], suffix, back };
        self.make_room(&cell)?;
        self.limit_shared(suffix);
        self.place(i, &cell);
        Ok(())
    }

    /// Gives record `i` of this leaf another value, in place if that is not longer.
    ///
    /// # Errors
    /// [`Full`]: remove the record and insert it anew, which fails with the slot for the split.
    pub(crate) fn replace(&mut self, i: usize, value: Value<'_>) -> Result<(), Full> {
        debug_assert!(self.view().is_leaf());
        self.check_value(value);
        let (slot, old) = (self.view().slot(i), self.view().back(i).len());
        let new = value.stored_bytes();
        if new > old {
            return self.replace_by_longer(i, value);
        }
        let at = slot.offset + LEAF_FRONT + slot.suffix_len;
        match value {
            Value::Inline(bytes) => {
                put_u16(self.0, slot.offset, as_u16(new));
                self.0[at..at + new].copy_from_slice(bytes);
            }
            Value::Blob(blob) => {
                put_u16(self.0, slot.offset, OUT_OF_LINE);
                self.0[at..at + new].copy_from_slice(&blob.encode());
            }
        }
        self.add_garbage(old - new);
        Ok(())
    }

    /// Removes record `i` from this leaf.
    pub(crate) fn remove(&mut self, i: usize) {
        debug_assert!(self.view().is_leaf());
        self.remove_slot(i);
    }

    /// Inserts a child at `i` in this inner node, for the keys from `separator` to the next one.
    /// Child 0 is only ever inserted into an empty node. Its separator is the lower fence: the argument
    /// is ignored.
    ///
    /// # Errors
    /// [`Full`]: split the node first.
    pub(crate) fn insert_child(
        &mut self,
        i: usize,
        separator: &[u8],
        child: PageId,
    ) -> Result<(), Full> {
        debug_assert!(!self.view().is_leaf());
        assert!(child != PageId::NONE, "page 0 is no child");
        assert!(i > 0 || self.view().count() == 0, "no child comes before child 0");
        let suffix = if i == 0 { &[] } else { self.suffix_of(i, separator) };
        let cell = Cell { front: &child.0.to_le_bytes(), lead: &[], suffix, back: &[] };
        self.make_room(&cell)?;
        if i > 0 {
            self.limit_shared(suffix);
        }
        self.place(i, &cell);
        Ok(())
    }

    /// Removes child `i` from this inner node. Its keys now belong to the child before it; those
    /// of child 0, to the one that was child 1.
    pub(crate) fn remove_child(&mut self, i: usize) {
        debug_assert!(!self.view().is_leaf());
        self.remove_slot(i);
        if i == 0 && self.view().count() > 0 {
            let first = self.view().slot(0);
            self.set_slot(0, Slot { head: 0, suffix_len: 0, ..first });
            self.add_garbage(first.suffix_len);
        }
    }

    /// Makes `child` the child `i` of this inner node, and keeps the separator.
    #[cfg(test)]
    pub(crate) fn set_child(&mut self, i: usize, child: PageId) {
        debug_assert!(!self.view().is_leaf());
        assert!(child != PageId::NONE, "page 0 is no child");
        let at = self.view().slot(i).offset;
        self.0[at..at + super::layout::INNER_FRONT].copy_from_slice(&child.0.to_le_bytes());
    }

    /// Compacts the cells, so that there is no garbage.
    pub(crate) fn compact(&mut self) {
        if self.view().garbage() == 0 {
            return;
        }
        let old = self.0.to_vec();
        let old = Node::new(&old);
        let mut at = old.heap_end();
        for i in 0..old.count() {
            let (slot, len) = (old.slot(i), old.cell_bytes(i));
            at -= len;
            self.0[at..at + len].copy_from_slice(&old.bytes()[slot.offset..][..len]);
            self.set_slot(i, Slot { offset: at, ..slot });
        }
        put_u16(self.0, HEAP_START, as_u16(at));
        put_u16(self.0, GARBAGE, 0);
    }
}

/// Copies the node in `src` to `dst`, a page of the same size, except the free space between slots and
/// cells. Bytes 0 to 3 of `dst` belong to the cache, and are not copied either.
pub(crate) fn copy_used(src: &[u8], dst: &mut [u8]) {
    assert!(src.len() == dst.len(), "pages have one size");
    let node = Node::new(src);
    let (slots_end, heap_start) = (node.slots_end(), node.heap_start());
    dst[4..slots_end].copy_from_slice(&src[4..slots_end]);
    dst[heap_start..].copy_from_slice(&src[heap_start..]);
}

/// The parts of a new cell, one after the other. The suffix is `lead` and `suffix`.
struct Cell<'a> {
    front: &'a [u8],
    lead: &'a [u8],
    suffix: &'a [u8],
    back: &'a [u8],
}

impl Cell<'_> {
    fn suffix_len(&self) -> usize {
        self.lead.len() + self.suffix.len()
    }

    fn bytes(&self) -> usize {
        self.front.len() + self.suffix_len() + self.back.len()
    }
}

impl NodeMut<'_> {
    /// Appends the cells `from..to` of `old`, whose keys are above all keys of this node and within its
    /// fences. The prefixes of both nodes may differ.
    pub(super) fn append(&mut self, old: Node<'_>, from: usize, to: usize) {
        self.set_shared(0);
        let (old_prefix, prefix_len) = (old.prefix(), self.view().prefix_len());
        for i in from..to {
            let at = self.view().count();
            let (mut lead, mut suffix) = (&[][..], &[][..]);
            if at > 0 || self.view().is_leaf() {
                lead = old_prefix.get(prefix_len..).unwrap_or_default();
                suffix = &old.routing_suffix(i)[prefix_len.saturating_sub(old_prefix.len())..];
            }
            let cell = Cell { front: old.front_of(i), lead, suffix, back: old.back(i) };
            self.make_room(&cell).expect("a split or merge counts the bytes first");
            self.place(at, &cell);
        }
        let node = self.view();
        if node.count() > node.first_key() {
            let (first, last) = (node.suffix(node.first_key()), node.suffix(node.count() - 1));
            self.set_shared(worth_sharing(common(first, last)));
        }
    }

    /// `key` without the prefix, to be inserted at `i`.
    fn suffix_of<'k>(&self, i: usize, key: &'k [u8]) -> &'k [u8] {
        let node = self.view();
        assert!(key.len() <= max_key(self.0.len()), "a key of {} bytes is too long", key.len());
        debug_assert!(key.starts_with(node.prefix()), "the key belongs to another node");
        let suffix = &key[node.prefix_len()..];
        debug_assert!(i == 0 || node.routing_suffix(i - 1) < suffix, "keys ascend");
        debug_assert!(i == node.count() || suffix < node.routing_suffix(i), "keys ascend");
        suffix
    }

    fn check_value(&self, value: Value<'_>) {
        if let Value::Inline(bytes) = value {
            let len = bytes.len();
            assert!(len <= max_inline(self.0.len()), "a value of {len} bytes is too long");
        }
    }

    fn replace_by_longer(&mut self, i: usize, value: Value<'_>) -> Result<(), Full> {
        if self.view().free_bytes() + self.view().back(i).len() < value.stored_bytes() {
            return Err(Full);
        }
        let mut key = Vec::with_capacity(self.view().key_len(i));
        self.view().append_key(i, &mut key);
        self.remove_slot(i);
        self.insert(i, &key, value)
    }

    /// Makes room between the slots and the heap for `cell` and its slot.
    fn make_room(&mut self, cell: &Cell<'_>) -> Result<(), Full> {
        let needed = SLOT + cell.bytes();
        if self.view().gap() < needed {
            if self.view().free_bytes() < needed {
                return Err(Full);
            }
            self.compact();
        }
        Ok(())
    }

    /// Limits the bytes that heads skip to those shared with `suffix`, which is about to be inserted.
    fn limit_shared(&mut self, suffix: &[u8]) {
        let (node, shared) = (self.view(), self.view().shared());
        if node.count() == node.first_key() {
            self.set_shared(worth_sharing(suffix.len()));
        } else if shared > 0 {
            let common = common(suffix, node.suffix(node.first_key()));
            self.set_shared(worth_sharing(common.min(shared)));
        }
    }

    /// Makes all heads skip `shared` bytes, which all suffixes share.
    fn set_shared(&mut self, shared: usize) {
        if self.view().shared() == shared {
            return;
        }
        put_u16(self.0, SHARED, as_u16(shared));
        for i in self.view().first_key()..self.view().count() {
            let (slot, head) = (self.view().slot(i), head(&self.view().suffix(i)[shared..]));
            self.set_slot(i, Slot { head, ..slot });
        }
    }

    /// Puts `cell` into the heap, with slot `i` for it. There is room.
    fn place(&mut self, i: usize, cell: &Cell<'_>) {
        let offset = self.view().heap_start() - cell.bytes();
        let mut at = offset;
        for part in [cell.front, cell.lead, cell.suffix, cell.back] {
            self.0[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        put_u16(self.0, HEAP_START, as_u16(offset));

        let (slot_at, slots_end) = (HEADER + SLOT * i, self.view().slots_end());
        self.0.copy_within(slot_at..slots_end, slot_at + SLOT);
        let suffix = &self.0[offset + cell.front.len()..][..cell.suffix_len()];
        // Only child 0 of an inner node may have a suffix shorter than what the others share.
        let head = head(suffix.get(self.view().shared()..).unwrap_or_default());
        self.set_slot(i, Slot { head, offset, suffix_len: suffix.len() });
        let count = self.view().count() + 1;
        header::set_count(self.0, count);
    }

    /// Removes slot `i`, and frees its cell.
    fn remove_slot(&mut self, i: usize) {
        let node = self.view();
        let (slot, bytes, count) = (node.slot(i), node.cell_bytes(i), node.count());
        let (heap_start, heap_end, slots_end) =
            (node.heap_start(), node.heap_end(), node.slots_end());
        self.0.copy_within(HEADER + SLOT * (i + 1)..slots_end, HEADER + SLOT * i);
        header::set_count(self.0, count - 1);
        if count == 1 {
            put_u16(self.0, HEAP_START, as_u16(heap_end));
            put_u16(self.0, GARBAGE, 0);
        } else if slot.offset == heap_start {
            put_u16(self.0, HEAP_START, as_u16(heap_start + bytes));
        } else {
            self.add_garbage(bytes);
        }
        if count - 1 <= self.view().first_key() {
            put_u16(self.0, SHARED, 0);
        }
    }

    fn add_garbage(&mut self, bytes: usize) {
        let garbage = self.view().garbage() + bytes;
        put_u16(self.0, GARBAGE, as_u16(garbage));
    }

    fn set_slot(&mut self, i: usize, slot: Slot) {
        let at = HEADER + SLOT * i;
        self.0[at..at + SLOT].copy_from_slice(&slot.encode());
    }
}
