//! Mergeable heaps in one slab: leftist heaps (Crane 1972; Knuth, volume 3, 5.2.3).
//!
//! ```text
//!           (30, p1)              a node is at or before its children, and its right spine is at
//!           /      \              most as long as its left child's: at most log2(n + 1) nodes.
//!      (40, p9)   (31, p4)        Two heaps are melded along their right spines
//!       /
//!   (70, p2)
//! ```
//!
//! Adding, taking out the first and melding are O(log n) each, whatever the heaps' history.

use crate::engine::base::lsn::Lsn;
use crate::engine::space::PageId;

/// No node.
const NONE: u32 = u32::MAX;

/// The end of a version's range, and its page.
pub(super) type Item = (Lsn, PageId);

/// A heap in a slab: the number of its first node.
#[derive(Debug)]
pub(super) struct Heap(u32);

/// A slab of nodes.
#[derive(Debug, Default)]
pub(super) struct Heaps {
    nodes: Vec<Node>,
    /// Nodes in no heap.
    free: Vec<u32>,
}

#[derive(Debug)]
struct Node {
    item: Item,
    left: u32,
    right: u32,
    /// The length of the right spine, in nodes.
    rank: u32,
}

impl Heap {
    /// An empty heap.
    pub(super) fn new() -> Self {
        Heap(NONE)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == NONE
    }
}

impl Heaps {
    /// The first item of a heap.
    pub(super) fn first(&self, heap: &Heap) -> Option<Item> {
        Some(self.nodes.get(heap.0 as usize)?.item)
    }

    pub(super) fn push(&mut self, heap: &mut Heap, item: Item) {
        let node = Node { item, left: NONE, right: NONE, rank: 1 };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        assert_ne!(at, NONE, "more than 2^32 - 1 old versions");
        heap.0 = self.join(heap.0, at);
    }

    /// Takes the first item out.
    pub(super) fn pop(&mut self, heap: &mut Heap) -> Option<Item> {
        let Node { item, left, right, .. } = *self.nodes.get(heap.0 as usize)?;
        self.free.push(heap.0);
        heap.0 = self.join(left, right);
        if self.free.len() == self.nodes.len() {
            *self = Heaps::default(); // gives back the memory of what may have been many nodes
        }
        Some(item)
    }

    /// Moves all items of `other` to `heap`.
    pub(super) fn meld(&mut self, heap: &mut Heap, other: Heap) {
        heap.0 = self.join(heap.0, other.0);
    }

    /// Melds two heaps. Recurses once per node of the two right spines.
    fn join(&mut self, a: u32, b: u32) -> u32 {
        if a == NONE || b == NONE {
            return a.min(b);
        }
        let is_before = self.nodes[a as usize].item <= self.nodes[b as usize].item;
        let (top, other) = if is_before { (a, b) } else { (b, a) };
        let right = self.join(self.nodes[top as usize].right, other);
        let (left_rank, right_rank) = (self.rank(self.nodes[top as usize].left), self.rank(right));
        let node = &mut self.nodes[top as usize];
        node.right = right;
        if left_rank < right_rank {
            std::mem::swap(&mut node.left, &mut node.right);
        }
        node.rank = left_rank.min(right_rank) + 1;
        top
    }

    fn rank(&self, at: u32) -> u32 {
        self.nodes.get(at as usize).map_or(0, |node| node.rank)
    }
}

#[cfg(all(test, not(syncline_shuttle)))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Random pushes, pops and melds of a few heaps, against sets.
    #[test]
    fn melded_heaps_give_their_items_in_order() {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut below = |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % n
        };
        let mut heaps = Heaps::default();
        let mut all: Vec<(Heap, BTreeSet<Item>)> = Vec::new();
        all.resize_with(6, || (Heap::new(), BTreeSet::new()));
        let mut next = 0;
        for round in 0..40_000 {
            let at = below(6) as usize;
            match below(if round < 20_000 { 8 } else { 4 }) {
                0 => {
                    let (other, items) =
                        std::mem::replace(&mut all[at], (Heap::new(), BTreeSet::new()));
                    let (heap, set) = &mut all[below(6) as usize];
                    heaps.meld(heap, other);
                    set.extend(items);
                }
                1..4 => {
                    let (heap, set) = &mut all[at];
                    assert_eq!(heaps.first(heap), set.first().copied());
                    assert_eq!(heaps.pop(heap), set.pop_first());
                    assert_eq!(heap.is_empty(), set.is_empty());
                }
                _ => {
                    next += 1;
                    let item = (Lsn::new(below(1000)), PageId(next));
                    let (heap, set) = &mut all[at];
                    heaps.push(heap, item);
                    set.insert(item);
                }
            }
        }
        for (mut heap, mut set) in all {
            while let Some(item) = heaps.pop(&mut heap) {
                assert_eq!(Some(item), set.pop_first());
            }
            assert!(set.is_empty());
        }
        assert!(heaps.nodes.is_empty(), "empty heaps keep no memory");
    }

    #[test]
    fn an_ascending_and_a_descending_heap_are_no_deeper_than_others() {
        for descending in [false, true] {
            let (mut heaps, mut heap) = (Heaps::default(), Heap::new());
            for n in 0..100_000 {
                let lsn = Lsn::new(if descending { 100_000 - n } else { n });
                heaps.push(&mut heap, (lsn, PageId(n)));
            }
            assert!(heaps.rank(heap.0) <= 17, "log2 of 100,000");
            let popped: Vec<Item> = std::iter::from_fn(|| heaps.pop(&mut heap)).collect();
            assert!(popped.len() == 100_000 && popped.is_sorted());
        }
    }
}
