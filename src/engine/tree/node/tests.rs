//! Tests of nodes: a row of neighbours is split and merged as in a tree, and compared with a map.

use std::collections::BTreeMap;

use super::*;
use crate::engine::base::lsn::Lsn;
use crate::engine::base::random::SplitMix64;
use crate::engine::space::{INNER, LEAF, PageId};

const PAGE_SIZES: [usize; 4] = [4096, 8192, 16384, 32768];

/// The first bytes of a page, which belong to the cache: no change of a node may touch them.
const CACHE_WORD: [u8; 4] = [0xCA; 4];

struct Rng(SplitMix64);

impl Rng {
    fn new(seed: u64) -> Self {
        Rng(SplitMix64::new(seed))
    }

    fn below(&mut self, n: usize) -> usize {
        self.0.below(n as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.0.next() as u8).collect()
    }

    /// A key of a difficult kind: runs of one byte, zeros at its end, a long prefix shared with others,
    /// or the beginning of another key.
    fn key(&mut self, max: usize) -> Vec<u8> {
        let mut key = match self.below(8) {
            0 => Vec::new(),
            1 => vec![0xFF; self.below(12)],
            2 => vec![0; self.below(12)],
            3 => b"user/".to_vec(),
            4 => b"user/0000".to_vec(),
            5 => vec![b"\x00a\xff"[self.below(3)]; self.below(max)],
            _ => self.bytes(2),
        };
        for _ in 0..self.below(6) {
            key.push(b"\x00\x01ab\xfe\xff"[self.below(6)]);
        }
        if self.below(10) == 0 {
            let more = self.below(max);
            key.resize(more.max(key.len()), 0);
        }
        key.truncate(max);
        key
    }
}

/// A value to compare with: the bytes of an inline one, or a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Inline(Vec<u8>),
    Blob(BlobRef),
}

impl Owned {
    fn random(rng: &mut Rng, max: usize) -> Self {
        let len = match rng.below(12) {
            0 => return Owned::Blob(BlobRef { bytes: rng.0.next(), root: PageId(rng.0.next()) }),
            1 => max,
            2 => rng.below(max + 1),
            3 => 0,
            _ => rng.below(60),
        };
        Owned::Inline(rng.bytes(len))
    }

    fn value(&self) -> Value<'_> {
        match self {
            Owned::Inline(bytes) => Value::Inline(bytes),
            Owned::Blob(blob) => Value::Blob(*blob),
        }
    }
}

/// The nodes of one level, left to right, which hold all keys between them.
struct Row {
    pages: Vec<Vec<u8>>,
    next_id: u64,
    separator: Vec<u8>,
    scratch: Vec<u8>,
}

impl Row {
    fn new(page_size: usize, kind: u8) -> Self {
        let mut page = vec![0xA5; page_size];
        let level = u8::from(kind == INNER);
        NodeMut::init(&mut page, kind, level, Lsn::new(1), PageId(1), b"", None);
        Row { pages: vec![page], next_id: 2, separator: Vec::new(), scratch: Vec::new() }
    }

    fn of(&self, key: &[u8]) -> usize {
        self.pages.partition_point(|page| Node::new(page).lower() <= key) - 1
    }

