//! Applying operations to the trees, for commits and for replay.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::housekeeping::Sparse;
use super::keyspaces::{Catalog, KeyspaceState, catalog_key};
use super::ops::{KeyspaceId, Op, Operations, Payload};
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Incarnation, LifeMark, Lsn};
use crate::engine::cache::{Cache, Draft, Readers, WriteGroup, Writer};
use crate::engine::mutants::mutant;
use crate::engine::space::PageId;
use crate::engine::tree::{
    Aim, BlobRef, PriorValue, Scratch, TreeMut, TrimPlan, Value, blob, max_inline,
};

/// The most leaves that one step of taking a dropped keyspace apart frees.
pub(super) const TRIM_PAGES: usize = 256;

/// The trees of all keyspaces, and the scratch state of applying.
#[derive(Debug)]
pub(crate) struct Trees {
    pub(crate) catalog: Catalog,
    /// The tree of the catalog; none in a store that was never written to.
    pub(crate) catalog_root: PageId,
    pub(crate) next_keyspace: u32,
    /// Small leaves, to be merged once their neighbours are in memory.
    pub(super) sparse: Sparse,
    /// The pages that the next step of taking a dropped keyspace apart frees; none in a replay.
    pub(super) plan: Option<TrimPlan>,
    scratch: Scratch,
    /// Sorted by the keyspace's id.
    touched: Vec<Touched>,
    /// Keyspaces whose counts differ from the catalog's: those marked `count_changed`.
    changed: Vec<Arc<KeyspaceState>>,
}

/// A keyspace that the group changes, and the change of its key count.
#[derive(Debug)]
struct Touched {
    keyspace: Arc<KeyspaceState>,
    delta: i64,
}

/// An operation, and the place of its value if that is long.
type Change<'a> = (Op<'a>, Option<BlobRef>);

/// The index of an operation, and its long value, written ahead.
pub(crate) type Prepared<'c> = (usize, BlobRef, Draft<'c>);

impl Trees {
    pub(crate) fn new(catalog: Catalog, catalog_root: PageId, next_keyspace: u32) -> Self {
        Trees {
            catalog,
            catalog_root,
            next_keyspace,
            sparse: Sparse::default(),
            plan: None,
            scratch: Scratch::default(),
            touched: Vec::new(),
            changed: Vec::new(),
        }
    }

    /// Applies the operations in `payload`, sorted by key where that makes no difference. `prepared` are
    /// its long values; `aimed` is the leaf that [`Trees::aim`] found for its only put.
    pub(crate) fn apply(
        &mut self,
        group: &mut WriteGroup<'_>,
        payload: &[u8],
        operations: usize,
        prepared: &mut [Prepared<'_>],
        aimed: Option<PageId>,
    ) -> Result<()> {
        for (_, _, draft) in prepared.iter_mut() {
            group.take_in(draft);
        }
        let blob_of = |number: usize| {
            let at = prepared.binary_search_by_key(&number, |(number, ..)| *number).ok()?;
            Some(prepared[at].1)
        };
        if operations == 1 {
            let op = Operations::new(payload).next().expect("one operation")?;
            if let Op::Put { keyspace, key, value } = op
                && prepared.is_empty()
            {
                return self.put_only(group, keyspace, key, value, aimed);
            }
            return self.apply_one(group, op, blob_of(0));
        }
        let mut ops = Vec::with_capacity(operations);
        for (number, op) in Operations::new(payload).enumerate() {
            ops.push((op?, blob_of(number)));
        }
        sort_runs(&mut ops);
        let is_put = |op: &Op<'_>| match op {
            Op::Put { keyspace, .. } => Some(*keyspace),
            _ => None,
        };
        for part in ops.chunk_by(|(a, _), (b, _)| is_put(a).is_some() && is_put(a) == is_put(b)) {
            match is_put(&part[0].0) {
                Some(keyspace)
                    if part.len() == ops.len() && group.may_change_in_place(ops.len()) =>
                {
                    self.apply_puts_later(group, keyspace, part)?;
                }
                Some(keyspace) => self.apply_puts(group, keyspace, part)?,
                None => self.apply_one(group, part[0].0, None)?,
            }
        }
        Ok(())
    }

