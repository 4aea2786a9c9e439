//! Puts, deletes and batches: at once, or in a thread that may block.
//!
//! Either way the commit is asynchronous. A write in mode `Sync` waits for the sync line afterwards,
//! which needs no thread.

use super::caller::Caller;
use super::names::{Recent, check_public};
use super::once;
use super::service::Service;
use crate::engine::base::error::Result;
use crate::engine::base::lsn::Lsn;
use crate::engine::mutants::mutant;
use crate::engine::store::Gathered;
use crate::net::proto::{Applied, Batch, Delete, Op, Put, Request};
use crate::{CommitMode, Error, Keyspace, WriteBatch};

/// The most operations of a batch whose leaves are read ahead.
const READ_AHEAD: usize = 64;

/// A write that is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) lsn: Lsn,
    pub(crate) applied: Applied,
}

impl Appended {
    pub(crate) fn now(lsn: Lsn) -> Appended {
        Appended { lsn, applied: Applied::Now }
    }
}

impl Service {
    /// Does a write if that does not block. Otherwise returns `None` and does nothing.
    ///
    /// # Errors
    /// Why the store refuses the write.
    #[inline]
    pub(crate) fn write_at_once(
        &self,
        request: &Request<'_>,
        caller: &Caller,
        recent: &mut Recent,
    ) -> Result<Option<Appended>> {
        mutant!(AnsweredUnappended => if let Some(answered) = self.append_later(request, recent) {
            return Ok(Some(answered));
        });
        let known = |name: &str| Ok(self.names.known(name, recent).cloned());
        let Some(mut batch) = batch_of(request, known)? else { return Ok(None) };
        let Some(key) = request.once() else {
            if batch.is_empty() {
                return Ok(None);
            }
            return Ok(self.store.write_at_once(&mut batch)?.map(Appended::now));
        };
        let key = once::entry_key(&caller.name, key);
        let Some(once) = self.once.known() else { return Ok(None) };
        let Some(_turn) = self.once.try_lock(&key) else { return Ok(None) };
        match once.keys.peek(&key, |value| value.is_some())? {
            Some(true) => Ok(Some(self.applied_before())),
            Some(false) => {
                once.remember(&mut batch, &key);
                Ok(self.store.write_at_once(&mut batch)?.map(Appended::now))
            }
            None => Ok(None),
        }
    }

