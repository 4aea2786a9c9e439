//! Endpoints: the addresses at which a store is served, tried one after the other.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::address::Address;
use super::error::{Error, Result};
use super::greeting::open;
use super::link::Link;
use super::options::ClientOptions;
use super::tls::Tls;
use crate::engine::base::lsn::StoreId;

/// Addresses of servers of the same store. At least one.
pub(super) struct Endpoints {
    list: Vec<(Address, Option<Tls>)>,
    /// The one that is tried first next time: it comes after the last that was connected to.
    next: AtomicUsize,
}

impl Endpoints {
    pub(super) fn new(addresses: Vec<Address>, options: &ClientOptions) -> Result<Endpoints> {
        if addresses.is_empty() {
            return Err(Error::Option("no address: at least one is needed".into()));
        }
        let with_tls =
            |address: Address| Tls::of(options, address.host()).map(|tls| (address, tls));
        let list = addresses.into_iter().map(with_tls).collect::<Result<_>>()?;
        Ok(Endpoints { list, next: AtomicUsize::new(0) })
    }

    /// Connects to one of them. It must serve the store `expected`, if that is given.
    ///
    /// # Errors
    /// The error of the address that was tried last.
    pub(super) async fn connect(
        &self,
        options: &ClientOptions,
        expected: Option<StoreId>,
    ) -> Result<Arc<Link>> {
        let first = self.next.load(Ordering::Relaxed);
        let mut outcome = Err(Error::Option("no address".into()));
        for number in first..first + self.list.len() {
            let (address, tls) = &self.list[number % self.list.len()];
            let (socket, greeting, rest) = match open(address, tls.as_ref(), options).await {
                Ok(opened) => opened,
                Err(error) => {
                    outcome = Err(error);
                    continue;
                }
            };
            let found = greeting.store;
            if let Some(expected) = expected.filter(|expected| *expected != found) {
                let address = address.to_string();
                outcome = Err(Error::OtherStore { address, expected, found });
                continue;
            }
            self.next.store((number + 1) % self.list.len(), Ordering::Relaxed);
            return Ok(Link::start(socket, greeting, rest, options));
        }
        outcome
    }
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (address, _)) in self.list.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            write!(f, "{comma}{address}")?;
        }
        Ok(())
    }
}
