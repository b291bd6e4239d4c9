//! The verbs that this program calls itself by: `__keeper`, `__host`, `__exec`. Nobody types them.
//!
//! Here command line and environment become what keeper, host and shim want; they know neither.

use super::{Done, Failure, failed, out};
use crate::config::{Config, Env, Paths};
use crate::model::Exit;
use crate::{keeper, pty::shim};
use clap::Parser;
use rustix::fs::Mode;
use std::{
    ffi::OsString,
    fs::{File, TryLockError},
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    process::ExitCode,
};

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
}

/// Runs a hidden verb, if it is one. Before clap: the shim's arguments are its own.
pub(super) fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    let verb = args.get(1)?.to_str()?;
    let rest = args.get(2..)?;
    let place = || Place::try_parse_from(rest).map_err(|why| failed(why.to_string()));
    let done = match verb {
        shim::VERB => shim::main(rest.iter().cloned()),
        keeper::VERB if rest.first().is_some_and(|a| a == "--revive") => {
            return Some(keeper::main(rest.iter().cloned()));
        }
        keeper::VERB => place().and_then(self::keeper),
        "__host" => place().and_then(host),
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

/// The keeper: with a waiting command a daemon in a session of its own, else in the foreground.
pub(super) fn keeper(place: Place) -> Done {
    private_umask();
    let foreground = !place.ready_on_stdout;
    let ready = if foreground { None } else { Some(waiting_command().map_err(|e| failed(e.to_string()))?) };
    match lock(&paths(&place)) {
        Ok(lock) => {
            let options = keeper::Options { lock, ready, host_args: host_args(&place), foreground };
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

fn host_args(place: &Place) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec!["__host".into(), "--state-dir".into(), place.state_dir.clone().into()];
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
    match crate::server::host_main(&paths(&place), config) {
        true => Ok(Exit::Done),
        false => Err(Failure::Said(Exit::Failed)),
    }
}

fn paths(place: &Place) -> Paths {
    Paths { state: place.state_dir.clone(), socket: place.socket.clone() }
}

/// All that a host writes is for its owner alone. A session gets its caller's umask.
fn private_umask() {
    rustix::process::umask(Mode::from_raw_mode(0o077));
}
