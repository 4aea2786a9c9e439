//! Runs the stories in `tests/scripts/log`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;

use goldenscript::Command;

use super::*;
use crate::engine::disk::golden::{Scripted, run_scripts};
use crate::engine::disk::recorder::Recorder;
use crate::engine::disk::{Keep, SimDisk};

struct Story {
    disk: SimDisk,
    recorder: Recorder,
    log: Log,
    appender: Appender,
    /// Payloads by the LSN at which they end.
    appended: BTreeMap<Lsn, Vec<u8>>,
}

impl Story {
    fn new() -> Self {
        let disk = SimDisk::new();
        let recorder = Recorder::new(Arc::new(disk.clone()));
        let shared = recorder.disk();
        let (log, appender) = Log::begin(shared, small(), LIFE, 2, &[]).unwrap();
        Story { disk, recorder, log, appender, appended: BTreeMap::new() }
    }

    fn append(&mut self, bytes: usize) -> Result<Lsn> {
        let payload = payload(self.appended.len(), bytes);
        let end = append(&self.log, &mut self.appender, &payload)?;
        self.appended.insert(end, payload);
        Ok(end)
    }

    /// Prints what a recovery reads from `from` on, and where the log ends.
    fn scan(&self, from: Lsn, out: &mut String) -> Result<(), Box<dyn Error>> {
        let disk = self.recorder.disk();
        let mut scan = Scan::open(disk, LIFE, S, from, Lsn::ZERO)?;
        while let Some(entry) = scan.next()? {
            assert!(entry.payload == self.appended[&entry.end], "not what was appended");
            let (bytes, end, line) = (entry.payload.len(), entry.end, entry.sync_line);
            writeln!(out, "{bytes} bytes up to {end}, written when {line} was durable")?;
        }
        let Tail { end, cut_bytes, .. } = scan.tail();
        writeln!(out, "ends at {end}, {cut_bytes} bytes cut")?;
        Ok(())
    }
}

impl Scripted for Story {
    fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    fn perform(&mut self, command: &Command, out: &mut String) -> Result<(), Box<dyn Error>> {
        let mut args = command.consume_args();
        match command.name.as_str() {
            "append" => {
                let times = args.take_key("times").map_or(Ok(1), str::parse)?;
                let bytes = args.next_pos().ok_or("how many bytes?")?.parse()?;
                for _ in 1..times {
                    self.append(bytes)?;
                }
                writeln!(out, "appended up to {}", self.append(bytes)?)?;
            }
            "flush" => writeln!(out, "durable up to {}", self.log.flush()?)?,
            "keep" => self.log.preallocate()?,
            "recycle" => self.log.recycle_below(self.log.durable())?,
            "fail-flush" => self.disk.fail_sync(0),
            "lose-power" => {
                // One letter per unflushed sector: y if it survives.
                let sectors = args.next_pos().unwrap_or_default();
                writeln!(out, "{} sectors were not flushed", self.disk.dirty())?;
                let keep = Keep::Mask(sectors.chars().map(|letter| letter == 'y').collect());
                self.disk = self.disk.crash(keep);
                self.recorder = Recorder::new(Arc::new(self.disk.clone()));
            }
            "rot" => {
                let at: u64 = args.next_pos().ok_or("which byte?")?.parse()?;
                self.disk.flip(&segment_name(at / S), at % S, 3);
            }
            "scan" => {
                let from = args.take_key("from").map_or(Ok(2 * S), str::parse)?;
                self.scan(Lsn::new(from), out)?;
            }
            "state" => {
                let (durable, appended) = (self.log.durable(), self.log.appended());
                writeln!(out, "durable {durable}, appended {appended}")?;
            }
            "files" => {
                let names = self.disk.list()?;
                names.iter().try_for_each(|name| writeln!(out, "{name}"))?;
            }
            name => return Err(format!("no command {name}").into()),
        }
        args.reject_next()?;
        Ok(())
    }
}

#[test]
fn story() {
    run_scripts("log", Story::new);
}
