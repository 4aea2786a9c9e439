//! What several engines need: versions and errors.

use std::fmt::Display;

use syncline::bench::BenchError;

/// What `engine` said went wrong.
pub(crate) fn failed<E: Display>(engine: &'static str) -> impl Fn(E) -> BenchError {
    move |error| BenchError::Engine { engine, message: error.to_string() }
}

/// The version of `package` that this program was built with: the one in the lock file.
///
/// # Panics
/// If the lock file does not have it.
pub(crate) fn locked_version(package: &str) -> &'static str {
    let name = format!("name = \"{package}\"");
    let mut lines = include_str!("../Cargo.lock").lines();
    lines.find(|line| *line == name).expect("a package of the lock file");
    let line = lines.next().expect("a version after the name");
    line.trim_start_matches("version = ").trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        assert_eq!(locked_version("syncline-peers"), env!("CARGO_PKG_VERSION"));
        assert!(locked_version("crc32fast").starts_with("1."));
    }
}
