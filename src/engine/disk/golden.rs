//! Runs the golden scripts of a layer in `tests/scripts`, and shows the I/O that they cause.
//!
//! After an intended change, `UPDATE_GOLDENFILES=1 cargo test --lib story` rewrites them; their diff
//! shows what changed.

use std::error::Error;
use std::path::Path;

use super::recorder::Recorder;

/// Runs each script of `layer` with a runner of its own.
pub(crate) fn tell<R: goldenscript::Runner>(layer: &str, runner: impl Fn() -> R) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(layer);
    let entries = std::fs::read_dir(&folder).expect("the folder of the layer's scripts");
    let mut scripts: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "{} has no script", folder.display());
    for script in scripts {
        println!("{}", script.display());
        goldenscript::run(&mut runner(), script).expect("a script that can be read");
    }
}

/// The output of `told` for a command, followed by the I/O that it caused if the tag `io` asks for it.
pub(crate) fn with_io<S>(
    story: &mut S,
    recorder: fn(&S) -> &Recorder,
    context: &goldenscript::Context,
    told: impl FnOnce(&mut S) -> Result<String, Box<dyn Error>>,
) -> Result<String, Box<dyn Error>> {
    recorder(story).take();
    let mut out = told(story)?;
    if context.tags.contains("io") {
        out.push_str(&recorder(story).take());
    }
    Ok(out)
}
