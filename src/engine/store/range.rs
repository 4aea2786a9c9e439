//! [`Range`], an iterator over a range of keys.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Bound, Deref};
use std::sync::Arc;

use super::snapshot::Registered;
use super::value::Entry;
use crate::engine::base::error::Result;
use crate::engine::space::PageId;
use crate::engine::tree::{self, BlobRef, Cursor, Node, blob};

/// An iterator over the entries in a range of keys, in order, as of one point in time.
///
/// It iterates from both ends. [`Range::next_ref`] is the fastest way through: it copies no value and
/// allocates nothing. An error ends the iteration.
///
/// A range borrows nothing: it may be stored anywhere, and sent to another thread. It is a handle that
/// keeps the store open, and it holds a snapshot and its current page. No other thread waits for it,
/// however long it is kept.
pub struct Range {
    at: At,
    root: PageId,
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    front: Option<Cursor>,
    back: Option<Cursor>,
    /// The last keys returned from the front and from the back.
    front_key: Vec<u8>,
    back_key: Vec<u8>,
    back_begun: bool,
    /// Slots below this, in the leaf of `front`, are inside the range.
    front_limit: usize,
    /// The length of the prefix of `front_key` that all keys of that leaf share.
    front_prefix: usize,
    done: bool,
    /// The last value returned by reference, if it is stored out of line.
    blob: Vec<u8>,
}

/// The snapshot that a range reads.
pub(super) enum At {
    Own(Registered),
    Shared(Arc<Registered>),
}

impl Deref for At {
    type Target = Registered;

    #[inline]
    fn deref(&self) -> &Registered {
        match self {
            At::Own(at) => at,
            At::Shared(at) => at,
        }
    }
}

