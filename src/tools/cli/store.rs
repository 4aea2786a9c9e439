//! The store in a directory, open for as long as a command needs it.

use std::io::{self, IsTerminal};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

use super::failure::Outcome;
use crate::{Options, Store};

/// What a command does with the store.
#[derive(Clone, Copy)]
pub(super) enum Access {
    /// It reads: there must be a store, which is not changed (CLI-3).
    Read,
    /// It takes away or tidies up: there must be a store.
    Change,
    /// It puts: an empty or missing directory becomes a store.
    Create,
}

/// Opens the store, does the work, and closes it whatever came of the work (CLI-5).
pub(super) fn with_store(
    dir: &Path,
    access: Access,
    work: impl FnOnce(&Store) -> Outcome,
) -> Outcome {
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

/// Does the work, and closes the store whatever came of it (CLI-5).
pub(super) fn and_close(store: Store, work: impl FnOnce(&Store) -> Outcome) -> Outcome {
    let outcome = work(&store);
    let closed = store.close();
    let status = outcome?;
    closed?;
    Ok(status)
}

/// Shows a bar while the log is replayed, if there is a terminal to show it on.
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
