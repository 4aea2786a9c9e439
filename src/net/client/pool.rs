//! Several connections, where one is not enough: one task a connection, or more than the server
//! allows in flight on one.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::address::Address;
use super::client::Client;
use super::error::{Error, Result};
use super::options::ClientOptions;

/// Clients of one server, each with a connection of its own, lent and taken back.
#[derive(Clone)]
pub struct Pool(Arc<Shelf>);

struct Shelf {
    address: Address,
    options: ClientOptions,
    size: usize,
    /// As many as may be lent further.
    places: Arc<Semaphore>,
    /// Those that were given back. The one that was used last is lent first.
    idle: Mutex<Vec<Client>>,
}

/// A client that is lent. It is given back when this is dropped.
pub struct Lent {
    client: Client,
    shelf: Arc<Shelf>,
    _place: OwnedSemaphorePermit,
}

impl Pool {
    /// At most `size` connections, made when they are needed.
    ///
    /// # Errors
    /// An address that is none.
    pub fn new(address: &str, options: ClientOptions, size: usize) -> Result<Pool> {
        let size = size.clamp(1, Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(size));
        let address = address.parse()?;
        Ok(Pool(Arc::new(Shelf { address, options, size, places, idle: Mutex::default() })))
    }

    /// A connection for oneself. If all are lent, one is waited for as long as a request may take
    /// ([`ClientOptions::request_timeout`]).
    ///
    /// # Errors
    /// [`Error::PoolExhausted`] if none was given back in time; or no connection can be made.
    pub async fn get(&self) -> Result<Lent> {
        self.get_in(self.0.options.request_timeout).await
    }

    /// As [`Pool::get`], for as long as `patience` allows.
    ///
    /// # Errors
    /// As [`Pool::get`].
    pub async fn get_within(&self, patience: Duration) -> Result<Lent> {
        self.get_in(Some(patience)).await
    }

    async fn get_in(&self, patience: Option<Duration>) -> Result<Lent> {
        let shelf = &self.0;
        let place = Arc::clone(&shelf.places).acquire_owned();
        let place = match patience {
            None => place.await,
            Some(after) => {
                let late = Error::PoolExhausted { size: shelf.size, after };
                timeout(after, place).await.map_err(|_| late)?
            }
        };
        let place = place.expect("places are never closed");
        // One whose connection is down would come back by itself; a new one is here sooner.
        let is_up = |client: &Client| client.is_connected();
        let idle = std::iter::from_fn(|| shelf.idle.lock().pop()).find(is_up);
        let client = match idle {
            Some(client) => client,
            None => Client::start(vec![shelf.address.clone()], shelf.options.clone()).await?,
        };
        Ok(Lent { client, shelf: Arc::clone(shelf), _place: place })
    }
}

impl Deref for Lent {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.client.is_connected() {
            self.shelf.idle.lock().push(self.client.clone());
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("address", &self.0.address.to_string())
            .field("options", &self.0.options)
            .field("size", &self.0.size)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.fmt(f)
    }
}
