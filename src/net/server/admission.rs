//! Admission control: caps on connections in all, before their handshake, and per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// The caps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    pub(crate) connections: usize,
    pub(crate) ungreeted: usize,
    /// Per IP address; not for connections through a Unix socket.
    pub(crate) per_address: usize,
}

/// Counts the admitted connections.
#[derive(Debug)]
pub(crate) struct Admission {
    caps: Caps,
    counts: Mutex<AdmissionCounts>,
}

#[derive(Debug, Default)]
struct AdmissionCounts {
    connections: usize,
    ungreeted: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Counts one connection until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
    is_greeted: bool,
}

impl Admission {
    pub(crate) fn new(caps: Caps) -> Arc<Admission> {
        Arc::new(Admission { caps, counts: Mutex::default() })
    }

    /// Admits a connection, or says which cap it would exceed.
    pub(crate) fn admit(
        self: &Arc<Self>,
        address: Option<IpAddr>,
    ) -> Result<ConnectionPermit, &'static str> {
        let mut counts = self.counts.lock();
        if counts.connections >= self.caps.connections {
            return Err("there are as many connections as the server takes");
        }
        if counts.ungreeted >= self.caps.ungreeted {
            return Err("too many connections have not said hello yet");
        }
        if let Some(address) = address {
            let here = counts.by_address.entry(address).or_default();
            if *here >= self.caps.per_address {
                return Err("there are as many connections from this address as the server takes");
            }
            *here += 1;
        }
        counts.connections += 1;
        counts.ungreeted += 1;
        Ok(ConnectionPermit { admission: Arc::clone(self), address, is_greeted: false })
    }

    pub(crate) fn connections(&self) -> usize {
        self.counts.lock().connections
    }
}

impl ConnectionPermit {
    /// The handshake is complete.
    #[inline]
    pub(crate) fn greeted(&mut self) {
        if !self.is_greeted {
            self.is_greeted = true;
            self.admission.counts.lock().ungreeted -= 1;
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.greeted();
        let mut counts = self.admission.counts.lock();
        counts.connections -= 1;
        if let Some(address) = self.address
            && let Some(here) = counts.by_address.get_mut(&address)
        {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cap_refuses_connections_until_another_is_closed() {
        let admission = Admission::new(Caps { connections: 3, ungreeted: 2, per_address: 1 });
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 1]));
        let mut first = admission.admit(Some(here)).unwrap();
        assert!(admission.admit(Some(here)).unwrap_err().contains("address"));
        let mut second = admission.admit(Some(there)).unwrap();
        assert!(admission.admit(None).unwrap_err().contains("hello"));
        first.greeted();
        second.greeted();
        let third = admission.admit(None).unwrap();
        assert!(admission.admit(None).unwrap_err().contains("as many connections as"));
        drop((first, third));
        assert_eq!(admission.connections(), 1);
        admission.admit(Some(here)).unwrap();
        drop(second);
        assert_eq!(admission.connections(), 0);
        assert!(
            admission.counts.lock().by_address.is_empty() && admission.counts.lock().ungreeted == 0
        );
    }
}
