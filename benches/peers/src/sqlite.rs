//! SQLite, by way of rusqlite: B-trees in one file, with a write-ahead log.
//!
//! | mode | what a commit does |
//! |---|---|
//! | `WAL, FULL` | writes its pages to the log, `fdatasync` |
//! | `WAL, NORMAL` | writes its pages to the log file; flushed when it is moved to the database |
//!
//! `PRAGMA synchronous`: "WAL mode is always consistent with synchronous=NORMAL, but WAL mode does
//! lose durability. A transaction committed in WAL mode with synchronous=NORMAL might roll back
//! following a power loss or system crash. Transactions are durable across application crashes
//! regardless of the synchronous setting or journal mode." `OFF` saves two flushes at each
//! checkpoint, and "the database might become corrupted if the operating system crashes".
//!
//! One table, `WITHOUT ROWID`, so that rows are in one B-tree ordered by key; prepared statements;
//! a connection for each session, as its documentation wants for threads. Writers queue at a mutex
//! of ours before SQLite's own lock: its busy handler sleeps for milliseconds. Reads go through the
//! map of the file, which all connections share and which is as large as the cache may be; a
//! connection's own cache, for what is in the log, has an eighth of that.
//!
//! A checkpoint comes after the default of 1000 pages in `FULL`, and after a whole write buffer in
//! `NORMAL`. A log that is used again lies in blocks that the file has already, so that a flush needs
//! not write the file's metadata; the log of `FULL` should come to that early. `NORMAL` flushes at
//! checkpoints only, and the fewer the better.
//!
//! A read outside a transaction takes and gives back file locks. From the second get on in which
//! nobody has committed, a session reads in a transaction that it keeps (`turn`).

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};
use syncline::bench::BenchError;
use syncline::bench::engine::{Database, Engine, Guarantee, Mode, Session, Sizes};

use crate::common::{failed, locked_version};
use crate::flushes;
use crate::turn::Turns;

const NAME: &str = "sqlite";
const PAGE_BYTES: u64 = 4096;
const DEFAULT_CHECKPOINT_PAGES: u64 = 1000;

const PUT: &str = "INSERT OR REPLACE INTO bench (key, value) VALUES (?1, ?2)";
const DELETE: &str = "DELETE FROM bench WHERE key = ?1";
const GET: &str = "SELECT value FROM bench WHERE key = ?1";
const SCAN: &str = "SELECT key, value FROM bench WHERE key >= ?1 ORDER BY key LIMIT ?2";

const MODES: &[Mode] = &[
    Mode {
        name: "WAL, FULL",
        guarantee: Guarantee::PowerLoss,
        lost_on_kill: "nothing",
        lost_on_power_loss: "nothing",
    },
    Mode {
        name: "WAL, NORMAL",
        guarantee: Guarantee::ProcessEnd,
        lost_on_kill: "nothing",
        lost_on_power_loss: "what the kernel has not written back of the log (about 64 MiB)",
    },
];

const ABOUT: &str = "The SQL database in one file, here as a key-value table: one B-tree ordered by \
    key (`WITHOUT ROWID`), prepared statements, a connection for each session, a write-ahead log. One writer \
    at a time; readers never wait. Every operation passes the SQL virtual machine, which the other stores do \
    not have. Made to be everywhere, well tested, and to outlive its programs. `WAL, FULL` flushes the log \
    at each commit; `WAL, NORMAL` only at checkpoints, stays consistent, and gives up the commits since.";

/// The engine.
pub(crate) struct Sqlite;

impl Engine for Sqlite {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> String {
        format!("{} (rusqlite {})", rusqlite::version(), locked_version("rusqlite"))
    }

    fn modes(&self) -> &'static [Mode] {
        MODES
    }

    fn about(&self) -> &'static str {
        ABOUT
    }

    fn open(
        &self,
        dir: &Path,
        mode: &Mode,
        sizes: &Sizes,
    ) -> Result<Box<dyn Database>, BenchError> {
        flushes::forget();
        std::fs::create_dir_all(dir).map_err(failed(NAME))?;
        let (synchronous, checkpoint_pages) = match mode.guarantee {
            Guarantee::PowerLoss => ("FULL", DEFAULT_CHECKPOINT_PAGES),
            Guarantee::ProcessEnd | Guarantee::Nothing => {
                ("NORMAL", sizes.write_buffer_bytes / PAGE_BYTES)
            }
        };
        let store = Store {
            file: dir.join("sqlite"),
            synchronous,
            checkpoint_pages,
            sizes: *sizes,
            idle: Mutex::default(),
            writer: Mutex::default(),
            turns: Turns::default(),
        };
        let connection = store.connect().map_err(failed(NAME))?;
        connection
            .execute_batch(
                "CREATE TABLE IF NOT EXISTS bench (key BLOB PRIMARY KEY, value BLOB NOT NULL) \
                 WITHOUT ROWID",
            )
            .map_err(failed(NAME))?;
        store.give_back(connection);
        Ok(Box::new(store))
    }
}

struct Store {
    file: PathBuf,
    synchronous: &'static str,
    /// A log of so many pages is moved to the database.
    checkpoint_pages: u64,
    sizes: Sizes,
    /// Connections of sessions that have ended.
    idle: Mutex<Vec<Connection>>,
    /// Held by whoever writes.
    writer: Mutex<()>,
    turns: Turns,
}

impl Store {
    fn connect(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open(&self.file)?;
        connection.busy_timeout(Duration::from_secs(60))?;
        connection.execute_batch(&format!(
            "PRAGMA page_size = {PAGE_BYTES};
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = {};
             PRAGMA mmap_size = {};
             PRAGMA cache_size = -{};
             PRAGMA wal_autocheckpoint = {};
             PRAGMA journal_size_limit = {};",
            self.synchronous,
            self.sizes.cache_bytes,
            (self.sizes.cache_bytes / 8).max(1 << 20) >> 10,
            self.checkpoint_pages,
            self.sizes.write_buffer_bytes,
        ))?;
        Ok(connection)
    }