    fn node(&self, n: usize) -> Node<'_> {
        Node::new(&self.pages[n])
    }

    /// Splits node `n`, and returns the half to which the pending cell belongs.
    fn split(&mut self, n: usize, pending: Pending<'_>) -> usize {
        let mut right = vec![0x5A; self.pages[n].len()];
        self.pages[n][..4].copy_from_slice(&CACHE_WORD);
        let id = PageId(self.next_id);
        self.next_id += 1;
        let before = self.node(n).count();
        split(&mut self.pages[n], &mut right, id, pending, &mut self.separator, &mut self.scratch);
        self.pages.insert(n + 1, right);
        assert_eq!(self.node(n).count() + self.node(n + 1).count(), before);
        assert_eq!(self.node(n).upper(), Some(&*self.separator));
        assert_eq!(self.node(n + 1).lower(), &*self.separator);
        assert_eq!(self.node(n + 1).id(), id);
        assert_eq!(self.pages[n][..4], CACHE_WORD);
        assert_eq!(self.pages[n + 1][..4], [0x5A; 4]);
        if !self.node(n).is_leaf() {
            assert_ne!(pending.key, self.separator, "the pending child would be child 0");
        }
        if pending.key < &*self.separator { n } else { n + 1 }
    }

    /// Merges node `n` with the next one if both are small.
    fn merge(&mut self, n: usize) -> bool {
        if n + 1 == self.pages.len() || !can_merge(self.node(n), self.node(n + 1)) {
            return false;
        }
        let is_one_empty = self.node(n).count().min(self.node(n + 1).count()) == 0;
        let percent = if is_one_empty { 100 } else { 75 };
        let right = self.pages.remove(n + 1);
        self.pages[n][..4].copy_from_slice(&CACHE_WORD);
        merge(&mut self.pages[n], &right, &mut self.scratch);
        assert_eq!(self.pages[n][..4], CACHE_WORD);
        let used = self.node(n).used_bytes();
        assert!(used <= self.pages[n].len() * percent / 100, "can_merge counted wrong: {used}");
        true
    }

    fn put(&mut self, key: &[u8], value: &Owned) {
        let n = self.of(key);
        match self.node(n).search(key) {
            Ok(i) => {
                let mut node = NodeMut::new(&mut self.pages[n]);
                if node.replace(i, value.value()).is_err() {
                    node.remove(i);
                    self.insert(n, key, value);
                }
            }
            Err(_) => self.insert(n, key, value),
        }
    }

    fn insert(&mut self, n: usize, key: &[u8], value: &Owned) {
        let at = self.node(n).search(key).unwrap_err();
        let before = self.pages[n].clone();
        if NodeMut::new(&mut self.pages[n]).insert(at, key, value.value()).is_err() {
            assert!(before == self.pages[n], "a refused insert changes nothing");
            let value_bytes = value.value().stored_bytes();
            let n = self.split(n, Pending { at, key, value_bytes });
            let at = self.node(n).search(key).unwrap_err();
            NodeMut::new(&mut self.pages[n]).insert(at, key, value.value()).expect("room");
        }
    }

    fn put_child(&mut self, separator: &[u8], child: PageId) {
        let mut n = self.of(separator);
        if self.node(n).count() > 0 {
            let i = self.node(n).child_index(separator);
            let mut key = Vec::new();
            self.node(n).append_key(i, &mut key);
            if key == separator {
                return NodeMut::new(&mut self.pages[n]).set_child(i, child);
            }
            let at = i + 1;
            let full = NodeMut::new(&mut self.pages[n]).insert_child(at, separator, child);
            if full.is_ok() {
                return;
            }
            n = self.split(n, Pending { at, key: separator, value_bytes: 0 });
            let at = self.node(n).child_index(separator) + 1;
            NodeMut::new(&mut self.pages[n]).insert_child(at, separator, child).expect("room");
        } else {
            NodeMut::new(&mut self.pages[n]).insert_child(0, separator, child).expect("room");
        }
    }

    fn check(&self) {
        for (n, page) in self.pages.iter().enumerate() {
            Node::new(page).check().unwrap();
            let next = self.pages.get(n + 1).map(|next| Node::new(next).lower());
            assert_eq!(Node::new(page).upper(), next, "the fences of neighbours meet");
        }
    }

    fn keys(&self) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        for page in &self.pages {
            for i in 0..Node::new(page).count() {
                let mut key = Vec::new();
                Node::new(page).append_key(i, &mut key);
                assert_eq!(key.len(), Node::new(page).key_len(i));
                keys.push(key);
            }
        }
        keys
    }
}

fn owned(value: Value<'_>) -> Owned {
    match value {
        Value::Inline(bytes) => Owned::Inline(bytes.to_vec()),
        Value::Blob(blob) => Owned::Blob(blob),
    }
}

