//! Checking a whole store.

use std::collections::HashSet;

use crate::course::Course;
use crate::error::{Error, Result};
use crate::space::PageId;
use crate::tree::check::check;
use crate::txn::Engine;

/// What [`Store::verify`](crate::Store::verify) found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Verification {
    /// What is wrong, in words; nothing in a sound store.
    pub problems: Vec<String>,
    /// How many keyspaces there are.
    pub keyspaces: u64,
    /// How many keys, in all keyspaces.
    pub keys: u64,
    /// How many pages, those of out-of-line values included.
    pub pages: u64,
    /// Blocks of the data file that the last checkpoint does not use.
    pub free_blocks: u64,
}

impl Verification {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Checks the trees as they are in memory and on disk, then what the last checkpoint has on disk.
/// Commits and checkpoints wait meanwhile. Keyspaces and keys are counted where `counts` says so
/// of the name; all are checked. `None` if the course was cancelled.
pub(super) fn verify(
    engine: &Engine,
    course: &Course,
    counts: &dyn Fn(&str) -> bool,
) -> Result<Option<Verification>> {
    let mut found = Verification::default();
    let (_no_checkpoint, unreaped) = engine.hold_checkpoints();
    {
        let state = engine.commit.lock();
        let snapshot = engine.cache.snapshot();
        let at = snapshot.lsn();
        let mut reached: HashSet<PageId> = HashSet::new();
        // Once in the trees, once in the checkpoint.
        let pages = engine.cache.next_page_id().saturating_sub(1);
        course.expect(2 * pages.saturating_sub(unreaped.len() as u64));
        let mut roots = Vec::new();
        if state.trees.catalog_root != PageId::NONE {
            roots.push(("the catalog".to_owned(), state.trees.catalog_root, None));
        }
        for keyspace in state.trees.catalog.iter() {
            let is_counted = counts(&keyspace.name);
            found.keyspaces += u64::from(is_counted);
            let count = Some((keyspace.count.latest(), is_counted));
            roots.push((format!("keyspace {:?}", keyspace.name), keyspace.root, count));
        }
        for (id, root) in &state.trees.catalog.doomed {
            // Half taken apart, its inner nodes may be empty; what counts is what it reaches.
            let name = format!("dropped keyspace {}", id.0);
            walk_doomed(engine, *root, at, &mut reached, &name, &mut found)?;
            course.advance(found.pages - course.done());
        }
        for (name, root, count) in roots {
            let checked = check(&engine.cache, root, at, course, &mut |id| {
                course.advance(1);
                !reached.insert(id)
            })?;
            if course.is_cancelled() {
                return Ok(None);
            }
            let problems = checked.problems.into_iter().map(|problem| format!("{name}: {problem}"));
            found.problems.extend(problems);
            found.pages += checked.pages;
            if let Some((count, is_counted)) = count {
                found.keys += if is_counted { checked.keys } else { 0 };
                if count != checked.keys {
                    let keys = checked.keys;
                    found.problems.push(format!("{name}: {keys} keys, but the count is {count}"));
                }
            }
        }
        // B3: every page that exists is reached, or was freed.
        let freed: HashSet<PageId> = state.writer.freed().chain(unreaped).collect();
        for id in (1..engine.cache.next_page_id()).map(PageId) {
            let (exists, reached) = (engine.cache.exists(id)?, reached.contains(&id));
            if exists && !reached && !freed.contains(&id) {
                found.problems.push(format!("page {id} is neither reached nor free"));
            }
            if reached && (!exists || freed.contains(&id)) {
                found.problems.push(format!("page {id} is reached, but free"));
            }
        }
    }
    verify_checkpoint(engine, course, &mut found)?;
    Ok((!course.is_cancelled()).then_some(found))
}

/// Checks what the last checkpoint has on disk: maps, used blocks, and every page's checksum.
fn verify_checkpoint(engine: &Engine, course: &Course, found: &mut Verification) -> Result<()> {
    let mut pages = Vec::new();
    found.problems.extend(engine.space.verify(&mut |id, addr| pages.push((id, addr)))?);
    course.expect(course.done() + pages.len() as u64);
    let mut buffer = vec![0; engine.cache.page_bytes()];
    for (id, addr) in pages {
        if course.is_cancelled() {
            return Ok(());
        }
        course.advance(1);
        match engine.space.read_page(addr, id, &mut buffer) {
            Ok(_) => {}
            Err(damaged @ Error::Corrupt { .. }) => found.problems.push(damaged.to_string()),
            // A page that could not be read is neither sound nor damaged.
            Err(error) => return Err(error),
        }
    }
    found.free_blocks = engine.space.stats().free.unwrap_or(0);
    Ok(())
}

fn walk_doomed(
    engine: &Engine,
    root: PageId,
    at: crate::lsn::Lsn,
    reached: &mut HashSet<PageId>,
    name: &str,
    found: &mut Verification,
) -> Result<()> {
    let pages = crate::tree::check::reach(&engine.cache, root, at)?;
    for id in pages {
        found.pages += 1;
        if !reached.insert(id) {
            found.problems.push(format!("{name}: page {id} is reached twice"));
        }
    }
    Ok(())
}
