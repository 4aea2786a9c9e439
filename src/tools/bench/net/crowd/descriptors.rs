//! File descriptors: each connection takes one of ours and one of the server's.

use super::common::CrowdSettings;

/// Descriptors for everything else.
const OTHERS: u64 = 200;

/// Raises this process's limit as far as needed, and reduces the crowd if it still does not fit; then
/// there is a warning. A server of our own inherits the limit.
pub(super) fn fit(settings: &CrowdSettings) -> (CrowdSettings, Option<String>) {
    let mut settings = settings.clone();
    let wanted = settings.connections.max(settings.watchers) as u64 + OTHERS;
    let Some(limit) = raise(wanted).filter(|limit| *limit < wanted) else {
        return (settings, None);
    };
    let most = usize::try_from(limit.saturating_sub(OTHERS)).unwrap_or(usize::MAX).max(1);
    let warning = format!(
        "a process may have {limit} descriptors here, and {wanted} were needed: there are {most} \
         connections at most. To raise the limit: ulimit -Hn {wanted}, as root"
    );
    settings.connections = settings.connections.min(most);
    settings.watchers = settings.watchers.min(most);
    (settings, Some(warning))
}

/// Raises the limit to `wanted` if possible, and returns the new limit, if known.
#[cfg(unix)]
fn raise(wanted: u64) -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return current;
    }
    let raised = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        Ok(()) => Some(raised),
        Err(_) => current,
    }
}

#[cfg(not(unix))]
fn raise(_: u64) -> Option<u64> {
    None
}
