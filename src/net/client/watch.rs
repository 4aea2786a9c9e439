//! A watch, which goes on with the next connection when one is lost.

use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;

use super::answer::Answer;
use super::error::{Error, Result};
use super::parts::Parts;

/// ```text
///   idle --ask--> asking --> watching --> idle     (over, cut, or an error)
/// ```
#[derive(Default)]
pub(super) enum Watch {
    #[default]
    Idle,
    Asking(BoxFuture<'static, Result<Parts>>),
    Watching(Parts),
}

/// An event of a watch.
pub(super) enum Told {
    Answer(Answer),
    /// The server has sent its last packet.
    Over,
}

impl Watch {
    /// The next event. `ask` begins a new watch.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        mut ask: impl FnMut() -> BoxFuture<'static, Result<Parts>>,
    ) -> Poll<Result<Told>> {
        loop {
            match self {
                Watch::Idle => *self = Watch::Asking(ask()),
                Watch::Asking(asking) => match ready!(asking.as_mut().poll(cx)) {
                    Ok(parts) => *self = Watch::Watching(parts),
                    Err(error) => return self.stop(Err(error)),
                },
                Watch::Watching(parts) => match ready!(parts.poll_next(cx)) {
                    Some(Ok(answer)) => return Poll::Ready(Ok(Told::Answer(answer))),
                    None => return self.stop(Ok(Told::Over)),
                    Some(Err(Error::Lost { .. } | Error::NotSent { .. })) => *self = Watch::Idle,
                    Some(Err(error)) => return self.stop(Err(error)),
                },
            }
        }
    }

    fn stop(&mut self, told: Result<Told>) -> Poll<Result<Told>> {
        *self = Watch::Idle;
        Poll::Ready(told)
    }

    /// Lets the server send one more packet.
    pub(super) fn add_credit(&self) {
        if let Watch::Watching(parts) = self {
            parts.add_credit(1);
        }
    }
}

/// Begins a watch. The future owns what its request is made of.
macro_rules! subscribing {
    ($client:expr, $credit:expr, move || $request:expr) => {{
        let client: super::client::Client = $client.clone();
        Box::pin(async move {
            let deadline = super::deadline::Deadline::within(client.timeout());
            client.subscribe(&$request, $credit, &deadline).await
        })
    }};
}
pub(super) use subscribing;
