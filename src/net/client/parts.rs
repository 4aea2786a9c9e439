//! A request under way, and the answers to one that has many.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::mpsc;

use super::answer::Answer;
use super::error::Result;
use super::link::Link;

/// A request under way. Dropped before its last answer, it is cancelled.
pub(super) struct Flight {
    link: Arc<Link>,
    id: u64,
}

/// The answers to a request that has many, as far as there is credit.
pub(super) struct Parts {
    flight: Flight,
    answers: mpsc::UnboundedReceiver<Result<Answer>>,
    is_over: bool,
}

impl Flight {
    pub(super) fn new(link: Arc<Link>, id: u64) -> Flight {
        Flight { link, id }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.link.give_up(self.id);
    }
}

impl Parts {
    pub(super) fn new(flight: Flight, answers: mpsc::UnboundedReceiver<Result<Answer>>) -> Parts {
        Parts { flight, answers, is_over: false }
    }

    /// The next packet; `None` after the last, or after an error.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Answer>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let next = ready!(self.answers.poll_recv(cx)).map(|next| next.and_then(Answer::checked));
        self.is_over = match &next {
            Some(Ok(answer)) => answer.is_last(),
            Some(Err(_)) | None => true,
        };
        Poll::Ready(next)
    }

    /// Lets the server send more.
    pub(super) fn add_credit(&self, more: u32) {
        self.flight.link.add_credit(self.flight.id, more);
    }

    /// Takes no more packets.
    pub(super) fn give_up(&mut self) {
        self.is_over = true;
        self.flight.link.give_up(self.flight.id);
    }
}
