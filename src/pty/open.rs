//! Opens a PTY and starts the shim on it. The only file that names portable_pty.
//!
//! Of portable-pty only the opening and the start are used. Its writer types a line feed and an end of file when it is
//! dropped, and its master can't be made from a descriptor, so the master is duplicated out and the rest dropped. It
//! closes every descriptor from 3 up in the child and with them std's report of a failed exec; it turns a bad working
//! directory into $HOME in silence: hence the shim, which opens what it needs through `/proc/PID/fd` and reports itself.

use crate::{
    model::{Process, SessionId, Size},
    pty::{shim, stat},
};
use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::{
    io::{Errno, fcntl_dupfd_cloexec},
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

/// A PTY with a shim on it that is about to become the program.
#[derive(Debug)]
pub(crate) struct Opened {
    /// In packet mode.
    pub(crate) master: OwnedFd,
    /// A child of this process, leader of its own session, the PTY its controlling terminal.
    pub(crate) process: Process,
    pub(crate) pidfd: OwnedFd,
    /// Where the shim reports; doesn't block.
    pub(crate) status: OwnedFd,
    /// This process' writing end: the shim opens the pipe through it. To be closed at the shim's first byte.
    pub(crate) status_writer: OwnedFd,
}

/// Opens a PTY and starts the shim with the spec in `spec`, which must stay open until the shim has reported, as `word` must: a
/// pipe from which the shim reads a byte before it executes the program. `files`: the soft limit of open files the program gets.
pub(crate) fn open(
    size: Size,
    id: SessionId,
    spec: &OwnedFd,
    word: Option<&OwnedFd>,
    files: Option<u64>,
) -> io::Result<Opened> {
    let (status, status_writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let pty = native_pty_system()
        .openpty(PtySize { rows: size.rows, cols: size.cols, pixel_width: 0, pixel_height: 0 })
        .map_err(system_error)?;
    let master = duplicate(pty.master.as_ref())?;
    set_packet_mode(&master)?;

    let mut command = CommandBuilder::new("/proc/self/exe");
    command.args([shim::VERB, &std::process::id().to_string()]);
    command.args([spec.as_raw_fd().to_string(), status_writer.as_raw_fd().to_string()]);
    command.arg(files.map_or("-".to_owned(), |n| n.to_string()));
    command.args(word.map(|word| word.as_raw_fd().to_string()));
    command.env_clear();
    command.env("HOME", "/"); // without these two portable-pty asks the user database
    command.env("SHELL", "/bin/sh");
    command.env(shim::ID_VARIABLE, id.to_string());
    command.cwd("/");
    let child = pty.slave.spawn_command(command).map_err(system_error)?;

    let pid = child.process_id().and_then(|p| Pid::from_raw(p.cast_signed())).ok_or(Errno::CHILD)?;
    let known = || -> io::Result<_> {
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok((pidfd, stat::read(pid.as_raw_nonzero().get().cast_unsigned())?.process))
    };
    let (pidfd, process) = known().inspect_err(|_| {
        let _ = kill_process(pid, Signal::KILL); // not waited for yet, so the pid is still its own
    })?;
    Ok(Opened { master, process, pidfd, status, status_writer })
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
