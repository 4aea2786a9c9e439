//! Log lines about a slow or failed device, and their rate.

use std::io::Write;
use std::sync::{Arc, Mutex};

use super::peer::{Hold, Peer, config, put, serve};
use crate::engine::disk::SimDisk;
use crate::net::proto::{Code, Mode};
use crate::net::server::Config;

/// Captures log lines.
#[derive(Clone, Default)]
struct LogCapture(Arc<Mutex<Vec<u8>>>);

impl LogCapture {
    fn count(&self, what: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap()).matches(what).count()
    }
}

impl Write for LogCapture {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// On one thread, because the subscriber is that of a thread.
#[tokio::test]
async fn slow_flushes_and_a_failed_flush_are_logged() {
    let log_lines = LogCapture::default();
    let writer = log_lines.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    let _here = tracing::subscriber::set_default(log.finish());
    let disk = SimDisk::new();
    let (store, hold) = Hold::store_on(&disk);
    let (server, address) = serve(store, &Config { slow_flush_ms: 1, ..config() }).await;
    let mut peer = Peer::greeted(address).await;
    peer.ask(2, &put("k", "v", Mode::Sync)).await;
    hold.hold();
    peer.send(3, &put("k", "w", Mode::Sync)).await;
    while log_lines.count("slow flush") == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    hold.let_go();
    assert_eq!(peer.answer().await.id, 3);
    assert_eq!(log_lines.count("restart the server"), 0);
    disk.fail_sync(0);
    for id in 4..8 {
        assert_eq!(peer.ask(id, &put("k", "x", Mode::Sync)).await.code(), Code::Poisoned);
    }
    while log_lines.count("restart the server") == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(server.stop().await.is_err());
    assert_eq!(log_lines.count("restart the server"), 1);
    assert_eq!(log_lines.count("slow flush"), 1, "at most one per ten seconds");
}
