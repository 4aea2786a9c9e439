//! Changing the tree: insert, replace, delete, split. For merges see [`super::merge`].

use std::ops::Range;

use super::deferred::DeferredChanges;
use super::node::{BlobRef, Full, Node, NodeMut, Pending, Value, split};
use crate::engine::base::error::Result;
use crate::engine::cache::{Cache, Guard, WriteGroup};
use crate::engine::space::{INNER, LEAF, PageId, header};

/// Buffers that are reused from one change to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(super) deferred: DeferredChanges,
    /// The path from the root: each inner page, and which child was taken.
    pub(super) path: Vec<(PageId, usize)>,
    separator: Vec<u8>,
    pub(super) page: Vec<u8>,
    /// Keys that lead to small nodes whose neighbours were not in memory.
    pub(super) sparse: Vec<Vec<u8>>,
}

/// Where in a leaf the next row probably goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum InsertHint {
    Anywhere,
    /// The previous row went to the end.
    End,
}

/// The value that a key had before a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PriorValue {
    /// The key was not there.
    Absent,
    /// A value in the leaf.
    Inline,
    /// An out-of-line value, to whose pages nothing refers any more.
    Blob(BlobRef),
}

/// The leaf that a put will change, found before the put's group begins: the processor fetches the leaf
/// while the record is copied into the log.
#[derive(Debug)]
pub(crate) struct Aim<'c> {
    guard: Guard<'c>,
    leaf: PageId,
}

impl<'c> Aim<'c> {
    /// Finds the leaf for `key` in the tree under `root`, if all pages on the path are in memory. The path
    /// is left in `scratch`, for [`TreeMut::put_only`], and is valid as long as the tree does not change.
    pub(crate) fn take(
        cache: &'c Cache,
        root: PageId,
        key: &[u8],
        scratch: &mut Scratch,
    ) -> Option<Aim<'c>> {
        let (guard, visible) = (cache.pin(), cache.visible());
        scratch.path.clear();
        let mut id = root;
        loop {
            let node = Node::new(cache.page(id, visible, &guard).ok()?.bytes());
            if node.is_leaf() {
                return Some(Aim { guard, leaf: id }); // the root
            }
            let at = node.child_index(key);
            scratch.path.push((id, at));
            id = node.child(at);
            if node.level() == 1 {
                // A look at the leaf would wait for memory.
                cache.prefetch_start(id);
                return Some(Aim { guard, leaf: id });
            }
        }
    }

    /// The guard, for the group that makes the change, and the leaf.
    pub(crate) fn split(self) -> (Guard<'c>, PageId) {
        (self.guard, self.leaf)
    }
}

/// A tree that a commit group changes.
#[derive(Debug)]
pub(crate) struct TreeMut<'t, 'c> {
    pub(super) group: &'t mut WriteGroup<'c>,
    pub(super) root: PageId,
    pub(super) scratch: &'t mut Scratch,
}

impl<'t, 'c> TreeMut<'t, 'c> {
    /// The tree under `root`.
    pub(crate) fn new(
        group: &'t mut WriteGroup<'c>,
        root: PageId,
        scratch: &'t mut Scratch,
    ) -> Self {
        TreeMut { group, root, scratch }
    }

    /// Makes a new, empty tree, and returns its root.
    pub(crate) fn create(group: &mut WriteGroup<'_>) -> Result<PageId> {
        let (id, lsn) = (group.create()?, group.lsn());
        NodeMut::init(group.page_mut(id)?, LEAF, 0, lsn, id, &[], None);
        Ok(id)
    }

    /// Gives `key` the value `value`, as the only change of a group, in place if possible. `aimed` is the
    /// leaf that [`Aim`] found.
    pub(crate) fn put_only(
        &mut self,
        key: &[u8],
        value: Value<'_>,
        aimed: Option<PageId>,
    ) -> Result<PriorValue> {
        let leaf = match aimed {
            Some(leaf) => leaf,
            None => self.descend(key)?,
        };
        let in_place = self.group.change_in_place(leaf, |page| put_if_it_fits(page, key, value));
        if let Some(prior) = in_place {
            return Ok(prior);
        }
        let mut prior = PriorValue::Absent;
        self.put_from(leaf, 1, |_| (key, value), |met| prior = met)?;
        Ok(prior)
    }

