//! What stands between the keeper's fork and the session's program: a child of the keeper that becomes the program.
//!
//! Reads the [`ShimSpec`] from a sealed memfd, makes the process what the caller asked for and executes the program, once the
//! host has said that it holds the run: so nothing has begun of which a keeper's death would leave nobody to know.
//! It must never decide anything: what can't be done is reported as an errno and a step, and nothing runs. It never
//! returns into the keeper's code. (A program of its own in between, as it once was, costs another exec.)

use super::{cgroup, files, oom};
use crate::model::{Name, RawString, SessionId, Spec};
use rustix::{
    fs::Mode,
    io::{Errno, retry_on_intr},
    process::{Resource, Rlimit, chdir, getrlimit, ioctl_tiocsctty, setrlimit, setsid, umask},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
};
use serde::{Deserialize, Serialize};
use std::{
    convert::Infallible,
    ffi::OsStr,
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
};

/// The environment variable by which a process is known to belong to a session.
pub const ID_VARIABLE: &str = "TERMALIVE_SESSION_ID";

/// What the shim makes of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShimSpec {
    /// The arguments; the first is the name the program sees.
    pub argv: Vec<RawString>,
    /// The file that is executed. Not looked up in any PATH.
    pub program: RawString,
    /// The working directory.
    pub cwd: RawString,
    /// The whole environment.
    pub env: Vec<(RawString, RawString)>,
    /// The umask.
    pub umask: u32,
}

impl ShimSpec {
    /// A session's spec with the variables every session has: `TERM`, `TERMALIVE_SESSION`, `TERMALIVE_SESSION_ID`,
    /// and `TERMALIVE_HOST` (the URI of the host's socket). They win over what the caller's environment has.
    /// `later`: the run isn't the first one with this spec.
    pub fn new(spec: &Spec, later: bool, name: &Name, id: SessionId, host: &str) -> ShimSpec {
        let id = id.to_string();
        let own = [
            ("TERM", "xterm-256color"),
            ("TERMALIVE_SESSION", name.as_str()),
            (ID_VARIABLE, &id),
            ("TERMALIVE_HOST", host),
        ];
        let (argv, program) = spec.executed(later);
        let caller = spec.env.iter().filter(|(k, _)| own.iter().all(|(name, _)| k.0 != name.as_bytes())).cloned();
        ShimSpec {
            argv: argv.to_vec(),
            program: program.clone(),
            cwd: spec.cwd.clone(),
            env: caller.chain(own.iter().map(|(k, v)| ((*k).into(), (*v).into()))).collect(),
            umask: spec.umask,
        }
    }
}

/// Where a start failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpawnStep {
    /// Before anything of the session ran: no PTY, no process, no memory (of the keeper).
    Keeper,
    /// In the child, before the program's own turn.
    Shim,
    /// The working directory can't be entered.
    Chdir,
    /// The program can't be executed.
    Exec,
}

/// A report: errno, little endian, and step.
pub(crate) const REPORT_BYTES: usize = 5;

/// Why nothing runs, from what the child has written. Nothing at the end of its pipe means: executed.
pub(crate) fn reported(bytes: &[u8]) -> Option<(i32, SpawnStep)> {
    let [a, b, c, d, step] = *bytes else { return None };
    let step = match step {
        b'c' => SpawnStep::Chdir,
        b'x' => SpawnStep::Exec,
        _ => SpawnStep::Shim,
    };
    Some((i32::from_le_bytes([a, b, c, d]), step))
}

struct Failure(i32, u8);

impl Failure {
    fn at<E: Into<io::Error>>(step: u8) -> impl Fn(E) -> Failure {
        move |e| Failure(e.into().raw_os_error().unwrap_or(libc::EINVAL), step) // no errno: std saw a NUL byte
    }
}

/// What the child knows of its keeper's descriptors.
pub(super) struct Child<'a> {
    pub(super) id: SessionId,
    /// The PTY's other side.
    pub(super) terminal: &'a OwnedFd,
    /// A memfd with a [`ShimSpec`].
    pub(super) spec: &'a OwnedFd,
    /// Empty, so that a report always fits.
    pub(super) report: &'a OwnedFd,
    /// Where the host's word comes; none: the program begins at once.
    pub(super) word: Option<&'a OwnedFd>,
    /// The soft limit of open files to be restored.
    pub(super) files: Option<u64>,
}

