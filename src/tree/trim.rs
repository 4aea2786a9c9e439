//! Taking a dropped tree apart, a few pages at a time.

use super::edit::TreeMut;
use super::node::{Node, NodeMut, Value};
use super::{BlobRef, blob};
use crate::cache::WriteGroup;
use crate::error::Result;
use crate::mutants::{Mutant, broken};
use crate::space::PageId;

impl TreeMut<'_, '_> {
    /// Frees about `pages` pages from the right end of a tree that nobody uses any more, the root
    /// last. True once nothing is left of it.
    ///
    /// What remains is a tree in which inner nodes have lost children at their right ends, which
    /// only another call may look at.
    pub(crate) fn trim(group: &mut WriteGroup<'_>, root: PageId, pages: usize) -> Result<bool> {
        let mut freed = 0;
        while freed < pages {
            let mut path = vec![root];
            loop {
                let node = Node::new(group.page(path[path.len() - 1])?);
                if node.is_leaf() || node.count() == 0 {
                    break;
                }
                let child = node.child(node.count() - 1);
                path.push(child);
            }
            let last = path.pop().expect("at least the root");
            let blobs = blobs(Node::new(group.page(last)?));
            for blob in blobs.into_iter().filter(|_| !broken(Mutant::TrimForgetsBlobs)) {
                blob::free(group, blob)?;
            }
            group.free(last);
            freed += 1;
            let Some(&parent) = path.last() else { return Ok(true) };
            let mut node = NodeMut::new(group.page_mut(parent)?);
            let at = node.view().count() - 1;
            node.remove_child(at);
        }
        Ok(false)
    }
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
