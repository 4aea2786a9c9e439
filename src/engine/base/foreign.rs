//! Code that is not ours, called by the store: wakers, callbacks, the logger.
//!
//! It may do anything that a stranger's code does: panic, also when it is dropped, block, call the
//! store, drop the last handle of it. So:
//!
//! - CALLBACK-1 it is called with no lock held, the logger excepted;
//! - CALLBACK-2 a panic in it is logged and goes no further: no thread of the store ends by it;
//! - CALLBACK-3 the store's threads never wait for one of them that is in it. Closing goes on without the
//!   thread, which touches nothing of the store when it comes back.
//!
//! The logger is called wherever something is to be said, under locks too: it must not call the
//! store.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) use ::log::Level;

/// Calls `act`, which is `what`. Returns whether it came to its end.
pub(crate) fn call(what: &str, act: impl FnOnce()) -> bool {
    let Err(panic) = catch_unwind(AssertUnwindSafe(act)) else { return true };
    error!("{what} panicked: {}", message(&*panic));
    discard(panic);
    false
}

/// What a panic says.
pub(crate) fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Drops what was thrown, which may panic as well.
pub(crate) fn discard(panic: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
}

/// Hands a message to the logger, whose panics go no further.
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
    fn a_panic_goes_no_further_nor_does_what_it_throws() {
        assert!(call("the test", || ()));
        assert!(!call("the test", || panic!("on purpose")));
        assert!(!call("the test", || std::panic::panic_any(Bomb)));
        let bomb = Bomb;
        assert!(!call("the test", move || drop(bomb)));
    }

    #[test]
    fn a_panic_says_what_it_was_given() {
        let said = |act: fn()| message(&*catch_unwind(act).unwrap_err()).to_owned();
        assert_eq!(said(|| panic!("text")), "text");
        assert_eq!(said(|| panic!("{}", 7)), "7");
        assert_eq!(said(|| std::panic::panic_any(7)), "no message");
    }
}
