//! Ctrl-C: the run ends after the measurement that goes on, with the results that there are. Once more
//! ends it at once. Either way the directory that it made is removed.

use crate::tools::present::aside::aside;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// The status of a process that Ctrl-C has ended.
const INTERRUPTED: i32 = 130;

/// Whether the run is to end.
static ASKED: AtomicBool = AtomicBool::new(false);

/// What is removed if the process ends at once.
static PLACE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Whether somebody has asked that the run end.
pub(super) fn is_asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// What is to be removed at the end, from now on.
pub(super) fn remember(place: Option<&Path>) {
    *PLACE.lock().expect("nobody panics with it") = place.map(Path::to_owned);
}

/// Listens for Ctrl-C from now on.
pub fn on_interrupt() {
    let handler = || {
        if !ASKED.swap(true, Ordering::Relaxed) {
            aside(format_args!("stopping after this measurement; once more to end at once"));
            return;
        }
        let place = PLACE.lock().expect("nobody panics with it").take();
        if let Some(Err(error)) = place.as_deref().map(fs::remove_dir_all) {
            aside(format_args!("syncline: warning: not everything was removed: {error}"));
        }
        process::exit(INTERRUPTED);
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        aside(format_args!("Ctrl-C ends the run without a result: {error}"));
    }
}
