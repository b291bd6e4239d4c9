//! Opens a PTY and starts a program on it. The only file that names portable_pty.
//!
//! Of portable-pty only the opening is used. Its writer types a line feed and an end of file when it is dropped, and its
//! master can't be made from a descriptor, so the master is duplicated out and the rest dropped. Its start closes every
//! descriptor from 3 up in the child, one by one, of which the keeper has four a session, and with them std's report of a
//! failed exec; it turns a bad working directory into $HOME in silence. So the child is a fork of the keeper, which has
//! one thread, and makes itself what was asked for: see [`super::shim`].

use crate::{
    model::{Process, SessionId, Size},
    pty::{shim, stat},
};
use portable_pty::{MasterPty, PtySize, native_pty_system};
use rustix::{
    io::{Errno, fcntl_dupfd_cloexec},
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
    pty::{OpenptFlags, ioctl_tiocgptpeer},
};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

/// A PTY with a child on it that is about to become the program.
#[derive(Debug)]
pub(crate) struct Opened {
    /// In packet mode.
    pub(crate) master: OwnedFd,
    /// A child of this process, leader of its own session, the PTY its controlling terminal.
    pub(crate) process: Process,
    pub(crate) pidfd: OwnedFd,
    /// Where the child reports why it became nothing; ends when it has become the program. Doesn't block.
    pub(crate) report: OwnedFd,
}

/// Opens a PTY and starts a child on it that reads the spec in `spec`. `word`: a pipe from which it reads a byte before it
/// executes the program. `files`: the soft limit of open files the program gets. For a process with one thread: the child
/// is a fork of it, and allocates.
pub(crate) fn open(
    size: Size,
    id: SessionId,
    spec: &OwnedFd,
    word: Option<&OwnedFd>,
    files: Option<u64>,
) -> io::Result<Opened> {
    let (report, told) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let pty = native_pty_system()
        .openpty(PtySize { rows: size.rows, cols: size.cols, pixel_width: 0, pixel_height: 0 })
        .map_err(system_error)?;
    let master = duplicate(pty.master.as_ref())?;
    set_packet_mode(&master)?;
    let terminal = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    let child = shim::Child { id, terminal: &terminal, spec, report: &told, word, files };

    #[expect(unsafe_code, reason = "std's fork is for programs that are executed at once")]
    // SAFETY: one thread, so the child finds every lock free; it owns copies of everything, and never comes back.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => child.become_program(),
        pid => Pid::from_raw(pid).ok_or(Errno::CHILD)?,
    };
    let known = || -> io::Result<_> {
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok((pidfd, stat::read(pid.as_raw_nonzero().get().cast_unsigned())?.process))
    };
    let (pidfd, process) = known().inspect_err(|_| {
        let _ = kill_process(pid, Signal::KILL); // not waited for yet, so the pid is still its own
    })?;
    Ok(Opened { master, process, pidfd, report })
}

fn duplicate(master: &dyn MasterPty) -> io::Result<OwnedFd> {
    let fd = master.as_raw_fd().ok_or(Errno::BADF)?;
    #[expect(unsafe_code, reason = "portable-pty gives a raw descriptor only")]
    // SAFETY: the descriptor belongs to `master`, which outlives this borrow.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(fcntl_dupfd_cloexec(fd, 3)?)
}

fn set_packet_mode(master: &OwnedFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    #[expect(unsafe_code, reason = "rustix has no TIOCPKT")]
    // SAFETY: TIOCPKT reads one int through the pointer, which is valid for the call.
    let result = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCPKT, &raw const on) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// portable-pty wraps the system's errors, or only prints them into a text.
fn system_error(why: anyhow::Error) -> io::Error {
    let last = io::Error::last_os_error();
    match why.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None if last.raw_os_error().is_some_and(|e| e != 0) => last,
        None => io::Error::other(why.to_string()),
    }
}
