//! The client against a server in the same process, and against one that misbehaves.

mod broken;
mod connections;
mod endings;
mod fake;
mod secure;
mod streams;
mod truth;
mod whole;
