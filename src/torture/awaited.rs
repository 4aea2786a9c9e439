//! Faults that are known and that the suite looks away from until the engine or the server is mended.
//! What would find them is here; where it asks [`is_mended`], it does not look. A line goes when its
//! fault does.

/// A fault that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// A full disk poisons a store, where it should only refuse.
    FullDiskPoisons,
    /// A commit that is in the log already meets a device that fails, and leaves its pages behind.
    FailsOnceAppended,
    /// An opening that fails leaves files behind.
    LeftByOpening,
    /// Pages are read and written while the commit lock is held.
    LockOverDevice,
    /// A log that is missing, or that lost what was proved to be durable, goes unnoticed.
    MissingLog,
}

/// Whether the suite looks for the fault.
pub(crate) const fn is_mended(fault: Awaited) -> bool {
    match fault {
        Awaited::FullDiskPoisons
        | Awaited::FailsOnceAppended
        | Awaited::LeftByOpening
        | Awaited::LockOverDevice
        | Awaited::MissingLog => false,
    }
}
