//! Checking a whole tree (B1 to B3).

use super::blob;
use super::node::{Node, Value};
use crate::cache::Cache;
use crate::course::Course;
use crate::error::Result;
use crate::lsn::Lsn;
use crate::space::PageId;

use super::lookup::fetch;

/// What a check of a tree found.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// How many keys there are.
    pub(crate) keys: u64,
    /// How many pages, those of out-of-line values included.
    pub(crate) pages: u64,
    /// What is wrong, in words.
    pub(crate) problems: Vec<String>,
}

/// What is expected of a node.
struct Expected {
    id: PageId,
    level: Option<u8>,
    lower: Vec<u8>,
    upper: Option<Vec<u8>>,
}

/// Checks the tree under `root` as of `at`, a registered snapshot. Calls `on_page` with every
/// page; it says whether the page was reached before. Reads every page: O(size of the tree). Stops
/// where it is when the course is cancelled.
pub(crate) fn check(
    cache: &Cache,
    root: PageId,
    at: Lsn,
    course: &Course,
    on_page: &mut dyn FnMut(PageId) -> bool,
) -> Result<Checked> {
    let mut checked = Checked::default();
    let mut todo = vec![Expected { id: root, level: None, lower: Vec::new(), upper: None }];
    while let Some(expected) = todo.pop()
        && !course.is_cancelled()
    {
        checked.pages += 1;
        if on_page(expected.id) {
            checked.problems.push(format!("page {} is reached twice", expected.id));
            continue;
        }
        let page = fetch(cache, expected.id, at)?;
        let node = Node::new(page.bytes());
        if let Err(problem) = node.check() {
            checked.problems.push(format!("page {}: {problem}", expected.id));
            continue;
        }
        checked.problems.extend(compare(node, &expected, at));
        if node.is_leaf() {
            checked.keys += node.count() as u64;
            check_values(cache, node, at, &mut checked, on_page)?;
        } else {
            todo.extend(children(node));
        }
    }
    Ok(checked)
}

/// All pages of a tree that is being taken apart, in which inner nodes may be empty.
pub(crate) fn reach(cache: &Cache, root: PageId, at: Lsn) -> Result<Vec<PageId>> {
    let (mut todo, mut pages) = (vec![root], Vec::new());
    while let Some(id) = todo.pop() {
        pages.push(id);
        let page = fetch(cache, id, at)?;
        let node = Node::new(page.bytes());
        for slot in 0..node.count() {
            if !node.is_leaf() {
                todo.push(node.child(slot));
            } else if let Value::Blob(blob) = node.value(slot) {
                blob::walk(cache, blob, at, &mut |id| pages.push(id))?;
            }
        }
    }
    Ok(pages)
}

fn compare(node: Node<'_>, expected: &Expected, at: Lsn) -> Vec<String> {
    let id = expected.id;
    let mut problems = Vec::new();
    if node.id() != id {
        problems.push(format!("page {id} says it is page {}", node.id()));
    }
    if node.lsn() > at {
        problems.push(format!("page {id} is of LSN {}, above {at}", node.lsn()));
    }
    if expected.level.is_some_and(|level| level != node.level()) {
        problems.push(format!("page {id} is at level {}, not {:?}", node.level(), expected.level));
    }
    if node.lower() != expected.lower || node.upper() != expected.upper.as_deref() {
        problems.push(format!("page {id} has other fences than its parent says"));
    }
    problems
}

fn children(node: Node<'_>) -> Vec<Expected> {
    let separator = |at: usize| {
        let mut key = Vec::new();
        if at == 0 {
            key.extend_from_slice(node.lower());
        } else {
            node.append_key(at, &mut key);
        }
        key
    };
    (0..node.count())
        .map(|at| Expected {
            id: node.child(at),
            level: Some(node.level() - 1),
            lower: separator(at),
            upper: if at + 1 < node.count() {
                Some(separator(at + 1))
            } else {
                node.upper().map(<[u8]>::to_vec)
            },
        })
        .collect()
}

fn check_values(
    cache: &Cache,
    leaf: Node<'_>,
    at: Lsn,
    checked: &mut Checked,
    on_page: &mut dyn FnMut(PageId) -> bool,
) -> Result<()> {
    for slot in 0..leaf.count() {
        if let Value::Blob(blob) = leaf.value(slot) {
            let Checked { pages, problems, .. } = &mut *checked;
            let bytes = blob::walk(cache, blob, at, &mut |id| {
                *pages += 1;
                if on_page(id) {
                    problems.push(format!("page {id} of a value is reached twice"));
                }
            })?;
            if bytes != blob.bytes {
                let (expected, id) = (blob.bytes, leaf.id());
                problems.push(format!("page {id}: a value of {expected} bytes has {bytes}"));
            }
        }
    }
    Ok(())
}
