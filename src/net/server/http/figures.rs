//! `/metrics`: the server's metrics, as OpenMetrics or as Prometheus' own text.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::accept::{MediaType, choose};
use super::message::{Message, message, refusal};
use crate::net::server::figures::{prometheus_text, render};
use crate::net::server::shared::Shared;

const PROMETHEUS: MediaType = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: MediaType = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The longest time of a scrape, with waiting for another one.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lets one thread at a time render the metrics, because some come from files (HTTP-3).
#[derive(Debug)]
pub(super) struct ScrapePermit(Arc<Semaphore>);

impl Default for ScrapePermit {
    fn default() -> Self {
        ScrapePermit(Arc::new(Semaphore::new(1)))
    }
}

impl ScrapePermit {
    pub(super) async fn figures(&self, headers: &HeaderMap, shared: &Arc<Shared>) -> Message {
        let media = choose(headers, &[PROMETHEUS, OPEN_METRICS]);
        let shared = Arc::clone(shared);
        let made = timeout(PATIENCE, async {
            let permit = Arc::clone(&self.0).acquire_owned().await.ok()?;
            let made = tokio::task::spawn_blocking(move || {
                let text = render(&shared);
                drop(permit);
                text
            });
            made.await.ok()
        });
        match made.await {
            Ok(Some(text)) if media == PROMETHEUS => {
                message(StatusCode::OK, media, prometheus_text(&text))
            }
            Ok(Some(text)) => message(StatusCode::OK, media, text),
            Ok(None) => {
                refusal(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be rendered", None)
            }
            Err(_) => {
                let line = "the metrics take too long: the disk may be stalled";
                refusal(StatusCode::SERVICE_UNAVAILABLE, line, Some((RETRY_AFTER, "15")))
            }
        }
    }
}
