//! Parts: the answers to a request that has many.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::mpsc;

use super::answer::Answer;
use super::deadline::Deadline;
use super::error::Result;
use super::link::{Flight, Link, To};
use crate::net::proto::Request;

/// The answers to a stream or watch, which the server sends as far as it has credit.
pub(super) struct Parts {
    flight: Flight,
    answers: mpsc::UnboundedReceiver<Result<Answer>>,
    is_over: bool,
}

impl Link {
    /// Sends a request that has as many answers as there is `credit`.
    pub(super) async fn subscribe(
        self: &Arc<Link>,
        request: &Request<'_>,
        credit: u32,
    ) -> Result<Parts> {
        let (sender, answers) = mpsc::unbounded_channel();
        let flight = self.send(request, &Deadline::NONE, To::Many(sender, credit)).await?;
        Ok(Parts { flight, answers, is_over: false })
    }
}

impl Parts {
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
        self.flight.add_credit(more);
    }

    /// Takes no more packets.
    pub(super) fn give_up(&mut self) {
        self.is_over = true;
        self.flight.give_up();
    }
}
