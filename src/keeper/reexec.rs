//! The keeper becomes another program in place: the same process, still the parent of every session.
//!
//! In order: the new program reads the real state and says that it can (`--check`); nothing is being started or left to be
//! said; the state goes to a memfd, its descriptors lose close-on-exec, and the program is executed (`--inherit`). What
//! fails before that leaves the keeper as it was. What fails after it ends this process, which the host sees like any death
//! of a keeper: it holds a copy of everything. Signals stay blocked all the while, so none is lost and none kills.

use super::{
    channel::{Channel, read_all},
    host::{Host, Phase},
    process::{Keeper, VERB, line},
    program::Program,
    protocol::{Holding, KeeperSays, PROTOCOL},
    sessions::Session,
    signals::Signals,
};
use crate::model::{Process, RawString, Status};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::{FdFlags, fcntl_getfd, fcntl_setfd},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};
use std::{
    ffi::{CString, OsString},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// A keeper that goes on where this process was; after it the state's descriptor.
pub(super) const INHERIT: &str = "--inherit";
/// Exits with 0 when it can read the state on standard input.
pub(super) const CHECK: &str = "--check";

/// The version of [`State`]: a newer one is refused by `--check`, an older one is read.
const STATE: u32 = 1;
/// How long all of it may take up to the exec; else the keeper stays what it is. A check takes a few milliseconds.
const CHANGE_TIME: Duration = Duration::from_secs(10);

/// A change of program under way.
#[derive(Debug)]
pub(super) struct Change {
    program: PathBuf,
    /// The new program, reading the state; `None` once it has said that it can.
    checker: Option<Checker>,
    pub(super) until: Instant,
}

#[derive(Debug)]
struct Checker {
    pid: u32,
    pidfd: OwnedFd,
}

/// All that a keeper knows; descriptors by their numbers.
#[derive(Serialize, Deserialize)]
struct State {
    state: u32,
    generation: u64,
    files: Option<u64>,
    host_args: Vec<RawString>,
    /// See [`super::host::Backoff`].
    young: u32,
    lock: RawFd,
    /// The program that is known to serve.
    before: RawFd,
    host: HostState,
    sessions: Vec<SessionState>,
}

#[derive(Serialize, Deserialize)]
struct HostState {
    process: Process,
    child: bool,
    protocol: u32,
    life_ms: u64,
    pidfd: RawFd,
    channel: RawFd,
}

#[derive(Serialize, Deserialize)]
struct SessionState {
    #[serde(flatten)]
    holding: Holding,
    child: bool,
    /// Master, ring, opaque, pidfd.
    fds: [RawFd; 4],
}

impl Keeper {
    /// The host wants this process to become `program`.
    pub(super) fn begin_change(&mut self, program: RawString) {
        let ready = self.host.as_ref().is_some_and(|h| h.ready && !h.bye);
        if self.change.is_some() || self.shutdown || !ready {
            return self.stay("it can't be now: a change is under way, or the host starts or ends");
        }
        let program = PathBuf::from(program.to_os());
        match self.start_checker(&program) {
            Ok(checker) => {
                self.change = Some(Change { program, checker: Some(checker), until: Instant::now() + CHANGE_TIME });
            }
            Err(e) => self.stay(&format!("{} can't be started: {e}", program.display())),
        }
    }

    fn start_checker(&self, program: &Path) -> io::Result<Checker> {
        let before = self.program.proven()?;
        let (state, _) = self.state(before.as_fd())?;
        let stdin = memory(&state)?;
        let child =
            Command::new(program).args([VERB, CHECK]).stdin(Stdio::from(stdin)).stdout(Stdio::null()).spawn()?;
        Ok(Checker { pid: child.id(), pidfd: pidfd_open(Pid::from_child(&child), PidfdFlags::empty())? })
    }

    pub(super) fn is_checker(&self, pid: u32) -> bool {
        self.change.as_ref().and_then(|c| c.checker.as_ref()).is_some_and(|c| c.pid == pid)
    }

    /// The new program has said what it thinks of the state.
    pub(super) fn checked(&mut self, status: Status) {
        match (&mut self.change, status) {
            (Some(change), Status::Code(0)) => change.checker = None,
            (_, how) => self.stay(&format!("the new program can't take over what the keeper holds ({how:?})")),
        }
    }

    /// From here to the exec nothing new is begun: the host waits in the socket.
    pub(super) fn is_about_to_change(&self) -> bool {
        self.change.as_ref().is_some_and(|c| c.checker.is_none())
    }

    /// Becomes the new program as soon as nothing is half done.
    pub(super) fn go_on_changing(&mut self) {
        let Some(change) = &self.change else { return };
        let hung_up = self.host.as_ref().is_none_or(|h| h.channel.is_none() || h.bye) || self.shutdown;
        let quiet = self.sessions.none_starting() && self.host.as_ref().is_some_and(|h| h.outbox.is_empty());
        if hung_up || change.until <= Instant::now() {
            self.stay("it took longer than 10 s, or the host is ending");
        } else if change.checker.is_none() && quiet {
            let program = change.program.clone();
            let why = self.exec(&program);
            self.stay(&format!("{} can't be executed: {why}", program.display()));
        }
    }

    /// Forgets about it; nothing has changed.
    pub(super) fn abandon_change(&mut self) {
        if let Some(Change { checker: Some(checker), .. }) = self.change.take() {
            let _ = pidfd_send_signal(&checker.pidfd, Signal::KILL);
        }
    }

    fn stay(&mut self, why: &str) {
        self.abandon_change();
        line(&format!("stays what it is: {why}"));
        if let Some(host) = &mut self.host {
            host.say(KeeperSays::ReexecRefused { why: why.to_owned() });
        }
    }

    /// Returns only when it can't be done, and then all is as before.
    fn exec(&self, program: &Path) -> io::Error {
        let attempt = || -> io::Result<io::Error> {
            let before = self.program.proven()?;
            let (state, mut fds) = self.state(before.as_fd())?;
            let state = memory(&state)?;
            fds.push(state.as_fd());
            let words = [program.into(), VERB.into(), INHERIT.into(), state.as_raw_fd().to_string().into()];
            let shown = self.host_args.iter().skip(1).cloned(); // for those who look at a list of processes
            let arguments = words.into_iter().chain(shown).map(|a: OsString| CString::new(a.into_vec()));
            let arguments = arguments.collect::<Result<Vec<CString>, _>>()?;
            let passed = fds.iter().try_for_each(|fd| fcntl_setfd(fd, FdFlags::empty()));
            let why = passed.map_or_else(io::Error::from, |()| execute(&arguments));
            for fd in fds {
                fcntl_setfd(fd, FdFlags::CLOEXEC)?;
            }
            Ok(why)
        };
        attempt().unwrap_or_else(|e| e)
    }

    /// Everything, and the descriptors it names.
    fn state<'a>(&'a self, before: BorrowedFd<'a>) -> io::Result<(State, Vec<BorrowedFd<'a>>)> {
        let mut fds = vec![self.lock.as_fd(), before];
        let host = self.host.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let channel = host.channel.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        fds.extend([host.pidfd.as_fd(), channel.as_fd()]);
        let mut sessions = Vec::new();
        for (id, session) in self.sessions.iter() {
            let own = [&session.master, &session.ring, &session.opaque, &session.pidfd];
            fds.extend(own.map(AsFd::as_fd));
            let (holding, child, numbers) = (session.holding(id), session.child, own.map(AsRawFd::as_raw_fd));
            sessions.push(SessionState { holding, child, fds: numbers });
        }
        let host = HostState {
            process: host.process,
            child: host.child,
            protocol: host.protocol,
            life_ms: u64::try_from(host.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            pidfd: host.pidfd.as_raw_fd(),
            channel: channel.as_fd().as_raw_fd(),
        };
        let state = State {
            state: STATE,
            generation: self.generation,
            files: self.files,
            host_args: self.host_args.iter().cloned().map(RawString::from).collect(),
            young: self.backoff.young,
            lock: self.lock.as_raw_fd(),
            before: before.as_raw_fd(),
            host,
            sessions,
        };
        Ok((state, fds))
    }
}

/// A memfd with the state in it.
fn memory(state: &State) -> io::Result<OwnedFd> {
    let bytes = serde_json::to_vec(state).map_err(io::Error::other)?;
    let fd = memfd_create("termalive-keeper", MemfdFlags::CLOEXEC)?;
    let mut at = 0;
    while at < bytes.len() {
        at += rustix::io::pwrite(&fd, &bytes[at..], at as u64)?;
    }
    Ok(fd)
}

/// `execv`: unlike std's it leaves the signal mask alone, or a signal that waits would kill this process.
fn execute(arguments: &[CString]) -> io::Error {
    let mut pointers: Vec<*const libc::c_char> = arguments.iter().map(|a| a.as_ptr()).collect();
    pointers.push(std::ptr::null());
    #[expect(unsafe_code, reason = "rustix has no execv")]
    // SAFETY: the pointers are to strings that outlive the call, and end with a null; there is no other thread.
    unsafe {
        libc::execv(pointers[0], pointers.as_ptr());
    }
    io::Error::last_os_error()
}

/// `--check`.
pub(super) fn check() -> Result<(), String> {
    let stdin = rustix::stdio::stdin().try_clone_to_owned().map_err(|e| e.to_string())?;
    read(&stdin).map(drop)
}

fn read(fd: &OwnedFd) -> Result<State, String> {
    #[derive(Deserialize)]
    struct Version {
        state: u32,
    }
    let bytes = read_all(fd).map_err(|e| format!("the keeper's state can't be read: {e}"))?;
    let strange = |e: serde_json::Error| format!("the keeper's state isn't understood: {e}");
    match serde_json::from_slice::<Version>(&bytes).map_err(strange)? {
        Version { state } if state > STATE => {
            Err(format!("the keeper's state has version {state}; this program reads up to {STATE}"))
        }
        _ => serde_json::from_slice(&bytes).map_err(strange),
    }
}

/// `--inherit FD`: this process was a keeper a moment ago.
pub(super) fn inherit(state: &str, signals: Signals) -> Result<Keeper, String> {
    let memory = adopt(state.parse().map_err(|_| format!("{state} is no descriptor"))?)?;
    let state = read(&memory)?;
    let [lock, before] = [adopt(state.lock)?, adopt(state.before)?];
    let host_args = state.host_args.iter().map(RawString::to_os).collect();
    let mut keeper = Keeper::new(lock, None, host_args, state.files, signals);
    keeper.program = Program::OnTrial { before, failures: 0 };
    keeper.generation = state.generation;
    keeper.backoff.young = state.young;
    keeper.served = true; // only one that has served can ask for this
    for SessionState { holding, child, fds } in state.sessions {
        let Holding { id, run, process, exit, forgotten } = holding;
        let [master, ring, opaque, pidfd] = [adopt(fds[0])?, adopt(fds[1])?, adopt(fds[2])?, adopt(fds[3])?];
        let session = Session { run, process, exit, forgotten, child, master, ring, opaque, pidfd };
        keeper.sessions.restore(id, session);
    }
    let HostState { process, child, protocol, life_ms, pidfd, channel } = state.host;
    let mut host = Host::new(process, adopt(pidfd)?, Channel::of(adopt(channel)?), child);
    (host.phase, host.ready, host.protocol) = (Phase::Served, true, protocol.min(PROTOCOL));
    host.since = Instant::now().checked_sub(Duration::from_millis(life_ms)).unwrap_or(host.since);
    host.say(KeeperSays::Reexeced { protocol: host.protocol });
    keeper.host = Some(host);
    line(&format!("is now {}, version {}", std::env::args().next().unwrap_or_default(), env!("CARGO_PKG_VERSION")));
    Ok(keeper)
}

/// A descriptor that came through the exec, closed at the next one.
fn adopt(number: RawFd) -> Result<OwnedFd, String> {
    if number <= 2 {
        return Err(format!("{number} is no descriptor of a keeper"));
    }
    #[expect(unsafe_code, reason = "a number from the state becomes a descriptor again")]
    // SAFETY: the program before gave each number once, for a descriptor that it left to this one; what isn't open is refused.
    let fd = unsafe {
        fcntl_getfd(BorrowedFd::borrow_raw(number))
            .map_err(|e| format!("descriptor {number} didn't come along: {e}"))?;
        OwnedFd::from_raw_fd(number)
    };
    fcntl_setfd(&fd, FdFlags::CLOEXEC).map_err(|e| e.to_string())?;
    Ok(fd)
}
