//! Quotas of file descriptors: a reserve for the store, the rest for connections.
//!
//! Without descriptors a store whose log needs a new segment refuses commits, and `accept` fails again
//! and again. So the soft limit is raised to the hard one at the start, a reserve is kept from
//! connections, and `max_connections` is reduced to the rest.
//!
//! ```text
//!   in use at the start | reserve: log, data file, HTTP, refusals | one per connection
//! ```

use super::failure::Failure;

/// Descriptors that no connection gets: for the files of the store, with a few log segments at a time;
/// for connections to the HTTP port; for clients that are being refused. At most half of the limit.
const RESERVE: u64 = 512;
/// Descriptors in use at the start, on systems that do not tell.
const USED: u64 = 64;

/// Connections to the HTTP port, and clients that are being refused, at a time. At most a half and an
/// eighth of the reserve.
const HTTP: u64 = 256;
const REFUSALS: u64 = 16;

/// Descriptors for purposes other than the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DescriptorQuota {
    pub(super) connections: usize,
    pub(super) http: usize,
    pub(super) refusals: usize,
}

impl DescriptorQuota {
    fn beside(connections: usize, reserve: u64) -> DescriptorQuota {
        let (http, refusals) = (HTTP.min(reserve / 2), REFUSALS.min(reserve / 8));
        DescriptorQuota { connections, http: http.max(1) as usize, refusals: refusals as usize }
    }
}

/// Raises the soft limit as far as possible, and divides the descriptors: at most `wanted` for
/// connections. Logs a warning if there are fewer.
///
/// # Errors
/// None is left for a connection.
pub(super) fn quota(wanted: usize) -> Result<DescriptorQuota, Failure> {
    let Some(limit) = raised() else { return Ok(DescriptorQuota::beside(wanted, RESERVE)) };
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
            "max_connections exceeds the file descriptors of the process (RLIMIT_NOFILE): \
             connections above places are turned away"
        );
    }
    let connections = usize::try_from(left).unwrap_or(usize::MAX).min(wanted);
    Ok(DescriptorQuota::beside(connections, reserve_of(limit)))
}

fn reserve_of(limit: u64) -> u64 {
    RESERVE.min(limit / 2)
}

fn left_of(limit: u64, used: u64) -> u64 {
    limit.saturating_sub(used).saturating_sub(reserve_of(limit))
}

/// Raises the soft limit to the hard one. Returns the limit; `None` if there is none.
#[cfg(unix)]
fn raised() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let higher = Rlimit { current: maximum, maximum };
    match setrlimit(Resource::Nofile, higher) {
        Ok(()) => maximum,
        // Some systems have a lower maximum than the hard limit.
        Err(_) => current,
    }
}

#[cfg(not(unix))]
fn raised() -> Option<u64> {
    None
}

/// Open descriptors of the process.
fn in_use() -> u64 {
    let open = std::fs::read_dir("/proc/self/fd").or_else(|_| std::fs::read_dir("/dev/fd"));
    open.map_or(USED, |files| files.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_has_its_reserve_before_connections_get_descriptors() {
        assert_eq!(left_of(1 << 20, 40), (1 << 20) - 40 - RESERVE);
        assert_eq!(left_of(1024, 20), 1024 - 20 - 512);
        assert_eq!((left_of(64, 10), left_of(64, 40)), (22, 0));
        let beside = |limit| {
            let DescriptorQuota { http, refusals, .. } =
                DescriptorQuota::beside(1, reserve_of(limit));
            (http, refusals)
        };
        assert_eq!((beside(1024), beside(80), beside(2)), ((256, 16), (20, 5), (1, 0)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_soft_limit_is_raised() {
        use rustix::process::{Resource, getrlimit};
        assert!(quota(1).unwrap().connections == 1 && in_use() > 2);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
