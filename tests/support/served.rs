//! A `syncline serve` process, for tests of its clients.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// An address with a free port.
pub(crate) fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A server process, which is killed on drop.
pub(crate) struct Server(Child);

impl Server {
    pub(crate) fn start(dir: &std::path::Path, address: &str) -> Server {
        let mut server = Command::new(env!("CARGO_BIN_EXE_syncline"));
        server.arg("serve").arg(dir).args(["--listen", address, "--log", "error"]);
        // The tests' own variables, which a server would take for settings.
        server.env_remove("SYNCLINE_SEED").env_remove("SYNCLINE_SECONDS");
        Server(server.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Shuts it down gracefully.
    pub(crate) fn end(&mut self) {
        self.signal(Signal::TERM);
        let status = self.0.wait().unwrap();
        // A server that has not installed its handler yet is killed by the signal.
        assert!(status.success() || status.signal() == Some(Signal::TERM.as_raw()), "{status}");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