#[test]
fn a_row_of_leaves_behaves_like_a_map() {
    for (seed, page_size) in PAGE_SIZES.into_iter().enumerate() {
        println!("seed {seed}, page size {page_size}");
        let mut rng = Rng::new(seed as u64);
        let mut row = Row::new(page_size, LEAF);
        let mut model = BTreeMap::new();
        let (mut splits, mut merges) = (0, 0);
        for step in 0..6000 {
            // Grow for a while, then shrink.
            let key = rng.key(max_key(page_size));
            let pages = row.pages.len();
            if rng.below(10) < if step % 3000 < 1500 { 8 } else { 2 } {
                let value = Owned::random(&mut rng, max_inline(page_size));
                row.put(&key, &value);
                model.insert(key.clone(), value);
            } else if let Some(key) = model.range(key.clone()..).next().map(|(key, _)| key.clone())
            {
                model.remove(&key);
                let n = row.of(&key);
                let i = row.node(n).search(&key).expect("the model has it");
                NodeMut::new(&mut row.pages[n]).remove(i);
                merges += usize::from(row.merge(n));
            }
            splits += usize::from(row.pages.len() > pages);
            let n = row.of(&key);
            row.node(n).check().unwrap();
            let found = row.node(n).search(&key).ok().map(|i| owned(row.node(n).value(i)));
            assert_eq!(found.as_ref(), model.get(&key), "step {step}, key {key:x?}");
            if step % 500 == 0 {
                row.check();
                assert!(row.keys().iter().eq(model.keys()));
            }
        }
        assert!(splits > 3 && merges > 3, "{splits} splits, {merges} merges");
    }
}

#[test]
fn a_row_of_inner_nodes_behaves_like_a_map() {
    for (seed, page_size) in PAGE_SIZES.into_iter().enumerate() {
        println!("seed {seed}, page size {page_size}");
        let mut rng = Rng::new(100 + seed as u64);
        let mut row = Row::new(page_size, INNER);
        let mut model = BTreeMap::from([(Vec::new(), PageId(7))]);
        row.put_child(b"", PageId(7));
        let (mut splits, mut merges) = (0, 0);
        for step in 0..6000 {
            let mut key = rng.key(max_key(page_size));
            if rng.below(2) == 0 {
                key.extend(rng.bytes(20));
                key.truncate(max_key(page_size));
            }
            let pages = row.pages.len();
            let n = row.of(&key);
            if rng.below(10) < if step % 3000 < 1500 { 9 } else { 1 } {
                let child = PageId(rng.0.next() | 1);
                row.put_child(&key, child);
                model.insert(key.clone(), child);
            } else if row.node(n).child_index(&key) > 0 {
                let i = row.node(n).child_index(&key);
                let mut separator = Vec::new();
                row.node(n).append_key(i, &mut separator);
                model.remove(&separator).expect("the model has it");
                NodeMut::new(&mut row.pages[n]).remove_child(i);
                merges += usize::from(row.merge(n));
            }
            splits += usize::from(row.pages.len() > pages);
            let n = row.of(&key);
            row.node(n).check().unwrap();
            let child = row.node(n).child(row.node(n).child_index(&key));
            let expected = model.range(..=key.clone()).next_back().unwrap().1;
            assert_eq!(child, *expected, "step {step}, key {key:x?}");
            if step % 500 == 0 {
                row.check();
                assert!(row.keys().iter().eq(model.keys()));
            }
        }
        assert!(splits > 1 && merges > 1, "{splits} splits, {merges} merges");
    }
}

#[test]
fn one_split_is_enough_for_the_largest_cells() {
    for (seed, page_size) in PAGE_SIZES.into_iter().enumerate() {
        println!("seed {seed}, page size {page_size}");
        let mut rng = Rng::new(200 + seed as u64);
        let (mut leaves, mut inner) = (Row::new(page_size, LEAF), Row::new(page_size, INNER));
        inner.put_child(b"", PageId(1));
        for _ in 0..600 {
            // Long keys that differ only at their ends make long separators and fences.
            let mut key = vec![rng.below(2) as u8; max_key(page_size) - 4];
            key.extend(rng.bytes(4));
            if rng.below(3) == 0 {
                key.truncate(rng.below(4));
                key.extend(rng.bytes(2));
            }
            let len = if rng.below(2) == 0 { max_inline(page_size) } else { 0 };
            leaves.put(&key, &Owned::Inline(vec![7; len]));
            inner.put_child(&key, PageId(5));
        }
        leaves.check();
        inner.check();
        assert!(leaves.pages.len() > 100 && inner.pages.len() > 10);
    }
}

