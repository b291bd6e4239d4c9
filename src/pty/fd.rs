//! The host's fd of a PTY master: what a session's actor reads from, types into and asks.
//!
//! It must never wait (O_NONBLOCK) and never write anything by itself: portable-pty's writer types newline and EOT when
//! it is dropped, so the fd is duplicated out of it and portable-pty's types are not used after that. Output goes to the
//! crash ring as a [`PtySource`]; the master is in packet mode, so that each read says whether it took data.
#![expect(unsafe_code, reason = "TIOCPKT and AsyncFd have no safe way in")]

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
use tokio::io::unix::AsyncFd;

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

    /// For the reactor of this thread's runtime. It tells of edges: land or type until nothing more goes, then
    /// `clear_ready`. A PTY whose other side is closed stays readable, so wait for an edge there, too.
    pub fn watch(self) -> io::Result<AsyncFd<PtyFd>> {
        // SAFETY: the fd is open as long as the `PtyFd` is there, which owns a share of it and never exchanges it.
        Ok(unsafe { AsyncFd::register(self) }?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Seq, SessionId, Stamp},
        ring::{Landed, Ring},
    };
    use rustix::{
        pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
        termios::{Action, OptionalActions, QueueSelector, tcflow, tcflush, tcgetattr, tcgetwinsize, tcsetattr},
    };

    const FLUSH_READ: u8 = 1; // TIOCPKT_FLUSHREAD, as in Linux's asm-generic/ioctls.h
    const STOP: u8 = 4; // TIOCPKT_STOP
    const START: u8 = 8; // TIOCPKT_START

    /// A master in packet mode and its raw slave.
    fn pair() -> (PtyFd, OwnedFd) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, 0.into()).unwrap();
        let mut modes = tcgetattr(&slave).unwrap();
        modes.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &modes).unwrap();
        let pty = PtyFd::new(master).unwrap();
        pty.set_packet_mode().unwrap();
        (pty, slave)
    }

    fn land_all(pty: &PtyFd, ring: &mut Ring) -> (Vec<u8>, Vec<u8>, Landed) {
        let (mut output, mut control) = (Vec::new(), Vec::new());
        loop {
            match ring.land(pty, Stamp::default()).unwrap() {
                Landed::Output(record) => output.extend_from_slice(&record.body),
                Landed::Control(byte) => control.push(byte),
                end => return (output, control, end),
            }
        }
    }

    fn ring() -> Ring {
        Ring::create(SessionId([1; 16]), Seq(1)).unwrap()
    }

    #[test]
    fn output_lands_and_the_hang_up_comes_after_it() {
        let (pty, slave) = pair();
        let mut ring = ring();
        assert_eq!(land_all(&pty, &mut ring), (vec![], vec![], Landed::Nothing));
        rustix::io::write(&slave, &[0xFF, 0, 1, b'x']).unwrap();
        assert_eq!(land_all(&pty, &mut ring), (vec![0xFF, 0, 1, b'x'], vec![], Landed::Nothing));
        let written = rustix::io::write(&slave, &[b'y'; 4000]).unwrap();
        drop(slave);
        assert_eq!(land_all(&pty, &mut ring), (vec![b'y'; written], vec![], Landed::Closed));
        assert_eq!(ring.land(&pty, Stamp::default()).unwrap(), Landed::Closed);
        let again = rustix::fs::open(
            ptsname(&pty, Vec::new()).unwrap(),
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            0.into(),
        );
        rustix::io::write(again.unwrap(), b"again").unwrap();
        assert_eq!(land_all(&pty, &mut ring).0, b"again", "not final");
    }

    #[test]
    fn control_bytes_come_alone_and_take_no_output_along() {
        let (pty, slave) = pair();
        let mut ring = ring();
        tcflush(&slave, QueueSelector::IFlush).unwrap();
        assert_eq!(pty.pending().unwrap(), Pending::ControlOnly);
        assert_eq!(land_all(&pty, &mut ring), (vec![], vec![FLUSH_READ], Landed::Nothing));
        rustix::io::write(&slave, b"kept").unwrap();
        tcflow(&slave, Action::OOff).unwrap();
        let (output, control, end) = land_all(&pty, &mut ring);
        assert_eq!((&*output, end), (&b"kept"[..], Landed::Nothing));
        assert_eq!(control, [STOP]);
        tcflow(&slave, Action::OOn).unwrap();
        assert_eq!(land_all(&pty, &mut ring).1, [START]);
    }

    #[test]
    fn the_master_tells_and_sets_what_the_slave_has() {
        let (pty, slave) = pair();
        assert_eq!(pty.line_modes().unwrap(), LineModes { echo: false, canonical: false });
        let mut modes = tcgetattr(&slave).unwrap();
        modes.local_modes |= LocalModes::ECHO | LocalModes::ICANON;
        tcsetattr(&slave, OptionalActions::Now, &modes).unwrap();
        assert_eq!(pty.line_modes().unwrap(), LineModes { echo: true, canonical: true });
        pty.resize(Size { cols: 101, rows: 33 }).unwrap();
        let size = tcgetwinsize(&slave).unwrap();
        assert_eq!((size.ws_col, size.ws_row), (101, 33));
    }

    #[test]
    fn typing_takes_what_fits_and_never_waits() {
        let (pty, slave) = pair();
        let mut typed = 0;
        let full = loop {
            match pty.write(&[b'k'; 1000]) {
                Ok(n) => typed += n,
                Err(error) => break error,
            }
        };
        assert_eq!((full.kind(), typed > 0), (io::ErrorKind::WouldBlock, true));
        let mut buf = vec![0; 4096];
        while typed > 0 {
            typed -= rustix::io::read(&slave, &mut buf).unwrap();
        }
        rustix::event::poll(&mut [PollFd::new(&pty, PollFlags::OUT)], None).unwrap();
        assert!(pty.write(b"more").is_ok());
    }

    #[tokio::test]
    async fn a_reactor_tells_of_output_and_control_bytes() {
        let (pty, slave) = pair();
        let pty = pty.watch().unwrap();
        let mut ring = ring();
        for round in 0..3u8 {
            rustix::io::write(&slave, &[round]).unwrap();
            if round == 1 {
                tcflush(&slave, QueueSelector::IFlush).unwrap();
            }
            let mut output = Vec::new();
            while output.is_empty() {
                let mut guard = pty.readable().await.unwrap();
                let (more, _, end) = land_all(pty.get_ref(), &mut ring);
                output.extend(more);
                assert_eq!(end, Landed::Nothing);
                guard.clear_ready();
            }
            assert_eq!(output, [round]);
        }
    }
}
