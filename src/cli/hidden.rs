//! The verbs that this program calls itself by: `__keeper`, `__host`. Nobody types them.
//!
//! Here command line and environment become what keeper and host want; they know neither.

use super::{Done, Failure, failed, out};
use crate::config::{Config, Env, Paths};
use crate::model::Exit;
use crate::{keeper, server};
use clap::Parser;
use rustix::fs::Mode;
use std::{
    ffi::OsString,
    fs::{File, TryLockError},
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// How a keeper is started by a keeper or a host: with arguments of its own.
const KEEPERS_OWN: [&str; 3] = ["--revive", "--inherit", "--check"];

/// What keeper and host are told.
#[derive(Clone, Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
pub(super) struct Place {
    /// A command waits at the other end of standard output for `R`, or why not; without it the keeper stays in the foreground.
    #[arg(long)]
    pub(super) ready_on_stdout: bool,
    #[arg(long)]
    pub(super) state_dir: PathBuf,
    #[arg(long)]
    pub(super) socket: PathBuf,
    #[arg(long)]
    pub(super) config: Option<PathBuf>,
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// The file that a later host is started from; found out by who starts the keeper.
    #[arg(long)]
    pub(super) program: Option<PathBuf>,
}

/// Runs a hidden verb, if it is one. Before clap: nobody is told of them.
pub(super) fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    let verb = args.get(1)?.to_str()?;
    let rest = args.get(2..)?;
    let place = || Place::try_parse_from(rest).map_err(|why| failed(why.to_string()));
    let done = match verb {
        keeper::VERB if rest.first().is_some_and(|a| KEEPERS_OWN.iter().any(|own| a == own)) => {
            return Some(keeper::main(rest.iter().cloned()));
        }
        keeper::VERB => place().and_then(|place| self::keeper(place, None)),
        "__host" => place().and_then(host),
        server::PREFLIGHT => place().and_then(preflight),
        _ => return None,
    };
    Some(ExitCode::from(match done {
        Ok(exit) | Err(Failure::Said(exit)) => exit.code(),
        Err(Failure::Exit(code)) => return Some(code),
        Err(Failure::ReaderGone) => Exit::Done.code(),
        Err(Failure::Error(error)) => {
            out::error(&error, false);
            Exit::Failed.code()
        }
    }))
}

/// The keeper: with a waiting command a daemon in a session of its own, else in the foreground. `looking` is `start.lock`,
/// held until the keeper's own lock is, so that no command that looks for a host stands in its way; who waits holds it itself.
pub(super) fn keeper(place: Place, looking: Option<File>) -> Done {
    private_umask();
    let foreground = !place.ready_on_stdout;
    let ready = if foreground { None } else { Some(waiting_command().map_err(|e| failed(e.to_string()))?) };
    let locked = lock(&paths(&place));
    drop(looking);
    match locked {
        Ok(lock) => {
            let host_args = host_args(&place).map_err(|e| failed(format!("cannot find this program: {e}")))?;
            let options = keeper::Options { lock, ready, host_args, foreground };
            Err(Failure::Exit(keeper::run(options)))
        }
        Err(Failure::Error(why)) => {
            // the waiting command says it, in this process's words
            let told = ready.is_some_and(|pipe| File::from(pipe).write_all(why.to_string().as_bytes()).is_ok());
            Err(if told { Failure::Said(Exit::Failed) } else { Failure::Error(why) })
        }
        Err(other) => Err(other),
    }
}

/// The pipe that stands where standard output was; from here on that is where errors go.
fn waiting_command() -> io::Result<OwnedFd> {
    let ready = io::stdout().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdout(io::stderr())?;
    Ok(ready)
}

/// The state folder is this process's and its children's alone.
fn lock(paths: &Paths) -> Result<File, Failure> {
    paths.prepare().map_err(|e| failed(e.to_string()))?;
    let path = paths.lock();
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(|e| failed(format!("cannot write {}: {e}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(failed(format!("{} is in use by another host", paths.state.display()))),
        Err(TryLockError::Error(e)) => Err(failed(format!("cannot lock {}: {e}", path.display()))),
    }
}

fn host_args(place: &Place) -> io::Result<Vec<OsString>> {
    let program = place.program.clone().map_or_else(program, Ok)?;
    let mut args = vec!["__host".into()];
    args.extend(arguments(place));
    args.extend(["--program".into(), program.into()]);
    Ok(args)
}

/// Places and configuration, as they were given.
fn arguments(place: &Place) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["--state-dir".into(), place.state_dir.clone().into()];
    args.extend(["--socket".into(), place.socket.clone().into()]);
    place.config.iter().for_each(|file| args.extend(["--config".into(), file.clone().into()]));
    place.set.iter().for_each(|pair| args.extend(["--set".into(), pair.clone().into()]));
    args
}

/// The host process: the keeper's child.
fn host(place: Place) -> Done {
    private_umask();
    let config =
        Config::load(place.config.as_deref(), &Env::from_process(), &place.set).map_err(|e| failed(e.to_string()))?;
    let origin = place.program.clone().map(|program| server::Origin { program, arguments: arguments(&place) });
    match server::host_main(&paths(&place), config, origin) {
        true => Ok(Exit::Done),
        false => Err(Failure::Said(Exit::Failed)),
    }
}

/// What this program is, for a host that it may take over from.
fn preflight(place: Place) -> Done {
    let config = Config::load(place.config.as_deref(), &Env::from_process(), &place.set).map_err(|e| e.to_string());
    let abilities = server::preflight(&paths(&place), config).map_err(failed)?;
    let mut out = out::Out::default();
    out.json(&abilities)?;
    out.flush()?;
    Ok(Exit::Done)
}

/// This program's file by the name it was called by, so that a link in it is followed again by each reload; the file itself
/// where that name means another one.
pub(super) fn program() -> io::Result<PathBuf> {
    let real = std::env::current_exe()?;
    let Some(called) = std::env::args_os().next().map(PathBuf::from) else { return Ok(real) };
    let found: Vec<PathBuf> = match called.components().count() {
        1 => {
            let folders = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&folders).map(|folder| folder.join(&called)).collect()
        }
        _ => vec![called],
    };
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let own = identity(Path::new("/proc/self/exe"));
    match found.into_iter().find(|path| identity(path).is_some()).filter(|path| identity(path) == own) {
        Some(path) => std::path::absolute(path),
        None => Ok(real),
    }
}

fn paths(place: &Place) -> Paths {
    Paths { state: place.state_dir.clone(), socket: place.socket.clone() }
}

/// All that a host writes is for its owner alone. A session gets its caller's umask.
fn private_umask() {
    rustix::process::umask(Mode::from_raw_mode(0o077));
}