impl Range {
    /// A range of the tree under `root`, as of `at`.
    pub(super) fn new(at: At, root: PageId, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Self {
        let done = is_empty(&from, &to);
        Range {
            at,
            root,
            from,
            to,
            front: None,
            back: None,
            front_key: Vec::new(),
            back_key: Vec::new(),
            back_begun: false,
            front_limit: 0,
            front_prefix: 0,
            done,
            blob: Vec::new(),
        }
    }

    /// The next key and value, without a copy of the value and without an allocation. Only a value that is
    /// stored out of line is read into a buffer, which the iterator keeps until the next one.
    ///
    /// # Errors
    /// As [`Keyspace::get`](crate::Keyspace::get).
    pub fn next_ref(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        if !self.step_forward()? {
            return Ok(None);
        }
        let (leaf, slot) = self.front.as_ref().expect("stepped").here();
        let bytes = leaf.bytes();
        // The offset, not the value, because of the borrow: so the row is decoded only once.
        let (start, len) = match Node::new(bytes).value(slot) {
            tree::Value::Inline(value) => (offset_in(bytes, value), value.len()),
            tree::Value::Blob(found) => {
                self.blob = self.read(found)?;
                return Ok(Some((&self.front_key, &self.blob)));
            }
        };
        let (leaf, _) = self.front.as_ref().expect("stepped").here();
        Ok(Some((&self.front_key, &leaf.bytes()[start..start + len])))
    }

    /// Goes to the next entry, and sets `front_key` to its key.
    #[inline]
    fn step_forward(&mut self) -> Result<bool> {
        if self.done {
            return Ok(false);
        }
        let result = self.try_step_forward();
        self.done = !matches!(result, Ok(true));
        result
    }

    #[inline]
    fn try_step_forward(&mut self) -> Result<bool> {
        self.at.engine().check_open()?;
        if !self.back_begun
            && let Some(cursor) = &mut self.front
            && let Some((node, slot)) = cursor.forward_within(self.front_limit)
        {
            // The keys of a leaf share a prefix.
            self.front_key.truncate(self.front_prefix);
            self.front_key.extend_from_slice(node.suffix(slot));
            return Ok(true);
        }
        self.enter_or_leave_leaf()
    }

    /// The first step forward, a step to the next leaf, or one that may meet the back.
    fn enter_or_leave_leaf(&mut self) -> Result<bool> {
        let cache = self.at.engine().cache();
        if self.front.is_none() {
            let mut cursor = Cursor::new(cache, self.root, self.at.lsn());
            cursor.seek_first(cache, self.from.as_ref().map(Vec::as_slice))?;
            self.front = Some(cursor);
            self.front_limit = 0;
        }
        let cursor = self.front.as_mut().expect("made above");
        let Some((leaf, slot)) = cursor.forward(cache)? else { return Ok(false) };
        let node = Node::new(leaf.bytes());
        if slot == 0 || self.front_limit == 0 {
            // A new leaf: find where the range ends in it.
            self.front_limit = match &self.to {
                Bound::Unbounded => node.count(),
                Bound::Included(key) => slots_below(node, key, |at| at + 1),
                Bound::Excluded(key) => slots_below(node, key, |at| at),
            };
        }
        if slot >= self.front_limit {
            return Ok(false);
        }
        self.front_key.clear();
        node.append_key(slot, &mut self.front_key);
        self.front_prefix = node.prefix().len();
        Ok(!self.back_begun || self.front_key < self.back_key)
    }

    fn step_backward(&mut self) -> Result<bool> {
        if self.done {
            return Ok(false);
        }
        let result = self.try_step_backward();
        self.done = !matches!(result, Ok(true));
        result
    }

    fn try_step_backward(&mut self) -> Result<bool> {
        let engine = self.at.engine();
        engine.check_open()?;
        let cache = engine.cache();
        if self.back.is_none() {
            let mut cursor = Cursor::new(cache, self.root, self.at.lsn());
            cursor.seek_last(cache, self.to.as_ref().map(Vec::as_slice))?;
            self.back = Some(cursor);
        }
        let cursor = self.back.as_mut().expect("made above");
        let Some((leaf, slot)) = cursor.backward(cache)? else { return Ok(false) };
        self.back_key.clear();
        Node::new(leaf.bytes()).append_key(slot, &mut self.back_key);
        self.back_begun = true;
        let in_range = match &self.from {
            Bound::Unbounded => true,
            Bound::Included(key) => self.back_key >= *key,
            Bound::Excluded(key) => self.back_key > *key,
        };
        Ok(in_range && (self.front.is_none() || self.back_key > self.front_key))
    }

    fn entry(&self, cursor: &Cursor, key: &[u8]) -> Result<Entry> {
        let (leaf, slot) = cursor.here();
        Ok(match Node::new(leaf.bytes()).value(slot) {
            tree::Value::Inline(value) => Entry::copy(key, value),
            tree::Value::Blob(found) => Entry::with_long(key, self.read(found)?),
        })
    }

    /// Reads a value that is stored out of line.
    fn read(&self, found: BlobRef) -> Result<Vec<u8>> {
        blob::read(self.at.engine().cache(), found, self.at.lsn())
    }
}

impl Iterator for Range {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.step_forward() {
            Ok(false) => None,
            Ok(true) => Some(self.entry(self.front.as_ref().expect("stepped"), &self.front_key)),
            Err(error) => Some(Err(error)),
        }
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self.step_backward() {
            Ok(false) => None,
            Ok(true) => Some(self.entry(self.back.as_ref().expect("stepped"), &self.back_key)),
            Err(error) => Some(Err(error)),
        }
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range").field("from", &self.from).field("to", &self.to).finish()
    }
}

/// The number of slots of a leaf below `key`. `found` maps the key's own slot to the result. The key may
/// be outside the leaf's fences, where a search would be meaningless.
fn slots_below(leaf: Node<'_>, key: &[u8], found: impl FnOnce(usize) -> usize) -> usize {
    if leaf.upper().is_some_and(|upper| upper <= key) {
        leaf.count()
    } else if key < leaf.lower() {
        0
    } else {
        leaf.search(key).map_or_else(|at| at, found)
    }
}

/// The offset of `part` in `bytes`.
fn offset_in(bytes: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - bytes.as_ptr() as usize
}

/// The bounds of the keys that begin with `prefix`.
pub(crate) fn prefix_bounds(prefix: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let from = Bound::Included(prefix.to_vec());
    let Some(last) = prefix.iter().rposition(|byte| *byte != 0xff) else {
        return (from, Bound::Unbounded);
    };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    (from, Bound::Excluded(end))
}

fn is_empty(from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> bool {
    let (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) =
        (from, to)
    else {
        return false;
    };
    match a.cmp(b) {
        Ordering::Less => false,
        Ordering::Greater => true,
        Ordering::Equal => !matches!((from, to), (Bound::Included(_), Bound::Included(_))),
    }
}