    /// Adds a write to those that [`Service::commit_gathered`] will commit. Returns false if it cannot
    /// be gathered: then use [`Service::write_at_once`].
    ///
    /// # Errors
    /// Why the store refuses it.
    #[inline]
    pub(crate) fn gather(
        &self,
        request: &Request<'_>,
        recent: &mut Recent,
        to: &mut Gathered,
    ) -> Result<bool> {
        mutant!(AnsweredUnappended => if let Request::Put(_) = request { return Ok(false); });
        match *request {
            Request::Put(Put { keyspace, key, value, once: None, .. }) => {
                let Some(keyspace) = self.names.known(keyspace, recent) else { return Ok(false) };
                keyspace.gather_put(key, value, to)?;
            }
            Request::Delete(Delete { keyspace, key, once: None, .. }) => {
                let Some(keyspace) = self.names.known(keyspace, recent) else { return Ok(false) };
                keyspace.gather_delete(key, to)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Commits the gathered writes, as far as that does not block: see [`Gathered::answers`].
    pub(crate) fn commit_gathered(&self, gathered: &mut Gathered) {
        self.store.commit_gathered(gathered);
    }

    /// Reads the leaves that a write will change into the cache. Errors are ignored here: the write
    /// meets them again.
    pub(crate) fn read_ahead(&self, request: &Request<'_>) {
        let find = |name: &str| self.names.find(&self.store, name).ok();
        let read = |name: &str, key: &[u8]| {
            if let Some(keyspace) = find(name) {
                let _ = keyspace.contains_key(key);
            }
        };
        match *request {
            Request::Put(Put { keyspace, key, .. })
            | Request::Delete(Delete { keyspace, key, .. }) => read(keyspace, key),
            Request::Batch(Batch { ops, .. }) => {
                for op in ops.into_iter().take(READ_AHEAD) {
                    let (Op::Put { keyspace, key, .. } | Op::Delete { keyspace, key }) = op;
                    read(keyspace, key);
                }
            }
            _ => {}
        }
    }

    /// Does a write. May wait for pages, space, and back-pressure, but not for the sync line.
    ///
    /// # Errors
    /// Why the store refuses it.
    pub(super) fn write(&self, request: &Request<'_>, caller: &Caller) -> Result<Appended> {
        let batch = || {
            let find = |name: &str| self.names.find(&self.store, name).map(Some);
            batch_of(request, find).map(|batch| batch.expect("every keyspace is found or refused"))
        };
        let Some(key) = request.once() else { return self.commit(batch()?) };
        let once = self.once.keyspaces(&self.store)?;
        let key = once::entry_key(&caller.name, key);
        let _turn = self.once.lock(&key);
        // First of all: a write that was applied counts even if its keyspace was dropped since.
        if once.keys.contains_key(&key)? {
            return Ok(self.applied_before());
        }
        let mut batch = batch()?;
        once.remember(&mut batch, &key);
        self.commit(batch)
    }

    fn commit(&self, batch: WriteBatch) -> Result<Appended> {
        let size = batch.size();
        let committed = self.store.write_with(batch, CommitMode::Async);
        if let Err(Error::DiskFull { .. }) = committed {
            self.shortage.refused(size);
        }
        Ok(Appended::now(committed?.lsn()))
    }

    /// A mutant: answers first, and writes later.
    #[cfg(feature = "mutants")]
    fn append_later(&self, request: &Request<'_>, recent: &mut Recent) -> Option<Appended> {
        let Request::Put(Put { keyspace, key, value, once: None, .. }) = *request else {
            return None;
        };
        let keyspace = self.names.known(keyspace, recent)?.clone();
        let (key, value) = (key.to_vec(), value.to_vec());
        std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(2));
            drop(keyspace.put_with(key, value, CommitMode::Async));
        });
        Some(Appended::now(self.store.watermarks().appended))
    }

    /// The first write can be read, so its position is at most the visible LSN.
    fn applied_before(&self) -> Appended {
        Appended { lsn: self.store.watermarks().visible, applied: Applied::Before }
    }
}

/// The batch of a request. `None` if `find` does not know a keyspace.
fn batch_of(
    request: &Request<'_>,
    mut find: impl FnMut(&str) -> Result<Option<Keyspace>>,
) -> Result<Option<WriteBatch>> {
    let mut batch = WriteBatch::new();
    let mut found: Option<Keyspace> = None;
    let mut add = |op: Op<'_>| -> Result<Option<()>> {
        let (Op::Put { keyspace: name, .. } | Op::Delete { keyspace: name, .. }) = op;
        if found.as_ref().is_none_or(|keyspace| keyspace.name() != name) {
            check_public(name)?;
            found = find(name)?;
        }
        let Some(keyspace) = &found else { return Ok(None) };
        match op {
            Op::Put { key, value, .. } => batch.put(keyspace, key, value),
            Op::Delete { key, .. } => batch.delete(keyspace, key),
        }
        Ok(Some(()))
    };
    let added = match *request {
        Request::Put(Put { keyspace, key, value, .. }) => add(Op::Put { keyspace, key, value })?,
        Request::Delete(Delete { keyspace, key, .. }) => add(Op::Delete { keyspace, key })?,
        Request::Batch(Batch { ops, .. }) => {
            let mut added = Some(());
            for op in ops {
                added = add(op)?;
                if added.is_none() {
                    break;
                }
            }
            added
        }
        _ => return Err(Error::InvalidOption { option: "request", reason: "no write".into() }),
    };
    Ok(added.map(|()| batch))
}