#[test]
fn ascending_keys_leave_full_nodes_behind() {
    let (mut leaves, mut inner) = (Row::new(8192, LEAF), Row::new(8192, INNER));
    inner.put_child(b"", PageId(1));
    for n in 0..5000_u64 {
        let key = format!("user/{n:012}");
        leaves.put(key.as_bytes(), &Owned::Inline(vec![1; 100]));
        inner.put_child(key.as_bytes(), PageId(n + 1));
    }
    for row in [leaves, inner] {
        row.check();
        let full = row.pages.split_last().unwrap().1;
        assert!(full.len() > 5);
        for page in full {
            // The prefix from the new upper fence has shortened the suffixes.
            let node = Node::new(page);
            let used = node.used_bytes() + node.count() * node.prefix_len();
            assert!(used > 7900, "only {used} bytes used");
        }
    }
}

#[test]
fn descending_keys_leave_half_full_nodes_behind() {
    let mut row = Row::new(4096, LEAF);
    for n in (0..1000_u64).rev() {
        row.put(&n.to_be_bytes(), &Owned::Inline(vec![1; 50]));
    }
    row.check();
    assert!(row.pages.iter().skip(1).all(|page| Node::new(page).used_bytes() > 1500));
}

#[test]
fn leaves_are_separated_by_the_shortest_key() {
    let mut row = Row::new(4096, LEAF);
    for name in ["alexandra", "alexis", "beatrice", "benjamin", "bernadette", "bernhard"] {
        row.put(name.as_bytes(), &Owned::Inline(vec![1; 900]));
    }
    let fences: Vec<_> = row.pages.iter().map(|page| Node::new(page).lower()).collect();
    assert_eq!(fences, [&b""[..], b"ber"]);
    row.check();
}

#[test]
fn a_node_is_split_so_that_the_longer_value_finds_room() {
    let mut row = Row::new(4096, LEAF);
    for n in 0..4 {
        row.put(&[n], &Owned::Inline(vec![n; 900]));
    }
    row.put(&[2], &Owned::Inline(vec![9; max_inline(4096)]));
    row.put(&[1], &Owned::Inline(vec![9; max_inline(4096)]));
    row.put(&[0], &Owned::Inline(vec![9; max_inline(4096)]));
    row.check();
    assert_eq!(row.keys(), [[0], [1], [2], [3]]);
}

#[test]
fn replacing_values_counts_the_garbage() {
    let mut page = vec![0; 4096];
    let mut node = NodeMut::init(&mut page, LEAF, 0, Lsn::new(1), PageId(1), b"", None);
    node.insert(0, b"k", Value::Inline(&[1; 100])).unwrap();
    node.insert(1, b"l", Value::Inline(&[2; 100])).unwrap();
    let used = node.view().used_bytes();
    node.replace(0, Value::Inline(&[3; 60])).unwrap();
    assert_eq!(node.view().used_bytes(), used - 40);
    let blob = BlobRef { bytes: 1 << 20, root: PageId(9) };
    node.replace(0, Value::Blob(blob)).unwrap();
    assert_eq!(node.view().value(0), Value::Blob(blob));
    assert_eq!(node.view().used_bytes(), used - 84);
    node.replace(0, Value::Inline(&[4; 300])).unwrap();
    assert_eq!(node.view().value(0), Value::Inline(&[4; 300]));
    assert_eq!(node.view().used_bytes(), used + 200);
    node.view().check().unwrap();
    node.compact();
    node.view().check().unwrap();
    assert_eq!(node.view().value(1), Value::Inline(&[2; 100]));
    node.remove(0);
    node.remove(0);
    assert_eq!(node.view().used_bytes(), 40);
    node.view().check().unwrap();
}

#[test]
fn the_first_child_inherits_the_lower_fence() {
    let mut page = vec![0; 4096];
    let (lower, upper) = (b"car", Some(&b"cat"[..]));
    let mut node = NodeMut::init(&mut page, INNER, 1, Lsn::new(1), PageId(1), lower, upper);
    node.insert_child(0, b"car", PageId(10)).unwrap();
    node.insert_child(1, b"carbon", PageId(11)).unwrap();
    node.insert_child(2, b"carpet", PageId(12)).unwrap();
    assert_eq!(node.view().prefix(), b"ca");
    assert_eq!(node.view().key_len(0), 3);
    let children = |node: Node<'_>| {
        [&b"car"[..], b"carb", b"carbon", b"caro", b"carpet", b"cas"]
            .map(|key| node.child(node.child_index(key)).0)
    };
    assert_eq!(children(node.view()), [10, 10, 11, 11, 12, 12]);
    node.remove_child(0);
    node.view().check().unwrap();
    assert_eq!(children(node.view()), [11, 11, 11, 11, 12, 12]);
    node.set_child(1, PageId(13));
    assert_eq!(children(node.view()), [11, 11, 11, 11, 13, 13]);
}

