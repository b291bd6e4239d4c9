//! The verbs that this program calls itself by: `__keeper`, `__host`, `__exec`. Nobody types them.
//!
//! Here command line and environment become what keeper, host and shim want; they know neither.

use super::{Done, Failure, failed, out};
use crate::config::{Config, Env, Paths};
use crate::model::Exit;
use clap::Parser;
use rustix::fs::Mode;
use std::{ffi::OsString, os::fd::RawFd, path::PathBuf, process::ExitCode};

/// What keeper and host are told.
#[derive(Clone, Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
pub(super) struct Place {
    /// Where to say `R`, or why not; without it the keeper stays in the foreground.
    #[arg(long)]
    pub(super) ready_fd: Option<RawFd>,
    #[arg(long)]
    pub(super) state_dir: PathBuf,
    #[arg(long)]
    pub(super) socket: PathBuf,
    #[arg(long)]
    pub(super) config: Option<PathBuf>,
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// What the keeper adds for its host (and nobody else).
    #[arg(long)]
    pub(super) keeper_fd: Option<RawFd>,
}

/// Runs a hidden verb, if it is one. Before clap: the shim's arguments are its own.
pub(super) fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    let verb = args.get(1)?.to_str()?;
    let rest = args.get(2..)?;
    let place = || Place::try_parse_from(rest).map_err(|why| failed(why.to_string()));
    let done = match verb {
        "__exec" => return Some(exec(rest)),
        "__keeper" => place().and_then(keeper),
        "__host" => place().and_then(host),
        _ => return None,
    };
    Some(ExitCode::from(match done {
        Ok(exit) | Err(Failure::Said(exit)) => exit.code(),
        Err(Failure::ReaderGone) => Exit::Done.code(),
        Err(Failure::Error(error)) => {
            out::error(&error, false);
            Exit::Failed.code()
        }
    }))
}

/// The keeper: with a ready pipe a daemon in a session of its own, else in the foreground.
pub(super) fn keeper(place: Place) -> Done {
    if place.ready_fd.is_some() {
        // fails only for the leader of a group, which is away from the caller's terminal already
        let _ = rustix::process::setsid();
    }
    private_umask();
    let _paths = paths(&place);
    Err(failed("this build has no keeper"))
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

/// The shim between fork and the session's program.
fn exec(_args: &[OsString]) -> ExitCode {
    out::note("this build has no shim");
    ExitCode::from(Exit::Failed.code())
}

fn paths(place: &Place) -> Paths {
    Paths { state: place.state_dir.clone(), socket: place.socket.clone() }
}

/// All that a host writes is for its owner alone. A session gets its caller's umask.
fn private_umask() {
    rustix::process::umask(Mode::from_raw_mode(0o077));
}
