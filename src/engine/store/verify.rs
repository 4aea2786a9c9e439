//! Checking a whole store.

use std::collections::HashSet;
use std::sync::Arc;

use crate::engine::base::error::{Error, Result};
use crate::engine::base::problems::Problems;
use crate::engine::base::progress::OperationProgress;
use crate::engine::cache::Snapshot;
use crate::engine::commit::{Engine, KeyspaceId, KeyspaceState};
use crate::engine::space::PageId;
use crate::engine::tree::check::{Checked, check, check_doomed};

/// The result of [`Store::verify`](crate::Store::verify).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Verification {
    /// The problems found, in words; empty for a sound store. The list has at most the first 100, and
    /// then one text that says how many more there are.
    pub problems: Vec<String>,
    /// Number of keyspaces.
    pub keyspaces: u64,
    /// Number of keys in all keyspaces, without those in or below damaged pages.
    pub keys: u64,
    /// Number of pages reached, including those of out-of-line values.
    pub pages: u64,
    /// Blocks of the data file that the last checkpoint does not use. `None` if the list of free
    /// blocks is damaged.
    pub free_blocks: Option<u64>,
}

impl Verification {
    /// Whether no problem was found.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// The state of the store that is checked, as of one moment.
struct PinnedStore<'a> {
    /// Keeps the trees as they were.
    snapshot: Snapshot<'a>,
    catalog_root: PageId,
    /// Each with its key count.
    keyspaces: Vec<(Arc<KeyspaceState>, u64)>,
    doomed: Vec<(KeyspaceId, PageId)>,
    /// Freed pages that still exist.
    freed: HashSet<PageId>,
    /// Pages from here on were created later.
    next_page_id: u64,
    /// How many changed pages the writer had listed.
    listed: usize,
}

/// Checks the trees as of now, in memory and on disk, then the last checkpoint on disk.
/// Commits go on; checkpoints wait meanwhile. Every keyspace is checked; those whose names `counts`
/// accepts are counted. `None` if the progress was cancelled.
pub(super) fn verify(
    engine: &Engine,
    progress: &OperationProgress,
    counts: &dyn Fn(&str) -> bool,
) -> Result<Option<Verification>> {
    let mut found = Findings::default();
    let (_no_checkpoint, unreaped) = engine.hold_checkpoints();
    // Once in the trees, once in the checkpoint.
    let pages = engine.cache().next_page_id().saturating_sub(1);
    progress.expect(2 * pages.saturating_sub(unreaped.len() as u64));
    {
        let pinned = pin(engine, unreaped);
        let mut reached = HashSet::new();
        if !check_trees(engine, &pinned, progress, counts, &mut reached, &mut found)? {
            return Ok(None);
        }
        check_pages(engine, &pinned, &reached, &mut found)?;
    }
    verify_checkpoint(engine, progress, &mut found)?;
    let Findings { problems, counted, .. } = found;
    let verified = Verification { problems: problems.into_list(), ..counted };
    Ok((!progress.is_cancelled()).then_some(verified))
}

/// The findings so far.
#[derive(Default)]
struct Findings {
    problems: Problems,
    /// Everything except the problems.
    counted: Verification,
    /// A tree has a damaged page, so some pages in use were not reached.
    is_partial: bool,
}

impl Findings {
    fn add(&mut self, name: &str, checked: Checked) {
        self.problems.append(&format!("{name}: "), checked.problems);
        self.counted.pages += checked.pages;
        self.is_partial |= checked.is_partial;
    }
}

/// Records the state to be checked, under the commit lock. Reads no page.
fn pin(engine: &Engine, unreaped: Vec<PageId>) -> PinnedStore<'_> {
    let state = engine.lock_commits();
    let catalog = &state.trees.catalog;
    let counted = |keyspace: &Arc<KeyspaceState>| (Arc::clone(keyspace), keyspace.count.latest());
    PinnedStore {
        snapshot: engine.cache().snapshot(),
        catalog_root: state.trees.catalog_root,
        keyspaces: catalog.iter().map(counted).collect(),
        doomed: catalog.doomed.iter().map(|(&id, &root)| (id, root)).collect(),
        freed: state.writer.freed().chain(unreaped).collect(),
        next_page_id: engine.cache().next_page_id(),
        listed: state.writer.listed(),
    }
}

