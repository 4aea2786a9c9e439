//! Ctrl-C: the run ends after the current measurement, with the results so far. A second Ctrl-C ends it
//! at once. In both cases the directory of the run is removed.

use crate::tools::present::aside::aside;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// The status of a process that Ctrl-C has ended.
const INTERRUPTED: i32 = 130;

/// Whether Ctrl-C has asked for the end of the run.
static ASKED: AtomicBool = AtomicBool::new(false);

/// The directory that is removed if the process ends at once.
static DIRECTORY: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Whether the run is to end.
pub(super) fn is_asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Sets the directory that is removed if the process ends at once.
pub(super) fn remember(dir: Option<&Path>) {
    *DIRECTORY.lock().expect("no thread panics with this lock") = dir.map(Path::to_owned);
}

/// Listens for Ctrl-C from now on.
pub fn on_interrupt() {
    let handler = || {
        if !ASKED.swap(true, Ordering::Relaxed) {
            aside(format_args!("stopping after this measurement; once more to end at once"));
            return;
        }
        let dir = DIRECTORY.lock().expect("no thread panics with this lock").take();
        if let Some(Err(error)) = dir.as_deref().map(fs::remove_dir_all) {
            aside(format_args!("syncline: warning: not everything was removed: {error}"));
        }
        process::exit(INTERRUPTED);
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        aside(format_args!("Ctrl-C ends the run without a result: {error}"));
    }
}
