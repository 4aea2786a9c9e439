//! A disk that records operations, for golden scripts.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Disk;
use super::watched::{Act, Watcher, watched};
use crate::engine::base::error::Result;

/// Records a line per change that is made to a disk, and per read of a file.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    lines: Arc<Lines>,
    disk: Arc<dyn Disk>,
}

#[derive(Debug, Default)]
struct Lines(Mutex<Vec<String>>);

impl Recorder {
    pub(crate) fn new(inner: Arc<dyn Disk>) -> Self {
        let lines = Arc::<Lines>::default();
        let disk = watched(inner, Arc::clone(&lines) as Arc<dyn Watcher>);
        Recorder { lines, disk }
    }

    /// The disk on which everything is recorded.
    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk)
    }

    /// The lines since the last call. Equal ones in a row are counted.
    pub(crate) fn take(&self) -> String {
        let lines = std::mem::take(&mut *self.lines.0.lock());
        let runs = lines.chunk_by(|a, b| a == b);
        runs.map(|run| match run.len() {
            1 => format!("    {}\n", run[0]),
            count => format!("    {} ({count} times)\n", run[0]),
        })
        .collect()
    }
}

impl Watcher for Lines {
    fn see(
        &self,
        name: &str,
        act: &Act<'_>,
        pass_on: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let line = match act {
            Act::Create { bytes } => format!("create {name}, {bytes} bytes"),
            Act::Rename { to } => format!("rename {name} to {to}"),
            Act::Remove => format!("remove {name}"),
            Act::SyncDir => "sync directory".into(),
            Act::Grow { bytes } => format!("grow {name} to {bytes}"),
            Act::GiveBack { offset, len } => format!("give back {name} at {offset}, {len} bytes"),
            Act::Read { offset, len } => format!("read {name} at {offset}, {len} bytes"),
            Act::Write { offset, len } => format!("write {name} at {offset}, {len} bytes"),
            Act::Sync => format!("sync {name}"),
            Act::MappedWrite { len: 0, .. } | Act::Prefault { .. } => return pass_on(),
            Act::MappedWrite { offset, len } => format!("store {name} at {offset}, {len} bytes"),
            Act::MappedSync { offset, len } => format!("flush {name} at {offset}, {len} bytes"),
        };
        self.0.lock().push(line);
        pass_on()
    }
}