    fn give_back(&self, connection: Connection) {
        locked(&self.idle).push(connection);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Database for Store {
    fn session(&self) -> Box<dyn Session + '_> {
        let idle = locked(&self.idle).pop();
        let connection = idle.map_or_else(|| self.connect(), Ok);
        let connection = connection.expect("the file can be opened once more");
        Box::new(Worker { store: self, connection: Some(connection), read: Read::Fresh })
    }

    fn settle(&self) -> Result<(), BenchError> {
        let connection = self.connect().map_err(failed(NAME))?;
        connection
            .query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))
            .map_err(failed(NAME))?;
        self.give_back(connection);
        Ok(())
    }

    fn flushed_until(&self) -> Option<Instant> {
        flushes::until()
    }

    fn sees_flushes(&self) -> bool {
        flushes::ARE_SEEN
    }
}

/// How a session reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// It has not read since it wrote.
    Fresh,
    /// It has read at this turn, outside a transaction.
    Once(u64),
    /// It keeps a transaction that was begun at this turn.
    Kept(u64),
}

struct Worker<'store> {
    store: &'store Store,
    /// Some until the session ends.
    connection: Option<Connection>,
    read: Read,
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        let ended = self.end_read();
        if let Some(connection) = self.connection.take().filter(|_| ended.is_ok()) {
            self.store.give_back(connection);
        }
    }
}

impl Worker<'_> {
    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("there until the session ends")
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection().prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    /// Before each read: makes sure that the snapshot it reads is new enough.
    fn begin_read(&mut self) -> rusqlite::Result<()> {
        let now = self.store.turns.now();
        match self.read {
            Read::Kept(turn) if turn == now => return Ok(()),
            Read::Once(turn) if turn == now => {
                // The transaction begins with the read that follows.
                self.execute("BEGIN")?;
                self.read = Read::Kept(now);
                return Ok(());
            }
            Read::Kept(_) => self.execute("COMMIT")?,
            Read::Once(_) | Read::Fresh => {}
        }
        self.read = Read::Once(now);
        Ok(())
    }

    fn end_read(&mut self) -> rusqlite::Result<()> {
        if let Read::Kept(_) = std::mem::replace(&mut self.read, Read::Fresh) {
            self.execute("COMMIT")?;
        }
        Ok(())
    }

    fn write(
        &mut self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), BenchError> {
        self.end_read().map_err(failed(NAME))?;
        let queue = locked(&self.store.writer);
        let changed = change(self.connection());
        self.store.turns.advance();
        drop(queue);
        changed.map_err(failed(NAME))
    }

    /// One transaction of several statements.
    fn write_several(
        &mut self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), BenchError> {
        self.write(|connection| {
            connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            let changed = change(connection);
            let end = if changed.is_ok() { "COMMIT" } else { "ROLLBACK" };
            connection.prepare_cached(end)?.execute([])?;
            changed
        })
    }
}

impl Session for Worker<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), BenchError> {
        self.write(|connection| put(connection, key, value))
    }

    fn put_batch(&mut self, rows: &[(&[u8], &[u8])]) -> Result<(), BenchError> {
        self.write_several(|connection| {
            let mut statement = connection.prepare_cached(PUT)?;
            for (key, value) in rows {
                statement.execute(params![key, value])?;
            }
            Ok(())
        })
    }

    fn delete_batch(&mut self, keys: &[&[u8]]) -> Result<(), BenchError> {
        self.write_several(|connection| {
            let mut statement = connection.prepare_cached(DELETE)?;
            for key in keys {
                statement.execute([key])?;
            }
            Ok(())
        })
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), BenchError> {
        self.write(|connection| {
            connection.prepare_cached(DELETE)?.execute([key])?;
            Ok(())
        })
    }

    fn get(&mut self, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> Result<bool, BenchError> {
        self.begin_read().map_err(failed(NAME))?;
        get(self.connection(), key, seen).map_err(failed(NAME))
    }

    fn scan(
        &mut self,
        from: &[u8],
        limit: usize,
        seen: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize, BenchError> {
        self.begin_read().map_err(failed(NAME))?;
        scan(self.connection(), from, limit, seen).map_err(failed(NAME))
    }

    fn read_modify_write(
        &mut self,
        key: &[u8],
        change: &mut dyn FnMut(&mut Vec<u8>),
    ) -> Result<(), BenchError> {
        self.write_several(|connection| {
            let mut value = Vec::new();
            get(connection, key, &mut |old| value.extend_from_slice(old))?;
            change(&mut value);
            put(connection, key, &value)
        })
    }
}

fn put(connection: &Connection, key: &[u8], value: &[u8]) -> rusqlite::Result<()> {
    connection.prepare_cached(PUT)?.execute(params![key, value])?;
    Ok(())
}

fn get(connection: &Connection, key: &[u8], seen: &mut dyn FnMut(&[u8])) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(GET)?;
    let found = statement.query_row([key], |row| {
        seen(row.get_ref(0)?.as_blob()?);
        Ok(())
    });
    Ok(found.optional()?.is_some())
}

fn scan(
    connection: &Connection,
    from: &[u8],
    limit: usize,
    seen: &mut dyn FnMut(&[u8], &[u8]),
) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached(SCAN)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut found = statement.query(params![from, limit])?;
    let mut rows = 0;
    while let Some(row) = found.next()? {
        seen(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        rows += 1;
    }
    Ok(rows)
}
