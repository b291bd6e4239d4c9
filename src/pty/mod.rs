//! PTYs and the processes on them: open, exec shim, the host's fd type, process trees.

mod fd;

pub use fd::{LineModes, PtyFd};
