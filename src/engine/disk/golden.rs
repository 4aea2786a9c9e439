//! Runs the golden scripts of a layer in `tests/scripts`, and shows the I/O that they cause.
//!
//! After an intended change, `UPDATE_GOLDENFILES=1 cargo test --lib story` rewrites them; their diff
//! shows what changed.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use goldenscript::{Command, Context, Runner};

use super::recorder::Recorder;

/// An object that a script acts on.
pub(crate) trait Scripted {
    /// The disk under it.
    fn recorder(&self) -> &Recorder;

    /// Performs `command`, and writes its outcome to `out`. The script shows an error as a refusal.
    fn perform(&mut self, command: &Command, out: &mut String) -> Result<(), Box<dyn Error>>;
}

/// Runs each script of `layer` on an object of its own.
pub(crate) fn run_scripts<S: Scripted>(layer: &str, new: impl Fn() -> S) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(layer);
    let entries = std::fs::read_dir(&folder).expect("the folder of the layer's scripts");
    let mut scripts: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "{} has no script", folder.display());
    for script in scripts {
        println!("{}", script.display());
        goldenscript::run(&mut ScriptRunner(new()), script).expect("a script that can be read");
    }
}

struct ScriptRunner<S>(S);

impl<S: Scripted> Runner for ScriptRunner<S> {
    type Command = Command;

    /// Returns the outcome of a command, followed by the I/O that it caused if its tag asks for that.
    fn run(&mut self, command: &Command, context: &Context) -> Result<String, Box<dyn Error>> {
        self.0.recorder().take();
        let mut out = String::new();
        if let Err(error) = self.0.perform(command, &mut out) {
            writeln!(out, "refused: {error}")?;
        }
        if context.tags.contains("io") {
            out.push_str(&self.0.recorder().take());
        }
        Ok(out)
    }
}
