//! The keeper's signals, as a descriptor to poll. Blocks them in this thread; children get an empty mask from std.

use rustix::io::Errno;
use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// What the keeper listens to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    /// A child has ended.
    Child,
    /// SIGTERM or SIGINT.
    End,
    /// SIGUSR1: another host, please.
    Replace,
}

/// All of them. SIGHUP is heard and means nothing: sessions outlive a terminal window.
#[derive(Debug)]
pub(super) struct Signals(OwnedFd);

impl Signals {
    pub(super) fn block() -> io::Result<Signals> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        #[expect(unsafe_code, reason = "rustix has no signal masks")]
        // SAFETY: the set is initialised by sigemptyset before it is used; the result is checked before it is owned.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGUSR1, libc::SIGHUP] {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            if libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            // Whoever started us may ignore SIGCHLD, and then there is nothing to wait for.
            libc::signal(libc::SIGCHLD, libc::SIG_DFL);
            match libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(Signals(OwnedFd::from_raw_fd(fd))),
            }
        }
    }

    /// The next one that means something.
    pub(super) fn next(&self) -> io::Result<Option<Heard>> {
        let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
        loop {
            match rustix::io::read(&self.0, &mut info) {
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(e) => return Err(e.into()),
            }
            // The number is the first field.
            match i32::from_ne_bytes([info[0], info[1], info[2], info[3]]) {
                libc::SIGCHLD => return Ok(Some(Heard::Child)),
                libc::SIGTERM | libc::SIGINT => return Ok(Some(Heard::End)),
                libc::SIGUSR1 => return Ok(Some(Heard::Replace)),
                _ => {}
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
