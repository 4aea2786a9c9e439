//! Opening a store: creation, or recovery from the log.
//!
//! 1. look at the directory ([`directory_state`]), lock it, and lock the data file if there is one;
//! 2. pick the newest valid superblock, or create a store in an empty directory; refuse a superblock
//!    that the log has outlived, because it is from an older copy of the data file. If the store was not
//!    closed, read nothing more of it from the operating system's cache (DATAFILE-5);
//! 3. load the catalog. Pages load on demand, so this does not depend on the size of the store;
//! 4. if the store was closed, skip to step 8: the first write begins an incarnation;
//! 5. look for the segments that must exist according to the superblock. Scan the log from the
//!    checkpoint, and judge its tail (torn or rotten). Replay whole transactions through the code that
//!    commits use;
//! 6. begin a new incarnation in a fresh segment, and record where the former one ended;
//! 7. make a checkpoint: the log that was read may be only in the operating system's cache, so its
//!    changes go to fresh blocks and are flushed before any call returns;
//! 8. the store is open.
//!
//! A full disk does not prevent reads. If there is no space for the segment of step 6, the store is
//! recorded as closed ([`full`]): step 7 makes its checkpoint without a log, in existing blocks
//! (CACHE-12), and the first write begins an incarnation. A recovery that fails leaves no file behind.
//!
//! A store opened read-only goes through the same steps on a disk that keeps its changes in memory
//! ([`Overlay`]), so its files stay unchanged. Once open, it takes no commit.
//!
//! - RECOVERY-1 a recovered store shows a prefix of the commits, which includes every commit that was
//!   ever reported durable;
//! - RECOVERY-2 a crash during recovery loses nothing: until step 7 is durable, the former superblock and
//!   the log stay as they are;
//! - RECOVERY-3 nothing is served before step 7, so that an observed read is never undone;
//! - RECOVERY-4 a segment of incarnation i + 1 is made only once the superblock that begins i is durable,
//!   and takes commits only once the superblock that begins i + 1 is durable. So a log that has outlived
//!   its superblock can be recognized ([`find_newer_log`]).

mod directory_state;
mod full;
mod replay;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::directory_state::DirectoryState;
use self::full::{end_as_closed, forget_log};
use self::replay::replay;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::foreign;
use crate::engine::base::lsn::{Incarnation, Lsn, StoreId};
use crate::engine::cache::{BACK_OFF, Cache, CacheOptions, MemorySource, WriteGroup};
use crate::engine::commit::checkpoint::{FormerLife, Purpose};
use crate::engine::commit::{
    Catalog, CommitState, Engine, KeyspaceId, KeyspaceState, Locks, OlderSegments, Trees,
    begins_with_a_count, catalog_key,
};
use crate::engine::disk::overlay::Overlay;
use crate::engine::disk::{DirLock, Disk};
use crate::engine::log::{KnownLife, find_newer_log};
use crate::engine::mutants::mutant;
use crate::engine::options::{Options, RecoveryProgress};
use crate::engine::space::{DATA_FILE, Head, PageId, Params, Space};
use crate::engine::tree::{Cursor, Node, Value, copy_used, max_key};

/// What recovery found and did when the store was opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecoverySummary {
    /// The store had been closed: there was nothing to recover.
    pub was_clean: bool,
    /// Transactions that were replayed.
    pub records_replayed: u64,
    /// Operations in them.
    pub operations_replayed: u64,
    /// Bytes of log that were replayed.
    pub bytes_replayed: u64,
    /// Bytes cut off after the last whole transaction: written but never flushed.
    pub bytes_cut: u64,
    /// The last transaction that the store has.
    pub recovered_to: Lsn,
    /// The incarnation that ended there. Its commits above `recovered_to` are lost.
    pub former: Incarnation,
    /// How long opening took.
    pub duration: Duration,
}