    /// Finds the leaf that a commit of one put will change. No other operation may be applied in between.
    #[inline]
    pub(crate) fn aim<'c>(&mut self, cache: &'c Cache, payload: &Payload) -> Option<Aim<'c>> {
        if payload.operations != 1 {
            return None;
        }
        let Some(Ok(Op::Put { keyspace, key, .. })) = Operations::new(&payload.bytes).next() else {
            return None;
        };
        let at = self.touch(keyspace).ok()?;
        Aim::take(cache, self.touched[at].keyspace.root, key, &mut self.scratch)
    }

    /// Makes a group visible, with its key counts.
    pub(crate) fn publish(&mut self, group: WriteGroup<'_>) {
        for touched in &mut self.touched {
            let delta = std::mem::take(&mut touched.delta);
            if delta != 0 {
                let count = &touched.keyspace.count;
                let now = count.latest().checked_add_signed(delta).expect("a count of keys");
                let cache = group.cache();
                count.set(now, group.lsn(), |from, until| cache.has_snapshot_in(from, until));
                note_changed(&mut self.changed, &touched.keyspace);
            }
        }
        if self.touched.len() > 16 {
            self.touched.clear();
        }
        group.publish();
    }

    /// Applies a put that is the only operation of its group.
    #[inline]
    fn put_only(
        &mut self,
        group: &mut WriteGroup<'_>,
        keyspace: KeyspaceId,
        key: &[u8],
        value: &[u8],
        aimed: Option<PageId>,
    ) -> Result<()> {
        let at = self.touch(keyspace)?;
        let root = self.touched[at].keyspace.root;
        let tree = &mut TreeMut::new(group, root, &mut self.scratch);
        match tree.put_only(key, Value::Inline(value), aimed)? {
            PriorValue::Absent => self.touched[at].delta += 1,
            PriorValue::Inline => {}
            PriorValue::Blob(old) => mutant!(BlobLeaked: blob::free(group, old)? => ()),
        }
        Ok(())
    }

    #[inline]
    fn apply_one(
        &mut self,
        group: &mut WriteGroup<'_>,
        op: Op<'_>,
        blob: Option<BlobRef>,
    ) -> Result<()> {
        match op {
            Op::Put { keyspace, .. } => self.apply_puts(group, keyspace, &[(op, blob)])?,
            Op::Delete { keyspace, key } => {
                let at = self.touch(keyspace)?;
                let root = self.touched[at].keyspace.root;
                let prior = TreeMut::new(group, root, &mut self.scratch).delete(key)?;
                self.sparse.add(keyspace, self.scratch.take_sparse());
                if prior != PriorValue::Absent {
                    self.touched[at].delta -= 1;
                }
                if let PriorValue::Blob(old) = prior {
                    blob::free(group, old)?;
                }
            }
            Op::Create { keyspace, name } => self.create(group, keyspace, name)?,
            Op::Drop { keyspace } => self.drop_keyspace(group, keyspace)?,
            Op::Count { keyspace, count } => {
                if let Some(state) = self.catalog.numbered(keyspace) {
                    let touched = self.find_touched(keyspace);
                    if touched.is_ok_and(|at| self.touched[at].delta != 0) {
                        // A replayed group may have changes before and after this count. They may
                        // cancel out, and the noted count is outdated all the same.
                        note_changed(&mut self.changed, state);
                    }
                    let (key, value) = (catalog_key::keyspace(&state.name), state.encode(count));
                    self.put_catalog(group, &key, &value)?;
                }
            }
            Op::Trim { keyspace } => self.trim(group, keyspace)?,
        }
        Ok(())
    }

    /// Applies puts to one keyspace, in the order of their keys.
    #[inline]
    fn apply_puts(
        &mut self,
        group: &mut WriteGroup<'_>,
        keyspace: KeyspaceId,
        puts: &[Change<'_>],
    ) -> Result<()> {
        let at = self.touch(keyspace)?;
        let Touched { keyspace, delta } = &mut self.touched[at];
        let mut unused = Vec::new();
        let mut tree = TreeMut::new(group, keyspace.root, &mut self.scratch);
        tree.put_sorted(puts.len(), |at| row(puts, at), meets(delta, &mut unused))?;
        unused.into_iter().try_for_each(|old| blob::free(group, old))
    }

    /// As [`Trees::apply_puts`], if the puts are the whole group: most leaves are changed at its end, in
    /// place if nobody reads them.
    fn apply_puts_later(
        &mut self,
        group: &mut WriteGroup<'_>,
        keyspace: KeyspaceId,
        puts: &[Change<'_>],
    ) -> Result<()> {
        let at = self.touch(keyspace)?;
        let Touched { keyspace, delta } = &mut self.touched[at];
        let mut unused = Vec::new();
        let mut tree = TreeMut::new(group, keyspace.root, &mut self.scratch);
        tree.put_or_defer(puts.len(), |at| row(puts, at), meets(delta, &mut unused))?;
        unused.drain(..).try_for_each(|old| blob::free(group, old))?; // before readers are excluded
        let mut tree = TreeMut::new(group, keyspace.root, &mut self.scratch);
        tree.put_deferred(|at| row(puts, at), meets(delta, &mut unused))?;
        unused.into_iter().try_for_each(|old| blob::free(group, old))
    }

    /// The index of the keyspace in `touched`, where it is inserted if it is new.
    fn touch(&mut self, id: KeyspaceId) -> Result<usize> {
        let at = match self.find_touched(id) {
            Ok(at) => return Ok(at),
            Err(at) => at,
        };
        let keyspace = self.catalog.numbered(id).ok_or_else(|| unknown(id))?;
        self.touched.insert(at, Touched { keyspace: Arc::clone(keyspace), delta: 0 });
        Ok(at)
    }

    /// The index of the keyspace in `touched`; otherwise `Err` with the index where it belongs.
    #[inline]
    fn find_touched(&self, id: KeyspaceId) -> std::result::Result<usize, usize> {
        self.touched.binary_search_by_key(&id, |touched| touched.keyspace.id)
    }

    fn create(&mut self, group: &mut WriteGroup<'_>, id: KeyspaceId, name: &str) -> Result<()> {
        let root = TreeMut::create(group)?;
        let state = Arc::new(KeyspaceState::new(id, name, root, 0, group.lsn()));
        self.put_catalog(group, &catalog_key::keyspace(name), &state.encode(0))?;
        self.catalog.insert(state);
        group.cache().note_keyspaces(self.catalog.len());
        self.next_keyspace = self.next_keyspace.max(id.0 + 1);
        Ok(())
    }

    fn drop_keyspace(&mut self, group: &mut WriteGroup<'_>, id: KeyspaceId) -> Result<()> {
        // Earlier changes of the group in this keyspace no longer matter.
        self.touched.retain(|touched| touched.keyspace.id != id);
        let state = self.catalog.remove(id, group.lsn()).ok_or_else(|| unknown(id))?;
        self.delete_catalog(group, &catalog_key::keyspace(&state.name))?;
        self.put_catalog(group, &catalog_key::dropped(id), &state.root.0.to_le_bytes())
    }

    fn trim(&mut self, group: &mut WriteGroup<'_>, id: KeyspaceId) -> Result<()> {
        let Some(&root) = self.catalog.doomed.get(&id) else { return self.tidy(group, id) };
        let is_gone = match self.plan.take().filter(|plan| plan.root() == root) {
            Some(plan) => TreeMut::trim_planned(group, &plan)?,
            None => TreeMut::trim(group, root, TRIM_PAGES)?,
        };
        if is_gone {
            self.catalog.doomed.remove(&id);
            self.delete_catalog(group, &catalog_key::dropped(id))?;
        }
        Ok(())
    }

    /// Merges noted leaves of a keyspace, as far as their neighbours are in memory.
    fn tidy(&mut self, group: &mut WriteGroup<'_>, id: KeyspaceId) -> Result<()> {
        let Some(keyspace) = self.catalog.numbered(id) else { return Ok(()) };
        let root = keyspace.root;
        for key in self.sparse.take(id) {
            TreeMut::new(group, root, &mut self.scratch).tidy(&key)?;
        }
        self.sparse.add(id, self.scratch.take_sparse());
        Ok(())
    }

    /// Notes in the catalog where an incarnation ended. Creates the catalog if there is none.
    pub(crate) fn note_end(
        &mut self,
        group: &mut WriteGroup<'_>,
        incarnation: Incarnation,
        mark: LifeMark,
        end: Lsn,
    ) -> Result<()> {
        if self.catalog_root == PageId::NONE {
            self.catalog_root = TreeMut::create(group)?;
        }
        if incarnation == Incarnation::new(0) {
            return Ok(());
        }
        let mut value = end.get().to_le_bytes().to_vec();
        if !mark.is_none() {
            value.extend(mark.0.to_le_bytes());
        }
        self.put_catalog(group, &catalog_key::incarnation(incarnation), &value)
    }

    /// Notes the changed key counts in the catalog.
    pub(crate) fn note_counts(&mut self, group: &mut WriteGroup<'_>) -> Result<()> {
        for state in self.changed_counts(usize::MAX) {
            let key = catalog_key::keyspace(&state.name);
            self.put_catalog(group, &key, &state.encode(state.count.latest()))?;
        }
        Ok(())
    }

    /// Takes up to `most` keyspaces whose counts differ from the catalog's; from now on they count as
    /// noted.
    pub(crate) fn changed_counts(&mut self, most: usize) -> Vec<Arc<KeyspaceState>> {
        let from = self.changed.len() - most.min(self.changed.len());
        let mut changed = self.changed.split_off(from);
        changed.iter().for_each(|state| state.count_changed.store(false, Ordering::Relaxed));
        changed.retain(|state| !state.is_dropped());
        changed
    }

    /// The number of keyspaces whose counts differ from the catalog's.
    pub(crate) fn changed_count(&self) -> usize {
        self.changed.len()
    }

    /// Puts these keyspaces back: their counts were not noted after all.
    pub(crate) fn restore_counts(&mut self, counts: &[Arc<KeyspaceState>]) {
        counts.iter().for_each(|state| note_changed(&mut self.changed, state));
    }

    fn put_catalog(&mut self, group: &mut WriteGroup<'_>, key: &[u8], value: &[u8]) -> Result<()> {
        let root = self.catalog_root;
        TreeMut::new(group, root, &mut self.scratch).put(key, Value::Inline(value)).map(|_| ())
    }

    fn delete_catalog(&mut self, group: &mut WriteGroup<'_>, key: &[u8]) -> Result<()> {
        let root = self.catalog_root;
        TreeMut::new(group, root, &mut self.scratch).delete(key).map(|_| ())
    }
}

/// Lists a keyspace as changed, once.
#[inline]
fn note_changed(changed: &mut Vec<Arc<KeyspaceState>>, state: &Arc<KeyspaceState>) {
    // Under the commit lock: no atomic read-modify-write is needed.
    if !state.count_changed.load(Ordering::Relaxed) {
        state.count_changed.store(true, Ordering::Relaxed);
        changed.push(Arc::clone(state));
    }
}

/// The key and the value of one of several puts.
fn row<'a>(puts: &[Change<'a>], at: usize) -> (&'a [u8], Value<'a>) {
    match puts[at] {
        (Op::Put { key, value, .. }, blob) => (key, blob.map_or(Value::Inline(value), Value::Blob)),
        _ => unreachable!("the caller has only puts"),
    }
}

