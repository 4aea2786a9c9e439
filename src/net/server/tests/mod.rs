//! Tests of the server over loopback, with raw packets.

mod access;
mod ahead;
mod cold;
mod data;
mod device_watch;
mod endings;
mod figures;
mod first;
mod flushes;
mod front;
mod greeting;
mod hostile;
mod http;
mod input;
mod jobs;
mod order;
mod peer;
mod refusals;
mod rude;
mod talk;
mod times;
mod unread;
mod waiting;
