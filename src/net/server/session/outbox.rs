//! The output of a connection, and its account in the budget of all.

use crate::net::proto::{Code, Kind, Progress, Response, decode, peek};
use crate::net::server::buffers::Output;
use crate::net::server::mailbox::Mailbox;
use crate::net::server::output_budget::{EncodedAnswer, Level, MemoryCharge, SMALL_PAGE};
use crate::net::server::shared::Shared;
use crate::net::service::Reply;

/// Divides the cap on a connection's output above half of the budget (BUDGET-3).
const TIGHT: usize = 16;

/// Charged for a connection with unread output, besides the output: about what it holds for itself.
const OVERHEAD: usize = 12 << 10;

/// Output that the socket has yet to take.
pub(super) struct Outbox {
    output: Output,
    /// Its part of the budget.
    charge: MemoryCharge,
    /// The socket takes nothing more.
    is_stuck: bool,
}

impl Outbox {
    pub(super) fn new(shared: &Shared) -> Outbox {
        let charge = MemoryCharge::of(&shared.output_budget, 0);
        Outbox { output: Output::default(), charge, is_stuck: false }
    }

    pub(super) fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.output.is_empty()
    }

    /// A reply at the end of the output.
    #[inline]
    pub(super) fn reply(&mut self, id: u64, max_body: u32) -> Reply<'_> {
        Reply { id, max_body, out: self.output.buffer() }
    }

    /// Whether the output has reached its cap, so that streams and queues pause (SESSION-3).
    pub(super) fn is_full(&self, shared: &Shared) -> bool {
        let (pending, most) = (self.output.pending().len(), shared.limits.max_output_bytes);
        if pending == 0 {
            return false;
        }
        match shared.output_budget.level() {
            Level::Free => pending >= most,
            Level::Tight | Level::Full => self.is_stuck || pending >= most / TIGHT,
        }
    }

    /// Whether it holds more than a small page (BUDGET-6).
    pub(super) fn is_long(&self) -> bool {
        self.output.pending().len() > SMALL_PAGE as usize
    }

    /// The socket takes nothing more.
    pub(super) fn sticks(&mut self, mailbox: &Mailbox) {
        if !std::mem::replace(&mut self.is_stuck, true) {
            mailbox.sticks();
        }
    }

    /// The socket has taken everything.
    pub(super) fn flows(&mut self, mailbox: &Mailbox) {
        if std::mem::take(&mut self.is_stuck) {
            mailbox.flows();
        }
        mailbox.set_unread(0);
    }

    /// Takes over an answer that was made elsewhere, and returns the code if it is an error. The
    /// answer counts here before it no longer counts by itself: a pool thread that saw neither
    /// would make the next answer as if there were room (BUDGET-1).
    pub(super) fn take_over(
        &mut self,
        made: EncodedAnswer,
        mailbox: &Mailbox,
        queued: usize,
    ) -> Option<Code> {
        let EncodedAnswer { packet, charge } = made;
        let code = error_code(&packet);
        self.output.append(packet);
        self.count(mailbox, queued);
        drop(charge);
        code
    }

    /// Counts the output, and the `queued` bytes of requests behind it, in the budget (BUDGET-1).
    pub(super) fn count(&mut self, mailbox: &Mailbox, queued: usize) {
        mailbox.set_unread(self.output.pending().len());
        self.charge.set(match self.output.held() {
            0 => 0,
            output => output + queued + OVERHEAD,
        });
    }

    /// Throws the output away.
    pub(super) fn discard(&mut self) {
        self.output.discard();
    }
}

/// The code of the error in a packet, if it is one.
fn error_code(packet: &[u8]) -> Option<Code> {
    let (kind, _) = peek(packet, u32::MAX)?;
    if kind != Kind::Error.number() {
        return None;
    }
    let Ok(Progress::Packet(packet)) = decode(packet, u32::MAX) else { return None };
    match Response::decode(&packet) {
        Ok(Response::Error(failure)) => Some(failure.code),
        _ => None,
    }
}
