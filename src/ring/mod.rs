//! The crash ring: what a session read or typed and the store does not have yet. It survives the host.

use std::{io, num::NonZeroU16};

/// Where a ring reads from: a PTY in packet mode (TIOCPKT), or a fake.
pub trait PtySource {
    /// What a read would give.
    fn pending(&self) -> io::Result<Pending>;
    /// One read(2).
    fn read(&self, buf: &mut [u8]) -> io::Result<usize>;
}

/// What waits on a PTY.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pending {
    /// So many bytes of output (FIONREAD), after one packet byte.
    Bytes(NonZeroU16),
    /// A packet control byte alone (POLLPRI).
    ControlOnly,
    /// Nothing now.
    Nothing,
}