/// Opens the store on `disk`.
pub(crate) fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(Engine, RecoverySummary)> {
    let begun = Instant::now();
    let disk = match options.read_only {
        true => Arc::new(Overlay::new(disk)),
        false => disk,
    };
    // 1
    let state = DirectoryState::look(&*disk, &options)?;
    let directory = disk.lock()?;
    // 2
    let (space, data) = open_or_create(&disk, state, &options)?;
    let (space, lock) = (Arc::new(space), Locks { data, directory });
    let head = space.superblock().head;
    refuse_outlived(&disk, &space)?;
    if !head.clean {
        space.forget_cached();
    }
    // 3
    let cache = Cache::new(
        Arc::clone(&space),
        CacheOptions {
            cache_bytes: options.cache_bytes,
            memory: match options.background {
                true => MemorySource::System,
                false => MemorySource::Spare,
            },
            visible: head.checkpoint,
            next_page_id: head.next_page_id.0,
            copy_page: copy_used,
            back_off: BACK_OFF,
        },
    )?;
    let catalog = load_catalog(&cache, head.catalog_root, &disk)?;
    cache.note_keyspaces(catalog.len());
    let trees = Trees::new(catalog, head.catalog_root, head.next_keyspace);
    let mut engine = Engine::new(Arc::clone(&disk), lock, options, space, cache, trees);
    let mut summary = RecoverySummary {
        was_clean: head.clean,
        records_replayed: 0,
        operations_replayed: 0,
        bytes_replayed: 0,
        bytes_cut: 0,
        recovered_to: head.checkpoint,
        former: head.incarnation,
        duration: Duration::ZERO,
    };
    // 4
    if !head.clean {
        let end = replay(&engine, head, &mut summary)?;
        begin_incarnation(&engine, head, end, &summary)?;
    }
    // Values that the callback owns are dropped here, and not by some thread of the store.
    let callback = engine.finish_recovery();
    foreign::call("the destructor of a callback", || drop(callback));
    summary.duration = begun.elapsed();
    Ok((engine, summary))
}

/// Step 2.
fn open_or_create(
    disk: &Arc<dyn Disk>,
    state: DirectoryState,
    options: &Options,
) -> Result<(Space, Box<dyn DirLock>)> {
    // Before the lock was taken, another process may have made a store or put a file there.
    if state == DirectoryState::Store
        || DirectoryState::look(&**disk, options)? == DirectoryState::Store
    {
        return open_locked(disk);
    }
    let mut id = options.store_id.unwrap_or_default();
    if options.store_id.is_none() {
        getrandom::fill(&mut id).map_err(|e| Error::Io {
            action: "get a random store id".into(),
            file: disk.path(""),
            source: Arc::new(std::io::Error::other(e.to_string())),
        })?;
    }
    let params = Params {
        store: StoreId(id),
        page_size: options.page_bytes,
        segment_bytes: options.segment_bytes,
    };
    Space::make(&**disk, params)?;
    open_locked(disk)
}

/// The data file's own lock keeps the store from being opened twice, even if somebody removed the
/// directory's lock file.
fn open_locked(disk: &Arc<dyn Disk>) -> Result<(Space, Box<dyn DirLock>)> {
    Space::open_locked(&**disk).map_err(|error| match error {
        Error::Locked { .. } => Error::Locked { directory: disk.path("") },
        error => error,
    })
}

/// RECOVERY-4
fn refuse_outlived(disk: &Arc<dyn Disk>, space: &Space) -> Result<()> {
    let superblock = space.superblock();
    let Head { incarnation, clean, .. } = superblock.head;
    let (life, segment_bytes) = (superblock.life(), superblock.segment_bytes);
    let known = KnownLife { life, segment_bytes, clean, may_be_recovery: begins_with_a_count };
    match find_newer_log(disk, known)? {
        #[cfg(feature = "mutants")]
        Some(_) if mutant!(OlderDataUnnoticed: false => true) => Ok(()),
        Some(later) => Err(Error::Corrupt {
            file: space.path().to_owned(),
            offset: 0,
            expected: format!(
                "a superblock that {} has not outlived, which holds the log of incarnation {}",
                later.file, later.incarnation
            ),
            found: match later.incarnation == incarnation {
                true => "one of another copy of the store".to_owned(),
                false => format!("an older one, of incarnation {incarnation}"),
            },
        }),
        None => Ok(()),
    }
}

