//! The client against a server in the same process, and against one that misbehaves.

mod broken;
mod fake;
mod secure;
mod truth;
mod whole;
