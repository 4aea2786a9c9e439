//! A call: a request from its first try to its outcome.
//!
//! ```text
//!   try --> an answer
//!    ^  \-> an error --> the outcome
//!    |              \
//!    '--- a pause <-- if it is safe to send it again (CLIENT-1)
//! ```
//!
//! The outcome of a call is that of its most uncertain try: once a try may have been done, no later
//! try makes it undone. No try goes to another store, which knows nothing of the earlier tries.

use std::time::Duration;

use super::answer::Answer;
use super::backoff::pauses;
use super::client::Client;
use super::deadline::Deadline;
use super::error::{Error, Result};
use crate::engine::base::lsn::StoreId;
use crate::net::proto::{Code, Request};

/// Whether a request that may have been done is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Yes: it changes nothing.
    Reads,
    /// Yes: done twice it changes the same as done once, for example by an idempotency key.
    Once,
    /// No: it would be done twice.
    Unsafe,
}

impl Client {
    /// Sends a request, and sends it again where that is safe.
    pub(super) async fn call(&self, request: &Request<'_>, repeat: Repeat) -> Result<Answer> {
        self.call_within(request, repeat, self.timeout()).await
    }

    pub(super) async fn call_within(
        &self,
        request: &Request<'_>,
        repeat: Repeat,
        timeout: Option<Duration>,
    ) -> Result<Answer> {
        let deadline = Deadline::within(timeout);
        let mut pauses = pauses(self.limits()).take(self.limits().tries as usize - 1);
        // The error of the last try that may have been done.
        let mut uncertain = None;
        let mut store = None;
        loop {
            let error = match self.try_call(request, &deadline, &mut store).await {
                Ok(mut answer) => {
                    answer.is_retried = uncertain.is_some();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let pause = pauses
                .next()
                .filter(|pause| may_repeat(&error, repeat) && !deadline.is_over_after(*pause));
            let Some(pause) = pause else { return Err(error.after(uncertain)) };
            if repeat == Repeat::Once && !error.is_undone() {
                uncertain = Some(error.after(uncertain));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends a request once, and only to the store of the earlier tries.
    async fn try_call(
        &self,
        request: &Request<'_>,
        deadline: &Deadline,
        store: &mut Option<StoreId>,
    ) -> Result<Answer> {
        let link = self.link(deadline).await?;
        let found = link.greeting.store;
        let expected = *store.get_or_insert(found);
        if expected != found {
            let address = self.shared().endpoints.to_string();
            return Err(Error::OtherStore { address, expected, found });
        }
        link.ask(request, deadline).await
    }
}

/// Whether a request that ended with `error` is sent again.
fn may_repeat(error: &Error, repeat: Repeat) -> bool {
    match error {
        Error::NotSent { .. } => true,
        Error::Lost { .. } => repeat != Repeat::Unsafe,
        Error::Server(failure) => {
            let is_passing = matches!(
                failure.code,
                Code::TooBusy | Code::TooManyInFlight | Code::ShuttingDown | Code::CacheExhausted
            );
            is_passing && (repeat != Repeat::Unsafe || error.is_undone())
        }
        // Waiting for a connection has taken its time already, and a deadline is the caller's.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::proto::Failure;

    #[test]
    fn only_what_is_safe_is_repeated() {
        let lost = Error::Lost { reason: String::new() };
        let not_sent = Error::NotSent { reason: String::new() };
        let server = |code| Error::Server(Failure::new(code, ""));
        let appended = Error::Server(
            Failure::new(Code::ShuttingDown, "").with("job", "a job that is under way"),
        );
        let late = Error::TimedOut { after: Duration::ZERO };
        for (error, safe, unsafe_) in [
            (&lost, true, false),
            (&not_sent, true, true),
            (&server(Code::TooBusy), true, true),
            (&server(Code::ShuttingDown), true, true),
            (&appended, true, false),
            (&server(Code::Poisoned), false, false),
            (&server(Code::Internal), false, false),
            (&server(Code::Denied), false, false),
            (&Error::protocol("garbage"), false, false),
            (&late, false, false),
        ] {
            for (repeat, expected) in
                [(Repeat::Reads, safe), (Repeat::Once, safe), (Repeat::Unsafe, unsafe_)]
            {
                assert_eq!(may_repeat(error, repeat), expected, "{error}, {repeat:?}");
            }
        }
    }
}