#[test]
fn heads_skip_the_bytes_that_all_suffixes_share() {
    let mut page = vec![0; 4096];
    let mut node = NodeMut::init(&mut page, LEAF, 0, Lsn::new(1), PageId(1), b"", None);
    let mut keys: Vec<_> = (100..150).map(|n| format!("user/{n}").into_bytes()).collect();
    for (i, key) in keys.iter().enumerate() {
        node.insert(i, key, Value::Inline(b"")).unwrap();
    }
    let check = |node: &NodeMut<'_>, keys: &[Vec<u8>], shared| {
        node.view().check().unwrap();
        assert_eq!(node.view().shared(), shared);
        for (i, key) in keys.iter().enumerate() {
            assert_eq!(node.view().search(key), Ok(i));
        }
    };
    check(&node, &keys, b"user/1".len());
    for (key, at) in [("", 0), ("user", 0), ("user/1", 0), ("urn", 0), ("user/149a", 50)] {
        assert_eq!(node.view().search(key.as_bytes()), Err(at), "{key}");
    }
    for key in ["user/2", "user0", "v"] {
        assert_eq!(node.view().search(key.as_bytes()), Err(50), "{key}");
    }
    for (key, shared) in [("user0", 4), ("usher", 0)] {
        node.insert(keys.len(), key.as_bytes(), Value::Inline(b"")).unwrap();
        keys.push(key.as_bytes().to_vec());
        check(&node, &keys, shared);
    }
    for i in (0..keys.len()).rev() {
        node.remove(i);
    }
    check(&node, &[], 0);
}

#[test]
fn a_copy_has_all_used_bytes_and_keeps_the_word_of_the_cache() {
    let page = sample_leaf();
    let mut copy = vec![0xEE; page.len()];
    copy_used(&page, &mut copy);
    Node::new(&copy).check().unwrap();
    assert_eq!(copy[..4], [0xEE; 4]);
    assert_eq!(copy[4..64], page[4..64]);
    assert_eq!(copy[4000], 0xEE);
    let node = Node::new(&copy);
    assert_eq!(node.search(b"carbon"), Ok(1));
    assert_eq!((node.lsn(), node.id(), node.level()), (Lsn::new(0x1234), PageId(0x77), 0));
}

/// A leaf from "car" to "cat" with three records and a hole.
fn sample_leaf() -> Vec<u8> {
    let mut page = vec![0; 4096];
    let (lsn, id) = (Lsn::new(0x1234), PageId(0x77));
    let mut node = NodeMut::init(&mut page, LEAF, 0, lsn, id, b"car", Some(b"cat"));
    node.insert(0, b"carbon", Value::Inline(b"C6")).unwrap();
    node.insert(0, b"car", Value::Inline(b"")).unwrap();
    let blob = BlobRef { bytes: 0x10000, root: PageId(0x99) };
    node.insert(2, b"carpet", Value::Blob(blob)).unwrap();
    node.insert(3, b"cask", Value::Inline(b"!")).unwrap();
    node.replace(1, Value::Inline(b"C")).unwrap();
    node.remove(3);
    page
}

