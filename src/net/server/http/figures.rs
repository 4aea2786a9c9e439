//! `/metrics`: the server's figures, as OpenMetrics or as Prometheus' own text.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::accept::{Media, choose};
use super::message::{Message, message, refusal};
use crate::net::server::figures::{prometheus_text, render};
use crate::net::server::shared::Shared;

const PROMETHEUS: Media = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: Media = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whoever finds the figures being put together waits for so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lets one thread at a time put the figures together: some come from files (HTTP-3).
#[derive(Debug)]
pub(super) struct Turn(Arc<Semaphore>);

impl Default for Turn {
    fn default() -> Self {
        Turn(Arc::new(Semaphore::new(1)))
    }
}

impl Turn {
    pub(super) async fn figures(&self, headers: &HeaderMap, shared: &Arc<Shared>) -> Message {
        let media = choose(headers, &[PROMETHEUS, OPEN_METRICS]);
        let shared = Arc::clone(shared);
        let made = timeout(PATIENCE, async {
            let turn = Arc::clone(&self.0).acquire_owned().await.ok()?;
            let made = tokio::task::spawn_blocking(move || {
                let text = render(&shared);
                drop(turn);
                text
            });
            made.await.ok()
        });
        match made.await {
            Ok(Some(text)) if media == PROMETHEUS => {
                message(StatusCode::OK, media, prometheus_text(&text))
            }
            Ok(Some(text)) => message(StatusCode::OK, media, text),
            Ok(None) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the figures are amiss", None),
            Err(_) => {
                let line = "the figures take too long: the disk may stand still";
                refusal(StatusCode::SERVICE_UNAVAILABLE, line, Some((RETRY_AFTER, "15")))
            }
        }
    }
}
