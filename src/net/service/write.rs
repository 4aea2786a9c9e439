//! Puts, deletes and batches: at once, or in a thread that may wait.
//!
//! Either way the commit is asynchronous; who asked for `Sync` waits for the sync line afterwards,
//! which costs no thread.

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

/// Leaves of a batch that are read ahead of it.
const BROUGHT_IN: usize = 64;

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
    /// Does a write if that needs no waiting; `None`, and nothing done, otherwise.
    ///
    /// # Errors
    /// Why the store refuses it.
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
                mutant!(OnceUnrecorded: once.remember(&mut batch, &key) => ());
                Ok(self.store.write_at_once(&mut batch)?.map(Appended::now))
            }
            None => Ok(None),
        }
    }

    /// Puts a write to the others that are to be committed with [`Service::commit_gathered`]. False
    /// if it is none that can be: then [`Service::write_at_once`] is for it.
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
        match *request {
            #[cfg(feature = "mutants")]
            Request::Put(_) if mutant!(AnsweredUnappended: false => true) => return Ok(false),
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

    /// Does what was gathered, as far as it needs no waiting: see [`Gathered::answers`].
    pub(crate) fn commit_gathered(&self, gathered: &mut Gathered) {
        self.store.commit_gathered(gathered);
    }

    /// Reads the leaves that a write will change, as far as they are not in memory. Changes nothing,
    /// and is no more than a help: whatever fails here fails the write later.
    pub(crate) fn bring_in(&self, request: &Request<'_>) {
        let find = |name: &str| self.names.find(&self.store, name).ok();
        let bring = |name: &str, key: &[u8]| {
            if let Some(keyspace) = find(name) {
                let _ = keyspace.contains_key(key);
            }
        };
        match *request {
            Request::Put(Put { keyspace, key, .. })
            | Request::Delete(Delete { keyspace, key, .. }) => bring(keyspace, key),
            Request::Batch(Batch { ops, .. }) => {
                for op in ops.into_iter().take(BROUGHT_IN) {
                    let (Op::Put { keyspace, key, .. } | Op::Delete { keyspace, key }) = op;
                    bring(keyspace, key);
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
        // Before anything else: what was applied once is, also if its keyspace is gone since.
        if once.keys.contains_key(&key)? {
            return Ok(self.applied_before());
        }
        let mut batch = batch()?;
        mutant!(OnceUnrecorded: once.remember(&mut batch, &key) => ());
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

    /// What a server may not do: it answers, and writes in its own time.
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

    /// The first write can be read, so it is at or below what is visible.
    fn applied_before(&self) -> Appended {
        Appended { lsn: self.store.watermarks().visible, applied: Applied::Before }
    }
}

/// The batch that a request asks for; `None` if `find` does not know a keyspace.
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