/// Checks every tree, and notes which pages they reach. False if the progress was cancelled.
fn check_trees(
    engine: &Engine,
    pinned: &PinnedStore<'_>,
    progress: &OperationProgress,
    counts: &dyn Fn(&str) -> bool,
    reached: &mut HashSet<PageId>,
    found: &mut Findings,
) -> Result<bool> {
    let at = pinned.snapshot.lsn();
    let mut roots = Vec::new();
    if pinned.catalog_root != PageId::NONE {
        roots.push(("the catalog".to_owned(), pinned.catalog_root, None));
    }
    for (keyspace, count) in &pinned.keyspaces {
        let is_counted = counts(&keyspace.name);
        found.counted.keyspaces += u64::from(is_counted);
        let count = Some((*count, is_counted));
        roots.push((format!("keyspace {:?}", keyspace.name), keyspace.root, count));
    }
    for (id, root) in &pinned.doomed {
        // Half taken apart, its inner nodes may be empty; only the pages that it reaches matter.
        let name = format!("dropped keyspace {}", id.0);
        let checked = check_doomed(engine.cache(), *root, at, &mut |id| {
            progress.advance(1);
            !reached.insert(id)
        })?;
        found.add(&name, checked);
    }
    for (name, root, count) in roots {
        let checked = check(engine.cache(), root, at, progress, &mut |id| {
            progress.advance(1);
            !reached.insert(id)
        })?;
        if progress.is_cancelled() {
            return Ok(false);
        }
        let (keys, is_partial) = (checked.keys, checked.is_partial);
        found.add(&name, checked);
        if let Some((count, is_counted)) = count {
            found.counted.keys += if is_counted { keys } else { 0 };
            if count != keys && !is_partial {
                found.problems.add(format!("{name}: {keys} keys, but the count is {count}"));
            }
        }
    }
    Ok(true)
}

/// TREE-3: every page that exists is reached, was freed, or was created later. Unreached pages are
/// reported only if no tree has a damaged page.
fn check_pages(
    engine: &Engine,
    pinned: &PinnedStore<'_>,
    reached: &HashSet<PageId>,
    found: &mut Findings,
) -> Result<()> {
    // A failing device may have stopped a commit halfway. Pages that it created or freed are neither
    // reached nor free until the store is reopened.
    let is_poisoned = engine.poisoned().is_some();
    let mut strays = Vec::new();
    for id in (1..pinned.next_page_id).map(PageId) {
        let exists = match engine.cache().exists(id) {
            Err(damaged @ Error::Corrupt { .. }) => {
                found.problems.add(damaged.to_string());
                continue;
            }
            exists => exists?,
        };
        let is_reached = reached.contains(&id);
        let is_freed = !is_poisoned && pinned.freed.contains(&id);
        if exists && !is_reached && !is_freed && !is_poisoned {
            strays.push(id);
        }
        if is_reached && (!exists || is_freed) {
            found.problems.add(format!("page {id} is reached, but free"));
        }
    }
    if found.is_partial {
        return Ok(());
    }
    if !strays.is_empty() {
        // A free page id may have been given to a new page meanwhile. The list is read after the pages: a
        // commit that creates a page lists it under the same hold of the commit lock.
        let state = engine.lock_commits();
        let new: HashSet<PageId> =
            state.writer.listed_since(pinned.listed).iter().copied().collect();
        drop(state);
        strays.retain(|id| !new.contains(id));
    }
    for id in strays {
        found.problems.add(format!("page {id} is neither reached nor free"));
    }
    Ok(())
}

/// Checks the last checkpoint on disk: maps, used blocks, and every page's checksum.
fn verify_checkpoint(
    engine: &Engine,
    progress: &OperationProgress,
    found: &mut Findings,
) -> Result<()> {
    let mut pages = Vec::new();
    let data_file = engine.space().verify(&mut |id, addr| pages.push((id, addr)));
    // It may have to write the superblock for others meanwhile, which may fail as a checkpoint does.
    let data_file = data_file.inspect_err(|error| engine.pass_poison_on(error))?;
    found.problems.append("", data_file.problems);
    found.counted.free_blocks = data_file.free_blocks;
    progress.expect(progress.done() + pages.len() as u64);
    let mut buffer = vec![0; engine.cache().page_bytes()];
    for (id, addr) in pages {
        if progress.is_cancelled() {
            return Ok(());
        }
        progress.advance(1);
        match engine.space().read_page(addr, id, &mut buffer) {
            Ok(_) => {}
            Err(damaged @ Error::Corrupt { .. }) => found.problems.add(damaged.to_string()),
            // A page that could not be read is neither sound nor damaged.
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
