//! A directory of the operating system.
/// A directory of the operating system.
#[derive(Debug)]
pub struct RealDisk;
