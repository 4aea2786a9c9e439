//! How many may come in: in all, before they have said who they are, and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// The caps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    pub(crate) connections: usize,
    pub(crate) ungreeted: usize,
    /// Of one address; those through a Unix socket have none.
    pub(crate) per_address: usize,
}

/// Counts who is inside.
#[derive(Debug)]
pub(crate) struct Gate {
    caps: Caps,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    connections: usize,
    ungreeted: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place inside, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    gate: Arc<Gate>,
    address: Option<IpAddr>,
    is_greeted: bool,
}

impl Gate {
    pub(crate) fn new(caps: Caps) -> Arc<Gate> {
        Arc::new(Gate { caps, inside: Mutex::default() })
    }

    /// Lets one in, or says which cap keeps him out.
    pub(crate) fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Seat, &'static str> {
        let mut inside = self.inside.lock();
        if inside.connections >= self.caps.connections {
            return Err("there are as many connections as the server takes");
        }
        if inside.ungreeted >= self.caps.ungreeted {
            return Err("too many connections have not said hello yet");
        }
        if let Some(address) = address {
            let here = inside.by_address.entry(address).or_default();
            if *here >= self.caps.per_address {
                return Err("there are as many connections from this address as the server takes");
            }
            *here += 1;
        }
        inside.connections += 1;
        inside.ungreeted += 1;
        Ok(Seat { gate: Arc::clone(self), address, is_greeted: false })
    }

    pub(crate) fn connections(&self) -> usize {
        self.inside.lock().connections
    }
}

impl Seat {
    /// The client has said hello.
    #[inline]
    pub(crate) fn greeted(&mut self) {
        if !self.is_greeted {
            self.is_greeted = true;
            self.gate.inside.lock().ungreeted -= 1;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.greeted();
        let mut inside = self.gate.inside.lock();
        inside.connections -= 1;
        if let Some(address) = self.address
            && let Some(here) = inside.by_address.get_mut(&address)
        {
            *here -= 1;
            if *here == 0 {
                inside.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cap_holds_and_gives_way_again() {
        let gate = Gate::new(Caps { connections: 3, ungreeted: 2, per_address: 1 });
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 0, 0, 1]));
        let mut first = gate.enter(Some(here)).unwrap();
        assert!(gate.enter(Some(here)).unwrap_err().contains("address"));
        let mut second = gate.enter(Some(there)).unwrap();
        assert!(gate.enter(None).unwrap_err().contains("hello"));
        first.greeted();
        second.greeted();
        let third = gate.enter(None).unwrap();
        assert!(gate.enter(None).unwrap_err().contains("as many connections as"));
        drop((first, third));
        assert_eq!(gate.connections(), 1);
        gate.enter(Some(here)).unwrap();
        drop(second);
        assert_eq!(gate.connections(), 0);
        assert!(gate.inside.lock().by_address.is_empty() && gate.inside.lock().ungreeted == 0);
    }
}
