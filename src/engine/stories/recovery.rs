//! Runs the stories in `tests/scripts/recovery`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;

use goldenscript::Command;

use crate::engine::disk::golden::{Scripted, run_scripts};
use crate::engine::disk::recorder::Recorder;
use crate::engine::disk::{Keep, SimDisk};
use crate::{CommitMode, Options, Store};

struct Story {
    disk: SimDisk,
    recorder: Recorder,
    store: Option<Store>,
    /// The tokens of all commits, by what they put.
    tokens: BTreeMap<String, String>,
}

impl Story {
    fn new() -> Self {
        let disk = SimDisk::new();
        let recorder = Recorder::new(Arc::new(disk.clone()));
        let mut story = Story { disk, recorder, store: None, tokens: BTreeMap::new() };
        story.open().expect("a new store");
        story.store.take().unwrap().close().expect("closed");
        story
    }

    fn open(&mut self) -> crate::Result<&Store> {
        let options = Options::new().without_threads().store_id([7; 16]);
        let options = options.segment_bytes(64 << 10).page_bytes(4096);
        let store = options.open_on(self.recorder.disk())?;
        Ok(self.store.insert(store))
    }

    fn store(&self) -> Result<&Store, Box<dyn Error>> {
        Ok(self.store.as_ref().ok_or("open it first")?)
    }

    /// Kills the process; `keep` tells which of its writes survive.
    fn crash(&mut self, keep: Keep) {
        self.disk = self.disk.crash(keep);
        self.recorder = Recorder::new(Arc::new(self.disk.clone()));
        self.store = None;
    }
}

impl Scripted for Story {
    fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    fn perform(&mut self, command: &Command, out: &mut String) -> Result<(), Box<dyn Error>> {
        let mut args = command.consume_args();
        match command.name.as_str() {
            "open" => {
                let found = self.open()?.stats().recovery;
                match found.was_clean {
                    true => writeln!(out, "was closed")?,
                    false => writeln!(
                        out,
                        "recovered to {}: {} commits replayed, {} bytes cut, incarnation {} ended",
                        found.recovered_to, found.records_replayed, found.bytes_cut, found.former,
                    )?,
                }
            }
            mode @ ("sync" | "async") => {
                let mode = if mode == "sync" { CommitMode::Sync } else { CommitMode::Async };
                let rows = self.store()?.keyspace("rows")?;
                while let Some((key, value)) = args.next_key() {
                    let receipt = rows.put_with(key, value, mode)?;
                    writeln!(out, "{key}={value} is {}", receipt.lsn())?;
                    self.tokens.insert(format!("{key}={value}"), receipt.token());
                }
            }
            "read" => {
                let rows = self.store()?.open_keyspace("rows")?.ok_or("no rows")?;
                for entry in rows.iter()? {
                    let (key, value) = entry?.into_pair();
                    writeln!(out, "{}={}", key.escape_ascii(), value.escape_ascii())?;
                }
                assert!(self.store()?.verify()?.is_clean());
            }
            "status" => {
                for (what, token) in &self.tokens {
                    match self.store()?.status(token) {
                        Ok(status) => writeln!(out, "{what}: {status:?}")?,
                        Err(error) => writeln!(out, "{what}: {error}")?,
                    }
                }
            }
            "watermarks" => {
                let now = self.store()?.watermarks();
                let (life, line) = (now.incarnation, now.durable);
                let (checkpoint, appended) = (now.checkpoint, now.appended);
                writeln!(out, "incarnation {life}: checkpoint {checkpoint}, durable {line}")?;
                writeln!(out, "appended {appended}")?;
            }
            "flush" => writeln!(out, "durable up to {}", self.store()?.flush()?)?,
            "checkpoint" => writeln!(out, "checkpoint {}", self.store()?.checkpoint()?)?,
            "close" => self.store.take().ok_or("open it first")?.close()?,
            "kill" => self.crash(Keep::Everything),
            "lose-power" => self.crash(Keep::Nothing),
            "freeze-after" => {
                let operations = args.next_pos().ok_or("how many operations?")?.parse()?;
                self.disk.crash_after(operations);
            }
            name => return Err(format!("no command {name}").into()),
        }
        args.reject_next()?;
        Ok(())
    }
}

#[test]
fn story() {
    run_scripts("recovery", Story::new);
}
