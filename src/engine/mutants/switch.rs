//! Which mistake the calling thread lives with.

use std::cell::Cell;
use std::sync::OnceLock;

use super::Mutant;

thread_local! {
    static MUTANT: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// The mistake that all threads live with.
static EVERYWHERE: OnceLock<Mutant> = OnceLock::new();

/// Whether the calling thread lives with this mistake. Only `mutant!` asks.
#[inline]
pub(crate) fn is_active(mutant: Mutant) -> bool {
    MUTANT.get() == Some(mutant) || EVERYWHERE.get() == Some(&mutant)
}

/// Breaks the whole process until it ends, if the environment says so.
///
/// # Errors
/// A message, if there is no such mutant.
pub fn break_by_environment() -> Result<(), String> {
    let Ok(name) = std::env::var(super::VARIABLE) else { return Ok(()) };
    let mutant = Mutant::from_name(&name).ok_or_else(|| format!("no mutant {name:?}"))?;
    let _ = EVERYWHERE.set(mutant);
    Ok(())
}

/// Breaks the engine for the calling thread while `work` runs, also if it panics. Other threads,
/// those that `work` starts too, are sound.
pub fn with<T>(mutant: Mutant, work: impl FnOnce() -> T) -> T {
    let _before = Before(MUTANT.replace(Some(mutant)));
    work()
}

/// Puts back what was before.
struct Before(Option<Mutant>);

impl Drop for Before {
    fn drop(&mut self) {
        MUTANT.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn only_this_thread_is_broken_and_only_while_it_works() {
        let is_broken = || is_active(Mutant::FlushSkipped);
        assert!(!is_broken());
        with(Mutant::FlushSkipped, || {
            assert!(is_broken() && !is_active(Mutant::SuperblockUnflushed));
            assert!(!std::thread::spawn(is_broken).join().unwrap());
            with(Mutant::SuperblockUnflushed, || assert!(!is_broken()));
            assert!(is_broken());
        });
        assert!(!is_broken());
        assert!(catch_unwind(|| with(Mutant::FlushSkipped, || panic!("on purpose"))).is_err());
        assert!(!is_broken());
    }
}
