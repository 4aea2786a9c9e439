//! Every engine does what the harness takes for granted, and keeps what its modes say.

mod conformance;
mod kill;

use std::sync::{Mutex, PoisonError};

use syncline::bench::engine::{Engine, Mode, Sizes, WRITE_BUFFER_BYTES};

const SIZES: Sizes = Sizes {
    cache_bytes: 16 << 20,
    write_buffer_bytes: WRITE_BUFFER_BYTES,
    expected_bytes: 64 << 20,
    value_bytes: 150,
};

/// A key as long as those of the benchmarks, in the order of the numbers.
fn key(number: u64) -> [u8; 24] {
    let mut key = [b'k'; 24];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

/// A value that no other number has.
fn value(number: u64) -> Vec<u8> {
    let mut value = vec![b'v'; 150];
    value[..8].copy_from_slice(&number.to_be_bytes());
    value
}

/// Held by the test that runs: flushes are seen of the process, not of a store.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `test` for each mode of each engine, and says which it is.
fn for_each_mode(test: impl Fn(&dyn Engine, &Mode)) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let engines = syncline_peers::engines();
    assert!(!engines.is_empty(), "no engine has been built in");
    for engine in engines {
        for mode in engine.modes() {
            eprintln!("{} {}, {}", engine.name(), engine.version(), mode.name);
            test(&*engine, mode);
        }
    }
}