#[test]
fn a_leaf_in_hex() {
    let page = sample_leaf();
    Node::new(&page).check().unwrap();
    let hex = |range: std::ops::Range<usize>| {
        page[range].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        hex(0..24),
        "00 00 00 00 01 00 03 00 34 12 00 00 00 00 00 00 77 00 00 00 00 00 00 00"
    );
    assert_eq!(hex(24..40), "d9 0f 01 00 02 00 03 00 03 00 00 00 00 00 00 00");
    assert_eq!(hex(40..48), "00 00 00 72 ef 0f 01 00", "car");
    assert_eq!(hex(48..56), "6e 6f 62 72 f2 0f 04 00", "carbon");
    assert_eq!(hex(56..64), "74 65 70 72 d9 0f 04 00", "carpet");
    assert_eq!(hex(4057..4063), "00 80 72 70 65 74");
    assert_eq!(hex(4063..4079), "00 00 01 00 00 00 00 00 99 00 00 00 00 00 00 00");
    assert_eq!(hex(4079..4082), "00 00 72");
    assert_eq!(hex(4082..4090), "01 00 72 62 6f 6e 43 36");
    assert_eq!(hex(4090..4096), "63 61 74 63 61 72");
}

#[test]
fn a_search_outside_the_fences_or_with_short_keys_finds_something() {
    let page = sample_leaf();
    let node = Node::new(&page);
    assert_eq!(node.search(b"carb"), Err(1));
    assert_eq!(node.search(b"carbon\0"), Err(2));
    assert_eq!(node.search(b"cas"), Err(3));
    #[cfg(not(debug_assertions))]
    for key in [&b""[..], b"c", b"zebra", &[0xFF; 600]] {
        let _ = node.search(key);
    }
}

#[test]
fn every_flipped_bit_in_header_slots_and_value_words_is_noticed() {
    let mut page = sample_leaf();
    NodeMut::new(&mut page).compact();
    let node = Node::new(&page);
    let slots_end = 40 + 8 * node.count();
    let words = (0..node.count()).flat_map(|i| [node.slot(i).offset, node.slot(i).offset + 1]);
    for at in (4..8).chain(24..slots_end).chain(words) {
        for bit in 0..8 {
            let mut bad = page.clone();
            bad[at] ^= 1 << bit;
            assert!(Node::new(&bad).check().is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn cells_that_overlap_or_leave_the_heap_are_noticed_though_the_sums_are_right() {
    let mut page = vec![0; 4096];
    let mut node = NodeMut::init(&mut page, LEAF, 0, Lsn::new(1), PageId(1), b"a", None);
    for (i, key) in [b"a", b"b", b"c"].into_iter().enumerate() {
        node.insert(i, key, Value::Inline(&[7; 10])).unwrap();
    }
    let mut bad = page.clone();
    bad.copy_within(44..46, 52);
    assert_eq!(Node::new(&bad).check(), Err("cells overlap".to_owned()));

    NodeMut::new(&mut page).remove(1);
    Node::new(&page).check().unwrap();
    let value_word = Node::new(&page).slot(0).offset;
    page[value_word] += 1;
    page[26] -= 1;
    assert_eq!(Node::new(&page).check(), Err("value 0 ends at 4096, beyond 4095".to_owned()));
}

#[test]
fn no_bytes_make_check_panic() {
    let seed = 300;
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    for len in [40, 41, 4095, 12288, 65536] {
        assert!(Node::new(&vec![1; len]).check().is_err());
    }
    let mut row = [Row::new(4096, LEAF), Row::new(4096, INNER)];
    row[1].put_child(b"", PageId(1));
    for _ in 0..200 {
        let key = rng.key(512);
        row[0].put(&key, &Owned::random(&mut rng, 300));
        row[1].put_child(&key, PageId(3));
    }
    let pages = [&row[0].pages[..], &row[1].pages[..]].concat();
    let mut noticed = 0;
    for _ in 0..20_000 {
        let mut page = pages[rng.below(pages.len())].clone();
        for _ in 0..=rng.below(4) {
            // Mostly in the header, slots and cells.
            let at = if rng.below(3) == 0 { rng.below(4096) } else { 4 + rng.below(80) };
            page[at] = [0, 0xFF, rng.0.next() as u8][rng.below(3)];
        }
        noticed += usize::from(Node::new(&page).check().is_err());
    }
    assert!(noticed > 10_000, "only {noticed} noticed");
    for _ in 0..2000 {
        let mut page = rng.bytes(4096);
        page[4..6].copy_from_slice(if rng.below(2) == 0 { &[LEAF, 0] } else { &[INNER, 1] });
        page[6..8].copy_from_slice(&(rng.below(20) as u16).to_le_bytes());
        assert!(Node::new(&page).check().is_err());
    }
}
