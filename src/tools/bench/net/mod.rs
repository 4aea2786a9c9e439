//! `bench server`, `bench patterns`, `bench crowd`: the cost of a store over a connection.
//!
//! ```text
//!   server     throughput and latency: modes x connections x in flight
//!   patterns   ways to wait for an asynchronous write: requests, bytes, time to know
//!   crowd      thousands of connections: idle, watching, deaf; and gets behind a thousand puts
//!   codecs     a request as bytes: bincode, JSON, RESP
//!      |
//!   lean       a load generator of packets and nothing else     host   the server's process
//!     wire     one of its connections                           durable   times of durability
//!     common   settings; what a measurement found, and the row that it makes
//! ```
//!
//! - BENCHNET-1 The server is a process of its own, with its own CPU figures. It shares the processors
//!   with the load, so the load is one thread with little code, and its CPU is reported too.
//! - BENCHNET-2 All cases are measured in turns, round after round, in another order each. The figures are
//!   medians over the rounds.
//! - BENCHNET-3 Each connection keeps its number of requests in flight: one write sends as many requests
//!   as the last read brought answers. With one in flight nothing is pipelined.
//! - BENCHNET-4 Latency counts from when a request was handed to the socket to when its answer was read,
//!   with one reading of the clock per read and write.

mod codecs;
mod common;
mod crowd;
mod durable;
mod host;
mod lean;
mod patterns;
mod server;
mod wire;

pub use common::{NetSettings, Target};
pub use crowd::{CrowdCase, CrowdSettings, run as run_crowd};
pub use patterns::run as run_patterns;
pub use server::{By, ServerSettings, run as run_server};
