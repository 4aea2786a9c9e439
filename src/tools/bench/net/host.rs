//! The server under measurement: a process of our own, or a running one.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::error::BenchError;
use super::super::record::Figure;
use super::common::{Target, figure};
use crate::net::client::{Client, Dial};

/// Time for a server to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server. A server of our own ends with this value.
pub(super) struct Host {
    target: Target,
    pub(super) dial: Dial,
    child: Option<Child>,
}

/// The main memory of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// All of it, files that are mapped included.
    pub(super) resident: u64,
    /// Without mapped files.
    pub(super) own: u64,
}

impl Host {
    /// The running server, or a new one with its store in `dir`.
    pub(super) fn start(running: Option<&Target>, dir: &Path) -> Result<Host, BenchError> {
        Host::start_with(running, dir, &[])
    }

    /// The same, with settings for one of our own, as in `max_connections=100`.
    pub(super) fn start_with(
        running: Option<&Target>,
        dir: &Path,
        settings: &[String],
    ) -> Result<Host, BenchError> {
        if let Some(target) = running {
            let dial = Dial::to(&target.address, target.options.clone())?;
            return Ok(Host { target: target.clone(), dial, child: None });
        }
        // A server that takes any free port cannot report it here, so a free one is found first.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = free.map_err(BenchError::io("find a free port"))?.to_string();
        let program = std::env::current_exe().map_err(BenchError::io("find this program"))?;
        let child = Command::new(program)
            .arg("serve")
            .arg(dir.join("store"))
            .args(["--listen", &address, "--log", "warn"])
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(BenchError::io("start a server"))?;
        let target = Target { address, options: Client::options() };
        let dial = Dial::to(&target.address, target.options.clone())?;
        let host = Host { target, dial, child: Some(child) };
        let end = Instant::now() + PATIENCE;
        while let Err(source) = std::net::TcpStream::connect(&host.target.address) {
            if Instant::now() > end {
                return Err(BenchError::Io { action: "reach the server".into(), source });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(host)
    }

    /// The CPU time of the server, if known.
    pub(super) fn cpu(&self) -> Option<Duration> {
        cpu_of(&self.child.as_ref()?.id().to_string())
    }

    /// A client of the server, with at most `max_in_flight` requests in flight.
    pub(super) async fn client(&self, max_in_flight: u32) -> Result<Client, BenchError> {
        let options = self.target.options.clone().max_in_flight(max_in_flight);
        Ok(options.connect(&self.target.address).await?)
    }

    /// The memory of the server, if known.
    pub(super) fn memory(&self) -> Option<Memory> {
        let id = self.child.as_ref()?.id();
        let text = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let bytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
        };
        Some(Memory { resident: bytes("VmRSS:")?, own: bytes("RssAnon:")? })
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

/// The CPU time of both sides, as shares of the elapsed time: 1 is one processor.
pub(super) struct Meter {
    begun: Instant,
    server: Option<Duration>,
    own: Option<Duration>,
}

impl Meter {
    pub(super) fn start(host: &Host) -> Meter {
        Meter { begun: Instant::now(), server: host.cpu(), own: own_cpu() }
    }

    /// Since the start, a warm-up included.
    pub(super) fn figures(&self, host: &Host) -> Vec<Figure> {
        let wall = self.begun.elapsed().as_secs_f64();
        let share = |before: Option<Duration>, after: Option<Duration>| {
            Some((after? - before?).as_secs_f64() / wall)
        };
        let shares = [
            ("server CPU", share(self.server, host.cpu())),
            ("load CPU", share(self.own, own_cpu())),
        ];
        shares.iter().filter_map(|(name, share)| Some(figure(name, (*share)?, ""))).collect()
    }
}

/// The CPU time of this process.
pub(super) fn own_cpu() -> Option<Duration> {
    cpu_of("self")
}

/// Reads the kernel's account of a process, in ticks of 10 ms.
fn cpu_of(process: &str) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is a name in brackets, which may hold anything.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(10 * ticks))
}
