//! Notifications to the service manager, as in `sd_notify`: datagrams of text.
//!
//! | the server | sends |
//! |---|---|
//! | accepts connections | `READY=1` |
//! | reloads its settings | `RELOADING=1`, with the time, then `READY=1` |
//! | begins to stop | `STOPPING=1` |
//!
//! Without `NOTIFY_SOCKET` in the environment nothing is sent. A datagram that cannot be sent is logged,
//! and the server goes on.

#[cfg(unix)]
pub(super) use on_unix::Notifier;

#[cfg(unix)]
mod on_unix {
    use std::io;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::path::Path;

    use rustix::time::{ClockId, clock_gettime};

    /// The socket of the service manager, if there is one.
    #[derive(Debug, Default)]
    pub(crate) struct Notifier(Option<(UnixDatagram, SocketAddr)>);

    impl Notifier {
        /// Uses `NOTIFY_SOCKET`, if it is set.
        pub(crate) fn from_environment() -> Notifier {
            let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Notifier::default() };
            let path = Path::new(&path);
            Notifier::to(path).unwrap_or_else(|error| {
                tracing::warn!("NOTIFY_SOCKET={}: {error}", path.display());
                Notifier::default()
            })
        }

        /// A path that begins with `@` is an abstract address, not a file.
        pub(crate) fn to(path: &Path) -> io::Result<Notifier> {
            let address = match path.as_os_str().as_bytes().strip_prefix(b"@") {
                Some(name) => abstract_address(name)?,
                None => SocketAddr::from_pathname(path)?,
            };
            Ok(Notifier(Some((UnixDatagram::unbound()?, address))))
        }

        pub(crate) fn ready(&self) {
            self.say("READY=1\nSTATUS=accepts connections");
        }

        pub(crate) fn reloading(&self) {
            let now = clock_gettime(ClockId::Monotonic);
            let us = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
            self.say(&format!("RELOADING=1\nMONOTONIC_USEC={us}"));
        }

        pub(crate) fn stopping(&self) {
            self.say("STOPPING=1\nSTATUS=finishes requests in flight");
        }

        fn say(&self, state: &str) {
            let Some((socket, address)) = &self.0 else { return };
            if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
                tracing::warn!("cannot notify the service manager ({state:?}): {error}");
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
        <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
    }

    #[cfg(not(target_os = "linux"))]
    fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn heard(socket: &UnixDatagram) -> String {
            let mut bytes = [0; 256];
            let len = socket.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..len].to_vec()).unwrap()
        }

        #[test]
        fn each_state_is_one_datagram() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("notify");
            let manager = UnixDatagram::bind(&path).unwrap();
            let notifier = Notifier::to(&path).unwrap();
            notifier.ready();
            assert!(heard(&manager).starts_with("READY=1\n"));
            notifier.reloading();
            let reloading = heard(&manager);
            let (state, time) = reloading.split_once("\nMONOTONIC_USEC=").unwrap();
            assert!(state == "RELOADING=1" && time.parse::<u64>().unwrap() > 0, "{reloading}");
            notifier.stopping();
            assert!(heard(&manager).starts_with("STOPPING=1\n"));
            drop(manager);
            notifier.ready(); // the manager is gone: that is logged
            Notifier::default().ready();
        }

        #[cfg(target_os = "linux")]
        #[test]
        fn an_abstract_address_is_supported() {
            let name = format!("syncline-test-{}", std::process::id());
            let address = abstract_address(name.as_bytes()).unwrap();
            let manager = UnixDatagram::bind_addr(&address).unwrap();
            Notifier::to(Path::new(&format!("@{name}"))).unwrap().ready();
            assert!(heard(&manager).starts_with("READY=1"));
        }
    }
}

/// On other systems there is no such manager.
#[cfg(not(unix))]
#[derive(Debug, Default)]
pub(super) struct Notifier;

#[cfg(not(unix))]
impl Notifier {
    pub(super) fn from_environment() -> Notifier {
        Notifier
    }

    pub(super) fn ready(&self) {}

    pub(super) fn reloading(&self) {}

    pub(super) fn stopping(&self) {}
}
