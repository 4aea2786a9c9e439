//! Runs the stories in `tests/scripts/tree`.

use std::error::Error;
use std::fmt::Write;
use std::ops::Range;

use goldenscript::{ArgumentConsumer, Command};

use super::*;
use crate::engine::cache::{Hold, PinnedPage};
use crate::engine::disk::golden::{Scripted, run_scripts};
use crate::engine::disk::recorder::Recorder;

struct Story {
    rig: Rig,
    recorder: Recorder,
}

impl Story {
    fn new() -> Self {
        let recorder = Recorder::new(Arc::new(SimDisk::new()));
        let rig = Rig::new(&*recorder.disk(), 4096, 4096);
        Story { rig, recorder }
    }
}

impl Scripted for Story {
    fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    fn perform(&mut self, command: &Command, out: &mut String) -> Told {
        let mut args = command.consume_args();
        match command.name.as_str() {
            "put" => {
                let bytes = args.take_key("bytes").ok_or("how long?")?.parse()?;
                let value = |n: u32| Some(vec![n as u8; bytes]);
                let changes: Vec<_> = keys(&mut args)?.map(|n| (key(n), value(n))).collect();
                self.rig.change(&changes);
            }
            "delete" => {
                let changes: Vec<_> = keys(&mut args)?.map(|n| (key(n), None)).collect();
                self.rig.change(&changes);
            }
            "tree" => {
                // Down to this level.
                let level = args.take_key("level").map_or(Ok(0), str::parse)?;
                self.show(self.rig.root, level, 0, out)?;
                let freed: Vec<_> = self.rig.writer.freed().map(|id| id.to_string()).collect();
                if !freed.is_empty() {
                    writeln!(out, "freed: {}", freed.join(" "))?;
                }
                self.rig.check("the story");
            }
            "forward" => {
                let from = args.next_pos().map_or(Ok(0), str::parse)?;
                let snapshot = self.rig.snapshot();
                let mut cursor = Cursor::new(&self.rig.cache, self.rig.root, snapshot.lsn());
                cursor.seek_first(&self.rig.cache, Bound::Included(&key(from)))?;
                let mut seen = Vec::new();
                while let Some((leaf, slot)) = cursor.forward(&self.rig.cache)? {
                    seen.push(place(leaf, slot));
                }
                tell_places(&seen, out)?;
            }
            "backward" => {
                let to = args.next_pos().map_or(Ok(u32::MAX), str::parse)?;
                let snapshot = self.rig.snapshot();
                let mut cursor = Cursor::new(&self.rig.cache, self.rig.root, snapshot.lsn());
                cursor.seek_last(&self.rig.cache, Bound::Included(&key(to)))?;
                let mut seen = Vec::new();
                while let Some((leaf, slot)) = cursor.backward(&self.rig.cache)? {
                    seen.push(place(leaf, slot));
                }
                tell_places(&seen, out)?;
            }
            name => return Err(format!("no command {name}").into()),
        }
        args.reject_next()?;
        Ok(())
    }
}

impl Story {
    fn page(&self, id: PageId) -> Result<PinnedPage<'_>, Box<dyn Error>> {
        let guard = self.rig.cache.pin();
        let page = self.rig.cache.page(id, self.rig.cache.visible(), &guard);
        Ok(self.rig.cache.keep(page.map_err(|_| "not in memory")?))
    }

    /// The node `id` and those below it, down to `level`.
    fn show(&self, id: PageId, level: u8, depth: usize, out: &mut String) -> Told {
        let page = self.page(id)?;
        let node = Node::new(page.bytes());
        let indent = "    ".repeat(depth);
        let lower = node.lower().escape_ascii();
        let upper = node.upper().map_or("the end".into(), |upper| upper.escape_ascii().to_string());
        if node.is_leaf() {
            write!(out, "{indent}page {id}: leaf of {}", node.count())?;
        } else {
            write!(out, "{indent}page {id}: level {}, {} children", node.level(), node.count())?;
        }
        writeln!(out, ", from \"{lower}\" to {upper}")?;
        for slot in 0..node.count() {
            if !node.is_leaf() && node.level() > level {
                self.show(node.child(slot), level, depth + 1, out)?;
            }
            if let Some(Value::Blob(blob)) = node.is_leaf().then(|| node.value(slot)) {
                let mut pages = Vec::new();
                let at = self.rig.cache.visible();
                let mut on_page = |id: PageId| pages.push(id.to_string());
                blob::walk(&self.rig.cache, blob, at, &mut on_page)?;
                let mut key = Vec::new();
                node.append_key(slot, &mut key);
                let (key, pages) = (key.escape_ascii(), pages.join(" "));
                writeln!(out, "{indent}    {key}: {} bytes in pages {pages}", blob.bytes)?;
            }
        }
        Ok(())
    }
}

type Told = Result<(), Box<dyn Error>>;

/// The key numbers in a command's arguments: `first..end`, or one.
fn keys(args: &mut ArgumentConsumer<'_>) -> Result<Range<u32>, Box<dyn Error>> {
    let numbers = args.next_pos().ok_or("which keys?")?;
    let (first, end) = match numbers.split_once("..") {
        Some((first, end)) => (first.parse()?, end.parse()?),
        None => (numbers.parse()?, numbers.parse::<u32>()? + 1),
    };
    Ok(first..end)
}

fn key(number: u32) -> Vec<u8> {
    format!("k{number:04}").into_bytes()
}

/// The page of a key, and the key.
fn place(leaf: &Hold, slot: usize) -> (PageId, String) {
    let node = Node::new(leaf.bytes());
    let mut key = Vec::new();
    node.append_key(slot, &mut key);
    (node.id(), key.escape_ascii().to_string())
}

fn tell_places(seen: &[(PageId, String)], out: &mut String) -> Told {
    for keys in seen.chunk_by(|a, b| a.0 == b.0) {
        let keys_only: Vec<_> = keys.iter().map(|(_, key)| key.as_str()).collect();
        writeln!(out, "page {}: {}", keys[0].0, keys_only.join(" "))?;
    }
    Ok(())
}

#[test]
fn story() {
    run_scripts("tree", Story::new);
}
