//! Trimming: frees the pages of a dropped tree, a few at a time.
//!
//! A leaf must be read before it is freed: it may refer to out-of-line values, whose pages are freed too.
//! So a plan is made outside of any lock, where reading holds up nobody. A dropped tree changes only by
//! being trimmed, from its right end: a leaf that is still there is as it was when the plan was made.

use super::edit::TreeMut;
use super::lookup::fetch;
use super::node::{Node, NodeMut, Value};
use super::{BlobRef, blob};
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::engine::cache::{Cache, PinnedPage, WriteGroup};
use crate::engine::mutants::mutant;
use crate::engine::space::PageId;

/// A plan has at most this many pages of values per leaf that it may have, plus those of its last value.
const VALUE_PAGES: usize = 32;

/// The next leaves of a dropped tree to be freed, with the pages of their values. Valid as long as nobody
/// else trims the tree.
#[derive(Debug)]
pub(crate) struct TrimPlan {
    root: PageId,
    /// From right to left.
    leaves: Vec<PlannedLeaf>,
}

#[derive(Debug)]
struct PlannedLeaf {
    id: PageId,
    /// The slots from here on are removed; if that is all slots, the leaf is freed.
    from_slot: usize,
    /// All pages of the values in those slots.
    pages: Vec<PageId>,
}

impl TrimPlan {
    /// Plans about `pages` pages of the tree under `root` as of `at`, a registered snapshot. Pins in
    /// `held` the pages that must be in memory when the plan is carried out.
    pub(crate) fn new<'c>(
        cache: &'c Cache,
        root: PageId,
        at: Lsn,
        pages: usize,
        held: &mut Vec<PinnedPage<'c>>,
    ) -> Result<Self> {
        let mut plan = TrimPlan { root, leaves: Vec::new() };
        let (mut values, most_values) = (0, pages * VALUE_PAGES);
        let mut todo = vec![root];
        while let Some(id) = todo.pop()
            && plan.leaves.len() < pages
            && values < most_values
        {
            let page = fetch(cache, id, at)?;
            let node = Node::new(page.bytes());
            if !node.is_leaf() {
                // The rightmost child is popped first.
                todo.extend((0..node.count()).map(|child| node.child(child)));
                held.push(page);
                continue;
            }
            let mut leaf = PlannedLeaf { id, from_slot: node.count(), pages: Vec::new() };
            while leaf.from_slot > 0 && values + leaf.pages.len() < most_values {
                leaf.from_slot -= 1;
                if let Value::Blob(value) = node.value(leaf.from_slot) {
                    blob::walk(cache, value, at, &mut |id| leaf.pages.push(id))?;
                }
            }
            values += leaf.pages.len();
            if leaf.from_slot > 0 || id == root {
                held.push(page);
            }
            plan.leaves.push(leaf);
        }
        Ok(plan)
    }

    pub(crate) fn root(&self) -> PageId {
        self.root
    }
}

impl TreeMut<'_, '_> {
    /// Frees the planned pages that are still there, without reading from the disk. True once the whole
    /// tree is freed.
    pub(crate) fn trim_planned(group: &mut WriteGroup<'_>, plan: &TrimPlan) -> Result<bool> {
        let mut leaves = plan.leaves.iter().peekable();
        loop {
            let Some(path) = right_edge(group, plan.root)? else { return Ok(false) };
            let (&last, above) = path.split_last().expect("at least the root");
            let Some(leaf) = leaves.next_if(|leaf| leaf.id == last) else {
                // An inner node that has lost its children, or a leaf that is not planned.
                if !is_childless(group, last)? {
                    return Ok(false);
                }
                if remove_last(group, last, above)? {
                    return Ok(true);
                }
                continue;
            };
            mutant!(TrimForgetsBlobs: leaf.pages.iter().for_each(|page| group.free(*page)) => ());
            if leaf.from_slot > 0 {
                let mut node = NodeMut::new(group.page_mut(last)?);
                (leaf.from_slot..node.view().count()).rev().for_each(|slot| node.remove(slot));
                return Ok(false);
            }
            if remove_last(group, last, above)? {
                return Ok(true);
            }
        }
    }

    /// Frees about `pages` pages from the right end of a tree that nobody uses any more, the root
    /// last. True once the whole tree is freed. Reads them from the disk: call it when nobody waits.
    ///
    /// Inner nodes of the remaining tree have lost children at their right ends: only another call may
    /// use it.
    pub(crate) fn trim(group: &mut WriteGroup<'_>, root: PageId, pages: usize) -> Result<bool> {
        for _ in 0..pages {
            let mut path = vec![root];
            loop {
                let node = Node::new(group.page(path[path.len() - 1])?);
                if node.is_leaf() || node.count() == 0 {
                    break;
                }
                let child = node.child(node.count() - 1);
                path.push(child);
            }
            let (&last, above) = path.split_last().expect("at least the root");
            let blobs = blobs(Node::new(group.page(last)?));
            for blob in blobs {
                mutant!(TrimForgetsBlobs: blob::free(group, blob)? => ());
            }
            if remove_last(group, last, above)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The path to the last leaf, or to an inner node on it that has no children, without reading the leaf.
/// `None` if part of the path is not in memory.
fn right_edge(group: &mut WriteGroup<'_>, root: PageId) -> Result<Option<Vec<PageId>>> {
    let mut path = vec![root];
    loop {
        let id = path[path.len() - 1];
        if !group.is_resident(id) {
            return Ok(None);
        }
        let node = Node::new(group.page(id)?);
        if node.is_leaf() || node.count() == 0 {
            return Ok(Some(path));
        }
        path.push(node.child(node.count() - 1));
        if node.level() == 1 {
            return Ok(Some(path));
        }
    }
}

/// Whether a page in memory is an inner node without children.
fn is_childless(group: &mut WriteGroup<'_>, id: PageId) -> Result<bool> {
    if !group.is_resident(id) {
        return Ok(false);
    }
    let node = Node::new(group.page(id)?);
    Ok(!node.is_leaf() && node.count() == 0)
}

/// Frees `last`, the last child of the last node of `above`. True if it was the root.
fn remove_last(group: &mut WriteGroup<'_>, last: PageId, above: &[PageId]) -> Result<bool> {
    group.free(last);
    let Some(&parent) = above.last() else { return Ok(true) };
    let mut node = NodeMut::new(group.page_mut(parent)?);
    let at = node.view().count() - 1;
    node.remove_child(at);
    Ok(false)
}

fn blobs(node: Node<'_>) -> Vec<BlobRef> {
    let slots = if node.is_leaf() { 0..node.count() } else { 0..0 };
    slots
        .filter_map(|slot| match node.value(slot) {
            Value::Blob(blob) => Some(blob),
            Value::Inline(_) => None,
        })
        .collect()
}