/// A callback that counts new keys, and collects long values that were replaced.
fn meets(delta: &mut i64, unused: &mut Vec<BlobRef>) -> impl FnMut(PriorValue) {
    move |prior| match prior {
        PriorValue::Absent => *delta += 1,
        PriorValue::Inline => {}
        PriorValue::Blob(old) => mutant!(BlobLeaked: unused.push(old) => ()),
    }
}

/// Writes values in `payload` that are too long for a leaf to pages of their own.
pub(crate) fn prepare<'c>(cache: &'c Cache, payload: &[u8]) -> Result<Vec<Prepared<'c>>> {
    let limit = max_inline(cache.page_bytes());
    let (mut prepared, mut pages) = (Vec::new(), 0);
    for (number, op) in Operations::new(payload).enumerate() {
        if let Op::Put { value, .. } = op?
            && value.len() > limit
        {
            let (blob, draft) = blob::prepare(cache, value, pages)?;
            pages += draft.len();
            prepared.push((number, blob, draft));
        }
    }
    Ok(prepared)
}

/// Applies the payload of one or more transactions from the log as one group at `lsn`, during
/// recovery. Returns the number of operations.
pub(crate) fn apply_entries(
    cache: &Cache,
    writer: &mut Writer,
    trees: &mut Trees,
    payload: &[u8],
    lsn: Lsn,
) -> Result<usize> {
    let mut prepared = prepare(cache, payload)?;
    let operations = Operations::new(payload).count();
    let mut group = WriteGroup::begin_with(cache, writer, lsn, Readers::None);
    trees.apply(&mut group, payload, operations, &mut prepared, None)?;
    trees.publish(group);
    Ok(operations)
}

