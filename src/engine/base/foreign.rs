//! Calls to foreign code: wakers, callbacks, the logger.
//!
//! Foreign code may panic, even in its destructor; it may block, call the store, or drop the store's last
//! handle. So:
//!
//! - CALLBACK-1 the store holds no lock during a call, except a call of the logger;
//! - CALLBACK-2 a panic is caught and logged: it ends no thread of the store;
//! - CALLBACK-3 the store's threads never wait for a thread that is in foreign code. Closing goes on
//!   without that thread, which touches nothing of the store when the call returns.
//!
//! The logger is called under locks too: it must not call the store.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) use ::log::Level;

/// Calls `act`, which messages name as `what`. Returns whether it returned without a panic.
pub(crate) fn call(what: &str, act: impl FnOnce()) -> bool {
    let Err(panic) = catch_unwind(AssertUnwindSafe(act)) else { return true };
    error!("{what} panicked: {}", message(&*panic));
    discard(panic);
    false
}

/// The message of a panic.
pub(crate) fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Drops the payload of a panic, which may panic too.
pub(crate) fn discard(panic: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
}

/// Passes a message to the logger, and catches its panics.
pub(crate) fn log(level: Level, text: std::fmt::Arguments<'_>) {
    let said = catch_unwind(AssertUnwindSafe(|| ::log::log!(level, "{text}")));
    said.unwrap_or_else(discard);
}

/// As the macro of the `log` crate.
macro_rules! error {
    ($($text:tt)+) => { $crate::engine::base::foreign::log($crate::engine::base::foreign::Level::Error, format_args!($($text)+)) };
}

/// As the macro of the `log` crate.
macro_rules! warning {
    ($($text:tt)+) => { $crate::engine::base::foreign::log($crate::engine::base::foreign::Level::Warn, format_args!($($text)+)) };
}

pub(crate) use {error, warning};

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use super::*;

    /// Panics when it is dropped.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[test]
    fn a_panic_and_a_panicking_payload_are_caught() {
        assert!(call("the test", || ()));
        assert!(!call("the test", || panic!("on purpose")));
        assert!(!call("the test", || std::panic::panic_any(Bomb)));
        let bomb = Bomb;
        assert!(!call("the test", move || drop(bomb)));
    }

    #[test]
    fn the_message_of_a_panic_is_its_text() {
        let said = |act: fn()| message(&*catch_unwind(act).unwrap_err()).to_owned();
        assert_eq!(said(|| panic!("text")), "text");
        assert_eq!(said(|| panic!("{}", 7)), "7");
        assert_eq!(said(|| std::panic::panic_any(7)), "no message");
    }
}
