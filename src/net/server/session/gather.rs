//! Writes that one read brought are committed together: the commit lock is taken once for them.
//!
//! Puts and deletes that come one behind the other are gathered while packets are taken from the
//! input, and committed before anything else is looked at and at the end of the input. Each is a
//! commit of its own, with its own answer, as if it had been done when it came. The first that
//! cannot be done at once joins the queue of writes, and all behind it do (WRITES-1). Nothing is
//! held between two turns.

use std::cell::Cell;

use tokio::time::Instant;

use super::Session;
use super::flight::AtTime;
use super::pooled::deadline;
use crate::engine::store::Gathered;
use crate::net::proto::{Head, Kind, Mode, Packet, Request};
use crate::net::service::Appended;

/// Writes that wait for the end of this turn's input.
#[derive(Default)]
pub(super) struct Gather {
    writes: Gathered,
    heads: Vec<Waits>,
}

/// One of them.
struct Waits {
    head: Head,
    /// Where its body is in the input.
    body: std::ops::Range<usize>,
    kind: Kind,
    mode: Mode,
    until: Option<(Instant, AtTime)>,
}

thread_local! {
    /// Memory for whichever connection is next.
    static KEPT: Cell<Gather> = Cell::default();
}

impl Session {
    /// How many writes are gathered.
    pub(super) fn gathered(&self) -> usize {
        self.gather.heads.len()
    }

    /// Whether a write with this id is among them.
    pub(super) fn has_gathered(&self, id: u64) -> bool {
        self.gather.heads.iter().any(|waits| waits.head.id == id)
    }

    /// Puts a write, whose packet ends at `end` of the input, to the others. False if it is none
    /// that can be.
    pub(super) fn gather(
        &mut self,
        packet: &Packet<'_>,
        request: &Request<'_>,
        end: usize,
        now: Instant,
    ) -> bool {
        let (Request::Put(crate::net::proto::Put { mode, .. })
        | Request::Delete(crate::net::proto::Delete { mode, .. })) = *request
        else {
            return false;
        };
        if self.gather.heads.is_empty() {
            self.gather = KEPT.take();
        }
        let service = &self.shared.service;
        let gathered = service.gather(request, &mut self.recent, &mut self.gather.writes);
        if !matches!(gathered, Ok(true)) && self.gather.heads.is_empty() {
            KEPT.set(std::mem::take(&mut self.gather));
        }
        match gathered {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                self.refuse(packet.head.id, error);
                return true;
            }
        }
        self.gather.heads.push(Waits {
            head: packet.head,
            body: end - packet.body.len()..end,
            kind: request.kind(),
            mode,
            until: deadline(packet, now).map(|at| (at, AtTime::Fail)),
        });
        true
    }

    /// Commits what was gathered from `input`, and answers it.
    pub(super) fn commit_gathered(&mut self, input: &[u8], now: Instant) {
        if self.gather.heads.is_empty() {
            return;
        }
        let mut gather = std::mem::take(&mut self.gather);
        self.shared.service.commit_gathered(&mut gather.writes);
        for (waits, answer) in gather.heads.drain(..).zip(gather.writes.answers()) {
            let Waits { head, body, kind, mode, until } = waits;
            match answer {
                Ok(Some(lsn)) => {
                    self.answer_write(head.id, kind, mode, Appended::now(*lsn), until);
                }
                Ok(None) => {
                    let packet = Packet { head, body: &input[body] };
                    let request = Request::decode(&packet).expect("decoded before");
                    self.queue_write(&packet, &request, mode, now);
                }
                Err(error) => self.refuse(head.id, self.shared.service.failed(error.clone())),
            }
        }
        gather.writes.clear();
        KEPT.set(gather);
    }
}
