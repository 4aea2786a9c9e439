//! A disk on which a test can run code between two reads.

use crate::engine::base::error::Result;
use crate::engine::base::sync::Mutex;
use crate::engine::disk::watched::{Act, Watcher};

/// The number of reads before the code runs, and the code.
type Intrusion = (u32, Box<dyn FnOnce() + Send>);

#[derive(Default)]
pub(super) struct Intruder(pub(super) Mutex<Option<Intrusion>>);

impl std::fmt::Debug for Intruder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Intruder")
    }
}

impl Watcher for Intruder {
    fn see(&self, _: &str, act: &Act<'_>, pass_on: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let now = {
            let mut intrusion = self.0.lock();
            match (&mut *intrusion, act) {
                (Some((0, _)), Act::Read { .. }) => intrusion.take(),
                (Some((reads, _)), Act::Read { .. }) => {
                    *reads -= 1;
                    None
                }
                _ => None,
            }
        };
        if let Some((_, intrude)) = now {
            intrude();
        }
        pass_on()
    }
}