    /// Gives `key` the value `value`.
    pub(crate) fn put(&mut self, key: &[u8], value: Value<'_>) -> Result<PriorValue> {
        let mut prior = PriorValue::Absent;
        self.put_sorted(1, |_| (key, value), |met| prior = met)?;
        Ok(prior)
    }

    /// Puts `count` rows, whose keys ascend or repeat, and calls `met` with the prior value of each. One
    /// descent finds the leaf for all the rows that belong and fit there.
    pub(crate) fn put_sorted<'r>(
        &mut self,
        count: usize,
        row: impl Fn(usize) -> (&'r [u8], Value<'r>),
        met: impl FnMut(PriorValue),
    ) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let leaf = self.descend(row(0).0)?;
        self.put_from(leaf, count, row, met)
    }

    /// [`TreeMut::put_sorted`] for at least one row, the first of which belongs into `leaf`.
    fn put_from<'r>(
        &mut self,
        mut leaf: PageId,
        count: usize,
        row: impl Fn(usize) -> (&'r [u8], Value<'r>),
        mut met: impl FnMut(PriorValue),
    ) -> Result<()> {
        let mut next = self.put_into(leaf, 0..count, &row, &mut met)?;
        while next < count {
            leaf = self.descend(row(next).0)?;
            self.fetch_ahead()?;
            next = self.put_into(leaf, next..count, &row, &mut met)?;
        }
        Ok(())
    }

    /// Puts rows into `leaf`, at least one, until there are no more or the next belongs elsewhere. After a
    /// split it goes on with the half into which the next row belongs. Returns the number of the row
    /// after them.
    pub(super) fn put_into<'r>(
        &mut self,
        mut leaf: PageId,
        rows: Range<usize>,
        row: &impl Fn(usize) -> (&'r [u8], Value<'r>),
        met: &mut impl FnMut(PriorValue),
    ) -> Result<usize> {
        let (mut next, mut prior) = (rows.start, PriorValue::Absent);
        let (mut key, mut value) = row(next);
        loop {
            let mut node = NodeMut::new(self.group.page_mut(leaf)?);
            let mut hint = InsertHint::Anywhere;
            let full_at = loop {
                match put_here(&mut node, key, value, hint, &mut prior) {
                    Ok(now) => hint = now,
                    Err(at) => break at,
                }
                met(std::mem::replace(&mut prior, PriorValue::Absent));
                next += 1;
                if next == rows.end {
                    return Ok(next);
                }
                (key, value) = row(next);
                if node.view().upper().is_some_and(|upper| upper <= key) {
                    return Ok(next);
                }
            };
            let pending = Pending { at: full_at, key, value_bytes: value.stored_bytes() };
            self.split(leaf, pending)?;
            leaf = self.descend(key)?;
        }
    }

    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<PriorValue> {
        let leaf = self.descend(key)?;
        let Ok(at) = Node::new(self.group.page(leaf)?).search(key) else {
            return Ok(PriorValue::Absent);
        };
        let page = self.group.page_mut(leaf)?;
        let mut node = NodeMut::new(page);
        let prior = prior_value(node.view(), at);
        node.remove(at);
        self.merge_up(leaf)?;
        Ok(prior)
    }

    /// Finds the leaf for `key`, and leaves the path in `scratch.path`.
    pub(super) fn descend(&mut self, key: &[u8]) -> Result<PageId> {
        self.scratch.path.clear();
        let mut id = self.root;
        loop {
            let node = Node::new(self.group.page(id)?);
            if node.is_leaf() {
                return Ok(id);
            }
            let at = node.child_index(key);
            let child = node.child(at);
            self.scratch.path.push((id, at));
            id = child;
        }
    }

    /// Prefetches the leaf behind the one at the end of the path: if rows are dense, the next ones belong
    /// there.
    pub(super) fn fetch_ahead(&mut self) -> Result<()> {
        let Some(&(parent, at)) = self.scratch.path.last() else { return Ok(()) };
        let node = Node::new(self.group.page(parent)?);
        if at + 1 < node.count() {
            let next = node.child(at + 1);
            self.group.cache().prefetch_start(next);
        }
        Ok(())
    }

    /// Splits the node `id`, at the end of `scratch.path`, and inserts the new node into its parent, which
    /// may split in turn. Consumes the path.
    fn split(&mut self, id: PageId, pending: Pending<'_>) -> Result<()> {
        let id = if id == self.root { self.push_root_down()? } else { id };
        let right_id = self.group.create()?;
        let mut separator = std::mem::take(&mut self.scratch.separator);
        let (left, right) = self.group.two_mut(id, right_id)?;
        split(left, right, right_id, pending, &mut separator, &mut self.scratch.page);
        let result = self.insert_child(&separator, right_id);
        self.scratch.separator = separator;
        result
    }

    /// Moves the root's cells to a new page, its only child. The root keeps its page id.
    fn push_root_down(&mut self) -> Result<PageId> {
        let (root, lsn) = (self.root, self.group.lsn());
        let id = self.group.create()?;
        let (page, child) = self.group.two_mut(root, id)?;
        child.copy_from_slice(page);
        header::set_page_id(child, id);
        let level = header::level(page) + 1;
        let mut node = NodeMut::init(page, INNER, level, lsn, root, &[], None);
        node.insert_child(0, &[], id).expect("an empty node has room for one child");
        self.scratch.path.push((root, 0));
        Ok(id)
    }

    /// Inserts `child` behind the child that `scratch.path` ends with.
    fn insert_child(&mut self, separator: &[u8], child: PageId) -> Result<()> {
        let (mut parent, at) = self.scratch.path.pop().expect("the root was pushed down");
        let page = self.group.page_mut(parent)?;
        match NodeMut::new(page).insert_child(at + 1, separator, child) {
            Ok(()) => return Ok(()),
            Err(Full) if parent == self.root => parent = self.push_root_down()?,
            Err(Full) => {}
        }
        let right_id = self.group.create()?;
        let mut middle = Vec::new();
        let pending = Pending { at: at + 1, key: separator, value_bytes: 0 };
        let (left, right) = self.group.two_mut(parent, right_id)?;
        split(left, right, right_id, pending, &mut middle, &mut self.scratch.page);
        let page = if separator < &middle[..] { left } else { right };
        let mut node = NodeMut::new(page);
        let at = node.view().child_index(separator) + 1;
        node.insert_child(at, separator, child).expect("a split leaves room for the pending child");
        self.insert_child(&middle, right_id)
    }
}

