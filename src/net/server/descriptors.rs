//! File descriptors: of those that the process may have, some are the store's, and the rest are places
//! for connections.
//!
//! A store that finds none when its log needs a new segment refuses commits, and an `accept` that finds
//! none fails again and again. So the soft limit is raised to the hard one at the start, the store has
//! a reserve that no connection is let into, and `max_connections` is compared with what is left.
//!
//! ```text
//!   in use at the start | reserve: log, data file, HTTP, turning away | a place for each connection
//! ```

use super::failure::Failure;

/// Descriptors that no connection gets: the files of the store, which has a few of the log's segments
/// open at a time; connections to the HTTP port; those that are told why they are turned away.
/// Half of all where there are few.
const RESERVE: u64 = 512;
/// What a server has open before anybody is there, where nobody says how much it is.
const USED: u64 = 64;

/// Connections to the HTTP port, and clients at a time that are told why they are turned away, at most.
/// Half and an eighth of the reserve where it is small.
const HTTP: u64 = 256;
const TOLD: u64 = 16;

/// What there are descriptors for beside the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) connections: usize,
    pub(super) http: usize,
    pub(super) told: usize,
}

impl Places {
    fn beside(connections: usize, reserve: u64) -> Places {
        let (http, told) = (HTTP.min(reserve / 2), TOLD.min(reserve / 8));
        Places { connections, http: http.max(1) as usize, told: told as usize }
    }
}

/// How many connections there are descriptors for, at most `wanted`. Raises the soft limit as far as it
/// goes, and warns if that is not enough for all.
///
/// # Errors
/// There is not one for any.
pub(super) fn places(wanted: usize) -> Result<Places, Failure> {
    let Some(limit) = raised() else { return Ok(Places::beside(wanted, RESERVE)) };
    let used = in_use();
    let left = left_of(limit, used);
    if left == 0 {
        return Err(Failure::Config(format!(
            "the process may have {limit} file descriptors (RLIMIT_NOFILE, `ulimit -n`), of which \
             {used} are in use and {} are kept for the store: none is left for a connection",
            reserve_of(limit)
        )));
    }
    if left < wanted as u64 {
        tracing::warn!(
            limit,
            max_connections = wanted,
            places = left,
            "the process may not have as many file descriptors (RLIMIT_NOFILE) as max_connections \
             asks for: more connections than there are places are turned away"
        );
    }
    let connections = usize::try_from(left).unwrap_or(usize::MAX).min(wanted);
    Ok(Places::beside(connections, reserve_of(limit)))
}

fn reserve_of(limit: u64) -> u64 {
    RESERVE.min(limit / 2)
}

fn left_of(limit: u64, used: u64) -> u64 {
    limit.saturating_sub(used).saturating_sub(reserve_of(limit))
}

/// The limit, with the soft one raised to the hard one; `None` if there is none.
#[cfg(unix)]
fn raised() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let higher = Rlimit { current: maximum, maximum };
    match setrlimit(Resource::Nofile, higher) {
        Ok(()) => maximum,
        // As on systems that allow no more than a number of their own.
        Err(_) => current,
    }
}

#[cfg(not(unix))]
fn raised() -> Option<u64> {
    None
}

/// Descriptors that are in use now.
fn in_use() -> u64 {
    let open = std::fs::read_dir("/proc/self/fd").or_else(|_| std::fs::read_dir("/dev/fd"));
    open.map_or(USED, |files| files.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_has_its_reserve_before_connections_have_places() {
        assert_eq!(left_of(1 << 20, 40), (1 << 20) - 40 - RESERVE);
        assert_eq!(left_of(1024, 20), 1024 - 20 - 512);
        assert_eq!((left_of(64, 10), left_of(64, 40)), (22, 0));
        let beside = |limit| {
            let Places { http, told, .. } = Places::beside(1, reserve_of(limit));
            (http, told)
        };
        assert_eq!((beside(1024), beside(80), beside(2)), ((256, 16), (20, 5), (1, 0)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_soft_limit_is_raised() {
        use rustix::process::{Resource, getrlimit};
        assert!(places(1).unwrap().connections == 1 && in_use() > 2);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
