//! Gets, and pages of a range.

use super::names::Recent;
use super::reply::Reply;
use super::service::Service;
use super::stream::Walk;
use crate::Snapshot;
use crate::engine::base::error::Result;
use crate::net::proto::{
    Code, CommitPosition, Delivery, EntriesWriter, Failure, Get, Kind, Part, Range, Request,
    Response, TooLarge,
};

impl Service {
    /// Answers a get if no page has to be read for it. Otherwise returns `false` and writes nothing.
    ///
    /// # Errors
    /// Why the store refuses it.
    #[inline]
    pub(crate) fn get_at_once(
        &self,
        get: &Get<'_>,
        recent: &mut Recent,
        reply: &mut Reply<'_>,
    ) -> Result<bool> {
        let Some(keyspace) = self.names.known(get.keyspace, recent) else { return Ok(false) };
        let seen = keyspace.peek(get.key, |value| reply.send(&Response::Value(value)))?;
        Ok(seen.is_some())
    }

    /// The length of the answer, as far as that matters: the length that a page asks for, or the length
    /// of a value. May read pages.
    pub(crate) fn answer_bytes(&self, request: &Request<'_>, max_body: u32) -> usize {
        match request {
            Request::Range(Range { delivery: Delivery::Page { max_bytes }, .. }) => {
                (*max_bytes).min(max_body) as usize
            }
            // An error here comes again when the value is read.
            Request::Get(get) => match self.value_bytes(get) {
                Ok(bytes) if bytes <= max_body as usize => bytes,
                _ => 0,
            },
            _ => 0,
        }
    }

    fn value_bytes(&self, get: &Get<'_>) -> Result<usize> {
        let keyspace = self.names.find(&self.store, get.keyspace)?;
        let bytes = keyspace.value_len(get.key)?.unwrap_or(0);
        Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    pub(super) fn get(&self, get: &Get<'_>, reply: &mut Reply<'_>) -> Result<()> {
        let keyspace = self.names.find(&self.store, get.keyspace)?;
        // A value may have a gibibyte. It is not read if it is longer than the client takes.
        let len = keyspace.value_len(get.key)?.unwrap_or(0);
        if len > u64::from(reply.max_body) {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            reply.too_large(Kind::Value, TooLarge { len, max: reply.max_body });
            return Ok(());
        }
        let value = keyspace.get(get.key)?;
        reply.send(&Response::Value(value.as_deref()));
        Ok(())
    }

    /// Answers a page: as many entries as fit into the requested length, at least one.
    pub(super) fn page(&self, range: &Range<'_>, reply: &mut Reply<'_>) -> Result<()> {
        let Delivery::Page { max_bytes } = range.delivery else {
            reply.fail(Failure::new(Code::Internal, "a page was expected, not a stream"));
            return Ok(());
        };
        let keyspace = self.names.find(&self.store, range.keyspace)?;
        let snapshot = self.store.snapshot()?;
        let mut walk = Walk::new(range);
        let mut writer = EntriesWriter::new(self.position_of(&snapshot), reply.out);
        let wanted = max_bytes as usize;
        let filled = walk.fill(&snapshot, &keyspace, &mut writer, reply, wanted);
        match filled {
            Ok(next) => {
                let finished =
                    writer.finish(reply.id, Part::Last, next.as_deref(), reply.max_body, reply.out);
                if let Err(refused) = finished {
                    reply.too_large(Kind::Entries, refused);
                }
                Ok(())
            }
            Err(error) => {
                writer.abandon(reply.out);
                Err(error)
            }
        }
    }

    pub(super) fn position_of(&self, snapshot: &Snapshot) -> CommitPosition {
        let receipt = snapshot.receipt();
        CommitPosition { incarnation: receipt.incarnation().get(), lsn: receipt.lsn().get() }
    }
}
