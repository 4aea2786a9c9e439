//! Several connections, where one is not enough: one task a connection, or more than the server
//! allows in flight on one. Kept by `deadpool`.

use deadpool::managed::{
    self, BuildError, Manager as PoolManager, Metrics, Object, PoolError, RecycleError,
};

use super::client::Client;
use super::error::{Error, Result};
use super::options::ClientOptions;

/// Connections to one server, lent and taken back.
#[derive(Clone, Debug)]
pub struct Pool(managed::Pool<Manager>);

/// Makes connections, for the pool.
#[derive(Debug)]
pub struct Manager {
    address: String,
    options: ClientOptions,
}

impl PoolManager for Manager {
    type Type = Client;
    type Error = Error;

    async fn create(&self) -> Result<Client> {
        self.options.clone().connect(&self.address).await
    }

    async fn recycle(&self, client: &mut Client, _: &Metrics) -> managed::RecycleResult<Error> {
        if client.is_connected() {
            return Ok(());
        }
        // It would come back by itself; another one is here sooner.
        Err(RecycleError::message("the connection is down"))
    }
}

impl Pool {
    /// At most `size` connections, made when they are needed.
    ///
    /// # Errors
    /// The pool cannot be made.
    pub fn new(address: &str, options: ClientOptions, size: usize) -> Result<Pool> {
        let manager = Manager { address: address.to_owned(), options };
        let pool = managed::Pool::builder(manager).max_size(size.max(1)).build();
        pool.map(Pool).map_err(|error: BuildError| Error::Option(error.to_string()))
    }

    /// A connection for oneself, given back when it is dropped. Waits for one.
    ///
    /// # Errors
    /// No connection can be made.
    pub async fn get(&self) -> Result<Object<Manager>> {
        self.0.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            other => Error::Option(other.to_string()),
        })
    }
}
