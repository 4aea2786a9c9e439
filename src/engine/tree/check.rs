//! Checking a whole tree (TREE-1 to TREE-3).

use super::blob;
use super::node::{Node, Value};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::base::problems::Problems;
use crate::engine::base::progress::OperationProgress;
use crate::engine::cache::Cache;
use crate::engine::space::PageId;

use super::lookup::fetch;

/// What a check of a tree found.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) keys: u64,
    /// How many pages, those of out-of-line values included.
    pub(crate) pages: u64,
    pub(crate) problems: Problems,
    /// Whether a page is damaged: the pages below it were not reached, and their keys were not counted.
    pub(crate) is_partial: bool,
}

impl Checked {
    /// The result of `read`; `None` if it found damage, which is noted as a problem.
    fn note<T>(&mut self, read: Result<T>) -> Result<Option<T>> {
        match read {
            Err(damaged @ Error::Corrupt { .. }) => {
                self.problems.add(damaged.to_string());
                self.is_partial = true;
                Ok(None)
            }
            read => read.map(Some),
        }
    }
}

/// What a parent says of a node.
struct Expected {
    id: PageId,
    level: Option<u8>,
    lower: Vec<u8>,
    upper: Option<Vec<u8>>,
}

/// Checks the tree under `root` as of `at`, a registered snapshot. Calls `on_page` with every page, which
/// returns whether the page was reached before. Reads every page: O(size of the tree). Stops when the
/// operation is cancelled.
pub(crate) fn check(
    cache: &Cache,
    root: PageId,
    at: Lsn,
    progress: &OperationProgress,
    on_page: &mut dyn FnMut(PageId) -> bool,
) -> Result<Checked> {
    let mut checked = Checked::default();
    let mut todo = vec![Expected { id: root, level: None, lower: Vec::new(), upper: None }];
    while let Some(expected) = todo.pop()
        && !progress.is_cancelled()
    {
        checked.pages += 1;
        if on_page(expected.id) {
            checked.problems.add(format!("page {} is reached twice", expected.id));
            continue;
        }
        let Some(page) = checked.note(fetch(cache, expected.id, at))? else { continue };
        let node = Node::new(page.bytes());
        if let Err(problem) = node.check() {
            checked.problems.add(format!("page {}: {problem}", expected.id));
            checked.is_partial = true;
            continue;
        }
        compare(node, &expected, at).into_iter().for_each(|problem| checked.problems.add(problem));
        if node.is_leaf() {
            checked.keys += node.count() as u64;
            check_values(cache, node, at, &mut checked, on_page)?;
        } else {
            todo.extend(children(node));
        }
    }
    Ok(checked)
}

/// Checks that the pages of a tree that is being trimmed can be read, and that none is reached twice. Its
/// inner nodes may be empty. Calls `on_page` as [`check`] does.
pub(crate) fn check_doomed(
    cache: &Cache,
    root: PageId,
    at: Lsn,
    on_page: &mut dyn FnMut(PageId) -> bool,
) -> Result<Checked> {
    let mut checked = Checked::default();
    let mut todo = vec![root];
    while let Some(id) = todo.pop() {
        checked.pages += 1;
        if on_page(id) {
            checked.problems.add(format!("page {id} is reached twice"));
            continue;
        }
        let Some(page) = checked.note(fetch(cache, id, at))? else { continue };
        let node = Node::new(page.bytes());
        if node.is_leaf() {
            check_values(cache, node, at, &mut checked, on_page)?;
        } else {
            todo.extend((0..node.count()).map(|slot| node.child(slot)));
        }
    }
    Ok(checked)
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
            let mut damage = Vec::new();
            let bytes = blob::walk_past(cache, blob, at, &mut damage, &mut |id| {
                *pages += 1;
                let is_again = on_page(id);
                if is_again {
                    problems.add(format!("page {id} of a value is reached twice"));
                }
                !is_again
            })?;
            if bytes != blob.bytes && damage.is_empty() {
                let (expected, id) = (blob.bytes, leaf.id());
                problems.add(format!("page {id}: a value of {expected} bytes has {bytes}"));
            }
            for error in damage {
                checked.note::<()>(Err(error))?;
            }
        }
    }
    Ok(())
}