impl Child<'_> {
    /// In the child, where nothing of the keeper may run again, its destructors and handlers of panics included.
    pub(super) fn become_program(self) -> ! {
        let attempt = catch_unwind(AssertUnwindSafe(|| self.execute()));
        let Failure(errno, step) = match attempt {
            Ok(Err(failure)) => failure,
            Ok(Ok(never)) => match never {},
            Err(_) => Failure(libc::EPROTO, b's'),
        };
        let [a, b, c, d] = errno.to_le_bytes();
        let _ = rustix::io::write(self.report, &[a, b, c, d, step]); // nobody left to tell it to
        #[expect(unsafe_code, reason = "std's exit runs what belongs to the keeper")]
        // SAFETY: ends the process.
        unsafe {
            libc::_exit(127)
        }
    }

    /// Returns only when the program couldn't be executed.
    fn execute(&self) -> Result<Infallible, Failure> {
        self.take_terminal().map_err(Failure::at(b's'))?;
        let body = files::read_whole(self.spec).map_err(Failure::at(b's'))?;
        let spec: ShimSpec = serde_json::from_slice(&body).map_err(|_| Failure(libc::EPROTO, b's'))?;
        // Above all the keeper's ends of sockets and terminals, which would seem to live on here when it dies.
        let kept = [Some(self.report), self.word].map(|fd| fd.map_or(0, AsRawFd::as_raw_fd));
        files::close_all_but(kept).map_err(Failure::at(b's'))?;
        if self.files.is_some() {
            let limit = Rlimit { current: self.files, maximum: getrlimit(Resource::Nofile).maximum };
            setrlimit(Resource::Nofile, limit).map_err(Failure::at(b's'))?;
        }
        // Not everywhere: `doctor` says where and why. The program runs as well without.
        let _ = cgroup::enter(self.id);
        let _ = oom::offer();
        reset_signals();
        umask(Mode::from_raw_mode(spec.umask));
        chdir(&*spec.cwd.to_os()).map_err(Failure::at(b'c'))?;
        self.word.map_or(Ok(()), wait_for)?;
        Err(Failure::at(b'x')(exec(&spec)))
    }

    /// Leads a session of its own, on its terminal.
    fn take_terminal(&self) -> Result<(), Errno> {
        setsid()?;
        ioctl_tiocsctty(self.terminal)?;
        dup2_stdin(self.terminal)?;
        dup2_stdout(self.terminal)?;
        dup2_stderr(self.terminal)
    }
}

/// The host holds the run; or it is gone, and the program must not begin.
fn wait_for(word: &OwnedFd) -> Result<(), Failure> {
    let mut byte = [0];
    match retry_on_intr(|| rustix::io::read(word, &mut byte)) {
        Ok(1) => Ok(()),
        _ => Err(Failure(libc::ECANCELED, b's')),
    }
}

fn exec(spec: &ShimSpec) -> io::Error {
    let Some((name, arguments)) = spec.argv.split_first() else { return io::Error::from_raw_os_error(libc::EINVAL) };
    let mut program = spec.program.to_os();
    if !spec.program.0.contains(&b'/') {
        program = ["./".into(), program].into_iter().collect(); // std would look it up in PATH
    }
    let command = |file: &OsStr| {
        let mut command = Command::new(file);
        command.env_clear().envs(spec.env.iter().map(|(k, v)| (k.to_os(), v.to_os())));
        command
    };
    let arguments = || arguments.iter().map(RawString::to_os);
    let why = command(&program).arg0(name.to_os()).args(arguments()).exec();
    match why.raw_os_error() {
        // A script without `#!`: the C library's execvp may do this itself, but not every one does.
        Some(libc::ENOEXEC) => command("/bin/sh".as_ref()).arg(&program).args(arguments()).exec(),
        _ => why,
    }
}

/// Nothing the keeper or whoever started it ignores or blocks may reach the program: a shell with SIGINT ignored can't
/// be interrupted, and says nothing about it.
fn reset_signals() {
    const LAST_SIGNAL: libc::c_int = 64; // the kernel's
    const SET_BYTES: usize = 8; // of the kernel's signal set
    let default = [0u64; 8]; // more than any platform's struct sigaction; all zero: the default, no flags
    #[expect(unsafe_code, reason = "std can reset SIGPIPE only, the C library leaves out signals it calls its own")]
    // SAFETY: no handler is installed, only defaults; KILL and STOP give an error that changes nothing. The kernel reads
    // its struct sigaction from `default`, then SET_BYTES from it as the new mask, and writes nothing.
    unsafe {
        for signal in 1..=LAST_SIGNAL {
            let nothing = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), nothing, SET_BYTES);
        }
        let nothing = std::ptr::null_mut::<u64>();
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, default.as_ptr(), nothing, SET_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Size;

    #[test]
    fn reports_are_read() {
        for (bytes, why) in [
            (&b""[..], None),
            (b"\x02\x00", None), // half of a report: the rest comes
            (b"\x02\x00\x00\x00c", Some((2, SpawnStep::Chdir))),
            (b"\x07\x00\x00\x00x", Some((7, SpawnStep::Exec))),
            (b"\x09\x00\x00\x00s", Some((9, SpawnStep::Shim))),
        ] {
            assert_eq!(reported(bytes), why, "{bytes:?}");
        }
    }

    #[test]
    fn own_variables_win() {
        let spec = Spec {
            command: "x".into(),
            argv: vec!["x".into()],
            program: "/x".into(),
            cwd: "/".into(),
            env: vec![("TERM".into(), "dumb".into()), ("A".into(), "1".into()), (ID_VARIABLE.into(), "old".into())],
            umask: 0o22,
            size: Size { cols: 80, rows: 24 },
            labels: Default::default(),
            restart: Default::default(),
            care: Default::default(),
        };
        let shim = ShimSpec::new(&spec, false, &"n".parse().unwrap(), SessionId([1; 16]), "unix:///s");
        let shown: Vec<_> = shim.env.iter().map(|(k, v)| format!("{}={}", k.lossy(), v.lossy())).collect();
        let id = format!("{ID_VARIABLE}={}", "01".repeat(16));
        assert_eq!(shown, ["A=1", "TERM=xterm-256color", "TERMALIVE_SESSION=n", &id, "TERMALIVE_HOST=unix:///s"]);
    }
}