/// Puts a row into the leaf where it belongs, and returns where the next one may go. Sets `prior` if the
/// key had a value.
///
/// # Errors
/// The leaf is full: the slot for which it must be split. The key is not there any more.
pub(super) fn put_here(
    node: &mut NodeMut<'_>,
    key: &[u8],
    value: Value<'_>,
    hint: InsertHint,
    prior: &mut PriorValue,
) -> Result<InsertHint, usize> {
    let view = node.view();
    let found = match hint {
        InsertHint::End if view.is_beyond_last(key) => Err(view.count()),
        _ => view.search(key),
    };
    let at = match found {
        Ok(at) => {
            *prior = prior_value(node.view(), at);
            if node.replace(at, value).is_ok() {
                return Ok(InsertHint::Anywhere);
            }
            node.remove(at);
            at
        }
        Err(at) => at,
    };
    node.insert(at, key, value).map_err(|Full| at)?;
    Ok(if at + 1 == node.view().count() { InsertHint::End } else { InsertHint::Anywhere })
}

/// Puts a record into a leaf, if no split and no free is needed.
fn put_if_it_fits(page: &mut [u8], key: &[u8], value: Value<'_>) -> Option<PriorValue> {
    let mut node = NodeMut::new(page);
    match node.view().search(key) {
        Ok(at) => {
            let (prior, old) = (prior_value(node.view(), at), node.view().value(at));
            // An out-of-line value must be freed, and a longer value may need a split.
            if prior != PriorValue::Inline || old.stored_bytes() < value.stored_bytes() {
                return None;
            }
            node.replace(at, value).expect("it is no longer than the old value");
            Some(prior)
        }
        Err(at) => node.insert(at, key, value).is_ok().then_some(PriorValue::Absent),
    }
}

fn prior_value(node: Node<'_>, at: usize) -> PriorValue {
    match node.value(at) {
        Value::Inline(_) => PriorValue::Inline,
        Value::Blob(blob) => PriorValue::Blob(blob),
    }
}
