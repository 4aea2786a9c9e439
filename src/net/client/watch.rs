//! A watch that goes on with the next connection when one is lost.

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

/// What a watch has to tell.
pub(super) enum Told {
    Answer(Answer),
    /// The server has told all.
    Over,
}

impl Watch {
    /// What there is to tell next. `ask` asks for the watch anew.
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

    /// Lets the server tell one more thing.
    pub(super) fn add_credit(&self) {
        if let Watch::Watching(parts) = self {
            parts.add_credit(1);
        }
    }
}

/// Asks for a watch with a request that is made of what the future owns.
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
