//! The metrics over HTTP, for Prometheus: `GET /metrics`. `GET /health` says whether writes are
//! taken. Nothing else is served here.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::metrics::render;
use super::shared::Shared;

/// The longest request head that is read.
const LONGEST: usize = 8192;
/// Time for one scrape.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers for ever, one scrape at a time: there is one Prometheus.
pub(crate) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let _ = timeout(PATIENCE, serve(socket, &shared)).await;
            }
            Err(error) => {
                tracing::warn!("metrics: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(mut socket: TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= LONGEST || socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    let is_get = head.starts_with(b"GET ");
    let (status, kind, body) = match path {
        b"/metrics" if is_get => {
            // The store's figures are behind its commit lock.
            let shared = Arc::clone(shared);
            let text = tokio::task::spawn_blocking(move || render(&shared)).await;
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ("200 OK", kind, text.unwrap_or_default())
        }
        b"/health" if is_get => match shared.service.store().poisoned() {
            None => ("200 OK", "text/plain", "ok\n".to_owned()),
            Some(error) => ("503 Service Unavailable", "text/plain", format!("{error}\n")),
        },
        _ => ("404 Not Found", "text/plain", "there are /metrics and /health\n".to_owned()),
    };
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body.as_bytes()).await?;
    socket.shutdown().await
}
