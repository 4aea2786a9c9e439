//! Runs the stories in `tests/scripts/cache`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;

use goldenscript::Command;

use super::*;
use crate::engine::cache::table::Word;
use crate::engine::disk::golden::{Scripted, run_scripts};
use crate::engine::disk::recorder::Recorder;

struct Story {
    rig: Rig,
    recorder: Recorder,
    pages: BTreeMap<String, PageId>,
    snapshots: BTreeMap<String, Lsn>,
    begun: Option<Begun>,
}

impl Story {
    fn new() -> Self {
        let disk = SimDisk::new();
        let recorder = Recorder::new(Arc::new(disk.clone()));
        let rig = Rig::on(disk, &*recorder.disk(), FRAMES);
        recorder.take();
        let (pages, snapshots) = Default::default();
        Story { rig, recorder, pages, snapshots, begun: None }
    }

    fn page(&self, name: &str) -> Result<PageId, Box<dyn Error>> {
        Ok(*self.pages.get(name).ok_or("no such page")?)
    }

    fn place(&self, id: PageId) -> String {
        match self.rig.cache.table.newest(id) {
            Word::Nothing => "nowhere".into(),
            Word::NotLoaded => "not known yet".into(),
            Word::OnDisk(addr) => format!("on disk, block {}", addr.block()),
            Word::Resident(frame) => {
                let arena = &self.rig.cache.arena;
                let addr = arena.addr(frame);
                let copy = match addr.is_none() {
                    true => "dirty".into(),
                    false => format!("copy in block {}", addr.block()),
                };
                format!("in memory as of {}, {copy}", arena.lsn(frame))
            }
        }
    }

    /// The commands that change nothing.
    fn observed(&self, name: &str, out: &mut String) -> Result<(), Box<dyn Error>> {
        match name {
            "where" => {
                for (name, id) in &self.pages {
                    writeln!(out, "{name}: {}", self.place(*id))?;
                }
                writeln!(out, "old versions: {}", self.rig.cache.stats().old_versions)?;
            }
            "blocks" => {
                self.rig.settle();
                let (busy, used) = self.rig.space.busy_and_used();
                writeln!(out, "the checkpoint uses {used}, beside it {} are taken", busy - used)?;
            }
            _ => return Err(format!("no command {name}").into()),
        }
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
            "create" => {
                while let Some(name) = args.next_pos() {
                    let id = self.rig.create(1)[0];
                    self.pages.insert(name.into(), id);
                    writeln!(out, "{name} is page {id}")?;
                }
            }
            "put" => {
                let mut changes = Vec::new();
                while let Some((name, value)) = args.next_key() {
                    changes.push((self.page(name)?, value.parse()?));
                }
                let (lsn, ()) = self.rig.group(|group| {
                    changes.iter().for_each(|(id, value)| put(group, *id, *value));
                });
                writeln!(out, "visible up to {lsn}")?;
            }
            "get" => {
                let at = args.take_key("at").map(str::to_owned);
                let at = at.map_or(self.rig.cache.visible(), |name| self.snapshots[&name]);
                while let Some(name) = args.next_pos() {
                    writeln!(out, "{name} = {}", self.rig.get(self.page(name)?, at)?)?;
                }
            }
            "free" => {
                while let Some(name) = args.next_pos() {
                    self.rig.free(self.page(name)?);
                }
            }
            "snapshot" => {
                let name = args.next_pos().ok_or("which one?")?;
                let lsn = self.rig.cache.snapshot().into_lsn();
                self.snapshots.insert(name.into(), lsn);
                writeln!(out, "{name} is as of {lsn}")?;
            }
            "drop" => {
                let name = args.next_pos().ok_or("which one?")?;
                self.rig.cache.unregister(self.snapshots.remove(name).ok_or("no such snapshot")?);
            }
            "evict" => {
                (0..4).try_for_each(|_| {
                    self.rig.settle();
                    self.rig.cache.evict(FRAMES).map(|_| ())
                })?;
                self.rig.settle();
            }
            "spill" => while self.rig.cache.spill()? > 0 {},
            "begin-checkpoint" => {
                let begun = self.rig.begin_checkpoint()?;
                writeln!(out, "as of {}", begun.at)?;
                self.begun = Some(begun);
            }
            "finish-checkpoint" => {
                self.rig.finish_checkpoint(self.begun.take().ok_or("begin one")?)?;
            }
            name => self.observed(name, out)?,
        }
        args.reject_next()?;
        Ok(())
    }
}

#[test]
fn story() {
    run_scripts("cache", Story::new);
}
