//! PTYs and the processes on them: open, the child that becomes the program, the host's fd type, process trees.

mod boot;
pub mod cgroup;
mod fd;
pub(crate) mod files;
pub(crate) mod oom;
pub mod open;
pub mod shim;
pub(crate) mod stat;
mod census;
pub mod tree;

pub use boot::boot_id;
pub use fd::{LineModes, PtyFd};
