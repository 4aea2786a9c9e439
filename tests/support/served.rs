//! A `syncline serve` process, for tests of what its clients see.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A port that nobody has.
pub(crate) fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A server, which ends with this.
pub(crate) struct Server(Child);

impl Server {
    pub(crate) fn start(dir: &std::path::Path, address: &str) -> Server {
        let mut server = Command::new(env!("CARGO_BIN_EXE_syncline"));
        server.arg("serve").arg(dir).args(["--listen", address, "--log", "error"]);
        // The tests' own, which a server would take for settings.
        server.env_remove("SYNCLINE_SEED").env_remove("SYNCLINE_SECONDS");
        Server(server.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Ends it gracefully.
    pub(crate) fn end(&mut self) {
        self.signal(Signal::TERM);
        let status = self.0.wait().unwrap();
        // One that has only begun to start ends by the signal itself.
        assert!(status.success() || status.signal() == Some(Signal::TERM.as_raw()), "{status}");
    }

    /// Sends it a signal.
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
