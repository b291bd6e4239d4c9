//! What stands between the keeper's fork and the session's program: `termalive __exec`.
//!
//! Reads the [`ShimSpec`] from a sealed memfd, makes the process what the caller asked for and executes the program, once the
//! host has said that it holds the run: so nothing has begun of which a keeper's death would leave nobody to know.
//! It must never decide anything: what can't be done is reported as an errno and a step, and nothing runs.

use super::{cgroup, oom};
use crate::model::{Name, RawString, SessionId, Spec};
use rustix::{
    fs::{Mode, OFlags, fcntl_setfl},
    process::{Resource, Rlimit, chdir, getrlimit, setrlimit, umask},
};
use serde::{Deserialize, Serialize};
use std::{
    convert::Infallible,
    ffi::{OsStr, OsString},
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    process::Command,
};

/// The hidden verb that runs [`main`].
pub const VERB: &str = "__exec";
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
    /// In the shim, before the program's own turn: it died, or couldn't read its spec.
    Shim,
    /// The working directory can't be entered.
    Chdir,
    /// The program can't be executed.
    Exec,
}

/// What the shim has written to its status pipe so far: `R` (it reads for itself now), then nothing more when the
/// program was executed, or an errno (4 bytes, little endian) and a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    /// It hasn't opened the pipe yet.
    Nothing,
    /// It has; at the end of the pipe this means: executed.
    Running,
    /// Nothing runs.
    Failed(i32, SpawnStep),
}

/// The longest report: `R`, errno, step.
pub(crate) const REPORT_BYTES: usize = 6;
const READY: u8 = b'R';

impl Said {
    /// From the bytes of the pipe.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Said {
        match *bytes {
            [READY, a, b, c, d, step] => Said::Failed(
                i32::from_le_bytes([a, b, c, d]),
                match step {
                    b'c' => SpawnStep::Chdir,
                    b'x' => SpawnStep::Exec,
                    _ => SpawnStep::Shim,
                },
            ),
            [READY, ..] => Said::Running,
            _ => Said::Nothing,
        }
    }
}

struct Failure(i32, u8);

impl Failure {
    fn at(step: u8) -> impl Fn(io::Error) -> Failure {
        move |e| Failure(e.raw_os_error().unwrap_or(libc::EINVAL), step) // no errno: std saw a NUL byte
    }
}

/// The shim. `args` are those after [`VERB`]: the keeper's pid, its descriptors of the spec and of the status pipe, the
/// soft limit of open files to be restored (`-`: leave it), and the descriptor of the pipe in which the host's word comes
/// (left out: the program begins at once).
pub fn main(args: impl Iterator<Item = OsString>) -> ! {
    let args: Vec<String> = args.filter_map(|a| a.into_string().ok()).collect();
    if let [keeper, spec, status, files, word @ ..] = args.as_slice()
        && let Ok(mut pipe) = OpenOptions::new().write(true).open(format!("/proc/{keeper}/fd/{status}"))
    {
        // before the first byte: later there may be no keeper
        let open = |fd: &String| {
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(format!("/proc/{keeper}/fd/{fd}"))
        };
        let needed = open(spec).and_then(|spec| Ok((spec, word.first().map(open).transpose()?)));
        if pipe.write_all(&[READY]).is_ok() {
            let Failure(errno, step) = needed.map_or_else(Failure::at(b's'), |(spec, word)| execute(spec, word, files));
            let [a, b, c, d] = errno.to_le_bytes();
            let _ = pipe.write_all(&[a, b, c, d, step]); // nobody left to tell it to
        }
    }
    std::process::exit(127)
}

/// Returns only when the program couldn't be executed.
fn execute(mut spec: File, word: Option<File>, files: &str) -> Failure {
    let mut attempt = || -> Result<Infallible, Failure> {
        let mut body = Vec::new();
        spec.read_to_end(&mut body).map_err(Failure::at(b's'))?;
        let spec: ShimSpec = serde_json::from_slice(&body).map_err(|_| Failure(libc::EPROTO, b's'))?;
        if let Ok(soft) = files.parse() {
            let hard = getrlimit(Resource::Nofile).maximum;
            let limit = Rlimit { current: Some(soft), maximum: hard };
            setrlimit(Resource::Nofile, limit).map_err(|e| Failure::at(b's')(e.into()))?;
        }
        settle();
        reset_signals();
        umask(Mode::from_raw_mode(spec.umask));
        chdir(&*spec.cwd.to_os()).map_err(|e| Failure::at(b'c')(e.into()))?;
        word.as_ref().map_or(Ok(()), wait_for)?;
        Err(Failure::at(b'x')(exec(&spec)))
    };
    match attempt() {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

/// The host holds the run; or it is gone, and the program must not begin.
fn wait_for(mut word: &File) -> Result<(), Failure> {
    let blocking = fcntl_setfl(word, OFlags::empty()).map_err(io::Error::from);
    blocking.and_then(|()| word.read_exact(&mut [0])).map_err(|_| Failure(libc::ECANCELED, b's'))
}

/// Into the session's cgroup, and before the host where the kernel runs out of memory. The program runs as well without.
fn settle() {
    let id = std::env::var(ID_VARIABLE).ok().and_then(|id| SessionId::try_from(id).ok());
    let _ = id.map(cgroup::enter); // not everywhere: `doctor` says where and why
    let _ = oom::offer(); // of a kernel without it
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
        for (bytes, said) in [
            (&b""[..], Said::Nothing),
            (b"R", Said::Running),
            (b"R\x02\x00", Said::Running), // half of a report: the rest comes
            (b"R\x02\x00\x00\x00c", Said::Failed(2, SpawnStep::Chdir)),
            (b"R\x07\x00\x00\x00x", Said::Failed(7, SpawnStep::Exec)),
            (b"R\x09\x00\x00\x00s", Said::Failed(9, SpawnStep::Shim)),
        ] {
            assert_eq!(Said::from_bytes(bytes), said, "{bytes:?}");
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
