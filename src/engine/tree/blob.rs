//! Out-of-line values: values that are too long for a leaf.
//!
//! ```text
//!   leaf cell -> BLOB                              one page holds it all
//!   leaf cell -> BLOB_INDEX -> BLOB, BLOB, ..      or an index of pages,
//!   leaf cell -> BLOB_INDEX -> BLOB_INDEX, ..      or of indexes
//! ```
//!
//! | kind | header count | after the header |
//! |---|---|---|
//! | `BLOB` | bytes in this page | those bytes, zeros |
//! | `BLOB_INDEX` | children | their page ids, 8 bytes each, zeros |
//!
//! Valid iff the pages in order hold exactly as many bytes as the leaf's reference says, every page
//! except the last is full, and the level falls by one from an index to its children (0 in `BLOB`).
//!
//! The pages are made before the commit lock is taken: nobody can reach them until the leaf
//! refers to them. A value of many pages is written straight to the data file, so that it neither fills
//! the cache nor holds up other commits; one of few pages stays in frames (see [`Draft`]).
//!
//! The pages never change, and carry LSN 0: the version of the leaf decides who sees them. They must be
//! read at a registered snapshot, which keeps their ids from being reused.

use super::lookup::fetch;
use super::node::BlobRef;
use crate::engine::base::codec::{get_u64, put_u64};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::Lsn;
use crate::engine::cache::{Absent, Cache, Draft, Guard, PinnedPage, WriteGroup};
use crate::engine::space::{BLOB, BLOB_INDEX, PAGE_HEADER, PageId, header};

/// The most bytes to allocate for a value before any have been read: its length may be damaged.
const RESERVE: u64 = 1 << 20;

/// Writes `value` to pages of its own, not yet part of any tree. The transaction has `others`
/// pages in drafts already.
pub(crate) fn prepare<'c>(
    cache: &'c Cache,
    value: &[u8],
    others: usize,
) -> Result<(BlobRef, Draft<'c>)> {
    let payload = cache.page_bytes() - PAGE_HEADER;
    let pages = value.len().div_ceil(payload);
    let mut draft = Draft::new(cache, pages, others);
    let mut level = Vec::with_capacity(pages);
    for part in value.chunks(payload) {
        level.push(draft.add(BLOB, 0, part.len(), |body| body.copy_from_slice(part))?);
    }
    let mut height = 0;
    while level.len() > 1 {
        height += 1;
        let mut above = Vec::new();
        for children in level.chunks(payload / 8) {
            above.push(draft.add(BLOB_INDEX, height, children.len(), |body| {
                for (at, child) in children.iter().enumerate() {
                    put_u64(body, at * 8, child.0);
                }
            })?);
        }
        level = above;
    }
    draft.finish()?;
    Ok((BlobRef { bytes: value.len() as u64, root: level[0] }, draft))
}

/// Reads a value as of `at`, a registered snapshot.
pub(crate) fn read(cache: &Cache, blob: BlobRef, at: Lsn) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(blob.bytes.min(RESERVE) as usize);
    let root = fetch(cache, blob.root, at)?;
    let level = header::level(root.bytes());
    read_page(cache, &root, level, blob, at, &mut out)?;
    if out.len() as u64 != blob.bytes {
        let found = format!("{} bytes", out.len());
        return Err(invalid(blob.root, format!("a value of {} bytes", blob.bytes), found));
    }
    Ok(out)
}

fn read_page(
    cache: &Cache,
    page: &PinnedPage<'_>,
    level: u8,
    blob: BlobRef,
    at: Lsn,
    out: &mut Vec<u8>,
) -> Result<()> {
    let bytes = page.bytes();
    match children(bytes, level)? {
        Children::Bytes(part) => {
            if out.len() as u64 + part.len() as u64 > blob.bytes {
                let expected = format!("a value of {} bytes", blob.bytes);
                return Err(invalid(header::page_id(bytes), expected, "more".into()));
            }
            out.extend_from_slice(part);
        }
        Children::Pages(ids) => {
            for id in ids {
                let child = fetch(cache, id, at)?;
                read_page(cache, &child, level - 1, blob, at, out)?;
            }
        }
    }
    Ok(())
}

