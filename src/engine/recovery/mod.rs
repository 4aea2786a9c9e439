//! Opening a store, and recovery.
//!
//! 1. look at the directory ([`place`]), and lock it, and the data file once it is there;
//! 2. pick the newest valid superblock, or create a store where there is nothing at all; refuse
//!    one that the log has outlived, for it is from an older copy of the data file;
//! 3. load the catalog; pages load as they are needed, so that this does not depend on size;
//! 4. if the store was closed, that is all: the first write begins an incarnation;
//! 5. otherwise look for the segments that the superblock proves to exist, scan the log from the
//!    checkpoint, judge its tail (torn or rotten), and replay
//!    whole transactions through the same code that commits use;
//! 6. begin a new incarnation in a fresh segment, record where the former one ended;
//! 7. make a checkpoint: what was read from the log may be in the operating system's cache only,
//!    so all of it goes to fresh places and is flushed before anybody is told anything;
//! 8. the store is open.
//!
//! A full disk keeps nobody from reading. Where there is no space for the segment of 6, the store ends
//! as one that is closed ([`full`]): 7 makes its checkpoint without a log, in blocks that are there
//! (CACHE-12), and the first write begins an incarnation. A recovery that fails leaves no file behind.
//!
//! A store that is opened to be read is recovered on a disk that keeps its changes in memory
//! ([`Overlay`]): all steps are the same, and its files are as they were. When it is open it takes no
//! commit.
//!
//! - RECOVERY-1 what a recovered store shows is a prefix of the commits, with every one that was ever
//!   reported durable;
//! - RECOVERY-2 a crash during recovery loses nothing: until 7 is durable the former superblock and the
//!   log stand;
//! - RECOVERY-3 nothing is served before 7: an observed read is never undone;
//! - RECOVERY-4 a segment of incarnation i + 1 is made only once the superblock that begins i is durable,
//!   and commits go into it only once that is which begins i + 1. So a log that has outlived its
//!   superblock can be told ([`find_later`]).

mod full;
mod place;
mod replay;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::full::{end_as_closed, forget_log};
use self::place::Place;
use self::replay::replay;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::foreign;
use crate::engine::base::lsn::{Incarnation, Lsn, StoreId};
use crate::engine::cache::{Cache, CacheOptions, MemorySource, PATIENCE, WriteGroup};
use crate::engine::commit::checkpoint::{Former, Purpose};
use crate::engine::commit::{
    Catalog, CommitState, Engine, KeyspaceId, KeyspaceState, Locks, Older, Trees,
    begins_with_a_count, catalog_key,
};
use crate::engine::disk::overlay::Overlay;
use crate::engine::disk::{DirLock, Disk};
use crate::engine::log::{Known, find_later};
use crate::engine::mutants::mutant;
use crate::engine::options::{Options, RecoveryProgress};
use crate::engine::space::{DATA_FILE, Head, PageId, Params, Space};
use crate::engine::tree::{Cursor, Node, Value, copy_used, max_key};

/// What opening a store found and did.
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
    /// Bytes after the last whole transaction that were cut off: written, never flushed.
    pub bytes_cut: u64,
    /// The last transaction that the store has.
    pub recovered_to: Lsn,
    /// The incarnation that ended there. A receipt of it above is lost.
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
    let place = Place::look(&*disk, &options)?;
    let directory = disk.lock()?;
    // 2
    let (space, data) = open_or_create(&disk, place, &options)?;
    let (space, lock) = (Arc::new(space), Locks { data, directory });
    let head = space.superblock().head;
    refuse_outlived(&disk, &space)?;
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
            patience: PATIENCE,
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
        begin_anew(&engine, head, end, &summary)?;
    }
    engine.cache.open();
    engine.disk.keep_lock();
    // It is not called again. What it holds is dropped here, not by some thread of the store.
    let callback = engine.options.on_recovery.take();
    foreign::call("the destructor of a callback", || drop(callback));
    engine.is_read_only = engine.options.read_only;
    summary.duration = begun.elapsed();
    Ok((engine, summary))
}

/// Step 2.
fn open_or_create(
    disk: &Arc<dyn Disk>,
    place: Place,
    options: &Options,
) -> Result<(Space, Box<dyn DirLock>)> {
    // Somebody else may have made a store meanwhile, or put something there.
    if place == Place::Store || Place::look(&**disk, options)? == Place::Store {
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

/// Also where somebody has removed the directory's lock, the data file is opened once.
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
    let known = Known { life, segment_bytes, clean, may_be_recoverys: begins_with_a_count };
    match find_later(disk, known)? {
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
fn begin_anew(engine: &Engine, head: Head, end: Lsn, summary: &RecoverySummary) -> Result<()> {
    let incarnation = mutant!(IncarnationReused: head.incarnation.next() => head.incarnation);
    // RECOVERY-4: it may have been in the operating system's cache only.
    mutant!(RecoveryUnconfirmed: engine.space.confirm()? => ());
    let log = {
        let mut state = engine.commit.lock();
        let life = engine.draw_life(incarnation)?;
        let log = match engine.begin_log(&mut state, life, end, Older::Keep) {
            Err(Error::DiskFull { .. }) => {
                drop(state);
                return end_as_closed(engine, head, end);
            }
            log => log?,
        };
        let CommitState { writer, trees, .. } = &mut *state;
        let mut group = WriteGroup::begin(&engine.cache, writer, log.start());
        trees.note_end(&mut group, head.former, head.former_mark, head.former_end)?;
        mutant!(FormerEndUnnoted:
            trees.note_end(&mut group, head.incarnation, head.mark, end)? => ());
        mutant!(FormerEndTooHigh =>
            trees.note_end(&mut group, head.incarnation, head.mark, log.start())?);
        trees.note_counts(&mut group)?;
        trees.publish(group);
        log
    };
    let has_dropped = !engine.commit.lock().trees.catalog.doomed.is_empty();
    engine.go_live(log, has_dropped)?;
    let bytes = summary.bytes_replayed;
    let progress = RecoveryProgress { phase: "checkpoint", done_bytes: bytes, total_bytes: bytes };
    report(engine, progress);
    mutant!(RecoveryServedEarly => return Ok(()));
    mutant!(EmptyRecoveryUnrecorded => if summary.records_replayed == 0 { return Ok(()); });
    let RecoverySummary { former: incarnation, recovered_to: end, .. } = *summary;
    let mark = if incarnation == head.incarnation { head.mark } else { head.former_mark };
    let made = engine.checkpoint_for(Purpose::Recovery(Former { incarnation, mark, end }));
    made.map(|_| ()).inspect_err(|error| forget_log(engine, error))
}

fn report(engine: &Engine, progress: RecoveryProgress) {
    if let Some(callback) = &engine.options.on_recovery {
        foreign::call("the callback of a recovery", || callback(progress));
    }
}
