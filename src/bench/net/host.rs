//! The server under measurement: a process of our own, or one that runs already.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::BenchError;

/// Time for a server to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server. One of our own ends with this.
pub(super) struct Host {
    pub(super) address: String,
    child: Option<Child>,
}

impl Host {
    /// The server at `connect`, or a new one with its store in `dir`.
    pub(super) fn start(connect: Option<&str>, dir: &Path) -> Result<Host, BenchError> {
        if let Some(address) = connect {
            return Ok(Host { address: address.to_owned(), child: None });
        }
        // Whoever asks for any port cannot be asked which one it got: so one is looked for here.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = free.map_err(BenchError::io("find a free port"))?.to_string();
        let program = std::env::current_exe().map_err(BenchError::io("find this program"))?;
        let child = Command::new(program)
            .arg("serve")
            .arg(dir.join("store"))
            .args(["--listen", &address, "--log", "warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(BenchError::io("start a server"))?;
        let host = Host { address, child: Some(child) };
        let end = Instant::now() + PATIENCE;
        while let Err(source) = std::net::TcpStream::connect(&host.address) {
            if Instant::now() > end {
                return Err(BenchError::Io { action: "reach the server".into(), source });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(host)
    }

    /// The CPU time that the server has used, if it can be known.
    pub(super) fn cpu(&self) -> Option<Duration> {
        cpu_of(&self.child.as_ref()?.id().to_string())
    }

    /// The memory that the server has resident, in bytes.
    pub(super) fn resident_bytes(&self) -> Option<u64> {
        let id = self.child.as_ref()?.id();
        let text = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The CPU time that this process has used.
pub(super) fn own_cpu() -> Option<Duration> {
    cpu_of("self")
}

/// From the kernel's account of a process, in ticks of 10 ms.
fn cpu_of(process: &str) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is a name in brackets, which may hold anything.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(10 * ticks))
}
