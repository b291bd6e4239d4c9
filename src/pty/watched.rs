//! A PTY whose readiness a reactor watches.

#![expect(unsafe_code, reason = "registering an fd with a reactor asks for a promise about its lifetime")]

use super::PtyFd;
use std::io;
use tokio::io::unix::AsyncFd;

impl PtyFd {
    /// Registers with the reactor of the calling thread.
    pub fn watched(self) -> io::Result<AsyncFd<PtyFd>> {
        // SAFETY: a PtyFd owns its fd (an Arc<OwnedFd>), gives the same one each time it is asked, and lives in the AsyncFd
        // until that is dropped and has deregistered it.
        unsafe { AsyncFd::register(self) }.map_err(io::Error::from)
    }
}
