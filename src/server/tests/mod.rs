//! The server over loopback, spoken to in raw packets.

mod first;
mod peer;
