//! PTYs and the processes on them: open, exec shim, the host's fd type, process trees.

mod boot;
mod fd;
pub mod open;
pub mod shim;
pub(crate) mod stat;
mod census;
pub mod tree;

pub use boot::boot_id;
pub use fd::{LineModes, PtyFd};
