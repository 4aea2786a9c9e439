//! The tree.

mod node;
