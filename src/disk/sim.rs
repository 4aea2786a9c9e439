//! A simulated disk.
/// A simulated disk.
#[derive(Debug)]
pub struct SimDisk;
/// What a crash keeps.
#[derive(Debug)]
pub enum Keep {}