/// Writes the operations in `payload` to `sorted` in the order in which they are applied. Invalid
/// bytes are copied unchanged: applying them reports the error.
pub(crate) fn sort_entries(payload: &[u8], sorted: &mut Vec<u8>) {
    let mut rest = Operations::new(payload);
    let mut ops = Vec::new();
    loop {
        let from = rest.consumed();
        let Some(Ok(op)) = rest.next() else { break };
        ops.push((op, &payload[from..rest.consumed()]));
    }
    sort_runs(&mut ops);
    sorted.clear();
    sorted.reserve(payload.len());
    ops.iter().for_each(|(_, bytes)| sorted.extend_from_slice(bytes));
    sorted.extend_from_slice(&payload[sorted.len()..]);
}

/// Sorts runs of puts and deletes by key; operations on whole keyspaces keep their places.
fn sort_runs<T>(ops: &mut [(Op<'_>, T)]) {
    let is_keyed = |op: &Op<'_>| matches!(op, Op::Put { .. } | Op::Delete { .. });
    for run in ops.chunk_by_mut(|(a, _), (b, _)| is_keyed(a) && is_keyed(b)) {
        mutant!(OperationsSortedUnstably => {
            run.sort_unstable_by(|(a, _), (b, _)| place(a).cmp(&place(b)));
            continue;
        });
        if !run.is_sorted_by(|(a, _), (b, _)| place(a) <= place(b)) {
            // Stable: of several changes to a key, the last counts.
            run.sort_by_cached_key(|(op, _)| rank(op));
        }
    }
}

fn place<'a>(op: &Op<'a>) -> Option<(KeyspaceId, &'a [u8])> {
    match *op {
        Op::Put { keyspace, key, .. } | Op::Delete { keyspace, key } => Some((keyspace, key)),
        _ => None,
    }
}

/// The same order as [`place`], with the first bytes of the key as a number: most comparisons then
/// need not read the key itself, which may lie anywhere in the payload.
fn rank<'a>(op: &Op<'a>) -> Option<(KeyspaceId, u64, &'a [u8])> {
    let (keyspace, key) = place(op)?;
    let mut first = [0; 8];
    let len = key.len().min(8);
    first[..len].copy_from_slice(&key[..len]);
    Some((keyspace, u64::from_be_bytes(first), key))
}

fn unknown(id: KeyspaceId) -> Error {
    Error::Corrupt {
        file: "a log record's payload".into(),
        offset: 0,
        expected: "a keyspace that exists".into(),
        found: format!("number {}", id.0),
    }
}
