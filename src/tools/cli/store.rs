//! The store in a directory, open for as long as a command needs it.

use std::io::{self, IsTerminal};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

use super::failure::CommandResult;
use crate::{Options, Store};

/// How a command uses the store.
#[derive(Clone, Copy)]
pub(super) enum Access {
    /// Reads: there must be a store, which is not changed (CLI-3).
    Read,
    /// Deletes or maintains: there must be a store.
    Change,
    /// Puts: an empty or missing directory becomes a store.
    Create,
}

/// Opens the store, does the work, and closes the store even if the work failed (CLI-5).
pub(super) fn with_store(
    dir: &Path,
    access: Access,
    work: impl FnOnce(&Store) -> CommandResult,
) -> CommandResult {
    let (options, bar) = recovery_bar(Options::new());
    let options = match access {
        Access::Read => options.read_only(),
        Access::Change => options.must_exist(),
        Access::Create => options,
    };
    let opened = options.open(dir);
    bar.finish_and_clear();
    and_close(opened?, work)
}

/// Does the work, and closes the store even if the work failed (CLI-5).
pub(super) fn and_close(store: Store, work: impl FnOnce(&Store) -> CommandResult) -> CommandResult {
    let outcome = work(&store);
    let closed = store.close();
    let status = outcome?;
    closed?;
    Ok(status)
}

/// Shows a progress bar on a terminal while the log is replayed.
fn recovery_bar(options: Options) -> (Options, ProgressBar) {
    if !io::stderr().is_terminal() {
        return (options, ProgressBar::hidden());
    }
    let style = "recovering {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
    let style = ProgressStyle::with_template(style).expect("a valid template");
    let bar = ProgressBar::new(0).with_style(style);
    let shown = bar.clone();
    let options = options.on_recovery(move |progress| {
        shown.set_length(progress.total_bytes);
        shown.set_position(progress.done_bytes);
    });
    (options, bar)
}
