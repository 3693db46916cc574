//! [`Disk`]: the seam between the store and the operating system.

/// The few operations the store asks of a file system.
pub trait Disk: Send + Sync {}

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {}
