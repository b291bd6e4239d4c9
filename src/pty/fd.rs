//! The host's fd of a PTY master: what a session's actor reads from, types into and asks.
//!
//! It must never wait (O_NONBLOCK) and never write anything by itself: portable-pty's writer types newline and EOT when
//! it is dropped, so the fd is duplicated out of it and portable-pty's types are not used after that. Output goes to the
//! crash ring as a [`PtySource`]; the master is in packet mode, so that each read says whether it took data.
#![expect(unsafe_code, reason = "TIOCPKT has no safe wrapper")]

use crate::{
    model::Size,
    ring::{MAX_LANDING, Pending, PtySource},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::OFlags,
    io::Errno,
    termios::{LocalModes, Winsize},
};
use std::{
    io,
    num::NonZeroU16,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::Arc,
};

/// A PTY master that doesn't wait. Its clones are the same open file: one reader only.
#[derive(Debug, Clone)]
pub struct PtyFd {
    fd: Arc<OwnedFd>,
}

/// How the line discipline treats input now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineModes {
    /// ECHO: what is typed is shown.
    pub echo: bool,
    /// ICANON: the program gets whole lines.
    pub canonical: bool,
}

impl PtyFd {
    /// Takes the master of a PTY, as opened here or handed over by the keeper.
    pub fn new(fd: impl Into<Arc<OwnedFd>>) -> io::Result<PtyFd> {
        let fd = fd.into();
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
        Ok(PtyFd { fd })
    }

    /// Puts a PTY into packet mode: done once, right after it was opened, before anything is read from it.
    pub fn set_packet_mode(&self) -> io::Result<()> {
        let on: libc::c_int = 1;
        // SAFETY: TIOCPKT reads one int through the pointer, which lives during the call.
        match unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::TIOCPKT, &raw const on) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Types bytes: as many as fit now.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.fd, bytes)?)
    }

    /// Sets the terminal's size; the program on it gets SIGWINCH when it changed.
    pub fn resize(&self, size: Size) -> io::Result<()> {
        let winsize = Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(rustix::termios::tcsetwinsize(&self.fd, winsize)?)
    }

    /// What the program set: asked at the master, answered for the program's side.
    pub fn line_modes(&self) -> io::Result<LineModes> {
        let modes = rustix::termios::tcgetattr(&self.fd)?.local_modes;
        Ok(LineModes { echo: modes.contains(LocalModes::ECHO), canonical: modes.contains(LocalModes::ICANON) })
    }

    fn readable(&self) -> io::Result<Option<NonZeroU16>> {
        let n = rustix::io::ioctl_fionread(&self.fd)?.min(MAX_LANDING as u64);
        Ok(NonZeroU16::new(n as u16))
    }

    fn poll_now(&self) -> io::Result<PollFlags> {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN | PollFlags::PRI)];
        loop {
            match rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(fds[0].revents()),
            }
        }
    }
}

impl PtySource for PtyFd {
    fn pending(&self) -> io::Result<Pending> {
        let mut hung_up = false;
        loop {
            if let Some(n) = self.readable()? {
                return Ok(Pending::Bytes(n));
            }
            let now = self.poll_now()?; // also moves what was just written to where FIONREAD counts it
            if now.contains(PollFlags::PRI) {
                return Ok(Pending::ControlOnly);
            }
            match (now.contains(PollFlags::IN), now.contains(PollFlags::HUP)) {
                (true, _) => return Ok(self.readable()?.map_or(Pending::Nothing, Pending::Bytes)),
                (false, false) => return Ok(Pending::Nothing),
                // Something may have been written between the two looks, before the hang-up: look once more.
                (false, true) if hung_up => return Err(Errno::IO.into()),
                (false, true) => hung_up = true,
            }
        }
    }

    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.fd, buf)?)
    }
}

impl AsFd for PtyFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for PtyFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
