//! Catches panics of the engine, so that they are reported as failures and not just printed.

use std::cell::{Cell, RefCell};
use std::panic;
use std::sync::Once;

thread_local! {
    static CATCHES: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on panics of this thread are kept for [`take`] instead of being printed.
pub(crate) fn catch() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let former = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHES.get() {
                LAST.set(Some(info.to_string()));
            } else {
                former(info);
            }
        }));
    });
    CATCHES.set(true);
}

/// The last panic of this thread, with its file and line.
pub(crate) fn take() -> String {
    LAST.take().unwrap_or_else(|| "a panic".to_owned()).replace('\n', " ")
}