/// Frees the pages of a value to which no leaf of the group refers any more. Reads only the index pages:
/// about a thousandth of the value.
pub(crate) fn free(group: &mut WriteGroup<'_>, blob: BlobRef) -> Result<()> {
    let mut todo = vec![blob.root];
    if is_one_page(group.cache(), blob) {
        group.free(blob.root);
        return Ok(());
    }
    // A value of the same group: its pages are known, and may not be in memory any more.
    if group.free_draft(blob.root) {
        return Ok(());
    }
    while let Some(id) = todo.pop() {
        let page = group.page(id)?;
        let level = header::level(page);
        let below: Vec<PageId> = match children(page, level)? {
            Children::Bytes(_) => Vec::new(),
            Children::Pages(ids) => ids.collect(),
        };
        if level > 1 {
            todo.extend(below);
        } else {
            below.into_iter().for_each(|child| group.free(child));
        }
        group.free(id);
    }
    Ok(())
}

/// The first index page of a value that is not in memory: [`free`] would have to read it.
pub(super) fn missing(cache: &Cache, blob: BlobRef, at: Lsn, guard: &Guard) -> Option<Absent> {
    if is_one_page(cache, blob) {
        return None;
    }
    let mut todo = vec![blob.root];
    while let Some(id) = todo.pop() {
        let page = match cache.page(id, at, guard) {
            Ok(page) => page.bytes(),
            Err(absent) => return Some(absent),
        };
        // `free` reports damage.
        let level = header::level(page);
        if let (2.., Ok(Children::Pages(ids))) = (level, children(page, level)) {
            todo.extend(ids);
        }
    }
    None
}

fn is_one_page(cache: &Cache, blob: BlobRef) -> bool {
    blob.bytes <= (cache.page_bytes() - PAGE_HEADER) as u64
}

/// Calls `on_page` with every page of a value, and returns how many bytes its pages hold.
///
/// # Errors
/// A page could not be read, or is damaged.
pub(crate) fn walk(
    cache: &Cache,
    blob: BlobRef,
    at: Lsn,
    on_page: &mut dyn FnMut(PageId),
) -> Result<u64> {
    let mut damage = Vec::new();
    let bytes = walk_past(cache, blob, at, &mut damage, &mut |id| {
        on_page(id);
        true
    })?;
    damage.pop().map_or(Ok(bytes), Err)
}

/// Calls `on_page` with every page of a value, and returns how many bytes its pages hold. `on_page` returns
/// whether to read the page. Skips damaged pages, and adds their errors to `damage`.
///
/// # Errors
/// A page could not be read.
pub(crate) fn walk_past(
    cache: &Cache,
    blob: BlobRef,
    at: Lsn,
    damage: &mut Vec<Error>,
    on_page: &mut dyn FnMut(PageId) -> bool,
) -> Result<u64> {
    let mut todo = vec![blob.root];
    let mut bytes = 0;
    while let Some(id) = todo.pop() {
        if !on_page(id) {
            continue;
        }
        let read = fetch(cache, id, at).and_then(|page| {
            match children(page.bytes(), header::level(page.bytes()))? {
                Children::Bytes(part) => bytes += part.len() as u64,
                Children::Pages(ids) => todo.extend(ids),
            }
            Ok(())
        });
        match read {
            Err(damaged @ Error::Corrupt { .. }) => damage.push(damaged),
            read => read?,
        }
    }
    Ok(bytes)
}

/// The content of a page of an out-of-line value.
pub(crate) enum Children<'a, I: Iterator<Item = PageId> + 'a> {
    Bytes(&'a [u8]),
    Pages(I),
}

/// The content of a value's page at `level`, after a check. `page` may hold any bytes of a valid page size.
pub(crate) fn children(
    page: &[u8],
    level: u8,
) -> Result<Children<'_, impl Iterator<Item = PageId> + '_>> {
    let (kind, count) = (header::kind(page), header::count(page));
    let body = &page[PAGE_HEADER..];
    let is_index = kind == BLOB_INDEX && level > 0 && count * 8 <= body.len();
    let is_blob = kind == BLOB && level == 0 && count <= body.len();
    if header::level(page) != level || !(is_index || is_blob) {
        let expected = format!("a part of a value, of level {level}");
        let found = format!("kind {kind}, level {}, count {count}", header::level(page));
        return Err(invalid(header::page_id(page), expected, found));
    }
    Ok(if is_index {
        Children::Pages((0..count).map(move |at| PageId(get_u64(body, at * 8))))
    } else {
        Children::Bytes(&body[..count])
    })
}

fn invalid(id: PageId, expected: String, found: String) -> Error {
    Error::Corrupt { file: format!("data: page {id}"), offset: 0, expected, found }
}