/// Step 3.
fn load_catalog(cache: &Cache, root: PageId, disk: &Arc<dyn Disk>) -> Result<Catalog> {
    let mut catalog = Catalog::default();
    if root == PageId::NONE {
        return Ok(catalog);
    }
    let snapshot = cache.snapshot();
    let mut cursor = Cursor::new(cache, root, snapshot.lsn());
    let from = [catalog_key::DROPPED];
    cursor.seek_first(cache, std::ops::Bound::Included(&from))?;
    let mut key = Vec::with_capacity(max_key(cache.page_bytes()));
    while let Some((leaf, slot)) = cursor.forward(cache)? {
        let node = Node::new(leaf.bytes());
        key.clear();
        node.append_key(slot, &mut key);
        let (Some(&kind), Value::Inline(value)) = (key.first(), node.value(slot)) else {
            continue;
        };
        let read = match kind {
            catalog_key::KEYSPACE => KeyspaceState::decode(&key[1..], value)
                .map(|keyspace| catalog.insert(Arc::new(keyspace))),
            catalog_key::DROPPED => decode_dropped(&key[1..], value).map(|(id, root)| {
                catalog.doomed.insert(id, root);
            }),
            _ => Some(()),
        };
        read.ok_or_else(|| Error::Corrupt {
            file: disk.path(DATA_FILE),
            offset: 0,
            expected: "an entry of the catalog".into(),
            found: format!("key {:?} with {} bytes", key.escape_ascii().to_string(), value.len()),
        })?;
    }
    Ok(catalog)
}

fn decode_dropped(id: &[u8], root: &[u8]) -> Option<(KeyspaceId, PageId)> {
    let id = u32::from_be_bytes(id.try_into().ok()?);
    Some((KeyspaceId(id), PageId(u64::from_le_bytes(root.try_into().ok()?))))
}

/// Steps 6 and 7. The former incarnation ended at `end`.
fn begin_incarnation(
    engine: &Engine,
    head: Head,
    end: Lsn,
    summary: &RecoverySummary,
) -> Result<()> {
    let incarnation = mutant!(IncarnationReused: head.incarnation.next() => head.incarnation);
    // RECOVERY-4: the superblock may have been only in the operating system's cache.
    mutant!(RecoveryUnconfirmed: engine.space().confirm()? => ());
    let log = {
        let mut state = engine.lock_commits();
        let life = engine.draw_life(incarnation)?;
        let log = match engine.begin_log(&mut state, life, end, OlderSegments::Keep) {
            Err(Error::DiskFull { .. }) => {
                drop(state);
                return end_as_closed(engine, head, end);
            }
            log => log?,
        };
        let CommitState { writer, trees, .. } = &mut *state;
        let mut group = WriteGroup::begin(engine.cache(), writer, log.start());
        trees.note_end(&mut group, head.former, head.former_mark, head.former_end)?;
        mutant!(FormerEndUnnoted:
            trees.note_end(&mut group, head.incarnation, head.mark, end)? => ());
        mutant!(FormerEndTooHigh =>
            trees.note_end(&mut group, head.incarnation, head.mark, log.start())?);
        trees.note_counts(&mut group)?;
        trees.publish(group);
        log
    };
    let has_dropped = !engine.lock_commits().trees.catalog.doomed.is_empty();
    engine.go_live(log, has_dropped)?;
    let bytes = summary.bytes_replayed;
    let progress = RecoveryProgress { phase: "checkpoint", done_bytes: bytes, total_bytes: bytes };
    report(engine, progress);
    mutant!(RecoveryServedEarly => return Ok(()));
    mutant!(EmptyRecoveryUnrecorded => if summary.records_replayed == 0 { return Ok(()); });
    let RecoverySummary { former: incarnation, recovered_to: end, .. } = *summary;
    let mark = if incarnation == head.incarnation { head.mark } else { head.former_mark };
    let made = engine.checkpoint_for(Purpose::Recovery(FormerLife { incarnation, mark, end }));
    made.map(|_| ()).inspect_err(|error| forget_log(engine, error))
}

fn report(engine: &Engine, progress: RecoveryProgress) {
    if let Some(callback) = &engine.options().on_recovery {
        foreign::call("the callback of a recovery", || callback(progress));
    }
}
